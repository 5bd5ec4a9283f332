//! Command-line arguments of the localization, and their conversion to settings.

use clap::{Args, ValueEnum};

use crate::edit::{
    localizer::{ClusterScore, Localizer},
    settings::EditSettings,
};
use crate::instruction::Action;
use crate::sampling::OutOfRange;

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LocalizationArgs {
    /// The object to edit, instead of the one found in the instruction.
    #[arg(long, value_name = "TEXT")]
    pub(crate) object: Option<String>,
    /// The kind of edit, instead of the one found in the instruction.
    #[arg(long, value_enum)]
    pub(crate) action: Option<ActionArg>,
    /// Refuse an instruction that can't be understood, instead of editing the whole picture, and an object that is found with less
    /// than --min-confidence, instead of a warning.
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
    /// Denoising steps of the localization, 1 to 1000 [default: the model's, else those of the edit].
    #[arg(long, allow_hyphen_values = true, value_name = "N")]
    pub(crate) localize_steps: Option<u32>,
    /// How the place of the edit is found [default: the model's, else iam].
    #[arg(long, value_enum)]
    pub(crate) localizer: Option<LocalizerArg>,
    /// What a cluster's score is the mean of [default: the model's, else attention].
    #[arg(long, value_enum)]
    pub(crate) score: Option<ScoreArg>,
    /// Value above which a place is edited, 0 to 1, for localizers without clusters and clusters scored by the noise
    /// difference [default: the localizer's own].
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

/// [`crate::instruction::Action`] as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ActionArg {
    /// An object becomes another or looks different.
    Change,
    /// An object is added.
    Add,
    /// An object is taken away.
    Remove,
    /// The whole picture; no mask.
    Global,
}

/// [`Localizer`] as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LocalizerArg {
    /// Clusters of self-attention that the object's cross-attention picks.
    Iam,
    /// The object's cross-attention alone, from a threshold.
    Attention,
    /// Where the instruction changes one prediction of noise (Watch Your Steps).
    NoiseDifference,
    /// Where it changes predictions of noise on average.
    #[value(name = "diffedit")]
    DiffEdit,
}

/// [`ClusterScore`] as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScoreArg {
    /// The object's cross-attention.
    Attention,
    /// Where the instruction changes the predicted noise.
    NoiseDifference,
    /// The attention, and where that has no contrast the noise difference.
    Auto,
}

impl LocalizationArgs {
    /// Overrides the settings by the given arguments.
    ///
    /// # Errors
    /// [`OutOfRange`], naming the value.
    pub(crate) fn settle(&self, settings: &mut EditSettings) -> Result<(), OutOfRange> {
        if let Some(tau) = self.tau {
            settings.tau = tau.try_into()?;
        }
        if let Some(k) = self.k {
            settings.clusters = k.try_into()?;
        }
        if let Some(steps) = self.localize_steps {
            settings.localize_steps = steps.try_into()?;
        }
        if let Some(localizer) = self.localizer {
            settings.localizer = localizer.into();
        }
        if let Some(score) = self.score {
            settings.score = score.into();
        }
        if let Some(threshold) = self.threshold {
            settings.threshold = Some(threshold.try_into()?);
        }
        if let Some(least) = self.min_confidence {
            settings.min_confidence = least.try_into()?;
        }
        settings.refine = self.refine.unwrap_or(settings.refine);
        if let Some(grow) = self.grow {
            settings.grow = grow.try_into()?;
        }
        Ok(())
    }
}

impl From<ActionArg> for Action {
    fn from(action: ActionArg) -> Self {
        match action {
            ActionArg::Change => Self::Change,
            ActionArg::Add => Self::Add,
            ActionArg::Remove => Self::Remove,
            ActionArg::Global => Self::Global,
        }
    }
}

impl From<LocalizerArg> for Localizer {
    fn from(localizer: LocalizerArg) -> Self {
        match localizer {
            LocalizerArg::Iam => Self::Iam,
            LocalizerArg::Attention => Self::Attention,
            LocalizerArg::NoiseDifference => Self::NoiseDifference,
            LocalizerArg::DiffEdit => Self::DiffEdit,
        }
    }
}

impl From<ScoreArg> for ClusterScore {
    fn from(score: ScoreArg) -> Self {
        match score {
            ScoreArg::Attention => Self::Attention,
            ScoreArg::NoiseDifference => Self::NoiseDifference,
            ScoreArg::Auto => Self::Auto,
        }
    }
}
