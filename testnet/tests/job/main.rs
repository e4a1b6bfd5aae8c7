//! The main job, with real processes: a model is published, found, pulled, verified and served, from several peers and
//! web servers at once, and after kills, flipped bytes and full disks.

mod main_job;

mod going_in;

mod flags;
mod folders;
mod follow;
mod guides;
mod rare;
mod remembered;
mod returning;
mod selection;
mod shared;
mod small_files;
mod strangers;
mod tickets;
mod transfers;
mod updating;

mod reuse;
mod spread;
mod swarm;
mod telling;
mod web_seeds;
mod whole;

mod archives;
mod json;
mod lineage;
mod looking;

mod catalogue;
mod catalogue_scale;

mod cache;
mod damage;
mod disks;
mod doctor;
mod donate;
mod kill_loop;

mod memory;
mod operations;
mod packages;
mod stopping;
