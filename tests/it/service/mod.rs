//! The service over loopback: a real server, journal and client, with a scripted model.

mod again;
mod batches;
mod crash;
mod deadlines;
pub(crate) mod disk;
mod faults;
mod folders;
mod hangups;
pub(crate) mod harness;
mod kills;
mod life;
mod masks;
mod once;
mod parts;
mod pictures;
pub(crate) mod process;
mod real;
mod requests;
mod restart;
mod run_edit;
mod scaler;
pub(crate) mod script;
mod slow;
mod streams;
