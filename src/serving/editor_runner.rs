//! [`Runner`] over a loaded model: converts tasks to the editor's requests, and the editor's events to run events.

use std::{ops::ControlFlow, sync::Arc, time::Instant};

use crate::edit::{
    edit_mask::{EditMask, MaskChoice, MaskSource},
    event::{EditEvent, LocalizationSource, Remedy, StepReport, Warning},
    localization::{Localization, WordMap},
    request::EditRequest,
};
use crate::editing::{
    EditError,
    editor::{Editor, check_confidence},
    session::EditSession,
};
use crate::jobs::{
    fault::{Fault, Reason},
    runner::{Edited, Listener, Localized, ModelInfo, Proposal, RunError, RunEvent, Runner, Task},
};
use crate::picture::{
    Picture,
    decode::{self, Decoded, InputLimits},
    encode::{self, Tags},
};
use crate::sampling::Interrupted;
use crate::serving::edit_faults::failed;
use crate::wire::{
    edit_record::{EditRecord, Localized as MadeBy, Made, Origin, digests},
    edit_request, enums,
    localization_json::{Asked, SavedLocalization},
    masks, pictures,
    pictures::{LazyPreview, PictureFile},
    v1,
};

/// A loaded model that runs the passes of jobs.
#[derive(Debug)]
pub struct EditorRunner {
    editor: Editor,
    model: ModelInfo,
    /// Largest working size, in pixels.
    max_work_pixels: u64,
}

/// A task with its decoded picture.
struct Opened {
    request: EditRequest,
    input: Decoded,
}

impl EditorRunner {
    /// A runner over an editor; `max_work_pixels` bounds the working size.
    pub fn new(editor: Editor, model: ModelInfo, max_work_pixels: u64) -> Self {
        Self { editor, model, max_work_pixels }
    }

    /// Runs one whole edit of a plain picture, so that one-time initialization doesn't delay the first caller.
    ///
    /// # Errors
    /// [`EditError`] if the model fails.
    pub fn warm_up(&self) -> Result<(), EditError> {
        let side = self.editor.pipeline().geometry().sample_size;
        let spec = v1::EditSpec {
            instruction: "make the square red".to_owned(),
            steps: Some(2),
            ..v1::EditSpec::default()
        };
        let gradient = |x: u32, y: u32| image::Rgb([x as u8, y as u8, 128]);
        let picture = Arc::new(image::RgbImage::from_fn(side, side, gradient));
        let request =
            edit_request::request(&spec, &self.model.recommended, picture, MaskChoice::default());
        let request = request.expect("the spec is sound");
        self.editor.edit(&request, &mut |_| ControlFlow::Continue(())).map(|_| ())
    }

    fn open(&self, task: &Task) -> Result<Opened, Fault> {
        // The limits were checked when the job was accepted.
        let limits = InputLimits { bytes: u64::MAX, pixels: u64::MAX };
        let picture = |name, bytes| {
            decode::decode(name, bytes, limits)
                .map_err(|error| Fault::new(Reason::BadImage, error.to_string()))
        };
        let input = picture("the image", &task.image)?;
        let size = input.picture.size();
        let choice = match &task.mask {
            Some((mask, file)) => {
                let painted = file.as_ref().map(|file| picture("the mask", file)).transpose()?;
                let painted = painted.as_ref().map(|it| &it.picture);
                let choice = masks::choice(mask, painted, size);
                choice.map_err(|error| Fault::new(Reason::BadMask, error.to_string()))?.0
            }
            None => MaskChoice::default(),
        };
        let rgb = Arc::clone(&input.picture.rgb);
        let request = edit_request::request(&task.spec, &self.model.recommended, rgb, choice)
            .map_err(|fault| Fault::invalid(vec![fault]))?;
        let work = EditSession::new(self.editor.pipeline(), &request).work_size();
        if work.pixels() > self.max_work_pixels {
            let limit = self.max_work_pixels;
            let message = format!(
                "the model would work at {work} pixels, more than {limit}; choose a smaller resize.fit"
            );
            return Err(Fault::new(Reason::ImageTooLarge, message));
        }
        Ok(Opened { request, input })
    }
}

impl Runner for EditorRunner {
    fn model(&self) -> &ModelInfo {
        &self.model
    }

    fn localize(&mut self, task: &Task, listener: Listener<'_>) -> Result<Localized, RunError> {
        let opened = self.open(task).map_err(RunError::Fault)?;
        let mut source = v1::LocalizationSource::Job;
        let mut sink = |event| {
            if let EditEvent::Localized(_, from) = &event {
                source = to_source(*from);
            }
            hear(event, task, listener)
        };
        let session = EditSession::new(self.editor.pipeline(), &opened.request);
        let kept = task.localization.as_ref().map(read).transpose()?;
        let localization = if let Some(kept) = &kept {
            let checked = check_confidence(&opened.request, &kept.localization, &mut sink);
            checked.map_err(|error| failed(&error))?;
            Some(Arc::new(kept.localization.clone()))
        } else {
            if task.spec.mask_policy() == v1::MaskPolicy::LocalizeOnly {
                let warned = self.editor.warn_of_cut_texts(&session, &mut sink);
                warned.map_err(|error| failed(&error))?;
            }
            self.editor.localize(&opened.request, &mut sink).map_err(|error| failed(&error))?
        };
        let Some(localization) = localization else { return Ok(Localized { found: None }) };
        let mask = EditMask::settle(&session, Some(&localization)).map_err(|it| failed(&it))?;
        let mask = mask.unwrap_or_else(|| EditMask::whole(&session));
        let events = task.spec.events.unwrap_or_default();
        let input = opened.input.picture.size();
        let cluster_map = events.cluster_map.unwrap_or(true).then(|| {
            (
                pictures::cluster_picture(&localization, input),
                pictures::cluster_labels(&localization),
            )
        });
        let words =
            if events.heatmaps.unwrap_or(true) { localization.words.as_slice() } else { &[] };
        let saved = kept.unwrap_or_else(|| SavedLocalization {
            image_sha256: digests::picture_digest(&opened.request.image),
            model_digest: self.model.digest.clone(),
            asked: Some(Asked {
                instruction: opened.request.instruction.clone(),
                pass_one_sha256: digests::pass_one_digest(&opened.request),
            }),
            localization: Localization::clone(&localization),
        });
        Ok(Localized {
            found: Some(Proposal {
                json: saved.to_json().into(),
                source,
                clusters: pictures::clusters(&localization),
                cluster_map,
                heatmaps: words.iter().map(heatmap).collect(),
                mask: pictures::mask(mask.full().as_image()),
                area: mask.area(),
                covered: localization
                    .covers
                    .map(|it| v1::CoveredArea { width: it.width, height: it.height }),
                confidence: localization.confidence,
            }),
        })
    }

    fn edit(&mut self, task: &Task, listener: Listener<'_>) -> Result<Edited, RunError> {
        let opened = self.open(task).map_err(RunError::Fault)?;
        let kept = task.localization.as_ref().map(read).transpose()?;
        let localization = kept.as_ref().map(|it| &it.localization);
        if localization.is_none()
            && opened.request.needs_localization()
            && listener(whole(&opened)).is_break()
        {
            return Err(RunError::Interrupted);
        }
        if kept.as_ref().is_some_and(|it| it.model_digest != self.model.digest)
            && listener(other_model()).is_break()
        {
            return Err(RunError::Interrupted);
        }
        let edited = self
            .editor
            .edit_localized(&opened.request, localization, &mut |event| hear(event, task, listener))
            .map_err(|error| failed(&error))?;
        let started = Instant::now();
        let confidence = localization.and_then(|it| it.confidence);
        let made_by = made_by(kept.as_ref(), &opened.request);
        let image = self.encode(&opened, task, edited.image, (made_by, confidence))?;
        Ok(Edited { image, decode: started.elapsed() })
    }
}

impl EditorRunner {
    /// Encodes the result, with the input's alpha channel and ICC profile, and the record of how it was made.
    fn encode(
        &self,
        opened: &Opened,
        task: &Task,
        image: image::RgbImage,
        (localization, confidence): (MadeBy, Option<f64>),
    ) -> Result<PictureFile, RunError> {
        let format = edit_request::output(&task.spec)
            .map_err(|it| RunError::Fault(Fault::invalid(vec![it])))?;
        let picture = Picture { rgb: Arc::new(image), ..opened.input.picture.clone() };
        let origin = Origin {
            model: &self.model.name,
            model_digest: &self.model.digest,
            device: &self.model.device,
            dtype: &self.model.dtype,
            libtorch: &self.model.libtorch,
        };
        let preset = (task.spec.preset() == v1::Preset::Paper).then_some("paper");
        let made = Made {
            origin,
            preset,
            picture: &opened.input.picture,
            format,
            localization,
            confidence,
        };
        let record = EditRecord::of(&opened.request, &made).to_json();
        let policy = edit_request::metadata_policy(&task.spec)
            .map_err(|it| RunError::Fault(Fault::invalid(vec![it])))?;
        let tags = Tags { record: &record, metadata: &opened.input.metadata, policy };
        let bytes = encode::encode(&picture, format, &tags).map_err(|error| {
            RunError::Fault(Fault::new(Reason::InvalidArgument, error.to_string()))
        })?;
        Ok(PictureFile::new(format.file_format(), picture.size(), bytes))
    }
}

/// Passes an event of the editor to the job's listener.
fn hear(
    event: EditEvent,
    task: &Task,
    listener: &mut dyn FnMut(RunEvent) -> ControlFlow<()>,
) -> ControlFlow<Interrupted> {
    let stop = |flow: ControlFlow<()>| flow.map_break(|()| Interrupted);
    match event {
        EditEvent::InstructionParsed(parsed) => {
            let span = parsed.object_span.unwrap_or_default();
            stop(listener(RunEvent::Parsed(v1::InstructionParsed {
                action: enums::to_action(parsed.action) as i32,
                object: parsed.object,
                object_start: span.start as u32,
                object_end: span.end as u32,
                localization_instruction: parsed.localization_instruction,
                text: parsed.text,
            })))
        }
        EditEvent::Warning(Warning { reason, message, remedy }) => {
            let message = match remedy {
                Some(Remedy::ScoreAuto) => format!("{message}; `spec.score` AUTO may help"),
                None => message,
            };
            let reason = reason.code().to_owned();
            stop(listener(RunEvent::Warning(v1::Warning { reason, message })))
        }
        EditEvent::StepDone(report) => {
            let StepReport { pass, step, of, timestep, preview } = report;
            let pass = enums::to_pass(pass);
            if let Some(image) = preview {
                let longer = task.spec.events.and_then(|it| it.preview_max_px);
                let picture = LazyPreview::new(image, longer);
                stop(listener(RunEvent::Preview(pass, step as u32, picture)))?;
            }
            stop(listener(RunEvent::Step(v1::StepProgress {
                pass: pass as i32,
                step: step as u32,
                total: of as u32,
                timestep,
                eta: None,
            })))
        }
        // Its pictures are reported when the pass ends.
        EditEvent::Localized(..) => ControlFlow::Continue(()),
        EditEvent::MaskSettled(mask) => stop(listener(RunEvent::MaskSettled {
            file: pictures::mask(mask.full().as_image()),
            area: mask.area(),
            whole: mask.source() == MaskSource::Whole,
        })),
    }
}

fn to_source(source: LocalizationSource) -> v1::LocalizationSource {
    match source {
        LocalizationSource::Pass => v1::LocalizationSource::Pass,
        LocalizationSource::Cache => v1::LocalizationSource::Cache,
    }
}

/// The mask of an instruction without an object: the whole picture.
fn whole(opened: &Opened) -> RunEvent {
    let size = opened.input.picture.size();
    let mask = crate::picture::mask::Mask::from_fn(size, |_, _| true);
    RunEvent::MaskSettled { file: pictures::mask(mask.as_image()), area: 1.0, whole: true }
}

/// Warning for a job whose mask was found by a model that the server has since replaced.
fn other_model() -> RunEvent {
    RunEvent::Warning(v1::Warning {
        reason: "LOCALIZATION_OTHER_MODEL".to_owned(),
        message: "the mask was found by the model that the server had before".to_owned(),
    })
}

fn heatmap(word: &WordMap) -> (v1::Heatmap, PictureFile) {
    let (min, max) = word.range();
    let heatmap = v1::Heatmap {
        image: None,
        word: word.word.clone(),
        min: f64::from(min),
        max: f64::from(max),
        is_object: word.is_object,
    };
    (heatmap, pictures::heatmap(word))
}

fn read(json: &bytes::Bytes) -> Result<SavedLocalization, RunError> {
    let text = std::str::from_utf8(json).unwrap_or_default();
    SavedLocalization::from_json(text).map_err(|error| {
        RunError::Fault(Fault::new(Reason::Internal, format!("the kept localization: {error}")))
    })
}

/// Where the localization that an edit's mask comes from was made, for the picture's record.
fn made_by(kept: Option<&SavedLocalization>, request: &EditRequest) -> MadeBy {
    let Some(kept) = kept.filter(|_| request.mask.needs_localization()) else { return MadeBy::No };
    let own = digests::pass_one_digest(request);
    match &kept.asked {
        Some(asked) if asked.pass_one_sha256 == own => MadeBy::Here,
        _ => MadeBy::Before(digests::localization_digest(&kept.localization)),
    }
}
