//! The loop of an experiment: each item by each method, from one seed, scored.

use std::{ops::ControlFlow, sync::Arc, time::Instant};

use image::RgbImage;
use sha2::{Digest, Sha256};

use crate::edit::{
    choices::{MethodKind, PreviewDecode, Resize, Unparsed},
    edit_mask::MaskChoice,
    event::{EditEvent, LocalizationSource},
    request::EditRequest,
    settings::EditSettings,
};
use crate::editing::{EditError, editor::Editor, session::EditSession};
use crate::evaluation::{
    EvaluationError,
    dataset::{Dataset, Item, Loaded},
    method::{Method, Origin},
    pictures::{ItemPictures, RowPictures},
    score::{Outcome, Scores, Truth},
};
use crate::instruction::{Action, Instruction, Overrides, Phrase, wording};
use crate::picture::{
    resample::{self, Filter},
    size::Size,
};
use crate::sampling::Interrupted;

/// What is to be run.
#[derive(Debug)]
pub struct Plan {
    /// The items.
    pub dataset: Dataset,
    /// The methods.
    pub methods: Vec<&'static Method>,
    /// Settings of every edit; what keeps the rest of the picture is the method's own default.
    pub settings: EditSettings,
    /// What to avoid.
    pub negative_prompt: String,
    /// Every item's seed comes from this and its id.
    pub seed: u64,
}

/// What was run.
#[derive(Debug)]
pub struct Evaluation {
    /// As planned.
    pub plan: Plan,
    /// The items' pictures, in the items' order.
    pub pictures: Vec<ItemPictures>,
    /// One row an edit, item by item.
    pub rows: Vec<Row>,
    /// Whether it was stopped: the items then end with the last one that was begun.
    pub is_interrupted: bool,
}

/// One item by one method.
#[derive(Debug, Clone)]
pub struct Row {
    /// Index of the item.
    pub item: usize,
    /// The method.
    pub method: &'static Method,
    /// The seed of its noise.
    pub seed: u64,
    /// The figures, or why there are none.
    pub scores: Result<Scores, String>,
    /// What the instruction was understood as, in words.
    pub reading: Option<String>,
    /// What was warned of.
    pub warnings: Vec<String>,
    /// For the gallery.
    pub pictures: RowPictures,
}

/// Told after each edit, and at each step so that a run can be stopped.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A denoising step is done.
    Step,
    /// An edit is done.
    Edited {
        /// Edits done.
        done: usize,
        /// Of how many.
        of: usize,
        /// The item.
        item: &'a Item,
        /// What came of it.
        row: &'a Row,
    },
}

/// What makes two edits of an item the same: then the second one is not computed again.
#[derive(Debug, PartialEq)]
struct Recipe {
    kind: MethodKind,
    mask: Origin,
    reading: Option<(Action, Vec<String>)>,
}

/// Runs the plan. An edit that fails is a row that says why, and the others go on; if `progress` breaks, what was made so far
/// is the evaluation.
///
/// # Errors
/// [`EvaluationError::Edit`] if the autoencoder fails, [`EvaluationError::Manifest`] if a file changed since it was checked.
pub fn run(
    editor: &Editor,
    mut plan: Plan,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<Interrupted>,
) -> Result<Evaluation, EvaluationError> {
    let applies = |item: &Item| plan.methods.iter().filter(|it| it.applies_to(item)).count();
    let of = plan.dataset.items.iter().map(applies).sum();
    let (mut rows, mut pictures, mut is_interrupted) = (Vec::new(), Vec::new(), false);
    'items: for (index, item) in plan.dataset.items.iter().enumerate() {
        let path = &plan.dataset.path;
        let at = |fault| EvaluationError::Manifest { path: path.clone(), line: item.line, fault };
        let loaded = item.load().map_err(at)?;
        pictures.push(ItemPictures::of(&loaded));
        let request = request(&plan, item, &loaded);
        let reconstruction = EditSession::new(editor.pipeline(), &request).reconstruction()?;
        let reconstruction = to_size(reconstruction, &loaded.image);
        let truth = Truth { item, pictures: &loaded, reconstruction: &reconstruction };
        let mut made: Vec<(Recipe, Outcome)> = Vec::new();
        for &method in plan.methods.iter().filter(|it| it.applies_to(item)) {
            let mut request = request.clone();
            method.prepare(&mut request, item, &loaded);
            let recipe = Recipe::of(method, &request);
            let same = made.iter().find(|(other, _)| *other == recipe);
            let outcome = match same {
                Some((_, outcome)) => Ok(outcome.clone()),
                None => edit(editor, &request, &loaded, progress),
            };
            let row = match outcome {
                Ok(outcome) => {
                    let row = Row::edited(index, method, &request, &truth, &outcome);
                    made.push((recipe, outcome));
                    row
                }
                Err(EditError::Interrupted(_)) => {
                    is_interrupted = true;
                    break 'items;
                }
                Err(error) => Row::failed(index, method, &request, &error),
            };
            let told = progress(Progress::Edited { done: rows.len() + 1, of, item, row: &row });
            rows.push(row);
            if told.is_break() {
                is_interrupted = true;
                break 'items;
            }
        }
    }
    plan.dataset.items.truncate(pictures.len());
    Ok(Evaluation { plan, pictures, rows, is_interrupted })
}

/// The seed of an item: it stays when other items come or go.
pub fn item_seed(seed: u64, id: &str) -> u64 {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    hasher.update(id.as_bytes());
    let digest = hasher.finalize();
    u64::from(u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]))
}

/// What all methods have in common. The result has the picture's size, or it could not be held against the masks: a
/// native size, which floors the sides, becomes a fit to the longer one.
pub(super) fn request(plan: &Plan, item: &Item, pictures: &Loaded) -> EditRequest {
    let resize = match plan.settings.resize {
        Resize::Native => Resize::Fit(Some(pictures.image.width().max(pictures.image.height()))),
        fit @ Resize::Fit(_) => fit,
    };
    EditRequest {
        image: Arc::clone(&pictures.image),
        instruction: item.instruction.clone(),
        negative_prompt: plan.negative_prompt.clone(),
        method: MethodKind::IamEdit,
        object: None,
        action: None,
        unparsed: Unparsed::PlainEdit,
        seed: item_seed(plan.seed, &item.id),
        settings: EditSettings { resize, ..plan.settings.clone() },
        mask: MaskChoice::default(),
        preview_every: 0,
        preview_decode: PreviewDecode::Linear,
    }
}

/// One edit, timed.
fn edit(
    editor: &Editor,
    request: &EditRequest,
    pictures: &Loaded,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<Interrupted>,
) -> Result<Outcome, EditError> {
    let mut warnings =
        wording::notes(&request.instruction, request.object.as_deref(), &request.negative_prompt);
    let (mut parsed, mut is_kept) = (None, false);
    let mut sink = |event: EditEvent| {
        match event {
            EditEvent::InstructionParsed(it) => parsed = Some(it),
            EditEvent::Warning(warning) => warnings.push(warning.message),
            EditEvent::StepDone(_) => return progress(Progress::Step),
            EditEvent::Localized(_, source) => is_kept = source == LocalizationSource::Cache,
            EditEvent::MaskSettled(_) => {}
        }
        ControlFlow::Continue(())
    };
    let started = Instant::now();
    let (mut localization, mut localize_seconds) = (None, None);
    if request.needs_localization() {
        localization = editor.localize(request, &mut sink)?;
        localize_seconds = Some(started.elapsed().as_secs_f64());
    }
    let edited = editor.edit_uncomposited(request, localization.as_deref(), &mut sink)?;
    let seconds = started.elapsed().as_secs_f64();
    let uncomposited = to_size(edited.image, &pictures.image);
    // As `Preserve::Pixel` does; so one run gives both pictures.
    let result = match &edited.mask {
        Some(mask) => mask.composite(&uncomposited, &pictures.image),
        None => uncomposited.clone(),
    };
    let mask = edited.mask;
    Ok(Outcome {
        result,
        uncomposited,
        mask,
        localization,
        parsed,
        warnings,
        // What was found before took no pass to be timed.
        localize_seconds: localize_seconds.filter(|_| !is_kept),
        seconds,
    })
}

/// A picture at the size of the item, where the model gave another one.
fn to_size(image: RgbImage, like: &RgbImage) -> RgbImage {
    if image.dimensions() == like.dimensions() {
        return image;
    }
    resample::resize_rgb(&image, size_of(like), Filter::Lanczos)
}

fn size_of(image: &RgbImage) -> Size {
    Size::new(image.width(), image.height())
}

impl Recipe {
    fn of(method: &Method, request: &EditRequest) -> Self {
        let overrides = Overrides { object: request.object.as_deref(), action: request.action };
        let reading = request.needs_localization().then(|| {
            let read = Instruction::parse_with(&request.instruction, overrides).ok()?;
            let objects = read.objects().iter().map(Phrase::text).map(str::to_owned).collect();
            Some((read.action(), objects))
        });
        Self { kind: method.kind, mask: method.mask, reading: reading.flatten() }
    }
}

impl Row {
    fn edited(
        item: usize,
        method: &'static Method,
        request: &EditRequest,
        truth: &Truth<'_>,
        outcome: &Outcome,
    ) -> Self {
        let reading = outcome.parsed.as_ref().map(|it| {
            let object = if it.object.is_empty() { "the whole picture" } else { &it.object };
            format!("{} {object}", it.action)
        });
        Self {
            item,
            method,
            seed: request.seed,
            scores: Ok(truth.score(method, outcome)),
            reading,
            warnings: outcome.warnings.clone(),
            pictures: RowPictures::of(truth.pictures, outcome),
        }
    }

    fn failed(
        item: usize,
        method: &'static Method,
        request: &EditRequest,
        error: &EditError,
    ) -> Self {
        Self {
            item,
            method,
            seed: request.seed,
            scores: Err(error.to_string()),
            reading: None,
            warnings: Vec::new(),
            pictures: RowPictures::default(),
        }
    }
}
