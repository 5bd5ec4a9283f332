//! Says in plain words what is said in shorthand, in slang or by a turn of phrase.
//!
//! A turn stands for its plain words wherever it is said, so that the grammar has one way to read both.

use super::lexicon::{BODY_PARTS, CLOTHES, RECIPIENTS};
use super::lists::has;
use super::nouns::is_plural;
use super::words::{Token, matched};

/// Turns of phrase, as patterns, what follows them, and their plain words.
const TURNS: &[(&str, &str, &str)] = &[
    // Shorthand.
    ("has/have/'s/'ve? gotta", "_", "should"),
    ("shd/shld/shud", "_", "should"),
    ("abt/bout", "_", "about"),
    ("w", "a/an/the/some/no/my/his/her", "with"),
    ("w o", "_", "without"),
    ("dont", "", "don't"),
    ("didnt", "", "didn't"),
    ("doesnt", "", "doesn't"),
    ("wouldnt", "", "wouldn't"),
    ("couldnt", "", "couldn't"),
    ("im", "", "i'm"),
    ("wanna", "", "want to"),
    ("id", "like/love/want/prefer/rather", "i'd"),
    // Which, how many.
    ("each and every", "", "every"),
    ("every single/last", "", "every"),
    ("any and all", "", "all"),
    ("all and any", "", "all"),
    // What becomes of it.
    ("over to", "", "to"),
    ("much/way/far too", "", "too"),
    ("is/are to", "be/become", "should"),
    ("could/can do with", "being", "should"),
    ("gets/get to", "be", "should"),
    // What it is put in the place of.
    ("in the? place/stead of", "", "instead of"),
    ("in lieu of", "", "instead of"),
    ("ought not to", "_", "should not"),
    ("as opposed to", "", "instead of"),
    ("as a replacement/substitute for", "", "instead of"),
];

/// The words with turns of phrase in plain words, and with the apostrophes of owners: `the parrot's wings` for `the
/// parrots wings`.
pub(super) fn in_plain_words(tokens: &[Token]) -> Vec<Token> {
    let turned = without_turns(tokens);
    let mut plain = Vec::new();
    for (at, token) in turned.iter().enumerate() {
        plain.push(token.clone());
        if owns(&turned, at) {
            let span = token.span.end..token.span.end;
            plain.push(Token { lower: "'s".to_owned(), span, quoted: token.quoted });
        }
    }
    plain
}

/// Whether a plural before a part of a body or a garment is an owner whose apostrophe is missing.
fn owns(tokens: &[Token], at: usize) -> bool {
    const PARTS: &str = "hair face head neck nose mouth chin back tail beak mane fur whiskers snout belly chest beard";
    let owner = &tokens[at];
    let owned = tokens.get(at + 1).is_some_and(|it| {
        (has(BODY_PARTS, &it.lower) || has(PARTS, &it.lower)) && it.is_word()
            || has(CLOTHES, &it.lower) && has(RECIPIENTS, owner.lower.trim_end_matches('s'))
    });
    let pointed = at > 0 && has("the this that my his her our their your a", &tokens[at - 1].lower);
    owned && pointed && is_plural(&owner.lower) && !owner.quoted
}

fn without_turns(tokens: &[Token]) -> Vec<Token> {
    let mut plain: Vec<Token> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let turn = TURNS.iter().find_map(|(pattern, next, words)| {
            let n = matched(&tokens[at..], pattern)?;
            let follows = next.is_empty() || matched(&tokens[at + n..], next).is_some();
            (follows && !tokens[at].quoted).then_some((n, words))
        });
        let Some((n, words)) = turn else {
            plain.push(tokens[at].clone());
            at += 1;
            continue;
        };
        // The first word stands for all of the turn, so that the words stay in order.
        let (start, end) = (tokens[at].span.start, tokens[at + n - 1].span.end);
        plain.extend(words.split(' ').enumerate().map(|(nth, word)| {
            let span = if nth == 0 { start..end } else { end..end };
            Token { lower: word.to_owned(), span, quoted: false }
        }));
        at += n;
    }
    plain
}
