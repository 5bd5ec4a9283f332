//! Work of calls that waits for the disk or decodes pictures, on blocking threads.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::jobs::{fault::Fault, store::Store};
use crate::wire::reason::Reason;

/// Most concurrent calls that write; tokio's blocking pool has 512 threads.
const MAX_CHANGES: usize = 128;

/// Runs work over a store on blocking threads.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    store: Arc<Store>,
    /// Held by calls that write, so that a slow disk doesn't take all blocking threads from calls that read.
    changes: Arc<Semaphore>,
}

impl Work {
    /// Work over a store.
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store, changes: Arc::new(Semaphore::new(MAX_CHANGES)) }
    }

    /// Runs a function that reads.
    ///
    /// # Errors
    /// Those of the function; [`Reason::Internal`] if it panics.
    pub(crate) async fn reading<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Store>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let store = Arc::clone(&self.store);
        let span = tracing::Span::current();
        let done = tokio::task::spawn_blocking(move || span.in_scope(|| work(&store))).await;
        done.unwrap_or_else(|error| {
            tracing::error!(%error, "a request panicked");
            Err(Fault::new(Reason::Internal, "internal error; see the server's log"))
        })
    }

    /// Runs a function that writes, within [`MAX_CHANGES`].
    ///
    /// # Errors
    /// As [`Work::reading`].
    pub(crate) async fn changing<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Store>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let permit = Arc::clone(&self.changes).acquire_owned().await;
        // The permit is held by the work itself, which continues if its call is dropped.
        self.reading(move |store| {
            let _permit = permit;
            work(store)
        })
        .await
    }
}
