//! Splits an instruction into clauses of one edit each, and strips polite phrases.

use super::lexicon::{
    ADDING, CHANGING, COLORING, DETERMINERS, GIVING, KEEPING, MAKING, PERSONS, REMOVING, REPLACING,
    SURE_VERBS, WORKING, has, verb_in,
};
use super::words::{Token, find, prefix_len, suffix_len};

/// Openings without meaning for the edit; if one is a prefix of another, the longer comes first.
const OPENINGS: &[&str] = &[
    "could you",
    "can you",
    "would you",
    "will you",
    "i want you to",
    "i need you to",
    "i would like you to",
    "i'd like you to",
    "i would like to",
    "i'd like to",
    "i want to",
    "i'd love to",
    "i would love to",
    "i would love it if",
    "i'd love it if",
    "i'd like it if",
    "it would be nice if",
    "it would be great if",
    "we want to",
    "would it be possible to",
    "is it possible to",
    "please",
    "pls",
    "plz",
    "kindly",
    "just",
    "simply",
    "now",
    "also",
    "then",
    "and",
    "but",
    "or",
    "so",
    "ok",
    "okay",
    "hey",
    "hi",
    "hello",
    "let 's",
    "lets",
    "let us",
    "try to",
    "go ahead and",
    "help me to",
    "help me",
    "you should",
    "you could",
    "why don't you",
    "why not",
    "how about",
    "what about",
    "maybe",
    "perhaps",
    "next",
    "first",
    "finally",
    "instead ,",
    "to",
    "see",
    "be sure to",
    "make sure to",
    "make sure that",
    "make sure",
    "ensure that",
    "edit the image to",
    "edit the photo to",
    "edit the picture to",
    "edit this image to",
    "edit this photo to",
    "edit it to",
    "edit the image so that",
    "edit the photo so that",
    "make it so that",
    "make it so",
    "make it such that",
    "in the image",
    "in the picture",
    "in the photo",
    "in this image",
    "in this picture",
    "in this photo",
    "in the scene",
    "in the background",
    "in the foreground",
    "do you mind",
    "would you mind",
    "somehow",
    "quickly",
    "carefully",
    "completely",
    "digitally",
    ",",
    ";",
];

/// Closings without meaning for the edit.
const CLOSINGS: &[&str] = &[
    "please",
    "pls",
    "plz",
    "thanks",
    "thank you",
    "for me",
    "now",
    "too",
    "as well",
    "also",
    "again",
    "entirely",
    "completely",
    "if possible",
    "if you can",
    "instead",
    "altogether",
    "in the image",
    "in the picture",
    "in the photo",
    "in this image",
    "in this picture",
    "in this photo",
    "in the scene",
    "in the photograph",
    "of the image",
    "of the picture",
    "of the photo",
    "of the scene",
    "from the image",
    "from the picture",
    "from the photo",
    "from the scene",
    "from this image",
    "from this picture",
    "from this photo",
    "from here",
    "to the image",
    "to the picture",
    "to the photo",
    "to the scene",
    "to this image",
    "to this photo",
    "to this picture",
    "into the scene",
    "into the picture",
    "into the image",
    "into the photo",
    "in here",
    "from the photograph",
    "to the photograph",
    "in it",
    "right now",
    "for a change",
    "somewhere",
    "and",
    ",",
    ";",
    "in the pic",
    "from the pic",
    "to the pic",
    "though",
    "then",
];

/// Beginnings of phrases that give a reason or name what is to be kept, not an edit.
const ASIDES: &[&str] = &[
    "so that",
    "such that",
    "because",
    "in order to",
    "to make",
    "to match",
    "to give",
    "to fit",
    "while keeping",
    "while leaving",
    "while preserving",
    "while maintaining",
    "without changing",
    "without altering",
    "without affecting",
    "without touching",
    "without modifying",
    "but keep",
    "but leave",
    "and keep",
    "and leave",
    ", keep",
    ", leave",
    ", keeping",
    ", leaving",
    "keeping the rest",
    "keeping everything",
    ", making",
    "as though",
    "so it",
    "so the",
    "so they",
    "so he",
    "so she",
    "and nothing else",
    ", nothing else",
    "and preserve",
    ", preserving",
    "but not the rest",
];

/// The clauses of an instruction, each with one edit; none is empty.
pub(super) fn clauses(tokens: &[Token]) -> Vec<&[Token]> {
    let mut found = Vec::new();
    for sentence in tokens.split(|it| it.is(";")) {
        let mut rest = sentence;
        while let Some(cut) = (1..rest.len()).find(|&at| begins_clause(rest, at)) {
            found.push(&rest[..cut]);
            rest = &rest[cut..];
        }
        found.push(rest);
    }
    found.retain_mut(|it| {
        *it = bare(it);
        let kept = |first: &Token| {
            has(KEEPING, &first.lower)
                || first.is("do") && it[1..].first().is_some_and(|it| it.is("not"))
        };
        let unwanted = it
            .get(1..)
            .is_some_and(|it| it.iter().take(2).any(|it| has("show include have", &it.lower)));
        it.first().is_some_and(|first| !kept(first) || unwanted)
    });
    found
}

/// A clause without polite phrases and asides.
pub(super) fn bare(mut tokens: &[Token]) -> &[Token] {
    loop {
        let opening = OPENINGS.iter().filter_map(|it| prefix_len(tokens, it)).max();
        let closing = CLOSINGS.iter().filter_map(|it| suffix_len(tokens, it)).max();
        let aside = ASIDES
            .iter()
            .filter_map(|it| find(tokens, it))
            .map(|it| it.start)
            .filter(|&it| it > 1)
            .min();
        tokens = match (opening, closing, aside) {
            (Some(n), _, _) => &tokens[n..],
            (_, Some(n), _) if n < tokens.len() => &tokens[..tokens.len() - n],
            (_, _, Some(at)) => &tokens[..at],
            _ => return tokens,
        };
    }
}

/// Whether a second edit begins at a token: `… and make the sky blue`, `…, then add a bird`.
fn begins_clause(tokens: &[Token], at: usize) -> bool {
    let joint = &tokens[at - 1];
    if joint.is("then") && at + 1 < tokens.len() {
        return true;
    }
    if !(joint.is("and") || joint.is(",") || joint.is("but") || joint.is("or")) {
        return false;
    }
    let word = tokens[at].lower.as_str();
    if has(SURE_VERBS, word) {
        return at + 1 < tokens.len();
    }
    let lists =
        [ADDING, CHANGING, REPLACING, REMOVING, GIVING, COLORING, MAKING, WORKING, "have let take"];
    let opens_object = tokens.get(at + 1).is_some_and(|it| {
        has(DETERMINERS, &it.lower)
            || has(PERSONS, &it.lower)
            || it.is("it")
            || it.is("out")
            || it.is("off")
    });
    let plain_form = verb_in(&lists, word).is_some_and(|verb| verb == word);
    plain_form && opens_object
}
