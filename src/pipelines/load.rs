//! From a snapshot's files to a pipeline on a device, one network after the other.

use tch::{Device, Kind};

use crate::models::{
    autoencoder_kl::{AutoencoderKl, AutoencoderKlConfig},
    clip::text_model::{ClipTextConfig, ClipTextModel},
    config::ConfigError,
    snapshot::{Snapshot, error::SnapshotError, part::Part},
    unet_2d_condition::UNet2DConditionModel,
    unet_2d_condition_config::UNet2DConditionConfig,
    weights::error::WeightsError,
};
use crate::pipelines::{encoded_images::EncodedImages, instruct_pix2pix::InstructPix2PixPipeline};
use crate::schedulers::{SchedulerError, config::SchedulerConfig};

/// Why a snapshot can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The folder or file.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A `config.json`.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The weights.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The sampler's config.
    #[error(transparent)]
    Scheduler(#[from] SchedulerError),
}

/// Loads a snapshot's networks in a dtype onto a device.
///
/// # Errors
/// [`LoadError`] names the file, key or value.
pub fn load(
    snapshot: &Snapshot,
    kind: Kind,
    device: Device,
) -> Result<InstructPix2PixPipeline, LoadError> {
    let scheduler = SchedulerConfig::from_json(&snapshot.scheduler_config().to_string())?;
    let text_config = ClipTextConfig::from_json(&snapshot.text_config().to_string())?;
    let unet_config = UNet2DConditionConfig::from_json(&snapshot.unet_config().to_string())?;
    let vae_config = AutoencoderKlConfig::from_json(&snapshot.vae_config().to_string())?;

    let weights = snapshot.weights(Part::TextEncoder)?;
    let text_encoder = ClipTextModel::new(&weights.root(kind, device), &text_config);
    weights.finish()?;
    let weights = snapshot.weights(Part::UNet)?;
    let unet = UNet2DConditionModel::new(&weights.root(kind, device), &unet_config);
    weights.finish()?;
    let weights = snapshot.weights(Part::Vae)?;
    let vae = AutoencoderKl::new(&weights.root(kind, device), &vae_config);
    weights.finish()?;

    let tokenizer = snapshot.tokenizer()?;
    let digest = snapshot.digest()?;
    Ok(InstructPix2PixPipeline {
        tokenizer,
        text_encoder,
        unet,
        vae,
        scheduler,
        device,
        kind,
        digest,
        encoded: EncodedImages::default(),
        captured: None,
    })
}
