//! How a picture was made: JSON for the file's metadata, facts for the contact sheet.

use serde_json::{Value, json};

use crate::cli::load::Loaded;
use crate::drawing::Fact;
use crate::editing::{
    request::{EditRequest, Resize},
    settings::Tau,
};
use crate::sampling::SchedulerKind;

/// All that is needed to make the picture again.
pub(crate) fn json(request: &EditRequest, loaded: &Loaded) -> Value {
    let settings = &request.settings;
    let mask = &request.mask;
    json!({
        "retouch": env!("CARGO_PKG_VERSION"),
        "model": loaded.name(),
        "model_digest": loaded.editor.pipeline().digest(),
        "device": loaded.device,
        "dtype": loaded.dtype,
        "instruction": request.instruction,
        "negative_prompt": request.negative_prompt,
        "method": request.method.name(),
        "object": request.object,
        "action": request.action.map(|it| it.to_string()),
        "seed": request.seed,
        "steps": settings.steps.get(),
        "localize_steps": settings.localize_steps.get(),
        "text_guidance": settings.guidance.text.get(),
        "image_guidance": settings.guidance.image.get(),
        "scheduler": settings.scheduler.map(SchedulerKind::name),
        "k": settings.clusters.get(),
        "tau": settings.tau.get(),
        "rows": settings.rows.name(),
        "localizer": settings.localizer.name(),
        "score": settings.score.name(),
        "threshold": settings.threshold.map(Tau::get),
        "refine": settings.refine,
        "modulation": settings.modulation.name(),
        "preserve": settings.preserve.name(),
        "size": size(settings.resize),
        "mask": {
            "given": mask.shapes.is_some(),
            "clusters": mask.clusters,
            "invert": mask.invert,
            "dilate": mask.dilate.pixels(),
            "feather": mask.feather.pixels(),
        },
    })
}

/// The same for people, in short.
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
        fact("Modulation", &settings.modulation.name()),
        fact("Preserve", &settings.preserve.name()),
        fact("Method", &request.method.name()),
        fact("Model", &loaded.name()),
        fact("Precision", &loaded.dtype),
    ]
}

fn size(resize: Resize) -> String {
    match resize {
        Resize::Fit(None) => "fit".to_owned(),
        Resize::Fit(Some(longer)) => format!("fit:{longer}"),
        Resize::Native => "native".to_owned(),
    }
}
