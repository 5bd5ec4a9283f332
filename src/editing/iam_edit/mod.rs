//! IAM-Edit: localized image editing via instruction attention maps, as the paper's figure.
//!
//! Pass 1 ([`localize`]): localization instruction → denoise, averaging ISAM and ICAM → cluster → select.
//! Pass 2 ([`edit`]): the real instruction → denoise, every token's cross-attention held inside the mask.

pub mod attn_modulator;
pub mod attn_store;
pub mod localization;
pub mod localization_map;
pub mod noun_embeddings;
pub mod segmentation;
pub mod selection;

use tch::Tensor;

use crate::editing::{
    EditError,
    edit_mask::EditMask,
    event::{EventSink, Pass},
    iam_edit::{
        attn_modulator::AttnModulator,
        attn_store::{AttnStore, WatchedLevels},
        localization::LocalizationInstruction,
        localization_map::{Localization, LocalizedPrompt, Maps},
    },
    preserve::LatentPreserve,
    request::Preserve,
    session::EditSession,
};

/// Pass 1: finds the clusters of the picture that the instruction means.
///
/// # Errors
/// [`EditError`] if the model fails, has nothing to watch, or the sink breaks.
pub fn localize(
    session: &EditSession<'_>,
    instruction: &LocalizationInstruction,
    sink: &mut dyn EventSink,
) -> Result<Localization, EditError> {
    let (pipeline, settings) = (session.pipeline, &session.request.settings);

    // 1. Denoise with the localization instruction and average its attention.
    let run = session.run(&instruction.text, settings.localize_steps)?;
    let sites = pipeline.sites(run.conditioning.latent_size());
    let wanted = &settings.localization;
    let levels = WatchedLevels::nearest(&sites, wanted.isam_level, wanted.icam_level);
    let store = AttnStore::new(levels.ok_or(EditError::NoAttention)?);
    let maps = store.maps();
    let _ = session.denoise(Pass::Localize, &run, Box::new(store), sink, &|_, latents| latents)?;

    // 2. Cluster ISAM and score the clusters by the object's ICAM.
    let maps = maps.lock().expect("no holder of the maps panics");
    let (Some(isam), Some(icam)) = (&maps.isam, &maps.icam) else {
        return Err(EditError::NoAttention);
    };
    let tokens = pipeline.tokenize(&instruction.text)?;
    let prompt = LocalizedPrompt {
        text: &instruction.text,
        tokens: &tokens,
        objects: &instruction.object_spans,
    };
    let maps =
        Maps { isam: &isam.mean(), isam_grid: isam.grid, icam: &icam.mean(), icam_grid: icam.grid };
    Ok(Localization::new(prompt, maps, settings.clusters.get(), settings.tau.get()))
}

/// Pass 2: edits inside the mask and returns the clean latents (1, 4, h, w).
///
/// # Errors
/// [`EditError`] if the model fails or the sink breaks.
pub fn edit(
    session: &EditSession<'_>,
    mask: &EditMask,
    sink: &mut dyn EventSink,
) -> Result<Tensor, EditError> {
    let (request, settings) = (session.request, &session.request.settings);
    let run = session.run(&request.instruction, settings.steps)?;
    let image_latents = session.image_latents()?;
    let gate = mask.gate_tensor(image_latents.device());

    let preserve = (settings.preserve == Preserve::Latent).then(|| {
        let source =
            image_latents.to_kind(tch::Kind::Float) * session.pipeline.geometry().scaling_factor;
        LatentPreserve::new(&gate, source, run.tape.initial())
    });
    let modulator = AttnModulator::new(settings.modulation, gate);
    session.denoise(Pass::Edit, &run, Box::new(modulator), sink, &|done, latents| match &preserve {
        Some(preserve) => preserve.apply(run.scheduler.as_ref(), done.step, &latents),
        None => latents,
    })
}
