//! How a picture was made, as JSON: what an output file carries, so that it can be made again.

use image::RgbImage;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::editing::{
    knobs::Tau,
    request::{EditRequest, Resize},
};
use crate::sampling::SchedulerKind;

/// The model and where it ran.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Name of the model.
    pub model: &'a str,
    /// Digest of its weights.
    pub model_digest: &'a str,
    /// Such as `cpu`.
    pub device: &'a str,
    /// Such as `fp32`.
    pub dtype: &'a str,
}

/// All that is needed to make the picture again, and how sure its localization was, if one was made.
pub fn json(request: &EditRequest, origin: &Origin<'_>, confidence: Option<f64>) -> Value {
    let settings = &request.settings;
    let mask = &request.mask;
    json!({
        "retouch": env!("CARGO_PKG_VERSION"),
        "model": origin.model,
        "model_digest": origin.model_digest,
        "device": origin.device,
        "dtype": origin.dtype,
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
        "guided": settings.guided.shares(),
        "scheduler": settings.scheduler.map(SchedulerKind::name),
        "localize_scheduler": settings.localization.scheduler.map(SchedulerKind::name),
        "averaged": settings.localization.averaged.shares(),
        "added_by": settings.localization.added_by.name(),
        "k": settings.clusters.get(),
        "tau": settings.tau.get(),
        "rows": settings.rows.name(),
        "localizer": settings.localizer.name(),
        "score": settings.score.name(),
        "threshold": settings.threshold.map(Tau::get),
        "min_confidence": settings.min_confidence.get(),
        "confidence": confidence,
        "refine": settings.refine,
        "grow": settings.grow.get(),
        "blend": settings.blend,
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

/// SHA-256 of a picture's pixels, in hexadecimal.
pub fn picture_digest(image: &RgbImage) -> String {
    let mut hasher = Sha256::new();
    hasher.update(image.width().to_le_bytes());
    hasher.update(image.height().to_le_bytes());
    hasher.update(image.as_raw());
    format!("{:x}", hasher.finalize())
}

fn size(resize: Resize) -> String {
    match resize {
        Resize::Fit(None) => "fit".to_owned(),
        Resize::Fit(Some(longer)) => format!("fit:{longer}"),
        Resize::Native => "native".to_owned(),
    }
}
