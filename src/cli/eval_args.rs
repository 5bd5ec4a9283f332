//! Command-line arguments of `retouch eval`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::{
    args::{ModelArgs, SamplingArgs},
    one_of::one_of,
    overrides::within,
    trimmed::Trimmed,
};
use crate::edit::{overrides::EditOverrides, settings::Modulation};
use crate::sampling::OutOfRange;

#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// JSON lines with id, image and instruction, and optionally action, object, mask, `object_mask` and target; paths
    /// are relative to this file, masks white = edit (docs/evaluation.md).
    #[arg(value_name = "MANIFEST")]
    pub(crate) manifest: PathBuf,
    /// Methods, by comma; the first is the one that others are compared with.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        value_parser = Trimmed(clap::builder::StringValueParser::new()),
        default_value = "instruct-pix2pix,iam-edit,iam-edit:true-object,iam-edit:true-mask"
    )]
    pub(crate) methods: Vec<String>,
    /// Folder of the report.
    #[arg(short, long, value_name = "DIR", default_value = "evaluation")]
    pub(crate) out: PathBuf,
    /// Take so many items, evenly spread over the manifest.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    /// Denoising steps of the edit, 1 to 1000 [default: the model's, else 20].
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<u32>,
    /// How cross-attention is held inside the mask [default: the model's, else gate].
    #[arg(long, value_parser = one_of::<Modulation>())]
    pub(crate) modulation: Option<Modulation>,
    /// Cluster score from which a cluster is edited, 0 to 1 [default: the model's, else 0.3].
    #[arg(long, value_name = "SCORE")]
    pub(crate) tau: Option<f64>,
    /// Number of clusters, 2 to 32 [default: the model's, else 5].
    #[arg(long, value_name = "N")]
    pub(crate) k: Option<u32>,
    /// Denoising steps of the localization, 1 to 1000 [default: the model's, else 10].
    #[arg(long, value_name = "N")]
    pub(crate) localize_steps: Option<u32>,
    /// Tell the model each instruction as it is written, not as it is understood.
    #[arg(long)]
    pub(crate) verbatim: bool,
    /// Print progress as JSON lines.
    #[arg(long)]
    pub(crate) json: bool,
    /// Overwrite an existing report.
    #[arg(long)]
    pub(crate) force: bool,
}

impl EvalArgs {
    /// The overrides given by the arguments.
    ///
    /// # Errors
    /// [`OutOfRange`], naming the value.
    pub(crate) fn overrides(&self) -> Result<EditOverrides, OutOfRange> {
        Ok(EditOverrides {
            steps: within(self.steps)?,
            modulation: self.modulation,
            tau: within(self.tau)?,
            clusters: within(self.k)?,
            localize_steps: within(self.localize_steps)?,
            ..self.sampling.overrides()?
        })
    }
}
