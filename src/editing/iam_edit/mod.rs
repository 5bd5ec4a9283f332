//! IAM-Edit: localized image editing via instruction attention maps, in two passes.
//!
//! - Pass 1 ([`localize`]): denoise with the localization instruction, averaging ISAM and ICAM → cluster → select.
//! - Pass 2 ([`edit`]): denoise with the actual instruction, with cross-attention restricted to the mask.

pub mod attn_modulator;
pub mod attn_store;
pub mod confidence;
mod joint_modulation;
pub mod localization_map;
pub mod noun_embeddings;
mod pooling;
pub mod predicted_change;
pub mod segmentation;

use std::{cell::RefCell, sync::PoisonError};

use tch::Tensor;

use crate::attention::site::Keys;
use crate::edit::{
    additions::added,
    choices::MethodKind,
    components::connected,
    confidence::Evidence,
    edit_mask::EditMask,
    event::{EventSink, Pass},
    grid::Grid,
    localization::Localization,
    localization_instruction::LocalizationInstruction,
    localizer::{AddedBy, ClusterScore, Localizer, ScoreSource},
    selection::MIN_CONTRAST,
    settings::Modulation,
    things::Scene,
};
use crate::editing::{
    EditError,
    baselines::{instruct_pix2pix::InstructPix2Pix, watch_your_steps},
    iam_edit::{
        attn_modulator::AttnModulator,
        attn_store::{AttnStore, WatchedLevels},
        localization_map::{LocalizedPrompt, Maps},
        predicted_change::predicted_change,
    },
    method::{MaskSource, Method},
    preserve::LatentPreserve,
    session::{Course, EditSession},
};
use crate::pipelines::TokenizedPrompt;

/// The paper's method.
#[derive(Debug)]
pub struct IamEdit;

impl Method for IamEdit {
    fn kind(&self) -> MethodKind {
        MethodKind::IamEdit
    }

    fn check(&self, session: &EditSession<'_>) -> Result<(), EditError> {
        let modulation = session.request.settings.modulation;
        if modulation == Modulation::Null && session.pipeline.guidance().is_distilled() {
            return Err(EditError::Distilled { what: "the modulation `null`" });
        }
        let is_joint = || session.sites().iter().all(|it| matches!(it.keys, Keys::Joint { .. }));
        if modulation.needs_joint_attention() && !is_joint() {
            return Err(EditError::NotJoint { modulation: modulation.name() });
        }
        Ok(())
    }

    /// An edit of the whole picture holds no attention back, and so is that of the plain backbone.
    fn edit(
        &self,
        session: &EditSession<'_>,
        mask: Option<&EditMask>,
        sink: &mut dyn EventSink,
    ) -> Result<Tensor, EditError> {
        match mask {
            Some(mask) => edit(session, mask, sink),
            None => InstructPix2Pix.edit(session, None, sink),
        }
    }
}

impl MaskSource for IamEdit {
    fn localizer(&self) -> Localizer {
        Localizer::Iam
    }

    fn localize(
        &self,
        session: &EditSession<'_>,
        instruction: &LocalizationInstruction,
        sink: &mut dyn EventSink,
    ) -> Result<Localization, EditError> {
        localize(session, instruction, sink)
    }
}

/// The averaged attention of a run with the localization instruction.
#[derive(Debug)]
pub struct InstructionAttention {
    tokens: TokenizedPrompt,
    isam: Tensor,
    isam_grid: Grid,
    icam: Tensor,
    icam_grid: Grid,
    /// The clean latents that the run was heading for before its last call, (1, C, h, w).
    predicted: Tensor,
}

impl InstructionAttention {
    /// Denoises with the localization instruction and averages the attention.
    ///
    /// # Errors
    /// [`EditError`] if the model fails or has no usable attention layers, or if the sink stops the run.
    pub fn gather(
        session: &EditSession<'_>,
        instruction: &LocalizationInstruction,
        sink: &mut dyn EventSink,
    ) -> Result<Self, EditError> {
        let (pipeline, settings) = (session.pipeline, &session.request.settings);
        let run = session.run(Pass::Localize, &instruction.text)?;
        let sites = pipeline.sites(run.conditioning.latent_size());
        let wanted = &settings.localization;
        let levels = WatchedLevels::nearest(&sites, wanted.isam_level, wanted.icam_level);
        let averaged = wanted.averaged.of(run.scheduler.steps().len());
        let (made, last) = (averaged.end, averaged.end - 1);
        let store = AttnStore::new(levels.ok_or(EditError::NoAttention)?, averaged);
        let maps = store.maps();
        let predicted = RefCell::new(None);
        // It ends with its last call that is averaged, of which one role is looked at: what that predicts leads
        // nowhere.
        let course = Course { guided: 0..last, made, ..session.course(Pass::Localize, &run) };
        let _ = session.denoise(&course, &run, Box::new(store), sink, &|done, latents| {
            if done.step.index < last || last == 0 {
                predicted.replace(Some(done.pred_original_sample.shallow_clone()));
            }
            latents
        })?;
        // A visit that failed and was made again has left its mark on the lock alone.
        let maps = maps.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(isam), Some(icam)) = (&maps.isam, &maps.icam) else {
            return Err(EditError::NoAttention);
        };
        Ok(Self {
            tokens: pipeline.tokenize(&instruction.text)?,
            isam: isam.mean(),
            isam_grid: isam.grid,
            icam: icam.mean(),
            icam_grid: icam.grid,
            predicted: predicted.take().expect("a run has a step"),
        })
    }

    /// Its prompt, with the byte ranges of the objects.
    pub fn prompt<'a>(&'a self, instruction: &'a LocalizationInstruction) -> LocalizedPrompt<'a> {
        LocalizedPrompt {
            text: &instruction.text,
            tokens: &self.tokens,
            objects: &instruction.object_spans,
            said: &instruction.said,
        }
    }

    /// Its attention maps.
    pub fn maps(&self) -> Maps<'_> {
        let &Self { isam_grid, icam_grid, .. } = self;
        Maps { isam: &self.isam, isam_grid, icam: &self.icam, icam_grid }
    }
}

/// Pass 1: finds the clusters that the instruction refers to.
///
/// # Errors
/// [`EditError`] if the model fails or has no usable attention layers, or if the sink stops the run.
pub fn localize(
    session: &EditSession<'_>,
    instruction: &LocalizationInstruction,
    sink: &mut dyn EventSink,
) -> Result<Localization, EditError> {
    let settings = &session.request.settings;

    // 1. Denoise with the localization instruction and average its attention.
    let attention = InstructionAttention::gather(session, instruction, sink)?;
    let (prompt, maps) = (attention.prompt(instruction), attention.maps());

    let change = predicted_change(session.image_latents()?, &attention.predicted);

    // 2. What is added stands where the run draws it, if that is to be followed.
    if !instruction.stands && settings.localization.added_by == AddedBy::PredictedChange {
        let threshold = session.threshold(predicted_change::THRESHOLD);
        let field = added(change, &session.work, &instruction.said, threshold);
        let words = localization_map::word_maps(prompt, maps);
        let found = Localization::from_threshold(prompt.text, &field, threshold, words);
        return Ok(Localization { scored_by: ScoreSource::PredictedChange, ..found });
    }

    // 3. Cluster ISAM and score the clusters' parts by the object's ICAM, or by what the instruction does to the noise.
    let clusters = segmentation::segment(maps.isam, settings.clusters.get(), settings.rows);
    let parts = connected(&clusters, maps.isam_grid);
    let scene = Scene { picture: &session.work, grid: maps.isam_grid, parts: &parts };
    // Of whole clusters: of many small parts, one stands out in a flat map as well.
    let contrast = localization_map::contrast(prompt, maps, &clusters);
    let tau = settings.tau.get();
    let by_difference = match settings.score {
        ClusterScore::Attention => false,
        ClusterScore::NoiseDifference => true,
        ClusterScore::Auto => {
            contrast < MIN_CONTRAST && !session.pipeline.guidance().is_distilled()
        }
    };
    let found = if by_difference {
        let relevance = watch_your_steps::relevance(session)?;
        // The relevance has another scale than attention, and so its own threshold.
        let threshold = session.threshold(watch_your_steps::THRESHOLD);
        Localization::from_relevance(prompt, maps, scene, &relevance, threshold)
    } else {
        Localization::from_parts(prompt, maps, scene, tau)
    };
    let found = Localization { contrast: Some(contrast), ..found };

    // 4. How sure that is; an addition is not there yet.
    if !instruction.stands {
        return Ok(found);
    }
    let calibration = settings.localization.confidence.as_ref();
    let objects = Evidence::of_objects(&found, prompt, maps, &change, &session.work).into_iter();
    let judged = objects.map(|it| (it.confidence(calibration), it));
    let least = judged.min_by(|one, other| one.0.total_cmp(&other.0));
    let (confidence, evidence) = least.unzip();
    Ok(Localization { confidence, evidence, ..found })
}

/// Pass 2: edits inside the mask and returns the clean latents (1, C, h, w).
///
/// # Errors
/// [`EditError`] if the model fails or the sink stops the run.
pub fn edit(
    session: &EditSession<'_>,
    mask: &EditMask,
    sink: &mut dyn EventSink,
) -> Result<Tensor, EditError> {
    let settings = &session.request.settings;
    let run = session.run(Pass::Edit, session.told())?;
    let gate = mask.attended_tensor(session.image_latents()?.device());
    let preserve = LatentPreserve::of(session, Some(mask), &run)?;
    let unguided = match settings.modulation {
        // The row that the modulator compares with.
        Modulation::Null => &run.conditioning.roles()[1..2],
        _ => &[],
    };
    let guided = settings.guided.of(run.scheduler.steps().len());
    let course = Course { guided, unguided, ..session.course(Pass::Edit, &run) };
    let modulator = AttnModulator::new(settings.modulation, gate);
    session.denoise(&course, &run, Box::new(modulator), sink, &|done, latents| match &preserve {
        Some(preserve) => preserve.apply(run.scheduler.as_ref(), done.step, &latents),
        None => latents,
    })
}
