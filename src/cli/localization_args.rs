//! Command-line arguments of the localization.

use clap::Args;

use crate::cli::one_of::one_of;
use crate::edit::localizer::{ClusterScore, Localizer};
use crate::instruction::Action;

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LocalizationArgs {
    /// The object to edit, instead of the one found in the instruction.
    #[arg(long, value_name = "TEXT")]
    pub(crate) object: Option<String>,
    /// The kind of edit, instead of the one found in the instruction.
    #[arg(long, value_parser = one_of::<Action>())]
    pub(crate) action: Option<Action>,
    /// Tell the model the instruction as it is written, not as it was understood and in the model's own phrasing.
    #[arg(long)]
    pub(crate) verbatim: bool,
    /// Refuse an instruction that can't be understood, instead of editing the whole picture, and an object that is
    /// found with less than --min-confidence, instead of a warning.
    #[arg(long)]
    pub(crate) strict: bool,
    /// How sure the localization must be that the object is there, 0 to 1 [default: the model's, else 0.5].
    #[arg(long, allow_hyphen_values = true, value_name = "VALUE")]
    pub(crate) min_confidence: Option<f64>,
    /// Cluster score from which a cluster is edited, 0 to 1 [default: the model's, else 0.3].
    #[arg(long, allow_hyphen_values = true, value_name = "SCORE")]
    pub(crate) tau: Option<f64>,
    /// Number of clusters, 2 to 32 [default: the model's, else 5].
    #[arg(long, allow_hyphen_values = true, value_name = "N")]
    pub(crate) k: Option<u32>,
    /// Denoising steps of the localization, 1 to 1000 [default: the model's, else 10].
    #[arg(long, allow_hyphen_values = true, value_name = "N")]
    pub(crate) localize_steps: Option<u32>,
    /// How the place of the edit is found [default: the model's, else iam].
    #[arg(long, value_parser = one_of::<Localizer>())]
    pub(crate) localizer: Option<Localizer>,
    /// What a cluster's score is the mean of [default: the model's, else attention].
    #[arg(long, value_parser = one_of::<ClusterScore>())]
    pub(crate) score: Option<ClusterScore>,
    /// Value above which a place is edited, 0 to 1, for localizers without clusters and clusters scored by the noise
    /// difference; for predicted-change one less a cosine [default: the localizer's own].
    #[arg(long, allow_hyphen_values = true, value_name = "VALUE")]
    pub(crate) threshold: Option<f64>,
    /// Bring the border of the mask, made of cells, to the picture's own edges [default: the model's, else no].
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub(crate) refine: Option<bool>,
    /// Grow the mask that is found, so that a new shape has room: a share of the picture's shorter side, 0 to 0.5
    /// [default: the model's, else 0].
    #[arg(long, allow_hyphen_values = true, value_name = "SHARE")]
    pub(crate) grow: Option<f64>,
}
