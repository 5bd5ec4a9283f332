//! A scripted model.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use retouch::{
    edit::{
        edit_mask::{EditMask, MaskChoice, MaskSource},
        event::{EditEvent, EventSink, InstructionParsed, Pass, StepReport},
        settings::EditSettings,
    },
    instruction::{Action, change::Change},
    jobs::runner::{EditedFile, ModelInfo, OpenJob, Proposal, RunError, Runner, Task},
    picture::{format::FileFormat, mask::Mask, size::Size},
    wire::{pictures::PictureFile, v1},
};

/// How long a scripted step takes.
pub(crate) const STEP: Duration = Duration::from_millis(10);

/// A model that does what the instruction says: `panic`, `no memory`, `lose the device`, `everything`.
#[derive(Debug)]
pub(crate) struct Script {
    model: ModelInfo,
    /// How long a step takes.
    pub(crate) step: Duration,
    /// Steps of pass 1 that were made, over all jobs.
    pub(crate) localize_steps: Arc<AtomicUsize>,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self::on("cpu")
    }

    /// With steps that take so long.
    pub(crate) fn with_steps_of(step: Duration) -> Self {
        Self { step, ..Self::new() }
    }

    /// On a device of this name.
    pub(crate) fn on(device: &str) -> Self {
        let model = ModelInfo {
            name: "script".to_owned(),
            digest: "0123".to_owned(),
            device: device.to_owned(),
            dtype: "fp32".to_owned(),
            libtorch: "none".to_owned(),
            loras: Vec::new(),
            recommended: EditSettings::paper(),
            preview_decoder: false,
        };
        Self { model, step: STEP, localize_steps: Arc::default() }
    }
}

/// A job on the script.
struct ScriptedJob<'a> {
    script: &'a Script,
    task: Task,
}

impl ScriptedJob<'_> {
    fn steps(&self, pass: Pass, of: u32, sink: &mut dyn EventSink) -> Result<(), RunError> {
        for step in 1..=of {
            thread::sleep(self.script.step);
            if pass == Pass::Localize {
                self.script.localize_steps.fetch_add(1, Ordering::Relaxed);
            }
            let preview = image::RgbImage::from_pixel(8, 8, image::Rgb([step as u8, 0, 0]));
            let report = StepReport {
                pass,
                step: step as usize,
                of: of as usize,
                timestep: f64::from(of - step),
                preview: Some(Arc::new(preview)),
            };
            tell(sink, EditEvent::StepDone(report))?;
        }
        match self.task.spec.instruction.as_str() {
            "panic" => panic!("as asked"),
            "no memory" => panic!("DefaultCPUAllocator: can't allocate memory"),
            "lose the device" => Err(RunError::DeviceLost("CUDA error: as asked".to_owned())),
            _ => Ok(()),
        }
    }
}

fn tell(sink: &mut dyn EventSink, event: EditEvent) -> Result<(), RunError> {
    if sink.emit(event).is_break() { Err(RunError::Interrupted) } else { Ok(()) }
}

impl Runner for Script {
    fn model(&self) -> &ModelInfo {
        &self.model
    }

    fn open(&self, task: Task) -> Result<Box<dyn OpenJob + '_>, RunError> {
        Ok(Box::new(ScriptedJob { script: self, task }))
    }
}

impl OpenJob for ScriptedJob<'_> {
    fn localize(&mut self, sink: &mut dyn EventSink) -> Result<Option<Proposal>, RunError> {
        let Task { spec, localization, .. } = &self.task;
        if localization.is_none() {
            let parsed = InstructionParsed {
                action: Action::Change,
                object: "bee".to_owned(),
                object_span: None,
                text: spec.instruction.clone(),
                change: Some(Change::Recolor),
                replacement: "blue".to_owned(),
                color: "blue".to_owned(),
                told: if spec.verbatim { &spec.instruction } else { "make the bee blue" }
                    .to_owned(),
                localization_instruction: String::new(),
            };
            tell(sink, EditEvent::InstructionParsed(parsed))?;
            self.steps(Pass::Localize, spec.localize_steps.unwrap_or(3), sink)?;
        }
        if spec.instruction == "everything" {
            return Ok(None);
        }
        let cluster = |id, score, selected| v1::Cluster { id, score, area: 0.5, selected };
        let word =
            v1::Heatmap { word: "bee".to_owned(), max: 1.0, is_object: true, ..Default::default() };
        let json = localization.clone().unwrap_or_else(|| Bytes::from_static(b"{}"));
        self.task.localization = Some(json.clone());
        Ok(Some(Proposal {
            confidence: Some(0.9),
            json,
            source: v1::LocalizationSource::Pass,
            clusters: vec![cluster(1, 0.9, true), cluster(2, 0.1, false)],
            cluster_map: Some((gray(7), gray(1))),
            heatmaps: vec![(word, gray(9))],
            mask: gray(255),
            area: 0.5,
            covered: None,
        }))
    }

    fn edit(&mut self, mask: MaskChoice, sink: &mut dyn EventSink) -> Result<EditedFile, RunError> {
        let Task { spec, localization, .. } = &self.task;
        let is_given = mask.shapes.is_some() || !mask.clusters.is_empty();
        let is_whole = !is_given && localization.is_none();
        let source = if is_whole { MaskSource::Whole } else { MaskSource::Chosen };
        let used = Mask::from_fn(Size::new(16, 16), |x, _| is_whole || x < 8);
        let settled = EditMask::new(used.clone(), used, source);
        tell(sink, EditEvent::MaskSettled(Arc::new(settled)))?;
        self.steps(Pass::Edit, spec.steps.unwrap_or(3), sink)?;
        // The result tells what it was made of.
        let made_of = mask.clusters.iter().sum::<u8>() + u8::from(mask.shapes.is_some());
        let image = marked(100 + made_of, spec.seed.unwrap_or_default());
        Ok(EditedFile { image, mask: None, goes_on: false, decode: Duration::from_millis(1) })
    }
}

/// A picture of one level, with a seed in its last pixels.
fn marked(level: u8, seed: u64) -> PictureFile {
    let mut pixels = vec![level; 256];
    pixels[248..].copy_from_slice(&seed.to_be_bytes());
    png(&image::GrayImage::from_raw(16, 16, pixels).unwrap())
}

fn gray(level: u8) -> PictureFile {
    png(&image::GrayImage::from_pixel(16, 16, image::Luma([level])))
}

fn png(image: &image::GrayImage) -> PictureFile {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    PictureFile::new(FileFormat::Png, Size::new(16, 16), bytes.into_inner())
}
