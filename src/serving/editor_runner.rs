//! [`Runner`] over a loaded model: converts tasks to the editor's requests, and its results to files.

use std::{ops::ControlFlow, sync::Arc, time::Instant};

use bytes::Bytes;

use crate::edit::{
    choices::Preset,
    edit_mask::{EditMask, MaskChoice},
    event::{EditEvent, EventSink, Warning, WarningReason},
    localization::{Localization, WordMap},
    request::EditRequest,
};
use crate::editing::{
    EditError,
    editor::{Edited, Editor},
    model_settings,
    open_edit::OpenEdit,
};
use crate::jobs::{
    fault::Fault,
    runner::{EditedFile, ModelInfo, OpenJob, Proposal, RunError, Runner, Task},
};
use crate::picture::{decode::Decoded, mask::Mask};
use crate::serving::edit_faults::failed;
use crate::wire::{
    edit_record::{Localized as MadeBy, MadePicture, digests},
    edit_request,
    enums::InSchema,
    events,
    localization_json::SavedLocalization,
    pictures::{self, PictureFile},
    reason::Reason,
    result_file::ResultFile,
    v1,
    violation::Violation,
};

/// Side of the picture that is edited before the first caller's on a CPU, in pixels, unless the model's own is smaller.
const CPU_WARM_UP_SIDE: u32 = 256;

/// A loaded model that runs the passes of jobs.
#[derive(Debug)]
pub struct EditorRunner {
    editor: Editor,
    model: ModelInfo,
    /// Largest working size, in pixels.
    max_work_pixels: u64,
}

/// A job that is open on the model.
struct EditorJob<'a> {
    model: &'a ModelInfo,
    spec: v1::EditSpec,
    input: Decoded,
    edit: OpenEdit<'a>,
    /// The masks of the parts before this one, united.
    mask: Option<Mask>,
    /// The caller's choice of the mask of each part so far.
    choices: Vec<MaskChoice>,
    /// Saved localization of an earlier pass 1, in JSON.
    saved: Option<Bytes>,
    /// Facts about it, once it was read.
    before: Option<Before>,
}

/// Facts about the saved localization.
struct Before {
    made_by: MadeBy,
    is_of_other_model: bool,
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
        let own = self.editor.pipeline().geometry().sample_size;
        // A GPU records its calls at the model's own size. A CPU has nothing of that kind, and large models take minutes.
        let side = if self.model.device == "cpu" { own.min(CPU_WARM_UP_SIDE) } else { own };
        let spec = v1::EditSpec {
            instruction: "make the square red".to_owned(),
            steps: Some(2),
            resize: Some(v1::Resize { size: Some(v1::resize::Size::Native(true)) }),
            ..v1::EditSpec::default()
        };
        let gradient = |x: u32, y: u32| image::Rgb([x as u8, y as u8, 128]);
        let picture = Arc::new(image::RgbImage::from_fn(side, side, gradient));
        let request =
            edit_request::request(&spec, &self.model.recommended, picture, MaskChoice::default());
        let request = request.expect("the spec is sound");
        self.editor.edit(&request, &mut |_| ControlFlow::Continue(())).map(|_| ())
    }
}

impl Runner for EditorRunner {
    fn model(&self) -> &ModelInfo {
        &self.model
    }

    fn open(&self, task: Task) -> Result<Box<dyn OpenJob + '_>, RunError> {
        let Task { spec, input, localization: saved, done } = task;
        let rgb = Arc::clone(&input.picture.rgb);
        let mask = MaskChoice::default();
        let request = edit_request::request(&spec, &self.model.recommended, rgb, mask);
        let request = request.map_err(invalid)?;
        let (pipeline, recommended) = (self.editor.pipeline(), &self.model.recommended);
        model_settings::check(pipeline.guidance(), recommended, &request.settings)
            .map_err(|error| failed(&error))?;
        let geometry = pipeline.geometry();
        let resize = request.settings.resize;
        resize.check_work_size(input.picture.size(), geometry, self.max_work_pixels).map_err(
            |error| {
                let message = format!("{error}; choose a smaller resize.fit");
                RunError::Fault(Fault::new(Reason::ImageTooLarge, message))
            },
        )?;
        let mut edit = self.editor.open(request);
        let (mut mask, mut choices) = (None, Vec::new());
        if let Some(done) = done {
            edit = edit.at(done.count, Arc::new(done.image));
            (mask, choices) = (Some(done.mask), done.choices);
        }
        let (model, before) = (&self.model, None);
        Ok(Box::new(EditorJob { model, spec, input, edit, mask, choices, saved, before }))
    }
}

impl OpenJob for EditorJob<'_> {
    fn localize(&mut self, sink: &mut dyn EventSink) -> Result<Option<Proposal>, RunError> {
        let mut source = v1::LocalizationSource::Job;
        if self.take_up_saved()? {
            self.edit.check_confidence(sink).map_err(|it| failed(&it))?;
        } else {
            let mut heard = |event: EditEvent| {
                if let EditEvent::Localized(_, from) = &event {
                    source = events::localization_source(*from);
                }
                sink.emit(event)
            };
            let found = match self.spec.mask_policy() {
                v1::MaskPolicy::LocalizeOnly => self.edit.localize_only(&mut heard),
                _ => self.edit.localize(&mut heard),
            };
            found.map_err(|it| failed(&it))?;
        }
        let Some(localization) = self.edit.localization() else { return Ok(None) };
        let mask = self.edit.mask().map_err(|it| failed(&it))?;
        let options = self.spec.events.unwrap_or_default();
        let input = self.input.picture.size();
        let cluster_map = options.cluster_map.unwrap_or(true).then(|| {
            let colors = pictures::cluster_picture(localization, input);
            (colors, pictures::cluster_labels(localization))
        });
        let words =
            if options.heatmaps.unwrap_or(true) { localization.words.as_slice() } else { &[] };
        let json = self.saved.clone().unwrap_or_else(|| {
            let found = Localization::clone(localization);
            let saved = SavedLocalization::of(self.edit.request(), &self.model.digest, found);
            saved.to_json().into()
        });
        Ok(Some(Proposal {
            json,
            source,
            clusters: pictures::clusters(localization),
            cluster_map,
            heatmaps: words.iter().map(heatmap).collect(),
            mask: pictures::mask(mask.full().as_image()),
            area: mask.area(),
            covered: localization
                .covers
                .map(|it| v1::CoveredArea { width: it.width, height: it.height }),
            confidence: localization.confidence,
        }))
    }

    fn edit(&mut self, mask: MaskChoice, sink: &mut dyn EventSink) -> Result<EditedFile, RunError> {
        self.edit.settle(mask.clone());
        self.choices.push(mask);
        if self.edit.localization().is_none() {
            self.take_up_saved()?;
        }
        if self.edit.localization().is_none() && self.edit.request().needs_localization() {
            let whole = self.edit.mask().map_err(|it| failed(&it))?;
            tell(sink, EditEvent::MaskSettled(Arc::new(whole)))?;
        }
        if self.before.as_ref().is_some_and(|it| it.is_of_other_model) {
            tell(sink, EditEvent::Warning(other_model()))?;
        }
        let edited = self.edit.edit_part(sink).map_err(|it| failed(&it))?;
        let started = Instant::now();
        let (number, of) = (self.edit.part().number, self.edit.part().of);
        let mask = (of > 1).then(|| pictures::mask(self.united(edited.mask.as_deref()).as_image()));
        let goes_on = number < of;
        let image = if goes_on { pictures::lossless(edited.image) } else { self.encode(edited)? };
        Ok(EditedFile { image, mask, goes_on, decode: started.elapsed() })
    }
}

impl EditorJob<'_> {
    /// Reads and uses the saved localization; `false` if there is none.
    fn take_up_saved(&mut self) -> Result<bool, RunError> {
        let Some(json) = &self.saved else { return Ok(false) };
        let text = std::str::from_utf8(json).unwrap_or_default();
        let saved = SavedLocalization::from_json(text).map_err(|error| {
            RunError::Fault(Fault::new(
                Reason::Internal,
                format!("the stored localization is invalid: {error}"),
            ))
        })?;
        let own = digests::pass_one_digest(self.edit.request());
        let made_by = match &saved.asked {
            Some(asked) if asked.pass_one_sha256 == own => MadeBy::Here,
            _ => MadeBy::Before(digests::localization_digest(&saved.localization)),
        };
        let is_of_other_model = saved.model_digest != self.model.digest;
        self.before = Some(Before { made_by, is_of_other_model });
        self.edit.take_up(Arc::new(saved.localization));
        Ok(true)
    }

    /// The masks of all parts so far.
    fn united(&self, mask: Option<&EditMask>) -> Mask {
        let own = match mask {
            Some(mask) => mask.full().clone(),
            None => Mask::from_fn(self.input.picture.size(), |_, _| true),
        };
        self.mask.iter().fold(own, Mask::union)
    }

    /// Encodes the result with the input's alpha channel, color profile and metadata.
    fn encode(&self, Edited { image, drift, .. }: Edited) -> Result<PictureFile, RunError> {
        let localization = self.edit.localization();
        let made_by = match (localization, &self.before) {
            (Some(_), Some(before)) => before.made_by.clone(),
            (Some(_), None) => MadeBy::Here,
            // An earlier part may have had one.
            (None, _) if self.edit.part().of > 1 && self.edit.asked().method.finds_mask() => {
                MadeBy::Here
            }
            (None, _) => MadeBy::No,
        };
        let (first, later) = self.choices.split_first().expect("the mask was settled");
        let request = EditRequest { mask: first.clone(), ..self.edit.asked().clone() };
        let format = edit_request::output(&self.spec).map_err(invalid)?;
        let file = ResultFile {
            made: MadePicture {
                origin: self.model.origin(),
                preset: Preset::read(self.spec.preset()),
                picture: &self.input.picture,
                format,
                localization: if request.mask.needs_localization() { made_by } else { MadeBy::No },
                confidence: localization.and_then(|it| it.confidence),
                drift,
                later_masks: later.to_vec(),
            },
            metadata: &self.input.metadata,
            policy: edit_request::metadata_policy(&self.spec).map_err(invalid)?,
        };
        let bytes = file.encode(&request, Arc::new(image)).map_err(|error| {
            RunError::Fault(Fault::new(Reason::InvalidArgument, error.to_string()))
        })?;
        Ok(PictureFile::new(format.file_format(), self.input.picture.size(), bytes))
    }
}

fn invalid(violation: Violation) -> RunError {
    RunError::Fault(Fault::invalid(vec![violation]))
}

fn tell(sink: &mut dyn EventSink, event: EditEvent) -> Result<(), RunError> {
    if sink.emit(event).is_break() { Err(RunError::Interrupted) } else { Ok(()) }
}

/// The warning for a job whose mask was found before the server's model was changed.
fn other_model() -> Warning {
    Warning {
        reason: WarningReason::OtherModel,
        message: "the mask was found by the previously loaded model".to_owned(),
        remedy: None,
    }
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
