//! Choice of localizer: the method that finds the region of an edit, and its variants.

use serde::Deserialize;

/// Methods that find the region of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Localizer {
    /// IAM-Edit: clusters of self-attention selected by the object's cross-attention.
    Iam,
    /// A threshold on the object's cross-attention alone.
    Attention,
    /// Watch Your Steps: a threshold on the noise difference that the instruction makes to one prediction.
    NoiseDifference,
    /// `DiffEdit`: a threshold on that difference, averaged over several noise samples.
    #[serde(rename = "diffedit")]
    DiffEdit,
}

/// The quantity whose mean is a cluster's score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterScore {
    /// The object's cross-attention, as in the paper.
    Attention,
    /// The difference that the instruction makes to the predicted noise.
    NoiseDifference,
    /// The object's cross-attention, or the noise difference if the attention is flat.
    Auto,
}

/// How additions are localized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddedBy {
    /// By the clusters that their words' attention selects, as in the paper.
    Attention,
    /// By the change in the picture that pass 1 predicts.
    PredictedChange,
}

/// The quantity that a localization's scores are means of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScoreSource {
    /// The object's cross-attention.
    Attention,
    /// The difference that the instruction makes to the predicted noise.
    NoiseDifference,
    /// The change in the picture that pass 1 predicts.
    PredictedChange,
}

impl Localizer {
    /// Every localizer.
    pub const ALL: [Self; 4] = [Self::Iam, Self::Attention, Self::NoiseDifference, Self::DiffEdit];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Iam => "iam",
            Self::Attention => "attention",
            Self::NoiseDifference => "noise-difference",
            Self::DiffEdit => "diffedit",
        }
    }
}

impl AddedBy {
    /// Name in `retouch.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::PredictedChange => "predicted-change",
        }
    }
}

impl ClusterScore {
    /// Every score.
    pub const ALL: [Self; 3] = [Self::Attention, Self::NoiseDifference, Self::Auto];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::NoiseDifference => "noise-difference",
            Self::Auto => "auto",
        }
    }
}

/// Transformation of ISAM's rows, each a probability distribution over the picture, before clustering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rows {
    /// As they are, as in the paper.
    Raw,
    /// Square roots, which gives Hellinger distances and reduces the weight of peaks.
    Sqrt,
}

impl Rows {
    /// The name that people type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Sqrt => "sqrt",
        }
    }
}
