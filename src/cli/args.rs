//! Command-line arguments of `retouch`, and those that its commands share.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::cli::{
    bench::BenchCommand,
    encoding_args::EncodingArgs,
    eval_args::EvalArgs,
    journal::JournalCommand,
    keys::KeysCommand,
    localization_args::LocalizationArgs,
    one_of::one_of,
    remote::{batch::BatchArgs, jobs_args::JobsArgs, server_args::ServerArgs},
    serve_config::ServeArgs,
    trimmed::Trimmed,
};
use crate::edit::{
    choices::{MethodKind, Preserve, Preset, Resize},
    settings::Modulation,
};
use crate::picture::boxes::BoxSpec;
use crate::sampling::SchedulerKind;

/// Default limit of the working size, in pixels.
pub(crate) const DEFAULT_MAX_PIXELS: u64 = 1_048_576;

/// Edits pictures by instruction, only where the instruction means.
///
/// Exit codes: 0 done, 1 the edit failed, 2 wrong usage, 3 bad picture or mask, 4 instruction not understood (--strict),
/// 5 model can't be used, 6 device can't be used, 7 output can't be written, 8 no answer from the server, or a refusal,
/// 9 the server can't start, 10 object hardly found (--strict), 11 a data folder is damaged or in use, 70 a defect, or a server's
/// device was lost, 130 Ctrl-C, 143 a server that was told twice to end.
#[derive(Debug, Parser)]
#[command(name = "retouch", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Edit a picture by an instruction.
    Edit(Box<EditArgs>),
    /// Edit many pictures at a server, and go on where an earlier call stopped.
    Batch(BatchArgs),
    /// See, follow, decide, cancel and delete the jobs of a server.
    Jobs(JobsArgs),
    /// Find what an instruction means in a picture: mask and maps, no edit.
    Localize(LocalizeArgs),
    /// Run methods over a data set, score them, and write a report with tables, plots and a gallery.
    Eval(EvalArgs),
    /// Measure what a model needs.
    Bench {
        #[command(subcommand)]
        command: BenchCommand,
    },
    /// Serve edits over gRPC.
    Serve(Box<ServeArgs>),
    /// Look over, mend or save the data folder of a server.
    Journal {
        #[command(subcommand)]
        command: JournalCommand,
    },
    /// Make keys for callers of the server.
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Say what a model is, how large, and what is missing.
    Inspect(InspectArgs),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct EditArgs {
    #[command(flatten)]
    pub(crate) input: EditInputArgs,
    /// Make the picture of this file again: the instruction, the seed and every setting are those in its metadata. IMAGE and
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
    /// Denoising steps of the edit, 1 to 1000 [default: the model's, else 100].
    #[arg(long, allow_hyphen_values = true, value_name = "N")]
    pub(crate) steps: Option<u32>,
    /// What keeps the rest of the picture [default: pixel; none for instruct-pix2pix without a mask].
    #[arg(long, value_parser = one_of::<Preserve>())]
    pub(crate) preserve: Option<Preserve>,
    /// How cross-attention is held inside the mask [default: the model's, else gate].
    #[arg(long, value_parser = one_of::<Modulation>())]
    pub(crate) modulation: Option<Modulation>,
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
    #[arg(long = "localization", value_name = "FILE")]
    pub(crate) localization_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) report: ReportArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LocalizeArgs {
    #[command(flatten)]
    pub(crate) input: InputArgs,
    /// Where the mask goes: a PNG, white = edit [default: IMAGE.mask.png beside the input].
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,
    /// Keep what was found, for `retouch edit --localization`.
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) localization: LocalizationArgs,
    #[command(flatten)]
    pub(crate) mask: MaskArgs,
    #[command(flatten)]
    pub(crate) report: ReportArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    pub(crate) model: ModelPathArg,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
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

#[derive(Debug, Args)]
pub(crate) struct InputArgs {
    /// The picture: PNG, JPEG or WebP; `-` is standard input.
    #[arg(value_name = "IMAGE")]
    pub(crate) image: PathBuf,
    /// What to do, such as "make the bee a bird". Quotation marks, prompt weights, quality tags and invisible characters are
    /// left out, with a warning.
    #[arg(value_name = "INSTRUCTION")]
    pub(crate) instruction: String,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ModelPathArg {
    /// A diffusers folder of InstructPix2Pix or kin, or a single .safetensors checkpoint [default: the demo model].
    #[arg(long, value_name = "PATH", env = "RETOUCH_MODEL")]
    pub(crate) model: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ModelArgs {
    #[command(flatten)]
    pub(crate) path: ModelPathArg,
    /// Where to compute: cpu, cuda or cuda:N [default: cpu].
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<String>,
    /// Precision of the networks.
    #[arg(long, value_enum, default_value_t = Dtype::Auto)]
    pub(crate) dtype: Dtype,
    /// Threads of the networks [default: one per core, within the container's CPU limit].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) threads: Option<u32>,
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
    /// Size that the model works at: fit:N (longer side) or native (the input's own size, its edges repeated up to what the
    /// model takes). The result has the input's size [default: fit at the model's own size].
    #[arg(long, value_name = "SIZE")]
    pub(crate) size: Option<Resize>,
    /// Largest size that the model works at, in pixels.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_PIXELS)]
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
