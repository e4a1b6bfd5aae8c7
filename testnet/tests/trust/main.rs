//! Keys, signatures and trust between real nodes, judged by other tools too: which statements count, and until when.

mod answers;
mod in_use;
mod one_writer;
mod tags_and_keys;
mod two_machines;

mod collections;
mod delegations;
mod documents;
mod domains;
mod follow;
mod health;
mod revocations;
mod survive;

mod rules;
mod unlist;

mod key_cases;
mod key_changes;
mod key_tools;
mod oms;
mod signing;
