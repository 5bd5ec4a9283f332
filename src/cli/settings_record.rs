//! Facts about how a picture was made, for the contact sheet.

use crate::drawing::Fact;
use crate::edit::{choices::MethodKind, settings::EditSettings};

/// How a picture was made.
#[derive(Debug)]
pub(crate) struct Made<'a> {
    /// Seed of the noise.
    pub(crate) seed: u64,
    /// Settings, with every default filled in.
    pub(crate) settings: &'a EditSettings,
    /// Edit method.
    pub(crate) method: MethodKind,
    /// Name of the model.
    pub(crate) model: String,
    /// Number format of the weights.
    pub(crate) dtype: &'a str,
}

/// Everything needed to repeat the edit, in short text.
pub(crate) fn facts(made: &Made<'_>) -> Vec<Fact> {
    let settings = made.settings;
    let fact = |label: &str, value: &dyn std::fmt::Display| Fact::new(label, value.to_string());
    vec![
        fact("Seed", &made.seed),
        fact("Steps", &settings.steps),
        fact("Localize steps", &settings.localize_steps),
        fact("Text guidance", &settings.guidance.text.get()),
        fact("Image guidance", &settings.guidance.image.get()),
        fact("Sampler", &settings.scheduler.map_or("the model's", |it| it.name())),
        fact("K", &settings.clusters.get()),
        fact("tau", &settings.tau.get()),
        fact("Localizer", &settings.localizer.name()),
        fact("Refined", &if settings.refine { "to the picture's edges" } else { "no" }),
        fact("Grown by", &settings.grow.get()),
        fact("Modulation", &settings.modulation.name()),
        fact("Preserve", &settings.preserve.name()),
        fact("Align", &settings.align.name()),
        fact("Method", &made.method.name()),
        fact("Model", &made.model),
        fact("Precision", &made.dtype),
    ]
}
