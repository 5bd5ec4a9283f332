//! Inspects a model without reading its weights: architecture, size, and every fault.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use tch::{Device, Kind};

use crate::models::{
    flux2::{
        autoencoder_kl_flux2::{AutoencoderKlFlux2, AutoencoderKlFlux2Config},
        transformer_flux2::Flux2Transformer2DModel,
        transformer_flux2_config::Flux2Transformer2DConfig,
    },
    qwen3::{config::Qwen3Config, prompt::PromptConfig, text_encoder::Qwen3TextEncoder},
    snapshot::{Snapshot, family::Family, part::Part},
    stable_diffusion::{
        autoencoder_kl::{AutoencoderKl, AutoencoderKlConfig},
        clip::text_model::{ClipTextConfig, ClipTextModel},
        unet_2d_condition::UNet2DConditionModel,
        unet_2d_condition_config::UNet2DConditionConfig,
    },
    weights::VarPath,
};
use crate::pipelines::{
    guidance::Guidance,
    load::{self, LoadError},
};
use crate::sampling::{SchedulerKind, Steps};
use crate::schedulers::{
    build,
    config::SchedulerConfig,
    flow_match_euler_discrete::{self, FlowMatchEulerDiscreteScheduler},
};

/// Properties of a model.
#[derive(Debug)]
pub struct Inspection {
    /// Diffusers' class name, or the layout of a single-file checkpoint.
    pub class: String,
    /// Native side length in pixels.
    pub sample_size: u32,
    /// Multiple that a picture's sides are rounded to, in pixels.
    pub stride: u32,
    /// Channels of the latents.
    pub latent_channels: i64,
    /// Pixels per latent cell along a side (diffusers: `vae_scale_factor`).
    pub vae_scale_factor: u32,
    /// Number of tokens of a prompt, with all that is put around an instruction.
    pub max_tokens: usize,
    /// The most tokens of an instruction.
    pub instruction_tokens: usize,
    /// Its networks.
    pub parts: Vec<PartInspection>,
    /// Parameters of its tiny decoder for previews, if it has one, or why that can't be used.
    pub preview_decoder: Option<Result<u64, String>>,
    /// Why its networks do not fit each other, in one line.
    pub misfit: Option<String>,
    /// A U-Net's attention layers at its native size, finest resolution first.
    pub attention: Vec<AttentionLevel>,
    /// A diffusion transformer's attention layers at its native size.
    pub joint_attention: Option<JointAttention>,
    /// How its predictions become the one that a step takes.
    pub guidance: Guidance,
    /// The scheduler that it comes with, or its replacement.
    pub sampler: SchedulerKind,
    /// The configured scheduler class, if `sampler` replaces it.
    pub sampler_replaces: Option<String>,
    /// Why that scheduler can't be built.
    pub sampler_fault: Option<SamplerFault>,
    /// Text of its `retouch.json`.
    pub retouch_json: Option<String>,
    /// Remarks on its files.
    pub notes: Vec<String>,
}

/// One network.
#[derive(Debug)]
pub struct PartInspection {
    /// Folder name, such as `unet`.
    pub name: &'static str,
    /// Number of parameters.
    pub parameters: u64,
    /// Those of them that are loaded.
    pub loaded_parameters: u64,
    /// Bytes of its tensors as stored.
    pub bytes: u64,
    /// Stored dtypes.
    pub dtypes: BTreeSet<String>,
    /// Why it can't be used: missing, unused or misshapen tensors, in one line.
    pub fault: Option<String>,
}

/// Why a model's scheduler can't be built.
#[derive(Debug)]
pub struct SamplerFault {
    /// The reason, in one line.
    pub reason: String,
    /// Names of schedulers that can be used instead.
    pub others: Vec<&'static str>,
}

/// The attention layers of one resolution.
#[derive(Debug)]
pub struct AttentionLevel {
    /// Number of times that the latent was downsampled by 2.
    pub level: usize,
    /// Rows and columns of the layers' grid.
    pub grid: (i64, i64),
    /// Number of self-attention layers.
    pub self_attention: usize,
    /// Number of cross-attention layers.
    pub cross_attention: usize,
}

/// The attention layers of a diffusion transformer, each over one sequence of prompt, latents and picture.
#[derive(Debug)]
pub struct JointAttention {
    /// Blocks with weights of their own for prompt and image.
    pub double_blocks: usize,
    /// Blocks with the same weights for both.
    pub single_blocks: usize,
    /// Heads of each.
    pub heads: i64,
    /// Tokens of the prompt.
    pub tokens: usize,
    /// Rows and columns of the latents' cells, and of the picture's.
    pub grid: (i64, i64),
}

impl Inspection {
    /// Why the networks can't be used: they do not fit each other, or the first one's fault.
    pub fn fault(&self) -> Option<&str> {
        let fault = || self.parts.iter().find_map(|part| part.fault.as_deref());
        let of_previews = self.preview_decoder.as_ref().and_then(|it| it.as_ref().err());
        let of_previews = of_previews.map(String::as_str);
        self.misfit.as_deref().or_else(fault).or(of_previews)
    }
}

/// Inspects a model folder or single-file checkpoint.
///
/// # Errors
/// [`LoadError`] if files are missing or malformed. Faulty tensors are not an error but reported with their network,
/// and networks that do not fit each other as [`Inspection::misfit`].
pub fn inspect(path: &Path) -> Result<Inspection, LoadError> {
    let snapshot = Snapshot::open(path)?;
    match snapshot.family() {
        Family::InstructPix2Pix => instruct_pix2pix(&snapshot),
        Family::Flux2Klein => flux2_klein(&snapshot),
    }
}

fn instruct_pix2pix(snapshot: &Snapshot) -> Result<Inspection, LoadError> {
    let scheduler = load::scheduler_config(snapshot)?;
    let own = scheduler.own_sampler()?;
    let text = ClipTextConfig::from_json(&snapshot.config("text_encoder").to_string())?;
    let unet = UNet2DConditionConfig::from_json(&snapshot.config("unet").to_string())?;
    let vae = AutoencoderKlConfig::from_json(&snapshot.config("vae").to_string())?;
    let tokenizer = snapshot.tokenizer()?;

    let parts = vec![
        look_at(snapshot, Part::TextEncoder, |vs| drop(ClipTextModel::new(vs, &text)))?,
        look_at(snapshot, Part::UNet, |vs| drop(UNet2DConditionModel::new(vs, &unet)))?,
        look_at(snapshot, Part::Vae, |vs| drop(AutoencoderKl::new(vs, &vae)))?,
    ];
    let misfit = load::check_parts(&text, &unet, &vae).err().map(|error| error.to_string());
    let geometry = super::instruct_pix2pix::geometry(&unet, &vae);
    let latents = (vae.latent_channels, geometry.vae_scale_factor);
    let preview_decoder = previews(snapshot, latents);
    Ok(Inspection {
        class: snapshot.class().to_owned(),
        sample_size: geometry.sample_size,
        stride: geometry.stride,
        latent_channels: vae.latent_channels,
        vae_scale_factor: geometry.vae_scale_factor,
        max_tokens: tokenizer.max_length(),
        // All but the start and the end.
        instruction_tokens: tokenizer.max_length() - 2,
        parts,
        preview_decoder,
        misfit,
        joint_attention: None,
        guidance: load::guidance(snapshot),
        attention: attention(&unet, i64::from(geometry.sample_size / geometry.vae_scale_factor)),
        sampler: own.kind,
        sampler_replaces: own.replaces,
        sampler_fault: sampler_fault(&scheduler, own.kind),
        retouch_json: snapshot.retouch_json().map(str::to_owned),
        notes: snapshot.notes().iter().map(ToString::to_string).collect(),
    })
}

fn flux2_klein(snapshot: &Snapshot) -> Result<Inspection, LoadError> {
    let scheduler = load::scheduler_config(snapshot)?;
    let own = load::own_sampler(snapshot)?;
    let text = Qwen3Config::from_json(&snapshot.config("text_encoder").to_string())?;
    let prompt = PromptConfig::from_retouch_json(snapshot.retouch_json(), &text)?;
    let transformer =
        Flux2Transformer2DConfig::from_json(&snapshot.config("transformer").to_string())?;
    let vae = AutoencoderKlFlux2Config::from_json(&snapshot.config("vae").to_string())?;
    let tokenizer = snapshot.qwen2_tokenizer(prompt.max_sequence_length)?;

    let parts = vec![
        look_at(snapshot, Part::TextEncoder, |vs| {
            drop(Qwen3TextEncoder::new(vs, &text, &prompt));
        })?,
        look_at(snapshot, Part::Transformer, |vs| {
            drop(Flux2Transformer2DModel::new(vs, &transformer));
        })?,
        look_at(snapshot, Part::Vae, |vs| drop(AutoencoderKlFlux2::new(vs, &vae)))?,
    ];
    let misfit = load::check_flux2_parts(&text, &prompt, &transformer, &vae).err();
    let geometry = super::flux2_klein::geometry(&vae);
    let side = i64::from(geometry.sample_size / geometry.vae_scale_factor);
    let mu = flow_match_euler_discrete::empirical_mu(side * side, one_step());
    let fault = FlowMatchEulerDiscreteScheduler::new(&scheduler, one_step(), mu).err();
    Ok(Inspection {
        class: snapshot.class().to_owned(),
        sample_size: geometry.sample_size,
        stride: geometry.stride,
        latent_channels: vae.cell_channels(),
        vae_scale_factor: geometry.vae_scale_factor,
        max_tokens: tokenizer.max_length(),
        instruction_tokens: tokenizer.room(),
        parts,
        preview_decoder: previews(snapshot, vae.encoded()),
        misfit: misfit.map(|error| error.to_string()),
        attention: Vec::new(),
        joint_attention: Some(JointAttention {
            double_blocks: transformer.num_layers,
            single_blocks: transformer.num_single_layers,
            heads: transformer.num_attention_heads,
            tokens: tokenizer.max_length(),
            grid: (side, side),
        }),
        guidance: load::guidance(snapshot),
        sampler: own.kind,
        sampler_replaces: own.replaces,
        // It has no other.
        sampler_fault: fault
            .map(|error| SamplerFault { reason: error.to_string(), others: Vec::new() }),
        retouch_json: snapshot.retouch_json().map(str::to_owned),
        notes: snapshot.notes().iter().map(ToString::to_string).collect(),
    })
}

/// Parameters of a tiny decoder for latents of so many channels and pixels a cell, or why it can't be used.
fn previews(snapshot: &Snapshot, latents: (i64, u32)) -> Option<Result<u64, String>> {
    match load::preview_decoder(snapshot, latents, Kind::Float, Device::Cpu) {
        Ok(decoder) => decoder.map(|it| Ok(it.parameters)),
        Err(error) => Some(Err(error.to_string())),
    }
}

fn one_step() -> Steps {
    Steps::try_from(1).expect("one step is in range")
}

fn sampler_fault(config: &SchedulerConfig, own: SchedulerKind) -> Option<SamplerFault> {
    let one = one_step();
    let error = build::build(own, config, one).err()?;
    let others = SchedulerKind::ALL.into_iter().filter(|it| build::build(*it, config, one).is_ok());
    let others = others.map(SchedulerKind::name).collect();
    Some(SamplerFault { reason: error.fault(), others })
}

fn look_at(
    snapshot: &Snapshot,
    part: Part,
    build: impl Fn(&VarPath<'_>),
) -> Result<PartInspection, LoadError> {
    let weights = snapshot.weights(part)?;
    build(&weights.outline());
    Ok(PartInspection {
        name: part.folder(),
        parameters: weights.parameters(),
        loaded_parameters: weights.taken_parameters(),
        bytes: weights.bytes(),
        dtypes: weights.dtypes(),
        fault: weights.finish().err().map(|error| error.to_string()),
    })
}

fn attention(unet: &UNet2DConditionConfig, side: i64) -> Vec<AttentionLevel> {
    let mut levels: BTreeMap<usize, AttentionLevel> = BTreeMap::new();
    for site in unet.sites(side, side) {
        let Some(level) = site.level else { continue };
        let grid = (site.height, site.width);
        let empty = AttentionLevel { level, grid, self_attention: 0, cross_attention: 0 };
        let layers = levels.entry(level).or_insert(empty);
        layers.self_attention += usize::from(site.keys.has_image());
        layers.cross_attention += usize::from(site.keys.has_text());
    }
    levels.into_values().collect()
}
