//! Pulls a model that a ticket names: its peers are met first, and the user is told where the tag has moved since.

use reg_api::report::Pulled;
use reg_api::reporter::Reporter;
use reg_api::request::{PullRequest, TicketRequest};
use tokio::time::timeout;

use super::Puller;
use crate::registry::domains::dial_all;
use crate::registry::limits::TICKET_PATIENCE;

impl Puller {
    /// Meets the peers of the ticket, if the request has one, and says where none answers.
    pub(super) async fn meet_first(&self, request: &PullRequest, reporter: &Reporter) {
        let Some(ticket) = request.ticket.as_ref().filter(|it| !it.peers.is_empty()) else { return };
        if !request.offline && !self.network.is_offline() && !self.meet(ticket).await {
            reporter.note("no peer of the ticket answers: the model is looked for elsewhere");
        }
    }

    /// Meets the peers of a ticket. Returns once the first of them is connected, or after a while; the others are dialled in the
    /// background, and the other ways of finding peers come after. Returns whether a peer was met.
    pub async fn meet(&self, ticket: &TicketRequest) -> bool {
        let peers = ticket.peers.iter().map(|it| (it.peer, it.addresses.to_vec()));
        let mut dials = dial_all(&self.network, peers, |network, peer, addresses| async move {
            network.dial_given(peer, addresses).await;
            true
        });
        let first = async {
            while let Some(met) = dials.join_next().await {
                if met.unwrap_or(false) {
                    return true;
                }
            }
            false
        };
        let is_met = timeout(TICKET_PATIENCE, first).await;
        dials.detach_all();
        is_met == Ok(true)
    }
}

/// Notes that the tag means another version than when the ticket was made.
pub(super) fn note_moved(request: &PullRequest, pulled: &Pulled, reporter: &Reporter) {
    let seen = request.ticket.as_ref().and_then(|ticket| ticket.seen);
    if let (Some(seen), None) = (seen.filter(|seen| *seen != pulled.manifest), request.reference.digest) {
        let (publisher, model) = (pulled.publisher, &pulled.model);
        let tag = pulled.tag.as_ref().map_or_else(String::new, |tag| format!("{tag} "));
        reporter.note(format_args!(
            "the tag {tag}means another version than when the ticket was made; that one is {publisher}/{model}@{seen}"
        ));
    }
}
