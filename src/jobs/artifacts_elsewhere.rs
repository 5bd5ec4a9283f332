//! Artifacts that other processes store and delete.

use uuid::Uuid;

use crate::jobs::artifacts::{self, Artifacts};
use crate::journal::ledger::LedgerError;
use crate::wire::journal::v1::ArtifactRecord;

impl Artifacts {
    /// Adds an artifact that another process has stored, unless it is known.
    pub(super) fn learn(&self, record: &ArtifactRecord) {
        if let Some((id, known)) = self.known(record, 0) {
            self.known.entry(id).or_insert(known);
        }
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
