//! What the parser finds in an instruction, and the localization instructions worded from its reading.

use std::time::Instant;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use retouch::edit::localization_instruction::{
    LocalizationInstruction, Template, candidate_nouns, least_related, localization_instruction,
    needs_unrelated_word, shipped_nouns,
};
use retouch::instruction::{Action, Instruction, Overrides, ParseError, nouns};

fn parse(text: &str) -> Instruction {
    Instruction::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn localization(instruction: &Instruction) -> Option<LocalizationInstruction> {
    let told = instruction.as_written();
    localization_instruction(instruction, &told, "car", &Template::default())
}

fn localize_by(text: &str, word: &str, template: &Template) -> String {
    let instruction = parse(text);
    let told = instruction.as_written();
    localization_instruction(&instruction, &told, word, template).unwrap().text
}

fn localize(text: &str, word: &str) -> String {
    localize_by(text, word, &Template::default())
}

// === reading ===

#[test]
fn a_phrase_knows_its_parts_and_where_they_stand() {
    let text = "Please remove the small red cup on the table.";
    let instruction = parse(text);
    let [cup] = instruction.objects() else { panic!("one object") };
    assert_eq!(cup.text(), "the small red cup on the table");
    assert_eq!(cup.noun_phrase(), "the small red cup");
    assert_eq!((cup.determiner(), cup.name(), cup.head()), ("the", "small red cup", "cup"));
    assert!(cup.is_definite() && !cup.is_plural());
    assert_eq!(&text[cup.span().unwrap()], cup.text());
    assert_eq!(&text[cup.name_span().unwrap()], cup.name());
}

#[test]
fn an_owner_is_the_determiner_of_what_it_has() {
    let instruction = parse("change the man’s shirt to a suit");
    let shirt = &instruction.objects()[0];
    assert_eq!((shirt.determiner(), shirt.name()), ("the man’s", "shirt"));
}

#[test]
fn plural_objects_are_known_by_form_or_determiner() {
    for (text, plural) in [
        ("remove the dogs", true),
        ("remove the people", true),
        ("remove both fish", true),
        ("remove the dog", false),
        ("remove the glass", false),
        ("remove her clothes", false),
        ("remove his sunglasses", false),
        ("remove the bus", false),
    ] {
        assert_eq!(parse(text).objects()[0].is_plural(), plural, "{text}");
    }
}

#[test]
fn what_cannot_be_read_says_why() {
    assert_eq!(Instruction::parse(""), Err(ParseError::Empty));
    assert_eq!(Instruction::parse(" \n\t"), Err(ParseError::Empty));
    assert_eq!(Instruction::parse("?!"), Err(ParseError::Empty));
    assert!(matches!(Instruction::parse("把狗变成猫"), Err(ParseError::NotLatin(_))));
    assert!(matches!(Instruction::parse("замени собаку"), Err(ParseError::NotLatin(_))));
    assert!(matches!(Instruction::parse("asdf qwer"), Err(ParseError::NotUnderstood(_))));
}

// === overrides ===

#[test]
fn a_named_object_is_found_in_the_instruction_with_its_determiner() {
    let text = "Make the old dog and the cat look happy";
    let named = Overrides { object: Some("cat"), ..Overrides::default() };
    let instruction = Instruction::parse_with(text, named).unwrap();
    let [cat] = instruction.objects() else { panic!("one object") };
    assert_eq!(cat.noun_phrase(), "the cat");
    assert_eq!(&text[cat.name_span().unwrap()], "cat");
    assert_eq!(instruction.action(), Action::Change);
}

#[test]
fn a_named_object_need_not_stand_in_the_instruction() {
    let named = Overrides { object: Some("the black dog"), ..Overrides::default() };
    let instruction = Instruction::parse_with("make it white", named).unwrap();
    assert_eq!(instruction.action(), Action::Change);
    assert_eq!(instruction.objects()[0].span(), None);
    let localization = localization(&instruction).unwrap();
    assert_eq!(localization.text, "Change the black dog to a car");
}

#[test]
fn a_named_object_saves_an_instruction_that_cannot_be_read() {
    let named = Overrides { object: Some("the dog"), action: Some(Action::Remove) };
    let instruction = Instruction::parse_with("把狗变成猫", named).unwrap();
    assert_eq!((instruction.action(), instruction.objects()[0].name()), (Action::Remove, "dog"));
}

#[test]
fn a_named_action_wins_and_asks_for_an_object() {
    let act = |action| Overrides { action: Some(action), ..Overrides::default() };
    let instruction =
        Instruction::parse_with("put the hat on the dog", act(Action::Change)).unwrap();
    assert_eq!(instruction.action(), Action::Change);
    let global = Instruction::parse_with("make the dog blue", act(Action::Global)).unwrap();
    assert!(global.objects().is_empty());
    let error = Instruction::parse_with("make it snow", act(Action::Change)).unwrap_err();
    assert!(matches!(error, ParseError::NoObject { action: Action::Change, .. }), "{error}");
    let nothing = Overrides { object: Some("the"), ..Overrides::default() };
    assert!(matches!(
        Instruction::parse_with("make it snow", nothing),
        Err(ParseError::NotAnObject(_))
    ));
}

// === robustness ===

#[test]
fn no_text_makes_the_parser_panic_and_all_spans_are_on_characters() {
    const SCRAPS: &str = "the a her his it them and or , , . ; ! ? -> → 's ’s ' \" “ ” ( ) to into with of from on in \
        make turn give have add put remove take change replace swap get rid paint let what if as not no instead \
        should be is there dog cat hat man red blue bigger wearing standing that who picture style color é ß İ ﬁ 猫 \
        Ω 🐕 e\u{301} \u{200d} n't don't I we you don’t without more all one two";
    let scraps: Vec<&str> = SCRAPS.split_whitespace().collect();
    let mut rng = StdRng::seed_from_u64(7);
    let mut read = 0;
    for _ in 0..6_000 {
        let glue = if rng.random_bool(0.9) { " " } else { "" };
        let length = rng.random_range(0..14);
        let words: Vec<&str> = (0..length).map(|_| *scraps.choose(&mut rng).unwrap()).collect();
        let text = words.join(glue);
        read += usize::from(check(&text));
    }
    for _ in 0..2_000 {
        let text: String = (0..rng.random_range(0..30)).map(|_| rng.random::<char>()).collect();
        check(&text);
    }
    assert!(read > 1_500, "only {read} of 6000 were read, so that spans were hardly tried");
}

/// Parses a text, also as steps, and words its localization instruction; whether it could be read.
fn check(text: &str) -> bool {
    let steps = Instruction::parse_all(text);
    let Ok(instruction) = Instruction::parse(text) else {
        assert!(steps.is_err(), "{text}");
        return false;
    };
    assert!(steps.is_ok_and(|it| !it.is_empty()), "{text}");
    let text = instruction.text();
    assert_eq!(instruction.action() == Action::Global, instruction.objects().is_empty(), "{text}");
    for phrase in instruction.objects() {
        assert_eq!(&text[phrase.span().unwrap()], phrase.text(), "{text}");
        assert_eq!(&text[phrase.name_span().unwrap()], phrase.name(), "{text}");
        assert!(
            phrase.noun_phrase().contains(phrase.name()) && phrase.name().contains(phrase.head()),
            "{text}"
        );
        assert!(!phrase.name().is_empty(), "{text}");
    }
    assert!(instruction.replacement().is_none_or(|it| !it.is_empty()), "{text}");
    if let Some(localization) = localization(&instruction) {
        assert_eq!(localization.object_spans.len(), instruction.objects().len(), "{text}");
        assert!(
            localization.object_spans.iter().all(|it| !localization.text[it.clone()].is_empty())
        );
    }
    true
}

#[test]
fn a_very_long_instruction_is_read_in_good_time() {
    let seconds = |times: usize| {
        let text = "change the red cat and the dog on the mat to a bird and ".repeat(times);
        let tries = (0..3).map(|_| {
            let started = Instant::now();
            assert!(Instruction::parse(&text).is_ok());
            started.elapsed().as_secs_f64()
        });
        tries.fold(f64::INFINITY, f64::min)
    };
    // The 2,000 characters that a service takes; a library takes more: eight times the text, not 64 times the time.
    let (short, long) = (seconds(36), seconds(288));
    assert!(short < 1.0, "{short} s");
    assert!(long < 24.0 * short, "{short} s, and {long} s for eight times the text");
}

// === the localization instruction ===

#[test]
fn a_change_or_removal_becomes_a_change_to_the_unrelated_word() {
    for (text, expected) in [
        ("Remove the bee.", "Change the bee to a car"),
        ("change her clothes to a dress", "Change her clothes to a car"),
        ("turn the cats into dogs", "Change the cats to cars"),
        ("make the cat and the dog black", "Change the cat and the dog to a car"),
        ("replace the red cup on the left with a vase", "Change the red cup on the left to a car"),
        ("remove the hat from the man", "Change the hat to a car"),
        ("replacing a dog with a cat", "Change a dog to a car"),
        ("bee to bird", "Change the bee to a car"),
        ("what if she was a vampire", "Change her to a car"),
        ("turn him into a zombie", "Change him to a car"),
        ("change Obama to Lincoln", "Change Obama to a car"),
        ("change the color of the man’s tie to red", "Change the man’s tie to a car"),
    ] {
        assert_eq!(localize(text, "car"), expected, "{text}");
    }
    assert_eq!(localize("Remove the bee", "umbrella"), "Change the bee to an umbrella");
    assert_eq!(localize("Remove the bee", "unicorn"), "Change the bee to a unicorn");
}

#[test]
fn an_addition_is_its_own_localization_instruction() {
    let text = "Give her sunglasses";
    let localization = localization(&parse(text)).unwrap();
    assert_eq!(localization.text, text);
    assert_eq!(&text[localization.object_spans[0].clone()], "sunglasses");
    let named = Overrides { object: Some("umbrella"), action: Some(Action::Add) };
    let elsewhere = Instruction::parse_with("let it look rainy", named).unwrap();
    assert_eq!(self::localization(&elsewhere).unwrap().text, "Add an umbrella");
}

#[test]
fn a_global_edit_has_nothing_to_localize() {
    assert_eq!(localization(&parse("make it snow")), None);
    assert!(!needs_unrelated_word(&parse("make it snow")));
    assert!(!needs_unrelated_word(&parse("add a hat")));
    assert!(needs_unrelated_word(&parse("remove the hat")));
}

#[test]
fn object_spans_cover_each_name_without_its_determiner() {
    let instruction = parse("make the black cat and her dog bigger");
    let localization = localization(&instruction).unwrap();
    let names: Vec<&str> =
        localization.object_spans.iter().map(|it| &localization.text[it.clone()]).collect();
    assert_eq!(names, ["black cat", "dog"]);
}

#[test]
fn a_model_may_bring_its_own_wording() {
    let template = Template::try_from("change the {object} to a {word}".to_owned()).unwrap();
    let worded = |text: &str, word: &str| localize_by(text, word, &template);
    assert_eq!(worded("remove the red circle", "house"), "change the red circle to a house");
    assert_eq!(worded("remove her hat", "house"), "change the hat to a house");
    assert_eq!(worded("remove the stars", "house"), "change the stars to houses");
    assert_eq!(
        worded("remove the star and the cross", "heart"),
        "change the star and the cross to a heart"
    );
    for broken in ["change it", "change {object}", "a {word}", "{object} {object} {word}"] {
        assert!(Template::try_from(broken.to_owned()).is_err(), "{broken}");
    }
}

// === the unrelated word ===

#[test]
fn the_pool_is_large_sorted_and_of_plain_words() {
    let pool = shipped_nouns();
    assert!(pool.len() >= 300, "{}", pool.len());
    assert!(pool.is_sorted() && pool.windows(2).all(|it| it[0] != it[1]));
    assert!(pool.iter().all(|it| it.chars().all(|c| c.is_ascii_lowercase())));
    assert!(pool.iter().all(|it| !nouns::is_plural(it) && nouns::is_plural(&nouns::plural_of(it))));
}

#[test]
fn words_that_the_instruction_names_in_any_number_are_no_candidates() {
    let pool = shipped_nouns();
    let candidates =
        candidate_nouns(&pool, &parse("Replace the horses and the butterfly with a Zebra"));
    for word in ["horse", "butterfly", "zebra"] {
        assert!(pool.iter().any(|it| it == word) && !candidates.contains(&word), "{word}");
    }
    assert_eq!(candidates.len(), pool.len() - 3);
}

#[test]
fn the_least_similar_candidate_after_centering_is_chosen() {
    let embedding = |word: &str, x: f32, y: f32| (word.to_owned(), vec![x, y, 10.0]);
    // Uncentered, the third coordinate makes all cosines nearly one.
    let pool = [
        embedding("bee", 1.0, 0.0),
        embedding("car", -1.0, 0.0),
        embedding("fox", 0.0, 1.0),
        embedding("hat", 0.0, -1.0),
    ];
    let object = vec![vec![1.0, 0.1, 10.0]];
    let chosen = |candidates: &[&str], objects: &[Vec<f32>]| {
        least_related(&pool, candidates, objects).map(str::to_owned)
    };
    assert_eq!(chosen(&["bee", "car", "fox", "hat"], &object).as_deref(), Some("car"));
    assert_eq!(chosen(&["bee", "fox", "hat"], &object).as_deref(), Some("hat"));
    assert_eq!(
        chosen(&["hat", "fox"], &[vec![1.0, 0.0, 10.0]]).as_deref(),
        Some("fox"),
        "a tie is alphabetical"
    );
    let both = [vec![1.0, 0.1, 10.0], vec![-1.0, 0.1, 10.0]];
    assert_eq!(chosen(&["bee", "car", "fox", "hat"], &both).as_deref(), Some("hat"));
    assert_eq!(chosen(&[], &object), None);
}
