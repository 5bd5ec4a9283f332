//! What a model is told of an instruction: its own phrasing of what was understood, or the text as it was written.

use std::{
    ops::ControlFlow,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use image::RgbImage;
use retouch::{
    attention::role::Role,
    edit::{
        choices::{MethodKind, Preset, Unparsed},
        edit_mask::MaskChoice,
        event::{EditEvent, InstructionParsed, WarningReason},
        localizer::Localizer,
        overrides::EditOverrides,
        request::EditRequest,
        settings::EditSettings,
        understood::Understood,
    },
    editing::editor::Editor,
    instruction::{
        Action, Instruction,
        change::Change,
        wording::{Use, Wording},
    },
    models::snapshot::Snapshot,
    picture::{boxes::PixelBox, mask::Mask, size::Size},
    pipelines::BatchPipeline,
};
use tch::{Kind, Tensor};

use crate::support::{Spied, edit_request, load_pipeline};

fn demo_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo-model")
}

fn settings() -> EditSettings {
    let snapshot = Snapshot::open(&demo_model()).unwrap();
    let mut settings = EditSettings::recommended(snapshot.retouch_json().unwrap()).unwrap();
    settings.steps = 1.try_into().unwrap();
    settings.localize_steps = 1.try_into().unwrap();
    settings
}

fn request(instruction: &str) -> EditRequest {
    let picture = RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8 * 3, y as u8 * 3, 90]));
    edit_request(&picture, instruction, settings())
}

fn told(request: &EditRequest) -> String {
    Understood::of(request).told.text
}

// === the text ===

#[test]
fn a_model_is_told_what_was_understood_in_its_own_phrasing() {
    for (typed, expected) in [
        ("could you please make the star blue?", "make the star blue"),
        ("I'd like the circle gone", "remove the circle"),
        ("dye the purple triangle green", "make the purple triangle green"),
        ("make the trianlge prple", "make the triangle purple"),
        ("I want the heart to be a red cross instead", "change the heart to a red cross"),
        ("make the heart the same color as the red star", "make the heart red"),
        ("make the heart as red as the star", "make the heart red"),
        ("stick a white star next to the house, thanks", "add a white star next to the house"),
    ] {
        assert_eq!(told(&request(typed)), expected, "{typed}");
        assert_eq!(told(&EditRequest { verbatim: true, ..request(typed) }), typed);
    }
}

#[test]
fn the_phrasings_that_the_demo_model_was_taught_are_told_as_they_are() {
    let manifest = demo_model().with_file_name("heldout").join("manifest.jsonl");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    let items = manifest.lines().map(|it| serde_json::from_str::<serde_json::Value>(it).unwrap());
    let mut count = 0;
    for item in items {
        let typed = item["instruction"].as_str().unwrap();
        assert_eq!(told(&request(typed)), typed);
        count += 1;
    }
    assert_eq!(count, 200);
}

#[test]
fn what_no_template_says_is_told_without_courtesies() {
    for (typed, expected) in [
        // Two edits, an edit of the whole picture, another look, a color by comparison.
        (
            "please make the star blue and remove the circle",
            "make the star blue and remove the circle",
        ),
        ("could you make it snow?", "make it snow"),
        ("please make the dog bigger", "make the dog bigger"),
        ("make the heart the same color as the star", "make the heart the same color as the star"),
        // What was not understood stays as it is.
        ("colorless green ideas, please", "colorless green ideas, please"),
    ] {
        assert_eq!(told(&request(typed)), expected, "{typed}");
    }
}

#[test]
fn of_an_exception_what_happens_to_all_else_is_told() {
    for (typed, expected) in [
        ("make everything except the star blue", "make everything blue"),
        ("Except for the cat, remove everything", "remove everything"),
        ("keep the cat. Remove everything else.", "Remove everything else."),
        ("make everything grey but leave the cat alone", "make everything grey"),
        ("Make everything, apart from the left tree, yellow", "Make everything yellow"),
    ] {
        assert_eq!(told(&request(typed)), expected, "{typed}");
    }
}

#[test]
fn a_caller_who_says_that_the_text_is_misread_has_it_told_as_it_is() {
    let typed = "dye the purple star green";
    let named = |object: Option<&str>, action| {
        let object = object.map(str::to_owned);
        told(&EditRequest { object, action, ..request(typed) })
    };
    assert_eq!(named(None, None), "make the purple star green");
    assert_eq!(named(Some("the star"), Some(Action::Change)), "make the purple star green");
    assert_eq!(named(Some("the house"), None), typed);
    assert_eq!(named(None, Some(Action::Remove)), typed);
}

#[test]
fn a_model_without_templates_is_told_plain_commands_as_they_are() {
    let paper = |text: &str| EditRequest { settings: EditSettings::paper(), ..request(text) };
    assert_eq!(told(&paper("could you please dye the star blue?")), "dye the star blue");
    let tables = [
        include_str!("../fixtures/instructions.tsv"),
        include_str!("../fixtures/instructions_unseen.tsv"),
    ];
    let lines = tables.iter().flat_map(|it| it.lines()).filter(|it| !it.starts_with('#'));
    let polite =
        ["please", "pls", "plz", "thank", "thx", "cheers", "if ", "you", "would be", "asap"];
    let mut plain = 0;
    for typed in lines.filter_map(|it| it.split('\t').next()).filter(|it| !it.is_empty()) {
        let lower = typed.to_lowercase();
        let first = lower.split(' ').next().unwrap_or_default();
        let is_plain = VERBS.split(' ').any(|it| it == first)
            && !polite.iter().any(|it| lower.contains(it))
            && Instruction::parse(typed)
                .is_ok_and(|it| it.corrections().is_empty() && !it.spares_objects());
        if !is_plain {
            continue;
        }
        assert_eq!(told(&paper(typed)), Wording::of(typed, Use::Instruction).text);
        plain += 1;
    }
    assert!(plain > 300, "{plain}");
}

/// First words of plain commands.
const VERBS: &str = "change make turn replace swap transform convert add put draw insert place remove delete erase take \
    get paint color colour dye give dress recolor move cut wipe have let set create show include hide";

#[test]
fn a_preset_keeps_the_models_wordings() {
    let paper = EditOverrides::default().over(&settings(), Some(Preset::Paper));
    assert_eq!(paper.templates, settings().templates);
    assert_ne!(paper.templates, EditSettings::paper().templates);
}

#[test]
fn a_wording_that_cannot_be_is_refused_by_its_key() {
    for (json, word) in [
        (r#"{"edit_instruction": {"change": "change {object}"}}"#, "`{replacement}`"),
        (r#"{"edit_instruction": {"remove": ["remove {object}", "erase {it}"]}}"#, "`{it}`"),
        (r#"{"edit_instruction": {"add": "add {object"}}"#, "brace"),
        (r#"{"edit_instruction": {"recolour": "make {object} {color}"}}"#, "`recolour`"),
        (r#"{"edit_instruction": {"remove": 3}}"#, "a template or a list"),
        (r#"{"edit_instruction": "remove {object}"}"#, "expected an object of templates"),
    ] {
        let message = EditSettings::recommended(json).unwrap_err().to_string();
        assert!(message.starts_with("retouch.json: edit_instruction"), "{json}: {message}");
        assert!(message.contains(word), "{json}: {message}");
    }
}

#[test]
fn the_wordings_are_no_part_of_a_models_digest() {
    let digest = |folder: &Path| Snapshot::open(folder).unwrap().digest().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path();
    for entry in std::fs::read_dir(demo_model()).unwrap().map(Result::unwrap) {
        if entry.file_name() != "retouch.json" {
            symlink(entry.path(), copy.join(entry.file_name())).unwrap();
        }
    }
    let settings = std::fs::read_to_string(demo_model().join("retouch.json")).unwrap();
    let other: Vec<&str> = settings.lines().filter(|it| !it.contains("edit_instruction")).collect();
    assert_eq!(other.len() + 1, settings.lines().count(), "they stand on one line");
    std::fs::write(copy.join("retouch.json"), other.join("\n") + "\n").unwrap();
    assert_eq!(digest(copy), digest(&demo_model()));
}

// === the model ===

/// What an edit's events said, and the prompt of each call of the U-Net: its hidden states.
struct Run {
    parsed: Vec<InstructionParsed>,
    warnings: Vec<(WarningReason, String)>,
    prompts: Vec<Tensor>,
}

fn run(request: &EditRequest) -> (Editor, Run) {
    let prompts = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&prompts);
    let model = Spied::new(load_pipeline(&demo_model(), Kind::Float), move |model, calls| {
        let prompt = |rows: &Tensor| rows.narrow(0, 0, 1).copy();
        noted.lock().unwrap().extend(calls.iter().map(|it| prompt(it.conditioning.prompts())));
        model.predict_noises(calls)
    });
    let editor = Editor::new(Box::new(model), None);
    let (mut parsed, mut warnings) = (vec![], vec![]);
    let edited = editor.edit(request, &mut |event| {
        match event {
            EditEvent::InstructionParsed(it) => parsed.push(it),
            EditEvent::Warning(it) => warnings.push((it.reason, it.message)),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    edited.unwrap();
    let prompts = prompts.lock().unwrap().iter().map(Tensor::copy).collect();
    (editor, Run { parsed, warnings, prompts })
}

/// Whether the last call of an edit, and its first, had these prompts.
fn assert_prompts(request: &EditRequest, first: &str, last: &str) {
    let (editor, Run { prompts, .. }) = run(request);
    let of = |text: &str| {
        let conditioning = editor.pipeline().condition(text, "", &request.image, &[Role::Text]);
        conditioning.unwrap().prompts().copy()
    };
    assert_ne!(of(first), of("make the star blue now"), "the test can tell prompts apart");
    assert!(prompts.first().unwrap().equal(&of(first)), "first: {first}");
    assert!(prompts.last().unwrap().equal(&of(last)), "last: {last}");
}

#[test]
fn both_passes_read_what_was_understood() {
    let typed = "could you please dye the purple star green?";
    let told = "make the purple star green";
    // Pass 1 of a change is worded by the localization instruction.
    let (_, Run { parsed, .. }) = run(&request(typed));
    let localized = &parsed[0].localization_instruction;
    assert!(localized.starts_with("change the purple star to a "), "{localized}");
    assert_prompts(&request(typed), localized, told);
    assert_prompts(&EditRequest { verbatim: true, ..request(typed) }, localized, typed);
    let (_, Run { parsed, .. }) =
        run(&request("please exchange that purple star out there for a heart"));
    assert_eq!(parsed[0].told, "change the purple star to a heart");
    let localized = &parsed[0].localization_instruction;
    assert!(localized.starts_with("change the purple star to a "), "{localized}");
    // An addition is localized by what is told.
    let adding = "I'd like a white star next to the house";
    let told = "add a white star next to the house";
    assert_prompts(&request(adding), told, told);
    assert_prompts(&EditRequest { verbatim: true, ..request(adding) }, adding, adding);
    // So are noise differences, and the plain backbone has one pass.
    let told = "make the purple star green";
    let mut differing = request(typed);
    differing.settings.localizer = Localizer::NoiseDifference;
    assert_prompts(&differing, told, told);
    let plain = EditRequest { method: MethodKind::InstructPix2Pix, ..request(typed) };
    assert_prompts(&plain, told, told);
}

#[test]
fn the_words_of_an_addition_are_found_in_what_is_told() {
    let typed = "I'd like a small whtie star next to the house, please";
    for (verbatim, words) in
        [(false, ["small", "white", "star"]), (true, ["small", "whtie", "star"])]
    {
        let request = EditRequest { verbatim, ..request(typed) };
        let editor = Editor::new(Box::new(load_pipeline(&demo_model(), Kind::Float)), None);
        let mut open = editor.open(request);
        let found = open.localize(&mut |_| ControlFlow::Continue(())).unwrap().unwrap();
        let objects = found.words.iter().filter(|it| it.is_object);
        assert_eq!(objects.map(|it| it.word.as_str()).collect::<Vec<_>>(), words);
    }
}

#[test]
fn what_was_understood_is_shown_once_with_each_corrected_word() {
    let typed = "make the trianlge prple, please";
    let size = Size::new(64, 64);
    let half = Mask::from_boxes(size, &[PixelBox { x0: 0, y0: 0, x1: 32, y1: 64 }]);
    let given = MaskChoice { shapes: Some(half), ..MaskChoice::default() };
    for request in [
        request(typed),
        EditRequest { mask: given, ..request(typed) },
        EditRequest { method: MethodKind::InstructPix2Pix, ..request(typed) },
    ] {
        let (_, Run { parsed, warnings, .. }) = run(&request);
        let [parsed] = &parsed[..] else { panic!("{parsed:?}") };
        assert_eq!((parsed.action, parsed.change), (Action::Change, Some(Change::Recolor)));
        assert_eq!((&*parsed.replacement, &*parsed.color), ("purple", "purple"));
        assert_eq!(parsed.text, "make the triangle purple, please");
        assert_eq!(parsed.told, "make the triangle purple");
        let spelled = warnings.iter().filter(|it| it.0 == WarningReason::SpellingCorrected);
        let spelled: Vec<&str> = spelled.map(|it| it.1.as_str()).collect();
        assert_eq!(spelled, ["`trianlge` is read as `triangle`", "`prple` is read as `purple`"]);
    }
    // What cannot be read is told as it is, and a warning says so.
    let (_, Run { parsed, warnings, .. }) =
        run(&EditRequest { unparsed: Unparsed::PlainEdit, ..request("colorless green ideas") });
    assert!(parsed.is_empty() && warnings.iter().any(|it| it.0 == WarningReason::NotParsed));
}
