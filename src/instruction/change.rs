//! What kind of change an object undergoes: another color, another thing, another look.

use super::lexicon::{
    BEING, COLOR_NOUNS, COLORS, DETERMINERS, MATERIALS, PERSONS, PREPOSITIONS, SHADES,
    STRENGTHENING, THINGS, is_adjective,
};
use super::lists::has;
use super::nouns::is_plural;
use super::words::{Token, find, matched};

/// What kind of change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// The object takes another color: `make the star blue`, `the same color as the roof`.
    Recolor,
    /// Another thing stands in its place: `change the bee to a bird`.
    Replace,
    /// It looks or stands otherwise: `make the dog bigger`, `make her smile`.
    Alter,
}

/// The kind of change by the words for what the object becomes; `swaps` if the verb puts another thing in its place.
pub(super) fn kind(becomes: &[Token], swaps: bool) -> Option<Change> {
    let last = becomes.last()?;
    if is_color(becomes) {
        return Some(Change::Recolor);
    }
    let article = has("a an another some one two three four five several many", &becomes[0].lower);
    let compared = find(becomes, "shade of").is_some() || find(becomes, "bit").is_some();
    let plural = becomes.len() < 4 && is_plural(&last.lower) && !has("years times", &last.lower);
    let thing = swaps || article && !compared || plural;
    Some(if thing && !has(MATERIALS, &last.lower) { Change::Replace } else { Change::Alter })
}

/// Words behind a color that add nothing: `a red tone`.
const NOUNS: &str = "color colour colors colours hue tint tone paint finish one ones";

/// What an object becomes, without words that add nothing: `blue` of `a blue color`.
pub(super) fn trimmed(becomes: &[Token]) -> &[Token] {
    const LEADS: [&str; 3] = [
        "a/an/some? fresh/new/nice/good/thick/thin/second/bright? coat/layer/lick/splash/touch/dash of",
        "the/a color/colour/shade of?",
        "a/an/some",
    ];
    let end = becomes.len();
    if becomes.first().is_some_and(|it| it.is("in")) && is_finish(&becomes[1..]) {
        return &becomes[1..];
    }
    if becomes.first().is_some_and(|it| it.quoted) {
        return &becomes[..becomes.iter().take_while(|it| it.quoted).count()];
    }
    let job = usize::from(becomes.last().is_some_and(|it| has("job coat scheme", &it.lower)));
    let end = end - job;
    let noun = becomes[..end].last().is_some_and(|it| has(NOUNS, &it.lower));
    let lead = |words: &[Token]| LEADS.iter().find_map(|it| matched(words, it)).unwrap_or(0);
    let start = if noun || matched(becomes, LEADS[1]).is_some() { lead(becomes) } else { 0 };
    let inner = &becomes[start.min(end)..(end - usize::from(noun)).max(start.min(end))];
    if !inner.is_empty() && is_color(inner) {
        return inner;
    }
    becomes
}

/// Whether words compare a look with that of something else: `the same color as the star`, `the colour of the roof`.
pub(super) fn is_comparison(words: &[Token]) -> bool {
    ["the same _ as", "the color/colour/size/shape of"]
        .iter()
        .any(|it| matched(words, it).is_some())
}

/// Whether words name a color or a material: `dark red`, `old oak`.
pub(super) fn is_finish(words: &[Token]) -> bool {
    is_color(words) || words.len() < 3 && words.last().is_some_and(|it| has(MATERIALS, &it.lower))
}

/// How a color is said by that of something else.
const COMPARED: [&str; 5] = [
    "the? same? color/colour/shade/hue as/of",
    "match/matching/matches the color/colour of",
    "match/matching/matches the/its/his/her/their _ 's color/colour",
    "as red/orange/yellow/green/blue/purple/pink/brown/black/white/gray/grey as",
    "the? color/colour/hue the",
];

/// Words that may stand with a color.
const OTHERS: &str = "a an the and or with very more less slightly bit of shade tone color colour hue all \
    completely solid pure plain really much in entirely totally fully bright , - colored coloured again instead";

/// Whether a word can be a part of a compound noun.
fn is_plain_noun(word: &str) -> bool {
    const LISTS: [&str; 6] = [DETERMINERS, PREPOSITIONS, STRENGTHENING, BEING, PERSONS, THINGS];
    !LISTS.iter().any(|it| has(it, word))
        && !has("and or not look turn become colored coloured covered", word)
}

/// Whether words name a color and nothing else: `dark red`, `a darker shade of blue`, `the color of the roof`.
pub(super) fn is_color(words: &[Token]) -> bool {
    if words.is_empty() {
        return false;
    }
    let the_same = matched(words, "the same _ as").is_some_and(|_| has(COLORS, &words[2].lower));
    let by_other = the_same
        || matched(words, COMPARED[0]).is_some_and(|n| n > 2)
        || COMPARED[1..].iter().any(|it| matched(words, it).is_some());
    if by_other {
        return true;
    }
    let color = |it: &Token| {
        has(COLORS, &it.lower)
            || ["er", "r", "est"]
                .iter()
                .any(|end| it.lower.strip_suffix(end).is_some_and(|stem| has(COLORS, stem)))
            || it.lower.split_once('-').is_some_and(|(one, other)| {
                (has(COLORS, one) || has(SHADES, one)) && has(COLORS, other)
                    || has(COLORS, one) && has("colored coloured ish", other)
            })
    };
    // `sage green`: a noun before a color shades it.
    let shade = |at: usize| {
        words.get(at + 1).is_some_and(color)
            && !is_adjective(&words[at].lower)
            && at + 2 == words.len()
            && !words.iter().any(|it| has("the his her its my their", &it.lower))
    };
    // `British racing green`, `fire engine red`.
    let compound = words.len() < 5
        && words.len() > 2
        && words.last().is_some_and(color)
        && words[..words.len() - 1]
            .iter()
            .all(|it| it.is_word() && !is_adjective(&it.lower) && is_plain_noun(&it.lower));
    if compound {
        return true;
    }
    let named = words.iter().any(color);
    let only = words
        .iter()
        .enumerate()
        .all(|(at, it)| color(it) || has(SHADES, &it.lower) || has(OTHERS, &it.lower) || shade(at));
    let colored = words.last().is_some_and(|it| has("colored coloured", &it.lower));
    let bare = &words[..words.len() - usize::from(colored)];
    let noun = bare.last().is_some_and(|it| has(COLOR_NOUNS, &it.lower));
    // `a soft peach` is one, `a peach` is a fruit.
    let article = |it: &Token| bare.len() > 2 && has("a an", &it.lower);
    let shaded =
        bare.iter().rev().skip(1).all(|it| has(SHADES, &it.lower) || color(it) || article(it));
    // `an orange` is a fruit, `a red` is not said of things.
    let article = words.len() == 2 && has("a an", &words[0].lower);
    only && named && !article || noun && shaded
}
