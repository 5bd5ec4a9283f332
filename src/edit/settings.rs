//! The settings of an edit: the paper's, over them what a model recommends (`retouch.json`), over those the caller's.

use serde::Deserialize;

use crate::edit::{
    choices::{Preserve, Resize},
    confidence::Calibration,
    knobs::{ClusterCount, Confidence, Growth, StepShare, Tau},
    localization_instruction::{Template, TemplateError, shipped_nouns},
    localizer::{AddedBy, ClusterScore, Localizer, Rows},
};
use crate::sampling::{
    GuidanceScales, ImageGuidance, OutOfRange, SchedulerKind, Steps, TextGuidance,
};

/// How cross-attention is held inside the mask (METHOD: attention modulation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Modulation {
    /// Probabilities of all tokens but the first times the mask, after the softmax, as in the paper.
    Gate,
    /// Minus infinity outside the mask, before the softmax.
    Mask,
    /// Outside the mask the null prompt's keys and values.
    Null,
}

/// Settings of both passes, all filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct EditSettings {
    /// Denoising steps of the edit.
    pub steps: Steps,
    /// Denoising steps of the localization.
    pub localize_steps: Steps,
    /// Guidance of both passes.
    pub guidance: GuidanceScales,
    /// The steps of IAM-Edit's pass 2 that are guided; at the others the prediction with instruction and picture is taken as it is, for a
    /// third of the operations.
    ///
    /// Source: Kynkäänniemi et al. 2024, "Applying guidance in a limited interval" (arXiv 2404.07724), there for one scale.
    pub guided: StepShare,
    /// The sampler; `None` is the model's own.
    pub scheduler: Option<SchedulerKind>,
    /// Number of clusters (the paper's K).
    pub clusters: ClusterCount,
    /// Score above which a cluster is edited (the paper's tau).
    pub tau: Tau,
    /// The vectors that are clustered.
    pub rows: Rows,
    /// How the place of the edit is found.
    pub localizer: Localizer,
    /// What a cluster's score is the mean of.
    pub score: ClusterScore,
    /// Value above which a place is edited, for localizers without clusters and for clusters that are scored by the noise
    /// difference; `None` is the localizer's own.
    pub threshold: Option<Tau>,
    /// The confidence below which a found object is warned of, or refused where the caller is strict.
    pub min_confidence: Confidence,
    /// Whether the mask's border is brought to the picture's own edges.
    pub refine: bool,
    /// How far the mask that was found is grown for the edit, so that a new shape has room.
    pub grow: Growth,
    /// How cross-attention is held inside the mask.
    pub modulation: Modulation,
    /// What keeps the rest of the picture.
    pub preserve: Preserve,
    /// Whether [`Preserve::Pixel`] puts the source's latents back at each step, too.
    ///
    /// Differs: the paper holds the attention alone. A model whose edits wander outside the mask is kept at its task by it
    /// (docs/ablations.md).
    pub blend: bool,
    /// The size that the model works at.
    pub resize: Resize,
    /// Where the localization looks, and with which words.
    pub localization: LocalizationSettings,
}

/// Where the localization looks, and with which words.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalizationSettings {
    /// Level of the averaged self-attention: how often the latent was halved.
    pub isam_level: usize,
    /// Level of the averaged cross-attention.
    pub icam_level: usize,
    /// The steps whose attention is averaged; the localization ends with the last of them.
    pub averaged: StepShare,
    /// What tells where an addition goes.
    pub added_by: AddedBy,
    /// How the confidence is told from what pass 1 shows.
    ///
    /// `None` tells it from the contrast alone ([`Evidence::confidence`](crate::edit::confidence::Evidence::confidence)).
    pub confidence: Option<Calibration>,
    /// Its sampler where the edit's is the model's own; `None` is that one, too.
    pub scheduler: Option<SchedulerKind>,
    /// Seed of its noise; `None` is the edit's. Variants of one edit differ in the edit's alone.
    pub seed: Option<u64>,
    /// Nouns to draw the unrelated word from.
    pub nouns: Vec<String>,
    /// Prompt in which a word is embedded; `{}` is the word (source: local-prompt-mixing).
    pub noun_prompt: String,
    /// The wording of the localization instruction.
    pub template: Template,
}

/// What is wrong with a `retouch.json`.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It is no JSON of the known keys.
    #[error("retouch.json: {0}")]
    Json(#[from] serde_json::Error),
    /// A value is out of its range.
    #[error("retouch.json: {0}")]
    OutOfRange(#[from] OutOfRange),
    /// The prompt for a noun has no place for it.
    #[error("retouch.json: noun_prompt `{0}` must hold `{{}}`, as in `a photo of a {{}}`")]
    NounPrompt(String),
    /// A sampler that is not built in.
    #[error("retouch.json: localize_scheduler `{0}` is not built in")]
    Scheduler(String),
    /// The wording of the localization instruction lacks a place.
    #[error("retouch.json: {0}")]
    Template(#[from] TemplateError),
}

/// `retouch.json`, beside `model_index.json`: every key may be left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RetouchJson {
    steps: Option<u32>,
    localize_steps: Option<u32>,
    text_guidance: Option<f64>,
    image_guidance: Option<f64>,
    guided: Option<[f64; 2]>,
    clusters: Option<u32>,
    tau: Option<f64>,
    rows: Option<Rows>,
    localizer: Option<Localizer>,
    score: Option<ClusterScore>,
    threshold: Option<f64>,
    min_confidence: Option<f64>,
    confidence: Option<Calibration>,
    refine: Option<bool>,
    blend: Option<bool>,
    grow: Option<f64>,
    modulation: Option<Modulation>,
    isam_level: Option<usize>,
    icam_level: Option<usize>,
    averaged: Option<[f64; 2]>,
    added_by: Option<AddedBy>,
    localize_scheduler: Option<String>,
    nouns: Option<Vec<String>>,
    noun_prompt: Option<String>,
    localization_instruction: Option<String>,
}

impl EditSettings {
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
        }
    }

    /// Sets the steps of the edit, and those of the localization where it has no number of its own.
    ///
    /// A model whose localization needs fewer steps than its edits needs them for a longer edit, too.
    pub fn set_steps(&mut self, steps: Steps) {
        if self.localize_steps == self.steps {
            self.localize_steps = steps;
        }
        self.steps = steps;
    }

    /// With the words that a model knows, the levels that it has and the calibration of its confidence, which no preset can choose for it.
    #[must_use]
    pub fn with_words_and_levels(mut self, of: &LocalizationSettings) -> Self {
        let LocalizationSettings {
            isam_level,
            icam_level,
            confidence,
            nouns,
            noun_prompt,
            template,
            ..
        } = of.clone();
        let own = self.localization;
        self.localization = LocalizationSettings {
            isam_level,
            icam_level,
            confidence,
            nouns,
            noun_prompt,
            template,
            ..own
        };
        self
    }

    /// What a model recommends, over the paper's settings.
    ///
    /// # Errors
    /// [`SettingsError`] names the key or value that is wrong.
    pub fn recommended(retouch_json: &str) -> Result<Self, SettingsError> {
        let json: RetouchJson = serde_json::from_str(retouch_json)?;
        let mut settings = Self::paper();
        if let Some(steps) = json.steps {
            settings.set_steps(steps.try_into()?);
        }
        if let Some(steps) = json.localize_steps {
            settings.localize_steps = steps.try_into()?;
        }
        if let Some(scale) = json.text_guidance {
            settings.guidance.text = scale.try_into()?;
        }
        if let Some(scale) = json.image_guidance {
            settings.guidance.image = scale.try_into()?;
        }
        if let Some(guided) = json.guided {
            settings.guided = StepShare::new("guided", guided)?;
        }
        if let Some(clusters) = json.clusters {
            settings.clusters = clusters.try_into()?;
        }
        if let Some(tau) = json.tau {
            settings.tau = tau.try_into()?;
        }
        settings.rows = json.rows.unwrap_or(settings.rows);
        settings.localizer = json.localizer.unwrap_or(settings.localizer);
        settings.score = json.score.unwrap_or(settings.score);
        if let Some(threshold) = json.threshold {
            settings.threshold = Some(threshold.try_into()?);
        }
        if let Some(least) = json.min_confidence {
            settings.min_confidence = least.try_into()?;
        }
        settings.localization.confidence = json.confidence;
        settings.refine = json.refine.unwrap_or(settings.refine);
        settings.blend = json.blend.unwrap_or(settings.blend);
        if let Some(grow) = json.grow {
            settings.grow = grow.try_into()?;
        }
        settings.modulation = json.modulation.unwrap_or(settings.modulation);
        let localization = &mut settings.localization;
        localization.isam_level = json.isam_level.unwrap_or(localization.isam_level);
        localization.icam_level = json.icam_level.unwrap_or(localization.icam_level);
        localization.added_by = json.added_by.unwrap_or(localization.added_by);
        if let Some(nouns) = json.nouns {
            localization.nouns = nouns;
        }
        if let Some(averaged) = json.averaged {
            settings.localization.averaged = StepShare::new("averaged", averaged)?;
        }
        if let Some(name) = json.localize_scheduler {
            let known = SchedulerKind::ALL.into_iter().find(|it| it.name() == name);
            settings.localization.scheduler = Some(known.ok_or(SettingsError::Scheduler(name))?);
        }
        if let Some(prompt) = json.noun_prompt {
            if !prompt.contains("{}") {
                return Err(SettingsError::NounPrompt(prompt));
            }
            settings.localization.noun_prompt = prompt;
        }
        if let Some(instruction) = json.localization_instruction {
            settings.localization.template = instruction.as_str().try_into()?;
        }
        Ok(settings)
    }
}

// === impl Modulation ===

impl Modulation {
    /// The name that people type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::Mask => "mask",
            Self::Null => "null",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_settings_keep_a_models_words_and_levels_and_nothing_else() {
        let recommended = EditSettings::recommended(
            r#"{"icam_level": 0, "nouns": ["bee"], "averaged": [0.2, 0.4], "guided": [0, 0.8], "blend": true,
                "localize_scheduler": "dpm-solver++-2m", "added_by": "predicted-change"}"#,
        );
        let paper = EditSettings::paper().with_words_and_levels(&recommended.unwrap().localization);
        let mut expected = EditSettings::paper();
        expected.localization.icam_level = 0;
        expected.localization.nouns = vec!["bee".to_owned()];
        assert_eq!(paper, expected);
    }

    #[test]
    fn a_model_without_recommendations_gets_the_papers_settings() {
        assert_eq!(EditSettings::recommended("{}").unwrap(), EditSettings::paper());
    }

    #[test]
    fn recommended_steps_hold_for_both_passes_unless_said_otherwise() {
        let settings = EditSettings::recommended(r#"{"steps": 20}"#).unwrap();
        assert_eq!((settings.steps.get(), settings.localize_steps.get()), (20, 20));
        let settings = EditSettings::recommended(r#"{"steps": 20, "localize_steps": 8}"#).unwrap();
        assert_eq!((settings.steps.get(), settings.localize_steps.get()), (20, 8));
    }

    #[test]
    fn other_steps_of_the_edit_leave_a_localization_its_own() {
        let steps = |json| {
            let mut settings = EditSettings::recommended(json).unwrap();
            settings.set_steps(50.try_into().unwrap());
            (settings.steps.get(), settings.localize_steps.get())
        };
        assert_eq!(steps(r#"{"steps": 20, "localize_steps": 8}"#), (50, 8));
        assert_eq!(steps(r#"{"steps": 20}"#), (50, 50));
    }

    #[test]
    fn unknown_keys_and_values_out_of_range_are_named() {
        for (json, word) in [
            (r#"{"step": 20}"#, "step"),
            (r#"{"steps": 0}"#, "steps is 0"),
            (r#"{"tau": 2.0}"#, "tau is 2"),
            (r#"{"averaged": [0.6, 0.3]}"#, "averaged is 0.6 to 0.3"),
            (r#"{"guided": [0, 1.5]}"#, "guided is 0 to 1.5"),
            (r#"{"localize_scheduler": "heun"}"#, "`heun` is not built in"),
            (r#"{"noun_prompt": "a photo"}"#, "{}"),
            ("[", "retouch.json"),
        ] {
            let message = EditSettings::recommended(json).unwrap_err().to_string();
            assert!(message.contains(word), "{json}: {message}");
        }
    }
}
