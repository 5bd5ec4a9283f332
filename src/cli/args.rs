//! Arguments that several commands take.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::{
    encoding_args::EncodingArgs, localization_args::LocalizationArgs, one_of::one_of,
    remote::server_args::ServerArgs, trimmed::Trimmed,
};
use crate::edit::{
    choices::{Align, MethodKind, Preserve, Preset, Resize},
    settings::Modulation,
};
use crate::picture::boxes::BoxSpec;
use crate::sampling::{SchedulerKind, lora::LoraChoice};

/// Default limit of the working size, in pixels.
pub(crate) const DEFAULT_MAX_PIXELS: u64 = 1_048_576;

/// Whether models run on this machine; else this is a client, whose help leaves out what only local edits take.
pub(crate) const HAS_ENGINE: bool = cfg!(feature = "engine");

#[derive(Debug, Clone, Args)]
pub(crate) struct EditArgs {
    #[command(flatten)]
    pub(crate) input: EditInputArgs,
    /// Make the picture of this file again: the instruction, the seed and every setting are those in its metadata.
    /// IMAGE and
    /// --model must be those that it was made from; another --seed, and -n, make variants of it.
    #[arg(long, value_name = "FILE")]
    pub(crate) params_from: Option<PathBuf>,
    /// Where the edited picture goes: a file, or `-` for standard output [default: IMAGE.edited.png beside the input].
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) encoding: EncodingArgs,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    /// The editing method.
    #[arg(long, value_parser = one_of::<MethodKind>(), default_value = MethodKind::IamEdit.name())]
    pub(crate) method: MethodKind,
    /// Denoising steps of the edit, 1 to 1000 [default: the model's, else 20].
    #[arg(long, allow_hyphen_values = true, value_name = "N")]
    pub(crate) steps: Option<u32>,
    /// What keeps the rest of the picture [default: pixel; none for instruct-pix2pix without a mask].
    #[arg(long, value_parser = one_of::<Preserve>())]
    pub(crate) preserve: Option<Preserve>,
    /// How cross-attention is held inside the mask [default: the model's, else gate].
    #[arg(long, value_parser = one_of::<Modulation>())]
    pub(crate) modulation: Option<Modulation>,
    /// Whether a motion of the whole picture is undone before the rest of it is put back [default: the model's, else
    /// auto where it attends to the picture].
    #[arg(long, value_parser = one_of::<Align>())]
    pub(crate) align: Option<Align>,
    /// Make the edit with this method too, and show it beside the result on the contact sheet.
    #[arg(long, value_parser = one_of::<MethodKind>(), requires = "maps")]
    pub(crate) compare: Option<MethodKind>,
    /// Variants to make, with seeds counting up from the first; files are numbered.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) variants: u32,
    #[command(flatten)]
    pub(crate) localization: LocalizationArgs,
    /// Seed of the localization's noise [default: that of the edit].
    #[arg(long, allow_hyphen_values = true, value_name = "N")]
    pub(crate) localize_seed: Option<u64>,
    #[command(flatten)]
    pub(crate) mask: MaskArgs,
    /// Use what `retouch localize --save` found on the same picture, instead of a pass of its own.
    #[arg(long = "localization", value_name = "FILE", hide = !HAS_ENGINE)]
    pub(crate) localization_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) report: ReportArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct EditInputArgs {
    /// The picture: PNG, JPEG or WebP; `-` is standard input.
    #[arg(value_name = "IMAGE")]
    pub(crate) image: PathBuf,
    /// What to do, such as "make the bee a bird".
    #[arg(value_name = "INSTRUCTION", required_unless_present = "params_from")]
    pub(crate) instruction: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ModelPathArg {
    /// A diffusers folder of InstructPix2Pix or FLUX.2-klein, or a single .safetensors checkpoint [default: the demo
    /// model].
    #[arg(long, value_name = "PATH", env = "RETOUCH_MODEL")]
    pub(crate) model: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ModelArgs {
    #[command(flatten)]
    pub(crate) path: ModelPathArg,
    /// A LoRA to merge into the model, and how strongly [default: 1]; repeatable.
    #[arg(long = "lora", value_name = "FILE[:WEIGHT]", hide = !HAS_ENGINE)]
    pub(crate) loras: Vec<LoraChoice>,
    /// A tiny decoder (TAESD), a folder or file, that makes the previews of --maps, instead of the model's autoencoder.
    #[arg(long, value_name = "PATH", hide = !HAS_ENGINE)]
    pub(crate) preview_decoder: Option<PathBuf>,
    /// Where to compute: cpu, cuda or cuda:N [default: cpu].
    #[arg(long, value_name = "DEVICE", hide = !HAS_ENGINE)]
    pub(crate) device: Option<String>,
    /// Precision of the networks.
    #[arg(long, value_enum, default_value_t = Dtype::Auto, hide = !HAS_ENGINE)]
    pub(crate) dtype: Dtype,
    /// Threads of the networks [default: one per core, within the container's CPU limit].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024), hide = !HAS_ENGINE)]
    pub(crate) threads: Option<u32>,
    /// Keep FLUX.2-klein's text encoder in memory, which else is freed once a text is read.
    #[arg(long, hide = !HAS_ENGINE)]
    pub(crate) keep_text_encoder: bool,
}

impl EditArgs {
    /// The instruction; empty if `--params-from` supplies it.
    pub(crate) fn instruction(&self) -> &str {
        self.input.instruction.as_deref().unwrap_or_default()
    }
}

impl ModelArgs {
    /// The device, by default `cpu`.
    pub(crate) fn device(&self) -> &str {
        self.device.as_deref().unwrap_or("cpu")
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SamplingArgs {
    /// Seed of the noise [default: random, printed].
    #[arg(long, allow_hyphen_values = true, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// How strongly the instruction pulls, 1 to 30 [default: the model's, else 7.5].
    #[arg(long, allow_hyphen_values = true, value_name = "SCALE")]
    pub(crate) text_guidance: Option<f64>,
    /// How strongly the picture pulls, 0 to 30 [default: the model's, else 1.5].
    #[arg(long, allow_hyphen_values = true, value_name = "SCALE")]
    pub(crate) image_guidance: Option<f64>,
    /// The sampler [default: the model's].
    #[arg(long, value_parser = one_of::<SchedulerKind>())]
    pub(crate) scheduler: Option<SchedulerKind>,
    /// What to avoid.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) negative_prompt: String,
    /// Size that the model works at: fit:N (longer side) or native (the input's own size, its edges repeated up to what
    /// the model takes). The result has the input's size [default: fit at the model's own size].
    #[arg(long, value_name = "SIZE")]
    pub(crate) size: Option<Resize>,
    /// Largest size that the model works at, in pixels.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_PIXELS, hide = !HAS_ENGINE)]
    pub(crate) max_pixels: u64,
    /// Settings to start from, instead of those that the model recommends.
    #[arg(long, value_parser = one_of::<Preset>())]
    pub(crate) preset: Option<Preset>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct MaskArgs {
    /// A mask: a picture of the input's proportions, at least half bright = edit; transparent parts stay, and are taken
    /// only beside paint of one light color. Repeatable; all masks, clusters and boxes together are the mask.
    #[arg(long, value_name = "FILE")]
    pub(crate) mask: Vec<PathBuf>,
    /// Clusters by number, such as 1,3, as printed on the contact sheet.
    #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = Trimmed(clap::value_parser!(u8)))]
    pub(crate) clusters: Vec<u8>,
    /// A box in pixels of the input, x0,y0,x1,y1, half-open, or in percent, 10%,20%,60%,90%. Repeatable.
    #[arg(long = "box", value_name = "BOX", allow_hyphen_values = true)]
    pub(crate) boxes: Vec<BoxSpec>,
    /// Edit what the mask leaves out.
    #[arg(long)]
    pub(crate) invert_mask: bool,
    /// Grow the mask by so many pixels, 0 to 512.
    #[arg(long, value_name = "PX", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=512))]
    pub(crate) dilate: u32,
    /// Soften the edge of the edit, inward, over so many pixels, 0 to 512.
    #[arg(long, value_name = "PX", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=512))]
    pub(crate) feather: u32,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ReportArgs {
    /// Write previews, clusters, heat maps, mask, overlay and a contact sheet into this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) maps: Option<PathBuf>,
    /// Print events as JSON lines.
    #[arg(long)]
    pub(crate) json: bool,
    /// Overwrite existing files.
    #[arg(long)]
    pub(crate) force: bool,
}

/// Precision of the networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dtype {
    /// fp16 on CUDA, bf16 on a CPU that computes it natively, else fp32.
    Auto,
    /// 32 bits.
    Fp32,
    /// bfloat16.
    Bf16,
    /// 16 bits.
    Fp16,
}
