//! Jobs: accepted and stored durably, queued, run on the model's worker threads, and observed through event streams.
//!
//! A job is the schema's `EditJob`, and its events are the schema's `EditEvent`s: the same messages in memory, in the
//! journal and on the wire, so that no second set of types has to be kept in step. [`store::Store`] holds all jobs;
//! [`life`] and [`passes`] are their state machine; [`queue`] orders those that wait; [`worker`] runs them on a
//! [`runner::Runner`]; [`follow`] replays and follows their events.
//!
//! Differs: the plan had separate job types above the wire. They would have duplicated forty types, with conversions
//! both ways and no behavior of their own.

pub mod admission;
pub mod artifacts;
mod artifacts_elsewhere;
pub mod change;
pub mod clock;
pub mod decision;
mod decoded;
pub mod elsewhere;
pub mod fault;
pub mod follow;
pub mod inputs;
pub mod job;
mod job_elsewhere;
pub mod latest;
pub mod life;
pub mod model;
pub mod passes;
pub mod queue;
mod relay;
mod replica;
pub mod requests;
pub mod runner;
mod same_request;
mod sending;
pub mod shutdown;
pub mod store;
pub mod timeouts;
mod trace;
pub mod turns;
pub mod variants;
pub mod worker;
