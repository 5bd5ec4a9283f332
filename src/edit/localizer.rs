//! How the place of an edit is found: the ways of comparison as values of one type.

use serde::Deserialize;

/// The ways to find where an instruction edits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Localizer {
    /// Clusters of self-attention that the object's cross-attention picks, as in IAM-Edit.
    Iam,
    /// The object's cross-attention alone, from a threshold.
    Attention,
    /// The difference that the instruction makes to one prediction of noise, as in Watch Your Steps.
    NoiseDifference,
    /// The mean of that difference over several noises, as in `DiffEdit`.
    #[serde(rename = "diffedit")]
    DiffEdit,
}

/// What a cluster's score is the mean of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterScore {
    /// The object's cross-attention, as in the paper.
    Attention,
    /// The difference that the instruction makes to the predicted noise.
    NoiseDifference,
    /// The object's cross-attention, and where that has no contrast the noise difference.
    Auto,
}

/// What tells where an addition goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddedBy {
    /// The clusters that its words' attention picks, as in the paper.
    Attention,
    /// What pass 1 draws.
    PredictedChange,
}

/// What the scores of a localization are means of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScoreSource {
    /// The object's cross-attention.
    Attention,
    /// The difference that the instruction makes to the predicted noise.
    NoiseDifference,
    /// The difference of what pass 1 draws from the source.
    PredictedChange,
}

impl Localizer {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Iam, Self::Attention, Self::NoiseDifference, Self::DiffEdit];

    /// The name that people type.
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
    /// The name in `retouch.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::PredictedChange => "predicted-change",
        }
    }
}

impl ClusterScore {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Attention, Self::NoiseDifference, Self::Auto];

    /// The name that people type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::NoiseDifference => "noise-difference",
            Self::Auto => "auto",
        }
    }
}

/// The vectors that are clustered: the rows of ISAM, each a distribution over the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rows {
    /// As they are, as in the paper.
    Raw,
    /// Their square roots, whose distances are Hellinger's: a peak outweighs the rest less.
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
