//! Transient status of a job, published and not stored: queue position, progress, preview.

use std::sync::Arc;

use tokio::{sync::OnceCell, task};

use crate::wire::{pictures::LazyPreview, v1};

/// Transient status of a job: the newest value of each kind, with its write count.
#[derive(Debug, Default, Clone)]
pub struct Latest {
    /// Position in the queue.
    pub queue: Slot<v1::QueueUpdate>,
    /// Denoising progress.
    pub step: Slot<v1::StepProgress>,
    /// Preview of the picture.
    pub preview: Slot<Arc<Shot>>,
}

/// The newest value of one kind, and how many were written.
#[derive(Debug, Clone)]
pub struct Slot<T> {
    /// Number of writes so far.
    pub count: u64,
    /// The newest value.
    pub value: Option<T>,
}

/// A preview after a denoising step.
#[derive(Debug)]
pub struct Shot {
    /// The pass that it was made in.
    pub pass: v1::Pass,
    /// Denoising step, from 1.
    pub step: u32,
    /// The picture, encoded when first asked for; `None` if another process has encoded it.
    picture: Option<Arc<LazyPreview>>,
    /// Its encoded file, made at first use.
    file: OnceCell<v1::Artifact>,
}

impl Shot {
    /// A preview that is encoded when first asked for.
    pub fn new(pass: v1::Pass, step: u32, picture: LazyPreview) -> Self {
        Self { pass, step, picture: Some(Arc::new(picture)), file: OnceCell::new() }
    }

    /// A preview that another process has made.
    pub(super) fn made(preview: v1::Preview) -> Self {
        let (pass, step) = (preview.pass(), preview.step);
        Self { pass, step, picture: None, file: OnceCell::new_with(preview.image) }
    }

    /// The same for another process. Blocking: encodes.
    pub(super) fn preview(&self) -> v1::Preview {
        let encode = || self.picture.as_ref().map(|it| it.artifact());
        let image = self.file.get().cloned().or_else(encode);
        v1::Preview { pass: self.pass as i32, step: self.step, image }
    }

    /// Its file, encoded once for all streams, on a blocking thread.
    pub async fn file(&self) -> &v1::Artifact {
        let encode = async {
            let Some(picture) = self.picture.clone() else { return v1::Artifact::default() };
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
