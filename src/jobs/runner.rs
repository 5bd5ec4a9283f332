//! What runs a job's passes: the model behind its editor, or a script in tests.

use std::{ops::ControlFlow, time::Duration};

use bytes::Bytes;

use crate::edit::settings::EditSettings;
use crate::jobs::fault::Fault;
use crate::wire::{
    pictures::{LazyPreview, PictureFile},
    v1,
};

/// The model that a runner has, as callers are told of it.
#[derive(Debug, Clone)]
pub struct ModelInfo {
    /// Its name.
    pub name: String,
    /// Digest of its weights.
    pub digest: String,
    /// Such as `cpu` or `cuda:0`.
    pub device: String,
    /// Such as `bf16`.
    pub dtype: String,
    /// Of libtorch.
    pub libtorch: String,
    /// What it recommends.
    pub recommended: EditSettings,
}

/// One job, as far as a runner needs it.
#[derive(Debug, Clone)]
pub struct Task {
    /// What is asked, normalized.
    pub spec: v1::EditSpec,
    /// The input's file.
    pub image: Bytes,
    /// What pass 1 learned, as JSON, if it was made.
    pub localization: Option<Bytes>,
    /// The mask, if it is decided, with its picture's file.
    pub mask: Option<(v1::Mask, Option<Bytes>)>,
}

/// Something that happens while a pass runs.
#[derive(Debug)]
pub enum RunEvent {
    /// What the instruction was understood as.
    Parsed(v1::InstructionParsed),
    /// Something to know that is no error.
    Warning(v1::Warning),
    /// A denoising step is done.
    Step(v1::StepProgress),
    /// What the picture looks like after a step.
    Preview(v1::Pass, u32, LazyPreview),
    /// The mask that the edit uses, with its share of the picture.
    MaskSettled {
        /// The mask.
        file: PictureFile,
        /// 0 to 1.
        area: f64,
        /// Whether it is the whole picture, for want of an object.
        whole: bool,
    },
}

/// Who listens to a pass; a break ends it within a step.
pub type Listener<'a> = &'a mut dyn FnMut(RunEvent) -> ControlFlow<()>;

/// What pass 1 gives.
#[derive(Debug)]
pub struct Localized {
    /// A saved localization, in JSON; `None` where the instruction means the whole picture.
    pub found: Option<Found>,
}

/// A localization with its pictures.
#[derive(Debug)]
pub struct Found {
    /// A saved localization, in JSON.
    pub json: Bytes,
    /// Where it came from.
    pub source: v1::LocalizationSource,
    /// The clusters.
    pub clusters: Vec<v1::Cluster>,
    /// The clusters in color, and their labels; if they were asked for.
    pub cluster_map: Option<(PictureFile, PictureFile)>,
    /// The words with their maps, if they were asked for.
    pub heatmaps: Vec<(v1::Heatmap, PictureFile)>,
    /// The proposed mask.
    pub mask: PictureFile,
    /// Its share of the picture, 0 to 1.
    pub area: f64,
    /// See [`v1::MaskProposed`].
    pub covered: Option<v1::CoveredArea>,
    /// How sure it is that the object is there, 0 to 1, if that can be told.
    pub confidence: Option<f64>,
}

/// What pass 2 gives.
#[derive(Debug)]
pub struct Edited {
    /// The edited picture.
    pub image: PictureFile,
    /// What decoding and encoding took.
    pub decode: Duration,
}

/// Why a pass gave nothing.
#[derive(Debug)]
pub enum RunError {
    /// The listener broke it.
    Interrupted,
    /// It failed.
    Fault(Fault),
    /// The device is broken: no other pass can run in this process.
    DeviceLost(String),
}

/// What runs a job's passes, on one thread.
pub trait Runner {
    /// The model.
    fn model(&self) -> &ModelInfo;

    /// Pass 1, or its pictures alone where the task has a localization already.
    ///
    /// # Errors
    /// [`RunError`].
    fn localize(&mut self, task: &Task, listener: Listener<'_>) -> Result<Localized, RunError>;

    /// Pass 2.
    ///
    /// # Errors
    /// [`RunError`].
    fn edit(&mut self, task: &Task, listener: Listener<'_>) -> Result<Edited, RunError>;
}
