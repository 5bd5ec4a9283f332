//! What happens to a job that is shown and not kept: its place in the queue, its progress, what its picture looks like.

use std::sync::Arc;

use tokio::{sync::OnceCell, task};

use crate::wire::{pictures::LazyPreview, v1};

/// What happens to a job that is shown and not kept: one slot a kind, each with how often it was written.
#[derive(Debug, Default, Clone)]
pub struct Latest {
    /// Place in the queue.
    pub queue: Slot<v1::QueueUpdate>,
    /// Progress.
    pub step: Slot<v1::StepProgress>,
    /// What the picture looks like.
    pub preview: Slot<Arc<Shot>>,
}

/// The last of something, and how many there were.
#[derive(Debug, Clone)]
pub struct Slot<T> {
    /// How often it was written.
    pub count: u64,
    /// The last one.
    pub value: Option<T>,
}

/// A preview with its place.
#[derive(Debug)]
pub struct Shot {
    /// The pass.
    pub pass: v1::Pass,
    /// From 1.
    pub step: u32,
    /// The picture.
    pub picture: Arc<LazyPreview>,
    /// Its file, once somebody is told of it.
    file: OnceCell<v1::Artifact>,
}

impl Shot {
    /// A preview that nobody was told of yet.
    pub fn new(pass: v1::Pass, step: u32, picture: LazyPreview) -> Self {
        Self { pass, step, picture: Arc::new(picture), file: OnceCell::new() }
    }

    /// Its file, encoded once for all who watch, on a thread for such work.
    pub async fn file(&self) -> &v1::Artifact {
        let encode = async {
            let picture = Arc::clone(&self.picture);
            let encoded = task::spawn_blocking(move || picture.artifact());
            encoded.await.unwrap_or_default()
        };
        self.file.get_or_init(|| encode).await
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { count: 0, value: None }
    }
}

impl<T> Slot<T> {
    pub(super) fn put(&mut self, value: T) {
        self.count += 1;
        self.value = Some(value);
    }
}
