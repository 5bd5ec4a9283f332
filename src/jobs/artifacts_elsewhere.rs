//! Artifacts that other processes store and delete.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::jobs::artifacts::{self, Artifacts};
use crate::journal::ledger::LedgerError;
use crate::wire::journal::v1::ArtifactRecord;

/// Age up to which a file of a job stays although no job refers to it: as long as one that no commit names.
const LOOSE: Duration = Duration::from_secs(60 * 60);

impl Artifacts {
    /// Adds an artifact that another process has stored, unless it is known.
    pub(super) fn learn(&self, record: &ArtifactRecord) {
        if let Some((id, known)) = self.known(record) {
            self.known.entry(id).or_insert(known);
        }
    }

    /// Whether the job of a file that has none may not have been heard of yet. Without other processes it has.
    pub(super) fn may_come_before_its_job(&self, id: &Uuid, now: SystemTime) -> bool {
        // Ids begin with the time at which they were made (UUID version 7).
        let made = id.get_timestamp().map_or(0, |it| it.to_unix().0);
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.ledger.is_shared() && now < Duration::from_secs(made) + LOOSE
    }

    /// Drops an artifact that another process has deleted.
    pub(super) fn unlearn(&self, id: Uuid) {
        self.known.remove(&id);
    }

    /// Asks the ledger for an artifact that another process may have stored just now.
    pub(super) fn seek(&self, id: Uuid) -> Result<(), LedgerError> {
        if self.ledger.is_shared()
            && !self.known.contains_key(&id)
            && let Some(record) = self.ledger.artifact(id)?
        {
            self.learn(&record);
        }
        Ok(())
    }

    /// Adds a job's reference to an artifact that another process may have made.
    pub(super) fn refer(&self, name: &str) -> Result<(), LedgerError> {
        if !self.pin(name)
            && let Some(id) = artifacts::id(name)
            && let Some(record) = self.ledger.artifact(id)?
        {
            self.learn(&record);
            self.pin(name);
        }
        Ok(())
    }
}
