//! The parts of the picture, by the words for them: `on the left`, `in the top right corner`.

use std::fmt;

use super::lexicon::{BEING, MODALS, PICTURES};
use super::lists::has;
use super::phrase::{closes, noun_phrase_len};
use super::words::{Token, matched};

/// A part of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Area {
    Left,
    Right,
    Top,
    Bottom,
    Middle,
    TopLeft,
    TopRight,
    BottomLeft,
    BottomRight,
    /// Any corner.
    Corner,
    Background,
    Foreground,
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Left => "left",
            Self::Right => "right",
            Self::Top => "top",
            Self::Bottom => "bottom",
            Self::Middle => "middle",
            Self::TopLeft => "top left",
            Self::TopRight => "top right",
            Self::BottomLeft => "bottom left",
            Self::BottomRight => "bottom right",
            Self::Corner => "corner",
            Self::Background => "background",
            Self::Foreground => "foreground",
        })
    }
}

/// Parts of the picture, as they follow a name.
const AREAS: &[(&str, Area)] = &[
    ("in/on/at/to/into/from? the far/very? back", Area::Background),
    ("in/on/at/to/into/from? the background/distance/backdrop", Area::Background),
    ("in/on/at/to/into/from? the very? front/foreground", Area::Foreground),
    ("on/to/in? both/all sides", Area::Corner),
];

/// Where in the picture a stretch of words says that something is, and the length of what says it.
pub(super) fn area_at(tokens: &[Token]) -> Option<(usize, Area)> {
    if let Some(found) = AREAS.iter().find_map(|it| Some((matched(tokens, it.0)?, it.1))) {
        return outside_of_things(tokens, found).filter(|it| ends_at(tokens, it.0));
    }
    if let Some(n) = matched(tokens, "up/down? in? center/centre/centered/centred stage?") {
        return (n == 1 && !tokens[0].is("up")).then_some((n, Area::Middle));
    }
    let leads =
        "up/down? on/in/at/to/into/towards/near/from/along? the/its/my/your? far/very/extreme? ";
    let opening = matched(tokens, leads.trim_end())?;
    let (n, area) = corner_of(&tokens[opening..])?;
    let determined = tokens[..opening].iter().any(|it| it.is("the"));
    let rest = &tokens[opening + n..];
    let more =
        matched(rest, "hand/most? side/corner/edge/part/half/end/portion/third?").unwrap_or(0);
    // `left` alone says where only at the end: `the house left of the tree`, `the house further left`.
    if !determined && (opening == 0 || more == 0) && tokens.len() > opening + n + more {
        return None;
    }
    outside_of_things(tokens, (opening + n + more, area)).filter(|it| ends_at(tokens, it.0))
}

/// Whether no name stands behind words of place, of which they would be a part: `on the left table`.
fn ends_at(tokens: &[Token], n: usize) -> bool {
    tokens.get(n).is_none_or(|it| {
        !it.is_word()
            || has("and or who that which", &it.lower)
            || closes(tokens, n)
            || has(BEING, &it.lower)
            || has(MODALS, &it.lower)
            || has("has have needs need", &it.lower)
    })
}

/// An area with `of the picture` behind it, and none if `of` leads to something else.
fn outside_of_things(tokens: &[Token], (n, area): (usize, Area)) -> Option<(usize, Area)> {
    let Some(of) = tokens.get(n).filter(|it| it.is("of") || it.is("in")) else {
        return Some((n, area));
    };
    let rest = &tokens[n + 1..];
    let said = rest.iter().position(|it| has(MODALS, &it.lower) || has(BEING, &it.lower));
    let len = noun_phrase_len(&rest[..said.unwrap_or(rest.len())]);
    let head = len.checked_sub(1).map(|at| &rest[at].lower);
    if head.is_some_and(|it| has(PICTURES, it)) {
        return Some((n + 1 + len, area));
    }
    of.is("in").then_some((n, area))
}

/// One or two words for a side or a corner.
pub(super) fn corner_of(tokens: &[Token]) -> Option<(usize, Area)> {
    let word = |at: usize| tokens.get(at).map_or("", |it| it.lower.as_str());
    let side = |word: &str| match word {
        "left" | "left-hand" | "leftmost" | "left-most" => Some(Area::Left),
        "right" | "right-hand" | "rightmost" | "right-most" => Some(Area::Right),
        "top" | "upper" | "topmost" | "top-most" | "uppermost" | "highest" => Some(Area::Top),
        "bottom" | "lower" | "lowest" | "bottommost" | "bottom-most" | "lowermost" => {
            Some(Area::Bottom)
        }
        "middle" | "center" | "centre" | "central" | "midpoint" => Some(Area::Middle),
        "corner" => Some(Area::Corner),
        _ => None,
    };
    let both = |one: Area, other: Area| match (one, other) {
        (Area::Top, Area::Left) | (Area::Left, Area::Top) => Some(Area::TopLeft),
        (Area::Top, Area::Right) | (Area::Right, Area::Top) => Some(Area::TopRight),
        (Area::Bottom, Area::Left) | (Area::Left, Area::Bottom) => Some(Area::BottomLeft),
        (Area::Bottom, Area::Right) | (Area::Right, Area::Bottom) => Some(Area::BottomRight),
        _ => None,
    };
    if let Some((one, other)) = word(0).split_once('-')
        && let (Some(one), Some(other)) = (side(one), side(other))
    {
        return both(one, other).map(|it| (1, it));
    }
    let first = side(word(0))?;
    if let Some(area) = side(word(1)).and_then(|it| both(first, it)) {
        return Some((2, area));
    }
    Some((1, first))
}
