//! Loads a snapshot's networks onto a device.

use std::path::PathBuf;

use tch::{Device, Kind};

use crate::config_json::ConfigJsonError;
use crate::models::{
    autoencoder_tiny::{TinyDecoder, TinyError},
    flux2::{
        autoencoder_kl_flux2::{AutoencoderKlFlux2, AutoencoderKlFlux2Config},
        transformer_flux2::Flux2Transformer2DModel,
        transformer_flux2_config::Flux2Transformer2DConfig,
    },
    lora::error::LoraError,
    qwen3::{config::Qwen3Config, prompt::PromptConfig},
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
    encoded_images::EncodedImages, flux2_klein::Flux2KleinPipeline, guidance::Guidance,
    instruct_pix2pix::InstructPix2PixPipeline, rows::RowModel, text_encoder::OnDemandTextEncoder,
};
use crate::schedulers::{
    SchedulerError,
    config::{OwnSampler, SchedulerConfig},
};

/// The guidance that a snapshot's model was made for.
pub fn guidance(snapshot: &Snapshot) -> Guidance {
    match snapshot.family() {
        Family::InstructPix2Pix => Guidance::TextImage,
        Family::Flux2Klein if snapshot.is_distilled() => Guidance::Distilled,
        Family::Flux2Klein => Guidance::Cfg,
    }
}

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
        "`{key}` of {part} is {found}, expected {expected}, since `{other_key}` of {other} is {value}; take all parts \
         from one model"
    )]
    Parts {
        /// The network that reads what the other gives.
        part: Part,
        /// Key in its config.
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
        Family::Flux2Klein => Ok(Box::new(flux2_klein(snapshot, kind, device)?)),
    }
}

/// The sampler that a snapshot comes with.
///
/// # Errors
/// [`LoadError::Scheduler`].
pub fn own_sampler(snapshot: &Snapshot) -> Result<OwnSampler, LoadError> {
    let config = scheduler_config(snapshot)?;
    Ok(match snapshot.family() {
        Family::InstructPix2Pix => config.own_sampler()?,
        Family::Flux2Klein => config.own_flow_sampler()?,
    })
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

/// Loads FLUX.2-klein.
///
/// # Errors
/// [`LoadError`] names the file, key or value.
pub fn flux2_klein(
    snapshot: &Snapshot,
    kind: Kind,
    device: Device,
) -> Result<Flux2KleinPipeline, LoadError> {
    let scheduler = scheduler_config(snapshot)?;
    scheduler.own_flow_sampler()?;
    let text_config = Qwen3Config::from_json(&snapshot.config("text_encoder").to_string())?;
    let prompt = PromptConfig::from_retouch_json(snapshot.retouch_json(), &text_config)?;
    let config = Flux2Transformer2DConfig::from_json(&snapshot.config("transformer").to_string())?;
    let vae_config = AutoencoderKlFlux2Config::from_json(&snapshot.config("vae").to_string())?;
    check_flux2_parts(&text_config, &prompt, &config, &vae_config)?;

    let tokenizer = snapshot.qwen2_tokenizer(prompt.max_sequence_length)?;
    // Of the text encoder no values are read yet: it is in memory only while it reads texts.
    let text_encoder = OnDemandTextEncoder::open(snapshot, text_config, prompt, kind, device)?;
    let weights = snapshot.weights(Part::Transformer)?;
    let transformer = Flux2Transformer2DModel::new(&weights.root(kind, device), &config);
    weights.finish()?;
    let weights = snapshot.weights(Part::Vae)?;
    let vae = AutoencoderKlFlux2::new(&weights.root(kind, device), &vae_config);
    weights.finish()?;
    let tiny = preview_decoder(snapshot, vae_config.encoded(), kind, device)?;

    Ok(Flux2KleinPipeline {
        shared_tokens: tokenizer.shared() as i64,
        tokenizer,
        text_encoder,
        transformer,
        vae,
        tiny,
        scheduler,
        is_distilled: snapshot.is_distilled(),
        device,
        kind,
        digest: snapshot.digest()?,
        encoded: EncodedImages::default(),
    })
}

/// Refuses a transformer whose sizes do not fit the text encoder or the VAE.
///
/// # Errors
/// [`LoadError::Parts`].
pub(super) fn check_flux2_parts(
    text: &Qwen3Config,
    prompt: &PromptConfig,
    transformer: &Flux2Transformer2DConfig,
    vae: &AutoencoderKlFlux2Config,
) -> Result<(), LoadError> {
    let (joint, cells) = (transformer.joint_attention_dim, transformer.in_channels);
    let text = (Part::TextEncoder, "hidden_size", text.hidden_size, prompt.channels(text));
    let latents = (Part::Vae, "latent_channels", vae.latent_channels, vae.cell_channels());
    for (key, found, (other, other_key, value, expected)) in
        [("joint_attention_dim", joint, text), ("in_channels", cells, latents)]
    {
        if found != expected {
            let part = Part::Transformer;
            return Err(LoadError::Parts { part, key, found, expected, other, other_key, value });
        }
    }
    Ok(())
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
        Err(LoadError::Parts { part: Part::UNet, key, found, expected, other, other_key, value })
    };
    let hidden = (Part::TextEncoder, "hidden_size", text.hidden_size);
    let latent = (Part::Vae, "latent_channels", vae.latent_channels);
    fit("cross_attention_dim", unet.cross_attention_dim, hidden.2, hidden)?;
    // The noisy latents, and those of the image to be edited.
    fit("in_channels", unet.in_channels, 2 * latent.2, latent)?;
    fit("out_channels", unet.out_channels, latent.2, latent)
}
