//! Texts longer than the model's token limit: a warning names the text and the part that is cut off.

use super::{Desk, said, scene};

/// More words than any CLIP model reads.
fn long(word: &str) -> String {
    vec![word; 120].join(" ")
}

#[test]
fn each_text_that_is_cut_is_warned_of_once_by_name() {
    let desk = Desk::new();
    let (blur, object) = (long("blur"), format!("{} star", long("red")));
    let cases: [(&[&str], &str); 3] = [
        (&["--negative-prompt", &blur], "the negative prompt exceeds the model's token limit"),
        (&["--object", &object], "the localization instruction exceeds the model's token limit"),
        (&["--box", "0,0,32,32", "--negative-prompt", &blur], "the negative prompt exceeds"),
    ];
    for (args, words) in cases {
        let said = said(desk.edit(["-o", "out.png", "--force", "-n", "2"]).args(args));
        let warnings: Vec<&str> = said.lines().filter(|it| it.contains("; ignored: `")).collect();
        assert_eq!(warnings.len(), 1, "{args:?}: {said}");
        assert!(warnings[0].contains(words), "{args:?}: {said}");
    }
    let said = said(&mut desk.edit(["-o", "short.png", "--negative-prompt", "blur"]));
    assert!(!said.contains("ignored"), "{said}");
}

#[test]
fn a_localization_alone_warns_of_them_too() {
    let desk = Desk::new();
    let mut localize = desk.retouch(["localize", "--localize-steps", "1", "-o", "mask.png"]);
    let instruction = format!("make the red star {}", long("very"));
    localize.arg(scene()).arg(instruction).args(["--negative-prompt", &long("blur")]);
    let said = said(&mut localize);
    assert!(said.contains("the instruction exceeds the model's token limit"), "{said}");
    assert!(said.contains("the negative prompt exceeds the model's token limit"), "{said}");
}
