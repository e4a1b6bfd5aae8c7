//! What a node can do, as methods of [`Registry`]: the API that knows no HTTP and no libp2p.
//!
//! A model is a signed manifest of blobs. Publishing makes one, resolving proves one, pulling brings one here from
//! everybody who has it, and seeding gives it to others. Policies stand in [`policy`]; trust stands in `resolve`, `tags`
//! and [`key_pin`].

mod shared;

pub mod explain;
pub mod report;
pub mod request;

mod attest;
mod denylists;
mod plan;
mod publish;
mod pull;
mod seed;
mod seed_lane;
pub mod selection;
mod serving;
mod tensors;

mod answer;
mod catalogue;
mod chat_template;
mod verify;

pub mod hub_cache;
pub mod import;

mod admit;
mod push;
mod read;
mod relay;
mod remote;
mod upload;
pub mod upstream;
mod view;

mod accept;
mod attested;
mod consent;
pub mod freshness;
mod history;
pub mod key_pin;
pub mod log;
mod proofs;
mod resolve;
pub mod sharing;
mod tags;
pub mod trust;
mod trust_use;
mod vow_news;
mod vows;

mod assemble;
mod checkout;
mod describe;
mod documents;
mod header;
mod heads;
mod model;
pub mod policy;
mod reuse;
mod states;
mod tree;

mod dispute;
mod downloader;
mod finder;
mod introductions;
mod lanes;
mod nearness;
mod places;
mod pulls;
mod source;
mod throttle;
mod turns;
mod web;

pub mod authorities;
pub mod board;
pub mod bundle;
mod calls;
mod certificate;
pub mod key_file;
pub mod keyring;
pub mod publisher_key;
pub mod secret_key;
pub mod signed_directory;
pub mod signing;
pub mod ssh_agent;
mod ssh_key;

mod bans;
mod clock;
mod durable;
pub mod fault;
mod limits;
mod pullers;
mod reporter;
mod traffic;

pub use self::admit::{AdmitError, ConcludeError};
pub use self::assemble::AssembleError;
pub use self::attest::{AttestError, AttestRequest, AttestationInfo};
pub use self::catalogue::{CatalogueError, shown};
pub use self::consent::PolicyError;
pub use self::denylists::SubscribeError;
pub use self::nearness::{Subnet, SubnetError, Zone};
pub use self::publish::PublishError;
pub use self::pull::PullError;
pub use self::push::{INDEX_TYPE, PushError, Pushed};
pub use self::read::BlobReader;
pub use self::relay::RelayError;
pub use self::reporter::Reporter;
pub use self::shared::{Registry, RegistryParts};
pub use self::throttle::{TransferLimits, UpLimit};
pub use self::upload::UploadError;
pub use self::verify::VerifyError;
pub use self::view::{ModelView, Revision, ViewError};

use self::shared::Inner;
