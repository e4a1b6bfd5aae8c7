//! The labels and all their values. Each value is a word of this file, so the series of a metric can be counted here.

use reg_api::fault::FaultKind;
use reg_commons::Answer;
use reg_proto::wire::Rejection;

/// One label with its value.
pub(super) type One = [(&'static str, &'static str); 1];
/// Two labels with their values.
pub(super) type Two = [(&'static str, &'static str); 2];

/// What a verified piece came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A peer outside the zone of this node, or one of which the place is not known yet.
    Peer,
    /// A peer on this machine or in the zone.
    Near,
    WebSeed,
    /// Tensors of other models in the store. No byte of them came over the network.
    Reuse,
    /// The endpoint behind this node.
    Upstream,
}

impl Source {
    /// Every source.
    pub(super) const ALL: [Self; 5] = [Self::Peer, Self::Near, Self::WebSeed, Self::Reuse, Self::Upstream];
    /// The sources in the swarm: what `reg status` counts as fetched.
    pub const SWARM: [Self; 3] = [Self::Peer, Self::Near, Self::WebSeed];

    /// Returns the source that a peer is.
    pub const fn of_peer(is_near: bool) -> Self {
        if is_near { Self::Near } else { Self::Peer }
    }

    pub(super) const fn label(self) -> One {
        let value = match self {
            Self::Peer => "peer",
            Self::Near => "near",
            Self::WebSeed => "web_seed",
            Self::Reuse => "reuse",
            Self::Upstream => "upstream",
        };
        [("source", value)]
    }
}

/// Where a peer is that pieces are sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On this machine or in the zone.
    Near,
    Far,
}

impl Place {
    pub(super) const ALL: [Self; 2] = [Self::Near, Self::Far];

    /// Returns the place of a peer.
    pub const fn of_peer(is_near: bool) -> Self {
        if is_near { Self::Near } else { Self::Far }
    }

    pub(super) const fn label(self) -> One {
        [("reach", if matches!(self, Self::Near) { "near" } else { "far" })]
    }
}

/// Why a piece that came is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwanted {
    /// Its bytes are not those that were signed.
    Mismatch,
    /// This node did not ask for it, or asks for it no longer.
    Unasked,
    /// Another source has sent it before.
    Twice,
}

impl Unwanted {
    pub(super) const ALL: [Self; 3] = [Self::Mismatch, Self::Unasked, Self::Twice];

    pub(super) const fn label(self) -> One {
        let value = match self {
            Self::Mismatch => "mismatch",
            Self::Unasked => "unasked",
            Self::Twice => "twice",
        };
        [("reason", value)]
    }
}

/// The label of a stream that is refused.
pub(super) const STREAMS: One = [("reason", "too_many_streams")];
/// The labels of everything that is refused to peers.
pub(super) const REFUSALS: [One; 5] = [
    [("reason", "busy")],
    [("reason", "not_here")],
    [("reason", "unverified")],
    [("reason", "malformed")],
    STREAMS,
];

/// Returns the label of a request that is refused.
pub(super) const fn refusal(why: &Rejection) -> One {
    match why {
        Rejection::Busy { .. } => REFUSALS[0],
        Rejection::NotHere => REFUSALS[1],
        Rejection::Unverified => REFUSALS[2],
        Rejection::Malformed => REFUSALS[3],
    }
}

/// What may come of an audit.
pub(super) const ANSWERS: [Answer; 6] =
    [Answer::Passed, Answer::Wrong, Answer::NotGiven, Answer::Busy, Answer::Unreachable, Answer::Late];

/// Returns the label of what came of an audit.
pub(super) const fn audit(answer: Answer) -> One {
    let value = match answer {
        Answer::Passed => "passed",
        Answer::Wrong => "wrong",
        Answer::NotGiven => "not_given",
        Answer::Busy => "busy",
        Answer::Unreachable => "unreachable",
        Answer::Late => "late",
    };
    [("outcome", value)]
}

/// The label of a pull that has brought its model.
pub(super) const DONE: One = [("outcome", "done")];
/// The label of a pull that its caller has left, or that the owner of the node has ended.
pub(super) const CANCELLED: One = [("outcome", "cancelled")];

/// Returns the label of a pull that failed.
pub(super) const fn failed(kind: FaultKind) -> One {
    [("outcome", kind.name())]
}

/// What a reader of a gateway gets its first bytes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// The file is whole in the store.
    Store,
    /// Peers and web seeds send it while it is read.
    Swarm,
}

impl Begun {
    pub(super) const ALL: [Self; 2] = [Self::Store, Self::Swarm];

    pub(super) const fn label(self) -> One {
        [("from", if matches!(self, Self::Store) { "store" } else { "swarm" })]
    }
}

/// The dialect that has answered a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The local API of the command line.
    Api,
    Page,
    Uploads,
    HuggingFace,
    Oci,
    /// The request was refused before a dialect has read it, or its path belongs to none.
    None,
}

impl Dialect {
    pub(super) const ALL: [Self; 6] =
        [Self::Api, Self::Page, Self::Uploads, Self::HuggingFace, Self::Oci, Self::None];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Page => "page",
            Self::Uploads => "uploads",
            Self::HuggingFace => "hf",
            Self::Oci => "oci",
            Self::None => "none",
        }
    }

    pub(super) const fn label(self) -> One {
        [("dialect", self.name())]
    }

    pub(super) fn with(self, status: u16) -> Two {
        [("dialect", self.name()), ("code", code(status))]
    }
}

/// The statuses that gateways answer with.
const CODES: [(u16, &str); 30] = [
    (200, "200"),
    (201, "201"),
    (202, "202"),
    (204, "204"),
    (206, "206"),
    (301, "301"),
    (302, "302"),
    (303, "303"),
    (304, "304"),
    (307, "307"),
    (308, "308"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (409, "409"),
    (410, "410"),
    (411, "411"),
    (412, "412"),
    (413, "413"),
    (415, "415"),
    (416, "416"),
    (422, "422"),
    (500, "500"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
    (507, "507"),
];

/// Returns the value for a status: one that is not in the table has the value of its class, so that an endpoint behind this node
/// cannot make series.
fn code(status: u16) -> &'static str {
    match CODES.iter().find(|(it, _)| *it == status) {
        Some((_, code)) => code,
        None if status < 300 => "2xx",
        None if status < 400 => "3xx",
        None if status < 500 => "4xx",
        None => "5xx",
    }
}
