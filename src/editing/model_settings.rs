//! Settings of an edit that a model can't follow.

use crate::edit::settings::EditSettings;
use crate::editing::EditError;
use crate::pipelines::guidance::Guidance;

/// The settings of a model that recommends none, by the guidance that it was made for.
pub fn standard(guidance: Guidance) -> EditSettings {
    match guidance {
        Guidance::TextImage => EditSettings::standard(),
        Guidance::Cfg => EditSettings::one_scale(),
        Guidance::Distilled => EditSettings::distilled(),
    }
}

/// Refuses guidance scales, other than the recommended ones, that change nothing with a model.
///
/// # Errors
/// [`EditError::Distilled`], [`EditError::OneScale`].
#[expect(clippy::float_cmp, reason = "a scale is either the recommended one or was set")]
pub fn check(
    guidance: Guidance,
    recommended: &EditSettings,
    settings: &EditSettings,
) -> Result<(), EditError> {
    let (own, asked) = (recommended.guidance, settings.guidance);
    let (text, image) = (own.text.get() != asked.text.get(), own.image.get() != asked.image.get());
    match guidance {
        Guidance::Distilled if text => Err(EditError::Distilled { what: "a text guidance" }),
        Guidance::Distilled if image => Err(EditError::Distilled { what: "an image guidance" }),
        Guidance::Cfg if image => Err(EditError::OneScale),
        Guidance::TextImage | Guidance::Cfg | Guidance::Distilled => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::{choices::Preset, overrides::EditOverrides};

    fn asked(guidance: Guidance, change: fn(&mut EditOverrides)) -> Result<(), EditError> {
        let own = standard(guidance);
        let mut overrides = EditOverrides::default();
        change(&mut overrides);
        check(guidance, &own, &overrides.over(&own, None))
    }

    #[test]
    fn a_scale_that_a_model_does_not_have_is_refused() {
        let text: fn(&mut EditOverrides) = |it| it.text_guidance = Some(3.0.try_into().unwrap());
        let image: fn(&mut EditOverrides) = |it| it.image_guidance = Some(2.0.try_into().unwrap());
        assert!(
            asked(Guidance::TextImage, text).is_ok() && asked(Guidance::TextImage, image).is_ok()
        );
        assert!(asked(Guidance::Cfg, text).is_ok());
        assert!(matches!(asked(Guidance::Cfg, image), Err(EditError::OneScale)));
        for refused in [text, image] {
            let error = asked(Guidance::Distilled, refused);
            assert!(matches!(error, Err(EditError::Distilled { .. })), "{error:?}");
        }
        // The model's own, said again, as a repeated edit does.
        assert!(asked(Guidance::Distilled, |_| ()).is_ok());
        let own = standard(Guidance::Distilled);
        let paper = EditOverrides::default().over(&own, Some(Preset::Paper));
        assert!(check(Guidance::Distilled, &own, &paper).is_err());
    }

    #[test]
    fn a_model_of_flow_matching_is_given_no_sampler_of_another_kind() {
        for guidance in [Guidance::Cfg, Guidance::Distilled] {
            let settings = standard(guidance);
            assert_eq!((settings.scheduler, settings.localization.scheduler), (None, None));
        }
        assert_eq!(standard(Guidance::Distilled).steps.get(), 4);
    }
}
