//! An instruction that asks for several edits: made in parts, one after the other, each in a mask of its own.

use std::{fs, ops::ControlFlow, path::Path, sync::Arc};

use image::RgbImage;
use retouch::{
    edit::{
        edit_mask::EditMask,
        event::{EditEvent, InstructionParsed, WarningReason},
        parts::{self, PartsError},
        request::EditRequest,
        settings::EditSettings,
    },
    editing::editor::Editor,
    instruction::Action,
    picture::{boxes::PixelBox, mask::Mask, size::Size},
};
use tch::Kind;

use crate::support::{edit_request, fixtures, load_pipeline};

const INSTRUCTION: &str = "remove the cross, then paint the circle red";

fn editor() -> (Editor, EditSettings) {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo-model");
    let json = fs::read_to_string(model.join("retouch.json")).unwrap();
    let mut settings = EditSettings::recommended(&json).unwrap();
    settings.steps = 4.try_into().unwrap();
    settings.localize_steps = 4.try_into().unwrap();
    (Editor::new(Box::new(load_pipeline(&model, Kind::Float)), None), settings)
}

fn scene() -> RgbImage {
    image::open(fixtures().join("scenes/two-edits.png")).unwrap().to_rgb8()
}

/// What an edit emitted, and its result.
struct Ran {
    image: RgbImage,
    mask: Arc<EditMask>,
    parts: Vec<(usize, usize, String)>,
    begun: Vec<Arc<RgbImage>>,
    parsed: Vec<InstructionParsed>,
    masks: Vec<Arc<EditMask>>,
    corrected: Vec<String>,
}

fn run(editor: &Editor, request: &EditRequest) -> Ran {
    let (mut parts, mut begun, mut parsed, mut masks, mut corrected) =
        (vec![], vec![], vec![], vec![], vec![]);
    let mut sink = |event: EditEvent| {
        match event {
            EditEvent::PartStarted(part, image) => {
                parts.push((part.number, part.of, part.instruction));
                begun.push(image);
            }
            EditEvent::InstructionParsed(it) => parsed.push(it),
            EditEvent::MaskSettled(it) => masks.push(it),
            EditEvent::Warning(it) if it.reason == WarningReason::SpellingCorrected => {
                corrected.push(it.message);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    };
    let edited = editor.edit(request, &mut sink).unwrap();
    let (image, mask) = (edited.image, edited.mask.unwrap());
    Ran { image, mask, parts, begun, parsed, masks, corrected }
}

fn is_in(mask: &Mask, x: u32, y: u32) -> bool {
    mask.as_image().get_pixel(x, y)[0] > 0
}

#[test]
fn each_part_edits_the_picture_of_the_one_before_it_in_its_own_mask() {
    let (editor, settings) = editor();
    let source = scene();
    let request = edit_request(&source, INSTRUCTION, settings);
    let ran = run(&editor, &request);
    let expected =
        [(1, 2, "remove the cross".to_owned()), (2, 2, "paint the circle red".to_owned())];
    assert_eq!(ran.parts, expected);
    let told: Vec<&str> = ran.parsed.iter().map(|it| it.told.as_str()).collect();
    assert_eq!(told, ["remove the cross", "paint the circle red"]);

    // The same as one edit after the other.
    let one = EditRequest { instruction: "remove the cross".to_owned(), ..request.clone() };
    let first = editor.edit(&one, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(*ran.begun[1] == first.image && *ran.begun[0] == source);
    let other = EditRequest {
        image: Arc::new(first.image),
        instruction: "paint the circle red".to_owned(),
        ..request
    };
    let second = editor.edit(&other, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(ran.image == second.image, "another picture than of two edits");

    // Outside both masks every pixel is the input's, and the whole edit's mask is theirs.
    let [cross, circle] = &ran.masks[..] else { panic!("{} masks", ran.masks.len()) };
    assert_ne!(cross.full(), circle.full());
    for (x, y, pixel) in source.enumerate_pixels() {
        let edited = is_in(cross.full(), x, y) || is_in(circle.full(), x, y);
        assert_eq!(is_in(ran.mask.full(), x, y), edited);
        assert!(edited || pixel == ran.image.get_pixel(x, y), "changed at {x}, {y}");
    }
}

#[test]
fn a_mask_that_the_caller_gives_holds_for_each_part() {
    let (editor, settings) = editor();
    let source = scene();
    let mut request = edit_request(&source, INSTRUCTION, settings);
    let size = Size::new(source.width(), source.height());
    let given = Mask::from_boxes(size, &[PixelBox { x0: 4, y0: 4, x1: 60, y1: 40 }]);
    request.mask.shapes = Some(given.clone());
    let ran = run(&editor, &request);
    assert_eq!(ran.parts.len(), 2);
    assert!(ran.masks.iter().all(|it| *it.full() == given));
}

#[test]
fn misspelled_words_of_several_parts_are_told_once() {
    let (editor, settings) = editor();
    let typed = "remvoe the cross, then paint the crcle red";
    let ran = run(&editor, &edit_request(&scene(), typed, settings));
    assert_eq!(ran.corrected, ["`remvoe` is read as `remove`", "`crcle` is read as `circle`"]);
}

#[test]
fn a_caller_who_says_what_is_edited_or_how_it_is_told_asks_for_one_edit() {
    let (_, settings) = editor();
    let request = edit_request(&scene(), INSTRUCTION, settings);
    let count = |request: EditRequest| request.parts().len();
    assert_eq!(count(request.clone()), 2);
    assert_eq!(count(EditRequest { verbatim: true, ..request.clone() }), 1);
    assert_eq!(count(EditRequest { object: Some("the cross".to_owned()), ..request.clone() }), 1);
    assert_eq!(count(EditRequest { action: Some(Action::Remove), ..request.clone() }), 1);
    let alone = EditRequest { instruction: "make the str blue".to_owned(), ..request };
    assert_eq!(alone.parts()[0].instruction, "make the str blue", "told as it was written");
}

#[test]
fn too_many_edits_and_what_belongs_to_one_of_them_are_refused_with_their_texts() {
    let two = parts::parts(INSTRUCTION, false);
    assert_eq!(parts::check(&two, None), Ok(()));
    let message = parts::check(&two, Some("--clusters")).unwrap_err().to_string();
    let expected = "asks for 2 edits one after the other, and --clusters belongs to one; send them one at a time: \
                    `remove the cross`, `paint the circle red`";
    assert_eq!(message, expected);
    assert_eq!(parts::check(&parts::parts("remove the cross", false), Some("--clusters")), Ok(()));
    let nouns = ["bee", "cup", "dog", "cat", "hat", "car", "tree", "star", "heart"];
    let many = nouns.map(|it| format!("make the {it} red")).join(", then ");
    assert_eq!(parts::check(&parts::parts(&many, false), None), Err(PartsError::TooMany(9)));
}

#[test]
fn a_later_part_speaks_of_what_the_earlier_one_made() {
    let texts = |text: &str| -> Vec<String> {
        parts::parts(text, false).into_iter().map(|it| it.instruction).collect()
    };
    for (text, expected) in [
        (
            "change the dog to a cat and make it black",
            ["change the dog to a cat", "make the cat black"],
        ),
        (
            "make the red star blue and make it bigger",
            ["make the red star blue", "make the blue star bigger"],
        ),
        ("add a hat to the man and make it red", ["add a hat to the man", "make the hat red"]),
        (
            "make the house bigger and paint it white",
            ["make the house bigger", "paint the house white"],
        ),
    ] {
        assert_eq!(texts(text), expected, "{text}");
    }
}

#[test]
fn everything_but_a_thing_is_edited_and_the_thing_stays() {
    let (editor, settings) = editor();
    let source = scene();
    let request = edit_request(&source, "make everything except the circle red", settings.clone());
    let ran = run(&editor, &request);
    assert_eq!(ran.parsed[0].object, "everything except the circle");
    assert_eq!(ran.parsed[0].told, "make everything red");
    let circle = run(&editor, &edit_request(&source, "make the circle red", settings));
    let spared = circle.mask.found();
    for (x, y, pixel) in source.enumerate_pixels() {
        assert_ne!(is_in(ran.mask.full(), x, y), is_in(spared, x, y));
        assert!(!is_in(spared, x, y) || pixel == ran.image.get_pixel(x, y));
    }
}
