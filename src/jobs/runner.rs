//! Interface between jobs and the model that runs their passes; tests script it.

use std::time::Duration;

use bytes::Bytes;
use image::RgbImage;

use crate::edit::{edit_mask::MaskChoice, event::EventSink, settings::EditSettings};
use crate::jobs::fault::Fault;
use crate::picture::{decode::Decoded, mask::Mask};
use crate::wire::{
    edit_record::{Lora, RunEnvironment},
    pictures::PictureFile,
    v1,
};

/// The loaded model, as reported to callers.
#[derive(Debug, Clone)]
pub struct ModelInfo {
    /// Its name.
    pub name: String,
    /// Digest of its weights.
    pub digest: String,
    /// Device, such as `cpu` or `cuda:0`.
    pub device: String,
    /// Number format, such as `bf16`.
    pub dtype: String,
    /// Version of libtorch.
    pub libtorch: String,
    /// LoRAs in its weights.
    pub loras: Vec<Lora>,
    /// Settings that the model recommends.
    pub recommended: EditSettings,
    /// Whether it has a tiny decoder for previews.
    pub preview_decoder: bool,
}

impl ModelInfo {
    /// The model as records of results name it.
    pub fn origin(&self) -> RunEnvironment<'_> {
        RunEnvironment {
            model: &self.name,
            model_digest: &self.digest,
            device: &self.device,
            dtype: &self.dtype,
            libtorch: &self.libtorch,
            loras: &self.loras,
        }
    }
}

/// The parts of a job that a runner needs to open it.
#[derive(Debug)]
pub struct Task {
    /// The normalized spec.
    pub spec: v1::EditSpec,
    /// The decoded input.
    pub input: Decoded,
    /// Saved localization of an earlier pass 1, in JSON.
    pub localization: Option<Bytes>,
    /// What the parts before the current one left, of an instruction that asks for several edits.
    pub done: Option<DoneParts>,
}

/// What the parts of an instruction that have ended left.
#[derive(Debug, Clone)]
pub struct DoneParts {
    /// How many have ended.
    pub count: usize,
    /// The picture that the next one begins with.
    pub image: RgbImage,
    /// Their masks, united.
    pub mask: Mask,
    /// The caller's choice of the mask of each.
    pub choices: Vec<MaskChoice>,
}

/// A localization with its pictures.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// A saved localization, in JSON.
    pub json: Bytes,
    /// Whether it was computed, or taken from the cache or another job.
    pub source: v1::LocalizationSource,
    /// Clusters of the picture.
    pub clusters: Vec<v1::Cluster>,
    /// Cluster map in color and label map, if asked for.
    pub cluster_map: Option<(PictureFile, PictureFile)>,
    /// Heat map of each word, if asked for.
    pub heatmaps: Vec<(v1::Heatmap, PictureFile)>,
    /// Proposed mask.
    pub mask: PictureFile,
    /// Its share of the picture, 0 to 1.
    pub area: f64,
    /// See [`v1::MaskProposed`].
    pub covered: Option<v1::CoveredArea>,
    /// Confidence that the object is in the picture, 0 to 1, if it can be estimated.
    pub confidence: Option<f64>,
}

/// Result of pass 2.
#[derive(Debug, Clone)]
pub struct EditedFile {
    /// The edited picture; while parts are left, what the next one begins with.
    pub image: PictureFile,
    /// Of several parts: the masks so far, united.
    pub mask: Option<PictureFile>,
    /// Whether parts are left.
    pub goes_on: bool,
    /// Time of decoding the latent and encoding the file.
    pub decode: Duration,
}

/// Why a pass gave no result.
#[derive(Debug)]
pub enum RunError {
    /// The listener stopped it.
    Interrupted,
    /// The pass failed.
    Fault(Fault),
    /// The device is unusable: no pass can run in this process any more.
    DeviceLost(String),
}

/// Runs jobs on one thread.
pub trait Runner {
    /// The loaded model.
    fn model(&self) -> &ModelInfo;

    /// Opens a job: prepares its picture once for both passes.
    ///
    /// # Errors
    /// [`RunError::Fault`] if the model can't take the job.
    fn open(&self, task: Task) -> Result<Box<dyn OpenJob + '_>, RunError>;
}

/// A job on the model, with what its passes share.
pub trait OpenJob {
    /// Runs pass 1, or only renders its pictures where the task has a localization already; `None` where the
    /// instruction is about the whole picture.
    ///
    /// # Errors
    /// [`RunError`].
    fn localize(&mut self, sink: &mut dyn EventSink) -> Result<Option<Proposal>, RunError>;

    /// Runs pass 2 with the decided part of the mask.
    ///
    /// # Errors
    /// [`RunError`].
    fn edit(&mut self, mask: MaskChoice, sink: &mut dyn EventSink) -> Result<EditedFile, RunError>;
}
