//! Prompt syntax and other text that is removed before parsing, and what is kept.

use proptest::prelude::*;
use retouch::instruction::{
    Instruction, Overrides, ParseError, Phrase,
    wording::{Use, Wording, fault},
};

fn cleaned(text: &str) -> String {
    Wording::of(text, Use::Instruction).text
}

/// Texts with what a model reads of them.
fn assert_cleaned(table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .filter(|(text, expected)| cleaned(text) != *expected)
        .map(|(text, expected)| {
            format!("{text:?}: expected {expected:?}, found {:?}", cleaned(text))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    for (text, expected) in table {
        let told = !Wording::of(text, Use::Instruction).left_out.is_empty();
        assert!(
            told || text == expected || text.contains('\\') || !text.is_ascii(),
            "{text:?}: nothing is told"
        );
    }
}

#[test]
fn a_clean_text_stays_byte_for_byte() {
    let phrasings = include_str!("../fixtures/instructions.tsv").lines();
    let unseen = include_str!("../fixtures/instructions_unseen.tsv").lines();
    let texts = phrasings.chain(unseen).filter(|it| !it.starts_with('#'));
    let texts: Vec<&str> = texts.filter_map(|it| it.split('\t').next()).collect();
    assert!(texts.len() > 600);
    let with_quotes = |text: &str| text.contains(['"', '\u{201c}']) || text.contains(" '");
    for text in texts.iter().filter(|it| !with_quotes(it)).chain(&[
        "make the man's hat red",
        "make the man’s hat red",
        "remove the dogs' bowls and the cats' toys",
        "don't change the sky, make 'em blue",
        "give the '90s car a new color",
        "rock 'n' roll the guitar to the left",
        "turn the 5\" nail into a 7\" screw",
        "make the 6'2\" man shorter",
        "make the door 5' 10\" tall",
        "make the star (the red one) blue",
        "remove the cat (on the left)",
        "remove the cat (the one that sleeps) and the dog",
        "make the picture 16:9",
        "set the clock to 10:30",
        "set the clock (the big one, at 10:30) to noon",
        "change the picture to a watercolor painting, cinematic lighting",
        "make it photorealistic",
        "improve the quality",
        "add a sign that says \"Open 24/7\"",
        "write “masterpiece, (8k:1.2)” on the wall",
        "change the text ‘BREAK’ to ‘PLAY’",
        "BREAK THE GLASS AND ADD A CUP",
        "bee -> bird",
        "turn the C++ logo blue",
        "add 2+ birds",
        "把狗变成猫",
        "замени собаку на кошку",
        "اجعل النجمة حمراء",
        "می‌خواهم ستاره آبی باشد",
        "make the café blue",
        "  make the star red \n",
        "masterpiece, best quality",
        ":( make the star red",
        "a) make the star red",
    ]) {
        assert_eq!(
            Wording::of(text, Use::Instruction),
            Wording { text: (*text).to_owned(), left_out: vec![] }
        );
    }
}

#[test]
fn quotation_marks_of_every_language_are_left_out() {
    for (open, close) in [
        ("\"", "\""),
        ("“", "”"),
        ("„", "“"),
        ("„", "”"),
        ("”", "”"),
        ("«", "»"),
        ("« ", " »"),
        ("»", "«"),
        ("‹", "›"),
        ("›", "‹"),
        ("'", "'"),
        ("‘", "’"),
        ("‚", "‘"),
        ("’", "’"),
        ("「", "」"),
        ("『", "』"),
        ("《", "》"),
        ("〈", "〉"),
        ("＂", "＂"),
        ("〝", "〞"),
        ("`", "`"),
        ("``", "''"),
        ("❝", "❞"),
        ("«\u{a0}", "\u{a0}»"),
        ("“‘", "’”"),
        ("\"'", "'\""),
    ] {
        for (text, expected) in [
            (format!("make {open}the red star{close} blue"), "make the red star blue"),
            (format!("make the {open}red star{close} blue"), "make the red star blue"),
            (format!("make the red {open}star{close} blue."), "make the red star blue."),
            (format!("{open}make the red star blue{close}"), "make the red star blue"),
            (format!("make the red star {open}blue{close}"), "make the red star blue"),
        ] {
            assert_eq!(cleaned(&text), expected, "{text}");
            let instruction = Instruction::parse(&text).unwrap();
            assert_eq!(instruction.objects()[0].name(), "red star", "{text}");
        }
    }
    assert_cleaned(&[
        ("make “the star blue", "make the star blue"),
        ("make \"the man's hat\" red", "make the man's hat red"),
        ("make 'the man's hat' red", "make the man's hat red"),
        ("make the \"5\" nail\" red", "make the 5\" nail red"),
        ("\"make the text red\"", "make the text red"),
        ("replace «l'étoile» with \"a moon\"", "replace l'étoile with a moon"),
    ]);
}

#[test]
fn the_syntax_of_prompts_is_left_out_and_its_words_stay() {
    assert_cleaned(&[
        // AUTOMATIC1111 and ComfyUI
        ("make the (red star:1.3) blue", "make the red star blue"),
        ("make the ( red star : 1.3 ) blue", "make the red star blue"),
        ("make (the red star:0.8) blue", "make the red star blue"),
        ("(make the red star blue:1.2)", "make the red star blue"),
        ("make the ((red star)) blue", "make the red star blue"),
        ("make the (((red star:1.2))) blue", "make the red star blue"),
        ("make the star ((blue))", "make the star blue"),
        ("make the (red star) blue", "make the red star blue"),
        ("make (the red star) blue", "make the red star blue"),
        ("make the [red star] blue", "make the red star blue"),
        ("make the [[red] star] blue", "make the red star blue"),
        ("make the [red:green:0.5] star blue", "make the red star blue"),
        ("make the [red:0.5] star blue", "make the red star blue"),
        ("make the [red::0.5] star blue", "make the red star blue"),
        ("make the [red|green] star blue", "make the red star blue"),
        ("make the {red|green} star blue", "make the red star blue"),
        ("make the (red:1.1) (star:1.4) blue", "make the red star blue"),
        ("make the (red (star:1.2):0.9) blue", "make the red star blue"),
        ("make the red star:1.3 blue", "make the red star blue"),
        ("make the red star blue BREAK", "make the red star blue"),
        ("make the red star blue BREAK masterpiece", "make the red star blue"),
        ("make the red star blue :1.2 AND best quality :0.8", "make the red star blue"),
        ("make the red star blue <lora:add_detail:0.8>", "make the red star blue"),
        (
            "<lora:add_detail:1>, make the red star blue <hypernet:x:1> <lyco:y:0.5>",
            "make the red star blue",
        ),
        ("make the red star blue, embedding:EasyNegative", "make the red star blue"),
        ("make the red star blue, (embedding:fine.pt:1.2)", "make the red star blue"),
        ("make the red star blue, EasyNegative, badhandv4", "make the red star blue"),
        // InvokeAI
        ("make the (red star)1.3 blue", "make the red star blue"),
        ("make the (red star)++ blue", "make the red star blue"),
        ("make the red star++ blue", "make the red star blue"),
        ("make the red-- star+ blue", "make the red star blue"),
        ("make the red star.swap(moon) blue", "make the red star blue"),
        ("make the red star blue <my-style>", "make the red star blue"),
        // NovelAI and Midjourney
        ("make the {red star} blue", "make the red star blue"),
        ("make the {{{red star}}} blue", "make the red star blue"),
        ("make the 1.5::red star:: blue", "make the red star blue"),
        ("make the red star::2 blue", "make the red star blue"),
        (
            "make the red star blue --ar 16:9 --v 6 --style raw --no text, frames",
            "make the red star blue",
        ),
        // angle brackets as marks around words
        ("make the <red star> blue", "make the red star blue"),
        // escapes
        (r"make the star \(the red one\) blue", "make the star (the red one) blue"),
    ]);
}

#[test]
fn tags_that_ask_for_quality_are_left_out() {
    assert_cleaned(&[
        ("make the star red, masterpiece, best quality, 8k", "make the star red"),
        ("masterpiece, best quality, make the star red", "make the star red"),
        (
            "make the star red, (masterpiece:1.2), ((best quality)), ultra-detailed",
            "make the star red",
        ),
        ("make the star red, 8k uhd, highly detailed.", "make the star red"),
        ("make the star red, MASTERPIECE , Best Quality", "make the star red"),
        ("make the star red, masterpiece best quality absurdres", "make the star red"),
        ("make the star red\nmasterpiece, best quality", "make the star red"),
        ("score_9, score_8_up, make the star red", "make the star red"),
        ("make the star red, trending on artstation, award-winning photo", "make the star red"),
        ("make the star red AND masterpiece", "make the star red"),
    ]);
}

#[test]
fn invisible_characters_are_left_out_and_forms_are_made_usual() {
    for invisible in [
        "\u{feff}",
        "\u{200b}",
        "\u{200c}",
        "\u{200d}",
        "\u{2060}",
        "\u{ad}",
        "\u{202e}",
        "\u{2066}",
        "\u{200f}",
        "\u{61c}",
        "\u{fe0f}",
        "\u{fe00}",
        "\u{e0100}",
        "\u{e0041}",
        "\u{0}",
        "\u{1b}",
        "\u{7f}",
        "\u{85}",
        "\u{fffc}",
        "\u{34f}",
        "\u{180e}",
        "\u{3164}",
    ] {
        for at in [0, 4, 11, 12] {
            let mut text = "make the star red".to_owned();
            text.insert_str(at, invisible);
            let read = cleaned(&text);
            // A next-line control is white space as well.
            assert!(read == "make the star red" || invisible == "\u{85}", "{text:?}: {read:?}");
        }
    }
    assert_cleaned(&[
        ("make\u{a0}the\u{202f}star\u{3000}red", "make the star red"),
        ("make the cafe\u{301} red", "make the café red"),
        ("ｍａｋｅ ｔｈｅ ｓｔａｒ ｒｅｄ", "make the star red"),
        ("make the 𝐬𝐭𝐚𝐫 red", "make the star red"),
        ("make the ﬁsh red", "make the fish red"),
        ("make the ❤\u{fe0f} red", "make the ❤ red"),
    ]);
    // Joiners shape emoji and words of some scripts.
    let family = "make the 👩\u{200d}🚀 red";
    assert_eq!(cleaned(family), family);
}

#[test]
fn a_text_without_words_is_no_instruction() {
    for text in [
        "",
        " \n",
        "!!!",
        "?!",
        "...",
        "123",
        "\u{feff}",
        "🦄",
        "🐶➡\u{fe0f}🐱",
        "“”",
        "()",
        "(:1.3)",
        "<lora:x:1>",
        "—",
        "\u{200b}",
    ] {
        assert!(fault(text).is_some(), "{text:?}");
        assert_eq!(Instruction::parse(text), Err(ParseError::Empty), "{text:?}");
    }
    for text in ["x", "把狗变成猫", "собака", "masterpiece, 8k", "(star:1.3)"] {
        assert_eq!(fault(text), None, "{text:?}");
    }
}

#[test]
fn an_object_and_a_negative_prompt_are_cleaned_alike() {
    for object in [
        "“the red star”",
        "the (red star:1.3)",
        "\u{feff}the red star",
        "the red star, masterpiece, 8k",
        "<lora:x:1> the red star",
    ] {
        let named = Overrides { object: Some(object), ..Overrides::default() };
        let instruction = Instruction::parse_with("make it blue", named).unwrap();
        assert_eq!(
            instruction.objects().iter().map(Phrase::name).collect::<Vec<_>>(),
            ["red star"],
            "{object}"
        );
    }
    for object in ["!!!", "\u{feff}", "(:1.2)"] {
        let named = Overrides { object: Some(object), ..Overrides::default() };
        let refused = Instruction::parse_with("make it blue", named);
        assert_eq!(refused, Err(ParseError::NotAnObject(object.to_owned())));
    }
    let negative = |text| Wording::of(text, Use::NegativePrompt).text;
    assert_eq!(negative("(worst quality:1.4), lowres, EasyNegative"), "worst quality, lowres");
    assert_eq!(negative("masterpiece, 8k"), "masterpiece, 8k");
    assert_eq!(
        (negative(""), negative("!!!"), negative("<lora:x:1>")),
        (String::new(), String::new(), String::new())
    );
}

#[test]
fn spans_are_those_of_the_cleaned_text() {
    let instruction = Instruction::parse("\u{feff}make “the (red star:1.3)” blue, 8k").unwrap();
    assert_eq!(instruction.text(), "make the red star blue");
    assert_eq!(&instruction.text()[instruction.objects()[0].span().unwrap()], "the red star");
}

proptest! {
    #[test]
    fn any_text_is_cleaned_without_a_panic(
        parts in proptest::collection::vec(
            prop_oneof![
                "[a-z]{3,6}", Just(" ".to_owned()), Just(",".to_owned()), "[(){}\\[\\]<>\"'“”«»:|\\\\+-]", "\\PC",
                Just("BREAK".to_owned()), Just("1.3".to_owned()), Just("\u{200b}".to_owned()),
            ],
            0..24,
        )
    ) {
        let text = parts.concat();
        for of in [Use::Instruction, Use::Object, Use::NegativePrompt] {
            let wording = Wording::of(&text, of);
            prop_assert!(wording.text.chars().all(|c| u32::from(c) < 0xf_0000));
        }
    }
}
