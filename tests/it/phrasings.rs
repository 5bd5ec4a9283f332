//! The parser of instructions against tables of phrasings, some by people who had not seen it.

use std::{collections::BTreeSet, path::Path};

use retouch::instruction::{
    Action, Instruction, ParseError, Phrase,
    change::Change,
    place::{CountedFrom, Place, PlaceKind},
};

/// Phrasings with what they say; its first lines say how.
const TABLE: &str = include_str!("../fixtures/instructions.tsv");

/// Phrasings by somebody who had not seen the parser or its table, in the same form.
const UNSEEN: &str = include_str!("../fixtures/instructions_unseen.tsv");

/// How many of [`UNSEEN`] were read right, action and objects, when they were first tried.
const UNSEEN_AT_FIRST: usize = 51;

/// More of those, in natural words and with all fields; there once they have been written.
const NATURAL_UNSEEN: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/instructions_natural_unseen.tsv");

/// The part of [`NATURAL_UNSEEN`] that is to be read right.
const NATURAL_WANTED: f64 = 0.9;

/// A line of a table.
struct Row<'a> {
    text: &'a str,
    action: &'a str,
    objects: &'a str,
    replacement: &'a str,
    /// Where the line says so; such a line is read as steps.
    place: Option<&'a str>,
}

fn rows(table: &str) -> impl Iterator<Item = Row<'_>> {
    let lines = table.lines().filter(|it| !it.starts_with('#') && !it.trim().is_empty());
    lines.map(|line| match *line.split('\t').collect::<Vec<_>>() {
        [text, action, objects, replacement] => {
            Row { text, action, objects, replacement, place: None }
        }
        [text, action, objects, replacement, place] => {
            Row { text, action, objects, replacement, place: Some(place) }
        }
        _ => panic!("`{line}` has neither four nor five fields"),
    })
}

/// Action, objects, replacement and place as the tables write them.
fn fields(instruction: &Instruction) -> [String; 4] {
    let action = match instruction.change() {
        Some(Change::Recolor) => "recolor".to_owned(),
        _ => instruction.action().to_string(),
    };
    let names: Vec<&str> = instruction.objects().iter().map(Phrase::name).collect();
    let spared = if instruction.spares_objects() { "all but " } else { "" };
    let names = format!("{spared}{}", names.join(" | "));
    let replacement = instruction.replacement().unwrap_or_default();
    let place = instruction.place().map(place).unwrap_or_default();
    [action, names, replacement.to_owned(), place]
        .map(|it| if it.is_empty() { "-".to_owned() } else { it })
}

fn place(place: &Place) -> String {
    let th = |nth: usize| match nth {
        1 => "1st".to_owned(),
        2 => "2nd".to_owned(),
        3 => "3rd".to_owned(),
        nth => format!("{nth}th"),
    };
    match place.kind() {
        PlaceKind::Area(area) => area.to_string(),
        PlaceKind::Nth { nth: 1, from: CountedFrom::End } => "last".to_owned(),
        PlaceKind::Nth { nth, from: CountedFrom::Start } => th(*nth),
        PlaceKind::Nth { nth, from: CountedFrom::End } => format!("{} to last", th(*nth)),
        PlaceKind::Nth { nth, from: CountedFrom::Side(side) } => {
            format!("{} from {side}", th(*nth))
        }
        PlaceKind::Landmark { landmark, .. } => {
            format!("{} > {}", place.relation_words(), landmark.name())
        }
    }
}

/// What a line's text is read as, step by step where the line tells them apart.
fn found(row: &Row) -> Result<[String; 4], ParseError> {
    if row.place.is_none() {
        return Ok(fields(&Instruction::parse(row.text)?));
    }
    let steps: Vec<[String; 4]> =
        Instruction::parse_all(row.text)?.iter().map(|it| fields(&it.instruction)).collect();
    Ok(std::array::from_fn(|field| {
        steps.iter().map(|it| it[field].as_str()).collect::<Vec<_>>().join(" || ")
    }))
}

/// Whether each field of a line is read right; a line of four fields says nothing of the place.
fn right(row: &Row) -> ([bool; 4], String) {
    let Ok(found) = found(row) else {
        return ([row.action == "error"; 4], "an error".to_owned());
    };
    let mut steps = found[0].split(" || ").zip(row.action.split(" || "));
    let actions = found[0].matches("||").count() == row.action.matches("||").count()
        && steps.all(|(found, row)| found == row || found == "recolor" && row == "change");
    let fields = [
        actions,
        found[1] == row.objects,
        found[2] == row.replacement,
        row.place.is_none_or(|it| found[3] == it),
    ];
    (fields, format!("{found:?}"))
}

#[test]
fn every_phrasing_of_the_table_is_read_as_it_says() {
    let mut faults = Vec::new();
    for row in rows(TABLE) {
        let (fields, found) = right(&row);
        if fields.contains(&false) {
            let Row { text, action, objects, replacement, place } = row;
            faults.push(format!(
                "{text}: expected {action:?}, {objects:?}, {replacement:?}, {place:?}; found {found}"
            ));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn unseen_phrasings_are_read_no_worse_than_at_first() {
    let objects = |row: &Row| matches!(right(row).0, [true, true, ..]);
    let wrong: Vec<&str> = rows(UNSEEN).filter(|it| !objects(it)).map(|it| it.text).collect();
    let read = rows(UNSEEN).count() - wrong.len();
    println!("{read} of {} read right; not these: {wrong:#?}", rows(UNSEEN).count());
    assert!(read >= UNSEEN_AT_FIRST, "{wrong:#?}");
}

#[test]
fn unseen_phrasings_in_natural_words_are_read() {
    if !Path::new(NATURAL_UNSEEN).exists() {
        return;
    }
    let table = std::fs::read_to_string(NATURAL_UNSEEN).unwrap();
    let (mut all, mut each, mut wrong) = (0, [0; 4], Vec::new());
    for row in rows(&table) {
        let (fields, found) = right(&row);
        each.iter_mut().zip(fields).for_each(|(count, right)| *count += usize::from(right));
        all += 1;
        // The place is told apart: people differ in what they call one.
        if !(fields[0] && fields[1] && fields[2]) {
            wrong.push(format!("{}: {found}", row.text));
        }
    }
    let read = f64::from(all - wrong.len() as u32) / f64::from(all);
    println!("{read:.3} of {all} read right; action, objects, replacement, place: {each:?}");
    println!("not these: {wrong:#?}");
    assert!(read >= NATURAL_WANTED, "{wrong:#?}");
}

#[test]
fn the_table_is_large_and_has_no_phrasing_twice() {
    let texts: Vec<&str> = rows(TABLE).map(|it| it.text).collect();
    assert!(texts.len() >= 1_200, "{}", texts.len());
    assert_eq!(texts.iter().collect::<BTreeSet<_>>().len(), texts.len());
}

#[test]
fn a_step_says_the_whole_of_its_edit() {
    let rows = rows(TABLE).filter(|it| it.action != "error");
    let mut several = 0;
    for row in rows {
        let steps = Instruction::parse_all(row.text).unwrap_or_else(|error| panic!("{error}"));
        let joined = Instruction::parse(row.text).unwrap();
        if let [only] = &*steps {
            assert_eq!(only.instruction, joined, "{}", row.text);
        }
        several += usize::from(steps.len() > 1);
        for step in steps {
            let [again] = &*Instruction::parse_all(step.instruction.text()).unwrap() else {
                panic!("`{}` of `{}` is several", step.instruction.text(), row.text)
            };
            assert_eq!(
                fields(&again.instruction),
                fields(&step.instruction),
                "`{}` of `{}`",
                step.instruction.text(),
                row.text
            );
            let objects = step.instruction.objects().is_empty();
            assert_eq!(step.instruction.action() == Action::Global, objects, "{}", row.text);
        }
    }
    assert!(several >= 20, "{several}");
}
