//! Loads a snapshot's networks onto a device.

use std::path::PathBuf;

use tch::{Device, Kind};

use crate::config_json::ConfigJsonError;
use crate::models::{
    autoencoder_tiny::{TinyDecoder, TinyError},
    lora::error::LoraError,
    snapshot::{Snapshot, error::SnapshotError, family::Family, part::Part},
    stable_diffusion::{
        autoencoder_kl::{AutoencoderKl, AutoencoderKlConfig},
        clip::text_model::{ClipTextConfig, ClipTextModel},
        unet_2d_condition::UNet2DConditionModel,
        unet_2d_condition_config::UNet2DConditionConfig,
    },
    weights::error::WeightsError,
};
use crate::pipelines::{
    encoded_images::EncodedImages, instruct_pix2pix::InstructPix2PixPipeline, rows::RowModel,
};
use crate::schedulers::{
    SchedulerError,
    config::{OwnSampler, SchedulerConfig},
};

/// Why a snapshot can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The folder or file is not a usable model.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A `config.json` is invalid.
    #[error(transparent)]
    Config(#[from] ConfigJsonError),
    /// The weights are missing or faulty.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The scheduler's configuration is invalid.
    #[error(transparent)]
    Scheduler(#[from] SchedulerError),
    /// A LoRA can't be used.
    #[error(transparent)]
    Lora(#[from] LoraError),
    /// The tiny decoder for previews can't be loaded.
    #[error(transparent)]
    PreviewDecoder(#[from] TinyError),
    /// The tiny decoder is of another family of models.
    #[error(
        "{} decodes latents of {} channels and {} pixels a cell; the model's have {} and {}",
        path.display(), found.0, found.1, expected.0, expected.1
    )]
    OtherPreviews {
        /// The decoder's folder or file.
        path: PathBuf,
        /// Its channels, and its pixels a cell.
        found: (i64, u32),
        /// The model's.
        expected: (i64, u32),
    },
    /// Networks of different models.
    #[error(
        "`{key}` of unet is {found}, expected {expected}, since `{other_key}` of {other} is {value}; take all parts \
         from one model"
    )]
    Parts {
        /// Key in the U-Net's config.
        key: &'static str,
        /// Its value.
        found: i64,
        /// The value that would fit.
        expected: i64,
        /// The network that it does not fit.
        other: Part,
        /// Key in that network's config.
        other_key: &'static str,
        /// Its value.
        value: i64,
    },
}

/// Loads a snapshot's networks in a dtype onto a device.
///
/// # Errors
/// [`LoadError`] names the file, key or value.
pub fn load(
    snapshot: &Snapshot,
    kind: Kind,
    device: Device,
) -> Result<Box<dyn RowModel>, LoadError> {
    match snapshot.family() {
        Family::InstructPix2Pix => Ok(Box::new(instruct_pix2pix(snapshot, kind, device)?)),
    }
}

/// The sampler that a snapshot comes with.
///
/// # Errors
/// [`LoadError::Scheduler`].
pub fn own_sampler(snapshot: &Snapshot) -> Result<OwnSampler, LoadError> {
    Ok(scheduler_config(snapshot)?.own_sampler()?)
}

pub(super) fn scheduler_config(snapshot: &Snapshot) -> Result<SchedulerConfig, LoadError> {
    Ok(SchedulerConfig::from_json(&snapshot.config("scheduler").to_string())?)
}

/// Loads InstructPix2Pix.
///
/// # Errors
/// [`LoadError`] names the file, key or value.
pub fn instruct_pix2pix(
    snapshot: &Snapshot,
    kind: Kind,
    device: Device,
) -> Result<InstructPix2PixPipeline, LoadError> {
    let scheduler = scheduler_config(snapshot)?;
    let text_config = ClipTextConfig::from_json(&snapshot.config("text_encoder").to_string())?;
    let unet_config = UNet2DConditionConfig::from_json(&snapshot.config("unet").to_string())?;
    let vae_config = AutoencoderKlConfig::from_json(&snapshot.config("vae").to_string())?;
    check_parts(&text_config, &unet_config, &vae_config)?;

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
    let latents = (vae_config.latent_channels, vae_config.scale_factor() as u32);
    let tiny = preview_decoder(snapshot, latents, kind, device)?;
    Ok(InstructPix2PixPipeline {
        tokenizer,
        text_encoder,
        unet,
        vae,
        tiny,
        scheduler,
        device,
        kind,
        digest,
        encoded: EncodedImages::default(),
    })
}

/// Loads a snapshot's tiny decoder for previews, if it has one, for latents of so many channels and pixels a cell.
///
/// # Errors
/// [`LoadError::PreviewDecoder`], [`LoadError::OtherPreviews`].
pub(super) fn preview_decoder(
    snapshot: &Snapshot,
    expected: (i64, u32),
    kind: Kind,
    device: Device,
) -> Result<Option<TinyDecoder>, LoadError> {
    let Some(path) = snapshot.preview_decoder() else { return Ok(None) };
    let decoder = TinyDecoder::open(path, kind, device)?;
    let found = (decoder.latent_channels, decoder.scale_factor);
    if found != expected {
        return Err(LoadError::OtherPreviews { path: path.to_owned(), found, expected });
    }
    Ok(Some(decoder))
}

/// Refuses a U-Net whose sizes do not fit the text encoder or the VAE; the shapes within each network's weights can't
/// show this.
///
/// # Errors
/// [`LoadError::Parts`].
pub(super) fn check_parts(
    text: &ClipTextConfig,
    unet: &UNet2DConditionConfig,
    vae: &AutoencoderKlConfig,
) -> Result<(), LoadError> {
    let fit = |key, found: i64, expected: i64, (other, other_key, value)| {
        if found == expected {
            return Ok(());
        }
        Err(LoadError::Parts { key, found, expected, other, other_key, value })
    };
    let hidden = (Part::TextEncoder, "hidden_size", text.hidden_size);
    let latent = (Part::Vae, "latent_channels", vae.latent_channels);
    fit("cross_attention_dim", unet.cross_attention_dim, hidden.2, hidden)?;
    // The noisy latents, and those of the image to be edited.
    fit("in_channels", unet.in_channels, 2 * latent.2, latent)?;
    fit("out_channels", unet.out_channels, latent.2, latent)
}
