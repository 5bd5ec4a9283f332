//! How a picture was made, as facts for the contact sheet.

use crate::cli::load::Loaded;
use crate::drawing::Fact;
use crate::editing::request::EditRequest;

/// All that is needed to make the picture again, for people and in short.
pub(crate) fn facts(request: &EditRequest, loaded: &Loaded) -> Vec<Fact> {
    let settings = &request.settings;
    let fact = |label: &str, value: &dyn std::fmt::Display| Fact::new(label, value.to_string());
    vec![
        fact("Seed", &request.seed),
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
        fact("Method", &request.method.name()),
        fact("Model", &loaded.name()),
        fact("Precision", &loaded.dtype),
    ]
}
