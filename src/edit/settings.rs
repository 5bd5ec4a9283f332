//! Settings of an edit: the paper's defaults, overridden by the model's (`retouch.json`), overridden by the caller's.

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

/// How cross-attention is restricted to the mask (paper, "Attention Modulation").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Modulation {
    /// Multiply the probabilities of all tokens except the first by the mask, after the softmax, as in the paper.
    Gate,
    /// Set the logits outside the mask to minus infinity, before the softmax.
    Mask,
    /// Use the null prompt's keys and values outside the mask.
    Null,
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

/// Why a `retouch.json` is invalid.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It is not JSON with the known keys.
    #[error("retouch.json: {0}")]
    Json(#[from] serde_json::Error),
    /// A value is outside its range.
    #[error("retouch.json: {0}")]
    OutOfRange(#[from] OutOfRange),
    /// The noun prompt has no placeholder.
    #[error("retouch.json: noun_prompt `{0}` must contain `{{}}`, as in `a photo of a {{}}`")]
    NounPrompt(String),
    /// An unsupported scheduler.
    #[error("retouch.json: localize_scheduler `{0}` is not supported")]
    Scheduler(String),
    /// The template lacks a placeholder.
    #[error("retouch.json: {0}")]
    Template(#[from] TemplateError),
}

/// `retouch.json`, beside `model_index.json`; every key is optional.
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

    /// Sets the steps of pass 2, and those of pass 1 unless the model sets its own.
    ///
    /// If the model localizes in fewer steps than it edits in, that also holds for longer edits.
    pub fn set_steps(&mut self, steps: Steps) {
        if self.localize_steps == self.steps {
            self.localize_steps = steps;
        }
        self.steps = steps;
    }

    /// Takes over the nouns, templates, attention levels and calibration, which depend on the model and not on a
    /// preset.
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

    /// The paper's settings, overridden by those that a model recommends.
    ///
    /// # Errors
    /// [`SettingsError`] names the invalid key or value.
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
    /// Name on the command line.
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
            (r#"{"localize_scheduler": "heun"}"#, "`heun` is not supported"),
            (r#"{"noun_prompt": "a photo"}"#, "{}"),
            ("[", "retouch.json"),
        ] {
            let message = EditSettings::recommended(json).unwrap_err().to_string();
            assert!(message.contains(word), "{json}: {message}");
        }
    }
}
