//! Choice of localizer: the method that finds the region of an edit, and its variants.

use serde::{Deserialize, Serialize};

use crate::choice::choices;

choices! {
    /// Methods that find the region of an edit.
    pub enum Localizer {
        /// Clusters of self-attention that the object's cross-attention picks.
        ///
        /// IAM-Edit.
        Iam = "iam",
        /// The object's cross-attention alone, from a threshold.
        Attention = "attention",
        /// Where the instruction changes one prediction of noise (Watch Your Steps).
        NoiseDifference = "noise-difference",
        /// Where it changes predictions of noise on average.
        ///
        /// `DiffEdit`: a threshold on that difference, averaged over several noise samples.
        DiffEdit = "diffedit",
        /// Where the picture that the first calls head for leaves the source (not measured on trained weights).
        ///
        /// `RegionE`'s cosine of the predicted clean latents to the source's.
        PredictedChange = "predicted-change",
        /// Where cells no longer copy their own place of the picture (not measured on trained weights).
        ///
        /// Of a model whose latents attend to the picture itself, as FLUX.2-klein's do.
        Copy = "copy",
    }
}

choices! {
    /// The quantity whose mean is a cluster's score.
    pub enum ClusterScore {
        /// The object's cross-attention.
        ///
        /// As in the paper.
        Attention = "attention",
        /// Where the instruction changes the predicted noise.
        NoiseDifference = "noise-difference",
        /// The attention, and where that has no contrast the noise difference.
        Auto = "auto",
    }
}

choices! {
    /// How additions are localized.
    pub enum AddedBy {
        /// By the clusters that their words' attention selects, as in the paper.
        Attention = "attention",
        /// By the change in the picture that pass 1 predicts.
        PredictedChange = "predicted-change",
    }
}

choices! {
    /// The cells whose attention is averaged.
    pub enum AttentionSource {
        /// Those that are denoised, as in the paper.
        Latents = "latents",
        /// Those of the picture that is edited.
        ///
        /// Of a model that has both in one sequence: they have no noise from the first call on (not measured on trained
        /// weights).
        Reference = "reference",
    }
}

choices! {
    /// Transformation of ISAM's rows, each a probability distribution over the picture, before clustering.
    pub enum Rows {
        /// As they are, as in the paper.
        Raw = "raw",
        /// Square roots, which gives Hellinger distances and reduces the weight of peaks.
        Sqrt = "sqrt",
    }
}

/// The quantity that a localization's scores are means of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreSource {
    /// The object's cross-attention.
    #[default]
    Attention,
    /// The difference that the instruction makes to the predicted noise.
    NoiseDifference,
    /// The change in the picture that pass 1 predicts.
    PredictedChange,
    /// How little a cell's attention to the picture is to its own place.
    Copying,
}

impl Localizer {
    /// Whether its pass 1 is told a localization instruction, and not the edit's own.
    pub fn asks_for_the_object(self) -> bool {
        matches!(self, Self::Iam | Self::Attention)
    }
}

impl ScoreSource {
    /// Whether it depends on the edit's own words, and not on those of its object alone.
    pub fn is_of_instruction(self) -> bool {
        self != Self::Attention
    }
}
