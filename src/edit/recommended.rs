//! Settings that a model recommends in its `retouch.json`.

use serde_json::Value;

use crate::edit::{overrides::EditOverrides, settings::EditSettings};

/// Keys of a `retouch.json` that belong to networks, not to edits: how a text encoder reads a prompt, and where the parts
/// of a single file are.
const OF_NETWORKS: [&str; 5] =
    ["text_encoder_out_layers", "max_sequence_length", "vae", "text_encoder", "tokenizer"];

/// Why a `retouch.json` is invalid: it is not JSON with the known keys, or a value is outside its range.
#[derive(Debug, thiserror::Error)]
#[error("retouch.json: {0}")]
pub struct SettingsError(#[from] serde_json::Error);

impl EditSettings {
    /// [`Self::standard`], overridden by what a model recommends.
    ///
    /// # Errors
    /// [`SettingsError`] names the invalid key or value.
    pub fn recommended(retouch_json: &str) -> Result<Self, SettingsError> {
        Self::standard().recommended_by(retouch_json)
    }

    /// Settings of a kind of model, overridden by what one of them recommends.
    ///
    /// # Errors
    /// [`SettingsError`] names the invalid key or value.
    pub fn recommended_by(self, retouch_json: &str) -> Result<Self, SettingsError> {
        let overrides: EditOverrides = match without_networks(retouch_json)? {
            Some(settings) => serde_json::from_value(settings)?,
            // As text, so that an error says where it is.
            None => serde_json::from_str(retouch_json)?,
        };
        let mut settings = self;
        overrides.apply(&mut settings);
        Ok(settings)
    }
}

/// A `retouch.json` without the keys of networks; `None` if it has none of them.
fn without_networks(text: &str) -> Result<Option<Value>, serde_json::Error> {
    if !OF_NETWORKS.iter().any(|it| text.contains(it)) {
        return Ok(None);
    }
    let mut value: Value = serde_json::from_str(text)?;
    if let Value::Object(keys) = &mut value {
        keys.retain(|key, _| !OF_NETWORKS.contains(&key.as_str()));
    }
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::{choices::Preset, settings::LocalizationSettings};
    use crate::sampling::SchedulerKind;

    #[test]
    fn the_papers_settings_keep_a_models_words_and_levels_and_nothing_else() {
        let recommended = EditSettings::recommended(
            r#"{"icam_level": 0, "nouns": ["bee"], "averaged": [0.2, 0.4], "guided": [0, 0.8], "blend": true,
                "localize_scheduler": "dpm-solver++-2m", "added_by": "predicted-change"}"#,
        );
        let paper = EditOverrides::default().over(&recommended.unwrap(), Some(Preset::Paper));
        let mut expected = EditSettings::paper();
        expected.localization.icam_level = 0;
        expected.localization.nouns = vec!["bee".to_owned()];
        assert_eq!(paper, expected);
    }

    #[test]
    fn a_model_without_recommendations_gets_the_papers_settings_in_fewer_steps() {
        let standard = EditSettings::recommended("{}").unwrap();
        assert_eq!(standard, EditSettings::standard());
        // A dozen calls of the model at most.
        let LocalizationSettings { averaged, scheduler, .. } = &standard.localization;
        assert!(averaged.of(standard.localize_steps.get() as usize).end <= 12);
        assert_eq!(*scheduler, Some(SchedulerKind::DpmSolverPlusPlus2M));
        let paper = EditOverrides::default().over(&standard, Some(Preset::Paper));
        assert_eq!(paper, EditSettings::paper());
    }

    #[test]
    fn other_steps_of_the_edit_leave_a_localization_its_own() {
        let steps = |json, preset| {
            let settings = EditSettings::recommended(json).unwrap();
            let steps = Some(50.try_into().unwrap());
            let asked = EditOverrides { steps, ..EditOverrides::default() };
            let settings = asked.over(&settings, preset);
            (settings.steps.get(), settings.localize_steps.get())
        };
        assert_eq!(steps(r#"{"steps": 20, "localize_steps": 8}"#, None), (50, 8));
        assert_eq!(steps("{}", None), (50, 10));
        // The paper has one number for both.
        assert_eq!(steps("{}", Some(Preset::Paper)), (50, 50));
    }

    #[test]
    fn what_a_text_encoder_reads_is_no_setting_of_edits() {
        let json = r#"{"text_encoder_out_layers": [1, 2], "max_sequence_length": 48, "steps": 4}"#;
        assert_eq!(EditSettings::recommended(json).unwrap().steps.get(), 4);
        let error = EditSettings::recommended(r#"{"max_sequence_length": 48, "step": 4}"#);
        assert!(error.unwrap_err().to_string().contains("step"));
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
