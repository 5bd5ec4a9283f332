//! What a worker's passes do to a job: as long as the worker has it, and no longer.

use std::time::Duration;

use crate::edit::parts::Part;
use crate::jobs::{
    fault::Fault,
    life::Draft,
    runner::{EditedFile, ModelInfo, Proposal},
};
use crate::wire::{
    pictures::PictureFile,
    reason::Reason,
    spec,
    v1::{self, MaskPolicy, MaskSource, edit_event::Event, edit_job::State},
};

/// A worker's hold on a job, in one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Name of the worker.
    pub worker: String,
    /// The attempt.
    pub attempt: u32,
}

impl Draft {
    /// What the worker that the job has may change, as long as it has it.
    pub fn hold(&self) -> Hold {
        let job = self.record.job.as_ref();
        Hold {
            worker: job.map(|it| it.worker.clone()).unwrap_or_default(),
            attempt: job.map_or(0, |it| it.attempt),
        }
    }

    /// Refuses the change of a worker that does not have the job any more: another one may have it by now.
    ///
    /// # Errors
    /// [`Reason::JobTerminal`], [`Reason::WorkerLost`].
    pub fn check_held(&self, hold: &Hold) -> Result<(), Fault> {
        self.check_live()?;
        if self.hold() == *hold {
            return Ok(());
        }
        let message = format!("{} does not have the job any more", hold.worker);
        Err(Fault::new(Reason::WorkerLost, message))
    }

    /// A worker starts on the job; returns the pass to run.
    ///
    /// # Errors
    /// [`Reason::JobTerminal`] if it has ended, [`Reason::Internal`] if it doesn't wait for a worker.
    pub fn start(&mut self, worker: &str) -> Result<v1::Pass, Fault> {
        self.check_live()?;
        if let Some(other) = self.record.job.as_ref().filter(|it| !it.worker.is_empty()) {
            let message = format!("{} has the job", other.worker);
            return Err(Fault::new(Reason::WorkerLost, message));
        }
        worker.clone_into(&mut self.job().worker);
        self.changed = true;
        let settled = self.record.decision.is_some();
        let found = !self.record.localization.is_empty();
        match self.state() {
            State::Queued if !self.localizes() => {}
            State::Queued if found => return Ok(v1::Pass::Localize),
            State::Queued => {
                self.go(State::Localizing, "");
                return Ok(v1::Pass::Localize);
            }
            State::MaskReady if settled || found => {}
            state => {
                let message = format!("the job is {}", state.as_str_name());
                return Err(Fault::new(Reason::Internal, message));
            }
        }
        self.go(State::Editing, "");
        Ok(v1::Pass::Edit)
    }

    /// Pass 1 has ended: records what was found and goes on by the mask policy. Returns whether the same worker
    /// continues with pass 2.
    ///
    /// # Errors
    /// [`Reason::JobTerminal`] if it has ended meanwhile.
    pub fn localized(&mut self, found: Option<Proposal>) -> Result<bool, Fault> {
        self.check_live()?;
        let Some(found) = found else {
            if self.spec().mask_policy() == MaskPolicy::LocalizeOnly {
                let message = "the instruction edits the whole picture, or could not be parsed: there is no mask to find";
                self.fail(&Fault::new(Reason::ObjectNotFound, message));
                return Ok(false);
            }
            self.record.mask_source = MaskSource::Global as i32;
            self.go(State::Editing, "");
            return Ok(true);
        };
        self.record.localization = found.json;
        self.record.failures = 0;
        if let Some((picture, labels)) = found.cluster_map {
            let (image, labels) = (Some(self.file(picture)), Some(self.file(labels)));
            let clusters = found.clusters.clone();
            self.event(Event::ClusterMap(v1::ClusterMap { image, labels, clusters }));
        }
        for (heatmap, picture) in found.heatmaps {
            let image = Some(self.file(picture));
            self.event(Event::Heatmap(v1::Heatmap { image, ..heatmap }));
        }
        let policy = self.spec().mask_policy();
        let review = policy == MaskPolicy::Review && self.record.decision.is_none();
        let timeout = self.spec().review_timeout.and_then(|it| Duration::try_from(it).ok());
        let mask = self.file(found.mask);
        let proposed = v1::MaskProposed {
            etag: short_hex(&mask.sha256),
            mask: Some(mask),
            awaiting_decision: review,
            decide_by: review.then(|| (self.now + timeout.unwrap_or_default()).into()),
            area: found.area,
            clusters: found.clusters,
            localization_source: found.source as i32,
            covered: found.covered,
            confidence: found.confidence,
        };
        self.job().mask = Some(proposed.clone());
        self.event(Event::MaskProposed(proposed.clone()));
        match policy {
            MaskPolicy::LocalizeOnly => {
                self.succeed(v1::EditResult { mask: proposed.mask, ..v1::EditResult::default() });
                Ok(false)
            }
            MaskPolicy::Review if review => {
                self.job().worker.clear();
                self.go(State::AwaitingMask, "");
                Ok(false)
            }
            _ => {
                if self.record.decision.is_none() {
                    self.record.mask_source = MaskSource::Proposed as i32;
                }
                self.go(State::Editing, "");
                Ok(true)
            }
        }
    }

    /// A part of an instruction that asks for several edits begins.
    pub fn part_started(&mut self, part: &Part) {
        let begun = self.record.parts.as_ref();
        let image = begun.and_then(|it| it.image.clone());
        let part = v1::EditPart {
            number: part.number as u32,
            of: part.of as u32,
            instruction: part.instruction.clone(),
            image,
        };
        self.job().part = Some(part.clone());
        self.event(Event::Part(part));
    }

    /// Records the mask that the edit uses, in pixels; `area` is its share of the picture, 0 to 1.
    ///
    /// # Errors
    /// [`Reason::JobTerminal`] if it has ended meanwhile.
    pub fn mask_settled(&mut self, file: PictureFile, area: f64, whole: bool) -> Result<(), Fault> {
        self.check_live()?;
        let source = match (whole, self.record.mask_source()) {
            (true, _) => MaskSource::Global,
            (false, MaskSource::Unspecified) => MaskSource::Request,
            (false, source) => source,
        };
        let mask = Some(self.file(file));
        self.job().result.get_or_insert_default().mask.clone_from(&mask);
        self.event(Event::MaskSettled(v1::MaskSettled { mask, area, source: source as i32 }));
        Ok(())
    }

    /// Pass 2 has ended: records the edited picture and ends the job, or goes on to the part after this one. Returns
    /// that part's first pass.
    ///
    /// # Errors
    /// [`Reason::JobTerminal`] if it has ended meanwhile.
    pub fn edited(
        &mut self,
        edited: EditedFile,
        model: &ModelInfo,
        input_sha256: bytes::Bytes,
    ) -> Result<Option<v1::Pass>, Fault> {
        self.check_live()?;
        let image = Some(self.file(edited.image));
        let united = edited.mask.map(|it| self.file(it));
        let result = self.job().result.get_or_insert_default();
        result.mask = united.or(result.mask.take());
        let mask = result.mask.clone();
        if edited.goes_on {
            return Ok(Some(self.next_part(image, mask)));
        }
        self.provenance(model, input_sha256);
        self.record.timings.get_or_insert_default().decode = Some(spec::duration(edited.decode));
        self.succeed(v1::EditResult { image, mask, ..v1::EditResult::default() });
        Ok(None)
    }

    /// A part has ended, and another one begins with its picture: what was found and decided was about the first.
    fn next_part(&mut self, image: Option<v1::Artifact>, mask: Option<v1::Artifact>) -> v1::Pass {
        let decision = self.record.decision.take().unwrap_or_default();
        let parts = self.record.parts.get_or_insert_default();
        parts.count += 1;
        parts.image = image;
        parts.mask = mask;
        parts.decisions.push(decision);
        self.record.localization.clear();
        self.record.mask_source = MaskSource::Unspecified as i32;
        self.record.failures = 0;
        self.job().mask = None;
        if !self.localizes() {
            return v1::Pass::Edit;
        }
        self.go(State::Localizing, "");
        v1::Pass::Localize
    }

    /// Whether a part begins with pass 1.
    fn localizes(&self) -> bool {
        self.spec().mask_policy() != MaskPolicy::Provided
            && self.spec().method() != v1::Method::InstructPix2pix
    }

    /// Adds to the result what is needed to make it again.
    fn provenance(&mut self, model: &ModelInfo, input_sha256: bytes::Bytes) {
        let seed = self.spec().seed.unwrap_or_default();
        let mask = self.record.job.as_ref().and_then(|it| it.result.as_ref()?.mask.as_ref());
        let provenance = v1::Provenance {
            model: model.name.clone(),
            model_digest: model.digest.clone(),
            seed,
            device: model.device.clone(),
            dtype: model.dtype.clone(),
            input_sha256,
            mask_sha256: mask.map(|it| it.sha256.clone()).unwrap_or_default(),
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            libtorch_version: model.libtorch.clone(),
        };
        self.job().result.get_or_insert_default().provenance = Some(provenance);
        self.changed = true;
    }
}

/// The first eight bytes in hexadecimal.
fn short_hex(bytes: &[u8]) -> String {
    let first: [u8; 8] = std::array::from_fn(|it| bytes.get(it).copied().unwrap_or_default());
    format!("{:016x}", u64::from_be_bytes(first))
}
