//! What passes between processes and is kept by nobody: steps and previews of jobs that somebody watches elsewhere.

use std::{fmt, sync::Arc};

use uuid::Uuid;

use crate::wire::v1::EditEvent;

/// What a process hears of others.
#[derive(Debug)]
pub enum Heard {
    /// Somebody watches a job there.
    Wanted(Uuid),
    /// What its worker shows of a job.
    Shown(Uuid, Box<EditEvent>),
}

/// The way past the ledger. Nothing of it blocks for long, and what can't be sent is lost.
pub trait Relay: fmt::Debug + Send + Sync {
    /// Asks for what a job's worker shows in the next seconds.
    fn want(&self, job: Uuid);

    /// Shows a step or a preview of a job to whoever has asked.
    fn show(&self, job: Uuid, event: &EditEvent);

    /// What other processes say; blocks for the next one. Only the first caller hears.
    fn heard(&self) -> Box<dyn Iterator<Item = Heard> + Send>;
}

/// A relay that is shared.
pub type Shared = Arc<dyn Relay>;
