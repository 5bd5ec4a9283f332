//! The seam below the job store: what every ledger must do, and what the store does with one that conflicts, is down or
//! full.

pub(crate) mod conformance;
mod memory;
mod processes;
mod refusals;
mod slow;
