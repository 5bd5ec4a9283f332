//! The parts of an instruction that are typed: steps, places, kinds of change, corrections, a model's own wording.

use retouch::instruction::templates::{
    EditTemplateError, EditTemplates, TemplateTexts, edit_instruction,
};
use retouch::instruction::{
    Instruction, Overrides, Phrase,
    area::Area,
    change::Change,
    place::{CountedFrom, PlaceKind, Relation},
    steps::Step,
};

fn parse(text: &str) -> Instruction {
    Instruction::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn steps(text: &str) -> Vec<String> {
    let steps = Instruction::parse_all(text).unwrap_or_else(|error| panic!("{error}"));
    steps.iter().map(|it| it.instruction.text().to_owned()).collect()
}

// === steps ===

#[test]
fn each_edit_of_a_text_is_a_step_that_says_the_whole_of_it() {
    for (text, expected) in [
        (
            "make the star blue and remove the circle",
            vec!["make the star blue", "remove the circle"],
        ),
        ("paint the car red and the house blue", vec!["paint the car red", "paint the house blue"]),
        (
            "make the house bigger and paint it white",
            vec!["make the house bigger", "paint the house white"],
        ),
        ("add a hat to the man and make it red", vec!["add a hat to the man", "make the hat red"]),
        (
            "Please remove the cup. Also add a cat on the sofa.",
            vec!["remove the cup", "add a cat on the sofa"],
        ),
        ("1. remove the bin 2. make the door green", vec!["remove the bin", "make the door green"]),
    ] {
        assert_eq!(steps(text), expected, "{text}");
    }
}

#[test]
fn a_thing_in_the_place_of_another_is_one_change() {
    for text in [
        "remove the cat and put a dog in its place",
        "take away the cat and put a dog there instead",
        "delete the cat and replace it with a dog",
        "I don't want the cat, I want a dog",
    ] {
        let read = parse(text);
        assert_eq!(
            (read.change(), read.replacement()),
            (Some(Change::Replace), Some("a dog")),
            "{text}"
        );
        assert_eq!(steps(text), [text], "{text}");
    }
}

#[test]
fn a_step_knows_where_it_stands_in_the_text() {
    let text = "first make the star blue, then remove the circle";
    let found = Instruction::parse_all(text).unwrap();
    let spans: Vec<&str> = found.iter().map(|it| &text[it.span.clone()]).collect();
    assert_eq!(spans, ["make the star blue", "remove the circle"]);
    let [Step { instruction, span }] = &*Instruction::parse_all("remove the cat").unwrap() else {
        panic!("one step")
    };
    assert_eq!((instruction, span.clone()), (&parse("remove the cat"), 0..14));
}

// === places ===

#[test]
fn a_place_is_typed_and_no_part_of_the_name() {
    let house = |text: &str| {
        let read = parse(text);
        assert_eq!(read.objects()[0].name(), "house", "{text}");
        read.place().unwrap_or_else(|| panic!("`{text}` has a place")).kind().clone()
    };
    assert_eq!(house("remove the left house"), PlaceKind::Area(Area::Left));
    assert_eq!(
        house("remove the house in the upper right corner"),
        PlaceKind::Area(Area::TopRight)
    );
    assert_eq!(house("remove the topmost house"), PlaceKind::Area(Area::Top));
    let from = CountedFrom::Side(Area::Right);
    assert_eq!(house("remove the second house from the right"), PlaceKind::Nth { nth: 2, from });
    let last = PlaceKind::Nth { nth: 1, from: CountedFrom::End };
    assert_eq!(house("make the last house red"), last);
    for (text, expected) in [
        ("make the house under the bridge red", Relation::Below),
        ("make the house to the left of the bridge red", Relation::LeftOf),
        ("make the house that stands next to the bridge red", Relation::Beside),
    ] {
        let PlaceKind::Landmark { relation, landmark } = house(text) else { panic!("a landmark") };
        assert_eq!((relation, landmark.name()), (expected, "bridge"), "{text}");
    }
}

#[test]
fn where_an_addition_comes_is_its_place() {
    for (text, words, landmark) in [
        ("place a rug under the coffee table", "under", "coffee table"),
        ("put a small purple square next to the star", "next to", "star"),
        ("give the old dog a rug", "to", "old dog"),
        ("on the big table, put a rug", "on", "big table"),
    ] {
        let read = parse(text);
        let place = read.place().unwrap_or_else(|| panic!("`{text}` has a place"));
        assert_eq!(place.relation_words(), words, "{text}");
        assert_eq!(place.landmark().map(Phrase::name), Some(landmark), "{text}");
    }
}

// === kinds of change ===

#[test]
fn a_change_is_of_color_of_thing_or_of_look() {
    for (text, expected, becomes) in [
        ("dye the pink dress emerald green", Change::Recolor, "emerald green"),
        (
            "make the circle the same colour as the star",
            Change::Recolor,
            "the same colour as the star",
        ),
        ("give the wall a coat of white paint", Change::Recolor, "white"),
        ("make the bananas blue instead of yellow", Change::Recolor, "blue"),
        ("change the apple to an orange", Change::Replace, "an orange"),
        ("change the bee to granada", Change::Replace, "granada"),
        ("turn the horses into zebras", Change::Replace, "zebras"),
        ("make the dog bigger", Change::Alter, "bigger"),
        ("make the table out of stone", Change::Alter, "stone"),
    ] {
        let read = parse(text);
        assert_eq!((read.change(), read.replacement()), (Some(expected), Some(becomes)), "{text}");
        assert_eq!(read.color().is_some(), expected == Change::Recolor, "{text}");
    }
    assert_eq!(parse("remove the dog").change(), None);
}

#[test]
fn what_describes_an_object_is_told_by_kind() {
    let star = parse("remove the small light blue star");
    let star = &star.objects()[0];
    assert_eq!(star.colors().collect::<Vec<_>>(), ["light", "blue"]);
    assert_eq!(star.sizes().collect::<Vec<_>>(), ["small"]);
    let star = parse("remove the star that is red");
    assert_eq!(star.objects()[0].qualifier(), Some("red"));
    assert_eq!(star.objects()[0].colors().collect::<Vec<_>>(), ["red"]);
}

// === spelling ===

#[test]
fn a_misspelled_word_is_read_right_and_told() {
    let read = parse("Chnage the hosue to a baloon");
    assert_eq!(read.text(), "Change the house to a balloon");
    let told: Vec<_> =
        read.corrections().iter().map(|it| (it.written.as_str(), it.read.as_str())).collect();
    assert_eq!(told, [("Chnage", "Change"), ("hosue", "house"), ("baloon", "balloon")]);
    assert!(read.corrections().iter().all(|it| read.text()[it.span.clone()] == it.read));
    let named = Overrides { object: Some("tree"), ..Overrides::default() };
    let named = Instruction::parse_with("remvoe the treee", named).unwrap();
    assert_eq!(named.corrections().len(), 2);
}

#[test]
fn a_real_word_a_name_and_what_is_written_in_quotes_stay() {
    for text in [
        "make the bead red",
        "change the moose to a goose",
        "turn the cot into a bunk",
        "write \"HELO WORDL\" on the text sign",
        "make her look like Monet painted her",
        "replace the stair with a ramp",
        "make the mole a vole",
        "give the lad a rake",
        "remove the crane and the drake",
        "change the colour of the grey wall",
    ] {
        assert_eq!(parse(text).corrections(), [], "{text}");
    }
}

// === a model's own wording ===

fn texts(templates: &[&str]) -> Vec<String> {
    templates.iter().map(|&it| it.to_owned()).collect()
}

fn told(text: &str, templates: &EditTemplates) -> Option<String> {
    edit_instruction(&parse(text), templates).map(|it| it.text)
}

fn demo() -> EditTemplates {
    EditTemplates::try_from(TemplateTexts {
        change: texts(&["change {object} to {replacement}", "turn {object} into {replacement}"]),
        recolor: texts(&["make {object} {color}", "give {object} a {color} color"]),
        add: texts(&["add {object} {place}", "put {object} {place}"]),
        remove: texts(&["remove {object}", "erase {object}"]),
    })
    .unwrap()
}

#[test]
fn an_edit_is_worded_as_the_model_was_taught() {
    for (text, expected) in [
        ("Could you please make the red star blue?", "make the red star blue"),
        ("make the star that is red blue", "make the red star blue"),
        ("make the star's colour white", "make the star white"),
        ("wipe out the purple triangle", "remove the purple triangle"),
        ("Please get rid of that yellow heart for me", "remove the yellow heart"),
        ("swap the white square for a yellow house", "change the white square to a yellow house"),
        ("put a black square on the right side", "add a black square on the right"),
        ("I'd like a red star, please", "add a red star"),
        (
            "stick a small purple square next to the white heart",
            "add a small purple square next to the white heart",
        ),
        ("delete the left house", "remove the house on the left"),
        ("delete the second house from the left", "remove the second house from the left"),
        ("remove the cat and her hat", "remove the cat and her hat"),
        ("make dog blue", "make the dog blue"),
        ("Next to the star I want a red heart", "add a red heart next to the star"),
        ("there is a heart in the corner, please erase it", "remove the heart in the corner"),
        ("what if she was a vampire", "change her to a vampire"),
    ] {
        assert_eq!(told(text, &demo()).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn a_phrasing_that_the_model_knows_is_told_as_it_is() {
    for text in [
        "turn the star into a heart",
        "give the red star a blue color",
        "Erase the house on the left.",
        "put a small purple square next to the white heart",
    ] {
        assert_eq!(told(text, &demo()).as_deref(), Some(text), "{text}");
    }
    // In its words, but with more of them.
    assert_eq!(told("erase the house, please", &demo()).as_deref(), Some("remove the house"));
}

#[test]
fn the_objects_of_a_wording_stand_where_it_says() {
    for (text, expected) in [
        ("Could you get rid of that star which is red?", vec!["red star"]),
        (
            "I'd like a small heart and a black cross on the left",
            vec!["small heart", "black cross"],
        ),
        ("delete the second house from the left", vec!["house"]),
        ("put a small purple square next to the white heart", vec!["small purple square"]),
        ("what if she was a vampire", vec!["her"]),
    ] {
        let told = edit_instruction(&parse(text), &demo()).unwrap();
        let names: Vec<&str> =
            told.object_spans.unwrap().into_iter().map(|it| &told.text[it]).collect();
        assert_eq!(names, expected, "{text}");
    }
}

// === courtesies ===

#[test]
fn courtesies_are_left_out_and_the_objects_move_along() {
    for (text, expected) in [
        ("Could you please make the star blue?", "make the star blue"),
        ("hi there! can you make the star blue, please?", "make the star blue"),
        ("add a star on the left. Thanks in advance!", "add a star on the left"),
        ("I was wondering if you could remove the star", "remove the star"),
        ("make the star blue", "make the star blue"),
        ("  Make the star blue!  ", "  Make the star blue!  "),
        ("the star should be blue, please", "the star should be blue"),
        ("make it so that the star is blue", "make it so that the star is blue"),
        ("I'd like to see a star", "I'd like to see a star"),
    ] {
        let read = parse(text);
        let told = read.without_courtesies();
        assert_eq!(told.text, expected, "{text}");
        let names: Vec<&str> =
            told.object_spans.unwrap().into_iter().map(|it| &told.text[it]).collect();
        assert_eq!(names, ["star"], "{text}");
    }
}

#[test]
fn what_was_written_has_its_misspelled_words_back() {
    let read = parse("add a smal trianlge next to the pruple star");
    assert_eq!(read.text(), "add a small triangle next to the purple star");
    let told = read.as_written();
    assert_eq!(told.text, "add a smal trianlge next to the pruple star");
    assert_eq!(&told.text[told.object_spans.unwrap()[0].clone()], "smal trianlge");
}

#[test]
fn what_the_model_was_not_taught_has_no_wording() {
    for text in
        ["make it snow", "make the dog bigger", "make the circle the same color as the star"]
    {
        assert_eq!(told(text, &demo()), None, "{text}");
    }
    let none = EditTemplates::default();
    assert_eq!(told("remove the dog", &none), None);
}

#[test]
fn a_template_with_unknown_or_missing_parts_says_so() {
    let change = |text| {
        let change = texts(&["change {object} to {replacement}", text]);
        EditTemplates::try_from(TemplateTexts { change, ..TemplateTexts::default() })
    };
    assert!(change("{replacement} for {object}").is_ok());
    assert!(matches!(
        change("change {thing} to {replacement}"),
        Err(EditTemplateError::UnknownPart { part, .. }) if part == "thing"
    ));
    assert!(matches!(
        change("change {object}"),
        Err(EditTemplateError::MissingPart { part: "replacement", kind: "change", .. })
    ));
    for broken in ["change {object to {replacement}", "change object} to", "{object"] {
        assert!(matches!(change(broken), Err(EditTemplateError::LoneBrace { .. })), "{broken}");
    }
}
