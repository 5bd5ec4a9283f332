//! Jobs: what is asked is kept, waits its turn, runs on the model's thread, and tells everybody who watches.
//!
//! A job *is* the schema's `EditJob`, and its events are the schema's `EditEvent`s: the same messages are in memory, in the journal
//! and on the wire, so that nothing is said twice. [`store::Store`] holds all jobs; [`life`] says how one goes from state to state;
//! [`queue`] who is next; [`worker`] runs them on a [`runner::Runner`]; [`follow`] replays and follows.
//!
//! Differs: the plan for this house had job types of their own, above the wire. They would have been forty types twice, with a
//! conversion each way and no behavior of their own.

pub mod admission;
pub mod artifacts;
pub mod clock;
pub mod decision;
pub mod fault;
pub mod follow;
pub mod inputs;
pub mod job;
pub mod latest;
pub mod life;
pub mod model;
pub mod panics;
pub mod queue;
pub mod requests;
pub mod runner;
mod same_request;
pub mod shutdown;
pub mod store;
pub mod turns;
pub mod worker;
