//! Settings of pass 1 in an edit record.

use serde::{Deserialize, Serialize};

use crate::edit::{
    knobs::{StepShare, Tau},
    request::EditRequest,
    settings::LocalizationSettings,
};
use crate::sampling::SchedulerKind;
use crate::wire::edit_record::exact::Exact;

/// Settings of pass 1 alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PassOne {
    /// Seed of the noise of pass 1; variants of one edit share it.
    pub localize_seed: u64,
    /// Denoising steps of pass 1.
    pub localize_steps: u32,
    /// Sampler of pass 1, recorded where pass 2 uses the model's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub localize_scheduler: Option<String>,
    /// Interval of steps whose attention is averaged, as fractions from 0 to 1.
    pub averaged: [Exact; 2],
    /// Method that locates an addition.
    pub added_by: String,
    /// Number of clusters.
    pub k: u32,
    /// Score threshold above which a cluster is edited.
    pub tau: Exact,
    /// Vectors that are clustered.
    pub rows: String,
    /// Localization method.
    pub localizer: String,
    /// What cluster scores are averaged over.
    pub score: String,
    /// Threshold of a pixelwise localizer, above which a cell is edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Exact>,
}

impl PassOne {
    /// The settings of a request.
    pub(super) fn of(request: &EditRequest) -> Self {
        let settings = &request.settings;
        let LocalizationSettings {
            averaged,
            added_by,
            scheduler,
            seed: _,
            // Set by the model, whose digest covers it.
            isam_level: _,
            icam_level: _,
            isam_blocks: _,
            icam_blocks: _,
            attention_source: _,
            nouns: _,
            noun_prompt: _,
            template: _,
            confidence: _,
        } = &settings.localization;
        Self {
            localize_seed: request.localize_seed(),
            localize_steps: settings.localize_steps.get(),
            localize_scheduler: scheduler_name(*scheduler),
            averaged: shares(*averaged),
            added_by: added_by.name().to_owned(),
            k: settings.clusters.get(),
            tau: Exact(settings.tau.get()),
            rows: settings.rows.name().to_owned(),
            localizer: settings.localizer.name().to_owned(),
            score: settings.score.name().to_owned(),
            threshold: settings.threshold.map(Tau::get).map(Exact),
        }
    }
}

pub(super) fn shares(share: StepShare) -> [Exact; 2] {
    share.shares().map(Exact)
}

pub(super) fn scheduler_name(kind: Option<SchedulerKind>) -> Option<String> {
    kind.map(|it| it.name().to_owned())
}
