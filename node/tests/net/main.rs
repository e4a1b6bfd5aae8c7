//! The network handle and its lanes, between real nodes in one process.

mod network;

mod lanes;

mod rendezvous;
