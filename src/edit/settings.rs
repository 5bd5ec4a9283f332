//! Settings of an edit, complete, and the paper's values of them.

use crate::choice::choices;
use crate::edit::{
    choices::{Preserve, Resize},
    confidence::Calibration,
    knobs::{ClusterCount, Confidence, Growth, StepShare, Tau},
    localization_instruction::{Template, shipped_nouns},
    localizer::{AddedBy, ClusterScore, Localizer, Rows},
};
use crate::instruction::templates::EditTemplates;
use crate::sampling::{GuidanceScales, ImageGuidance, SchedulerKind, Steps, TextGuidance};

choices! {
    /// How cross-attention is restricted to the mask (paper, "Attention Modulation").
    pub enum Modulation {
        /// Probabilities times the mask.
        ///
        /// Those of all tokens except the first, after the softmax, as in the paper.
        Gate = "gate",
        /// Minus infinity before the softmax.
        ///
        /// The logits outside the mask.
        Mask = "mask",
        /// The null prompt's attention outside.
        ///
        /// Uses the null prompt's keys and values outside the mask.
        Null = "null",
        /// The clean picture's keys and values outside; joint attention alone (FLUX.2); only reasoned, not measured on
        /// trained weights.
        ///
        /// Whatever attends to latents outside the mask has the picture that is edited at the same place.
        Reference = "reference",
        /// Latents inside unseen from outside; joint attention alone (FLUX.2); only reasoned, not measured on trained
        /// weights.
        ///
        /// What is outside does not attend to what is drawn inside, which has heard the instruction.
        Isolate = "isolate",
    }
}

impl Modulation {
    /// Whether it has a meaning only where prompt, latents and the picture that is edited share one sequence.
    pub fn needs_joint_attention(self) -> bool {
        match self {
            Self::Gate | Self::Mask | Self::Null => false,
            Self::Reference | Self::Isolate => true,
        }
    }
}

/// Settings of both passes, complete.
#[derive(Debug, Clone, PartialEq)]
pub struct EditSettings {
    /// Denoising steps of pass 2.
    pub steps: Steps,
    /// Denoising steps of pass 1.
    pub localize_steps: Steps,
    /// Guidance scales of both passes.
    pub guidance: GuidanceScales,
    /// The steps of IAM-Edit's pass 2 that use guidance; the others use the prediction with instruction and image
    /// alone, at a third of the cost.
    ///
    /// Source: Kynkäänniemi et al. 2024, "Applying guidance in a limited interval" (arXiv 2404.07724), there for one
    /// scale.
    pub guided: StepShare,
    /// The scheduler; `None` is the model's own.
    pub scheduler: Option<SchedulerKind>,
    /// Number of clusters (the paper's K).
    pub clusters: ClusterCount,
    /// Score above which a cluster is edited (the paper's tau).
    pub tau: Tau,
    /// Transformation of the rows that are clustered.
    pub rows: Rows,
    /// Method that finds the region of the edit.
    pub localizer: Localizer,
    /// The quantity whose mean is a cluster's score.
    pub score: ClusterScore,
    /// Threshold of localizers without clusters, and of clusters scored by the noise difference; `None` is the
    /// localizer's default.
    pub threshold: Option<Tau>,
    /// Confidence below which a found object causes a warning, or an error if the caller is strict.
    pub min_confidence: Confidence,
    /// Whether the mask's border is refined to the picture's edges.
    pub refine: bool,
    /// How far a found mask is grown for the edit, so that a new shape has room.
    pub grow: Growth,
    /// How cross-attention is restricted to the mask.
    pub modulation: Modulation,
    /// How the picture outside the mask is preserved.
    pub preserve: Preserve,
    /// Whether [`Preserve::Pixel`] also restores the source's latents after each step.
    ///
    /// Differs: the paper modulates attention only. This helps with models whose edits spread outside the mask
    /// (docs/ablations.md).
    pub blend: bool,
    /// How the working size is chosen.
    pub resize: Resize,
    /// Settings of the localization's attention and wording.
    pub localization: LocalizationSettings,
    /// How the model was taught to be told of edits; without templates it is told the text as it was written.
    pub templates: EditTemplates,
}

/// Settings of the localization's attention and wording.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalizationSettings {
    /// Level of the averaged self-attention: number of times that the latent was downsampled by 2.
    pub isam_level: usize,
    /// Level of the averaged cross-attention.
    pub icam_level: usize,
    /// The steps whose attention is averaged; pass 1 ends with the last of them.
    pub averaged: StepShare,
    /// How additions are localized.
    pub added_by: AddedBy,
    /// The model's calibration of the confidence.
    ///
    /// `None` computes it from the contrast alone
    /// ([`Evidence::confidence`](crate::edit::confidence::Evidence::confidence)).
    pub confidence: Option<Calibration>,
    /// Scheduler of pass 1, if the edit uses the model's own; `None` is that one, too.
    pub scheduler: Option<SchedulerKind>,
    /// Seed of pass 1; `None` is the edit's. Variants of one edit share pass 1's seed if it is set.
    pub seed: Option<u64>,
    /// The pool of nouns for the localization instruction.
    pub nouns: Vec<String>,
    /// Prompt for embedding a noun; `{}` is its placeholder (source: local-prompt-mixing).
    pub noun_prompt: String,
    /// Template of the localization instruction.
    pub template: Template,
}

impl EditSettings {
    /// The settings of a model that recommends none: the paper's, in fewer steps.
    ///
    /// Differs: the paper makes 100 steps in each pass. The localization of the demo model was the same in 10 steps of
    /// DPM-Solver++ 2M of which the fourth to the sixth are averaged (docs/ablations.md), and 20 steps are what edits
    /// with such models are commonly made in. That is argued from this project's own model; on other weights `retouch
    /// bench localize` measures it.
    pub fn standard() -> Self {
        let paper = Self::paper();
        let steps = |it: u32| Steps::try_from(it).expect("it is in range");
        let averaged = StepShare::new("averaged", [0.3, 0.6]).expect("it is in range");
        let scheduler = Some(SchedulerKind::DpmSolverPlusPlus2M);
        Self {
            steps: steps(20),
            localize_steps: steps(10),
            localization: LocalizationSettings { averaged, scheduler, ..paper.localization },
            ..paper
        }
    }

    /// The settings of a model of flow matching with one guidance scale that recommends none, such as FLUX.2-klein-base.
    ///
    /// Differs: nothing of the paper's holds for such a model. Steps and guidance are those that the model was published
    /// with; what of pass 1 is averaged is only reasoned, since no such model with trained weights was measured here.
    pub fn one_scale() -> Self {
        let paper = Self::paper();
        let steps = |it: u32| Steps::try_from(it).expect("it is in range");
        let averaged = StepShare::new("averaged", [0.0, 0.3]).expect("it is in range");
        let text = TextGuidance::try_from(4.0).expect("4.0 is in range");
        Self {
            steps: steps(50),
            localize_steps: steps(10),
            guidance: GuidanceScales { text, ..paper.guidance },
            blend: true,
            localization: LocalizationSettings { averaged, ..paper.localization },
            ..paper
        }
    }

    /// Those of a model that was distilled to few steps without guidance, such as FLUX.2-klein.
    ///
    /// Differs: as of [`Self::one_scale`]. Pass 1 makes the first two of four calls, where the picture that is edited is
    /// read.
    pub fn distilled() -> Self {
        let one_scale = Self::one_scale();
        let steps = Steps::try_from(4).expect("4 steps are in range");
        let averaged = StepShare::new("averaged", [0.0, 0.5]).expect("it is in range");
        let localization = LocalizationSettings { averaged, ..one_scale.localization };
        Self { steps, localize_steps: steps, localization, ..one_scale }
    }

    /// The paper's settings: 100 steps, guidance 7.5 and 1.5, K = 5, tau = 0.3, `gate`, maps of half and quarter size.
    pub fn paper() -> Self {
        let steps = Steps::try_from(100).expect("100 steps are in range");
        Self {
            steps,
            localize_steps: steps,
            guidance: GuidanceScales {
                text: TextGuidance::try_from(7.5).expect("7.5 is in range"),
                image: ImageGuidance::try_from(1.5).expect("1.5 is in range"),
            },
            guided: StepShare::ALL,
            scheduler: None,
            clusters: ClusterCount::try_from(5).expect("5 is in range"),
            tau: Tau::try_from(0.3).expect("0.3 is in range"),
            rows: Rows::Raw,
            localizer: Localizer::Iam,
            score: ClusterScore::Attention,
            threshold: None,
            min_confidence: Confidence::try_from(0.5).expect("0.5 is in range"),
            refine: false,
            grow: Growth::default(),
            modulation: Modulation::Gate,
            preserve: Preserve::Pixel,
            blend: false,
            resize: Resize::Fit(None),
            localization: LocalizationSettings {
                isam_level: 1,
                icam_level: 2,
                averaged: StepShare::ALL,
                added_by: AddedBy::Attention,
                confidence: None,
                scheduler: None,
                seed: None,
                nouns: shipped_nouns(),
                noun_prompt: "a photo of a {}".to_owned(),
                template: Template::default(),
            },
            templates: EditTemplates::default(),
        }
    }
}
