//! Runs an evaluation: every item with every method, with fixed seeds.

use std::{ops::ControlFlow, sync::Arc, time::Instant};

use sha2::{Digest, Sha256};

use crate::edit::{
    choices::{MethodKind, PreviewDecode, Resize, Unparsed},
    edit_mask::{EditMask, MaskChoice},
    event::{EditEvent, InstructionParsed, LocalizationSource},
    request::EditRequest,
    settings::EditSettings,
};
use crate::editing::{EditError, editor::Editor};
use crate::evaluation::{
    EvaluationError,
    dataset::{Dataset, Item, LoadedItem},
    method::{Localizing, Method, Origin},
    pictures::{ItemPictures, RowPictures},
    score::{EvaluatedEdit, Scores, Truth},
};
use crate::instruction::{Action, Instruction, Overrides, Phrase, wording};
use crate::sampling::Interrupted;

/// What to run.
#[derive(Debug)]
pub struct Plan {
    /// The items.
    pub dataset: Dataset,
    /// The methods.
    pub methods: Vec<&'static Method>,
    /// Settings of every edit; [`crate::edit::choices::Preserve`] is the method's default.
    pub settings: EditSettings,
    /// Negative prompt.
    pub negative_prompt: String,
    /// Whether the model is told each instruction as it was written.
    pub verbatim: bool,
    /// Base seed; each item's seed is derived from it and the item's id.
    pub seed: u64,
}

/// Result of a run.
#[derive(Debug)]
pub struct Evaluation {
    /// The plan.
    pub plan: Plan,
    /// Thumbnails of the items, in order.
    pub pictures: Vec<ItemPictures>,
    /// One row per edit, grouped by item.
    pub rows: Vec<Row>,
    /// Whether the run was stopped; then the items end with the last one begun.
    pub is_interrupted: bool,
}

/// Result of one item with one method.
#[derive(Debug, Clone)]
pub struct Row {
    /// Index of the item.
    pub item: usize,
    /// The method.
    pub method: &'static Method,
    /// Seed of the noise.
    pub seed: u64,
    /// The method that made the very same computation before, whose result this is, too.
    pub same_as: Option<&'static Method>,
    /// The metrics, or the error.
    pub scores: Result<Scores, String>,
    /// Description of the parsed instruction.
    pub reading: Option<String>,
    /// Warnings.
    pub warnings: Vec<String>,
    /// Thumbnails.
    pub pictures: RowPictures,
}

/// Progress, reported after each edit, and at each step so that a run can be stopped.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A denoising step finished.
    Step,
    /// An edit finished.
    Edited {
        /// Number of edits done.
        done: usize,
        /// Total number of edits.
        of: usize,
        /// The item.
        item: &'a Item,
        /// Its result.
        row: &'a Row,
    },
}

/// Key of an edit: edits of an item with the same key are computed once.
#[derive(Debug, PartialEq)]
struct Recipe {
    kind: MethodKind,
    mask: Origin,
    localizing: Localizing,
    reading: Option<(Action, Vec<String>)>,
}

/// Runs the plan. A failed edit becomes a row with its error, and the others continue. If `progress` stops the run, the
/// edits made so far are returned.
///
/// # Errors
/// [`EvaluationError::Edit`] if the VAE fails, [`EvaluationError::Manifest`] if a file changed since it was checked.
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
        let reconstruction = editor.open(request.clone()).reconstruction()?.clone();
        let truth = Truth { item, pictures: &loaded, reconstruction: &reconstruction };
        let mut made: Vec<(Recipe, &'static Method, EvaluatedEdit)> = Vec::new();
        for &method in plan.methods.iter().filter(|it| it.applies_to(item)) {
            let mut request = request.clone();
            method.prepare(&mut request, item, &loaded);
            let recipe = Recipe::of(method, &request);
            let same = made.iter().find(|(other, ..)| *other == recipe);
            let same_as = same.map(|(_, method, _)| *method);
            let outcome = match same {
                Some((.., outcome)) => Ok(outcome.clone()),
                None => edit(editor, &request, progress),
            };
            let row = match outcome {
                Ok(outcome) => {
                    let row = Row::edited(index, method, &request, &truth, &outcome);
                    made.push((recipe, method, outcome));
                    Row { same_as, ..row }
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

/// The seed of an item, independent of other items.
pub fn item_seed(seed: u64, id: &str) -> u64 {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    hasher.update(id.as_bytes());
    let digest = hasher.finalize();
    u64::from(u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]))
}

/// The request shared by all methods. The result must have the picture's size to be compared with the masks, so a
/// native size, which rounds the sides, becomes a fit to the longer side.
pub(super) fn request(plan: &Plan, item: &Item, pictures: &LoadedItem) -> EditRequest {
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
        verbatim: plan.verbatim,
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
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<Interrupted>,
) -> Result<EvaluatedEdit, EditError> {
    let mut warnings =
        wording::notes(&request.instruction, request.object.as_deref(), &request.negative_prompt);
    let (mut parsed, mut is_kept) = (None, false);
    let mut sink = |event: EditEvent| {
        match event {
            // Of several parts the first is scored against what the manifest says of object and action.
            EditEvent::InstructionParsed(it) => _ = parsed.get_or_insert(it),
            EditEvent::Warning(warning) => warnings.push(warning.message),
            EditEvent::StepDone(_) => return progress(Progress::Step),
            EditEvent::Localized(_, source) => is_kept = source == LocalizationSource::Cache,
            EditEvent::MaskSettled(_) | EditEvent::DriftTold(_) | EditEvent::PartStarted(..) => {}
        }
        ControlFlow::Continue(())
    };
    let started = Instant::now();
    let (mut localization, mut localize_seconds) = (None, None);
    let mut masks = Vec::new();
    let mut edit = editor.open(request.clone());
    let (result, uncomposited) = loop {
        if request.needs_localization() {
            let began = Instant::now();
            let found = edit.localize(&mut sink)?;
            localization = localization.or(found);
            *localize_seconds.get_or_insert(0.0) += began.elapsed().as_secs_f64();
        }
        let edited = edit.edit_uncomposited(&mut sink)?;
        let uncomposited = edited.image;
        // As `Preserve::Pixel` does; so one run gives both pictures.
        let result = match &edited.mask {
            Some(mask) => edit.composite(&uncomposited, mask)?,
            None => uncomposited.clone(),
        };
        masks.push(edited.mask);
        match edit.next(&result) {
            Some(next) => edit = next,
            None => break (result, uncomposited),
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    Ok(EvaluatedEdit {
        result,
        uncomposited,
        mask: EditMask::of_parts(masks),
        localization,
        parsed,
        warnings,
        // What was found before took no pass to be timed.
        localize_seconds: localize_seconds.filter(|_| !is_kept),
        seconds,
    })
}

impl Recipe {
    fn of(method: &Method, request: &EditRequest) -> Self {
        let overrides = Overrides { object: request.object.as_deref(), action: request.action };
        let reading = request.needs_localization().then(|| {
            let read = Instruction::parse_with(&request.instruction, overrides).ok()?;
            let objects = read.objects().iter().map(Phrase::text).map(str::to_owned).collect();
            Some((read.action(), objects))
        });
        let reading = reading.flatten();
        Self { kind: method.kind, mask: method.mask, localizing: method.localizing, reading }
    }
}

impl Row {
    fn edited(
        item: usize,
        method: &'static Method,
        request: &EditRequest,
        truth: &Truth<'_>,
        outcome: &EvaluatedEdit,
    ) -> Self {
        Self {
            item,
            method,
            seed: request.seed,
            same_as: None,
            scores: Ok(truth.score(method, outcome)),
            reading: outcome.parsed.as_ref().map(InstructionParsed::in_short),
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
            same_as: None,
            scores: Err(error.to_string()),
            reading: None,
            warnings: Vec::new(),
            pictures: RowPictures::default(),
        }
    }
}
