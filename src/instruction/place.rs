//! Where an object is, or where it is to come: a part of the picture, a number in a row, or a landmark.

use std::ops::Range;

use super::area::{Area, area_at, corner_of};
use super::lexicon::{
    BEING, BODY_PARTS, CLOTHES, COLORS, DETERMINERS, DOING, HAVING, PICTURES, RELATIVES, verb_in,
};
use super::lists::has;
use super::phrase::{Found, closes, phrase};
use super::words::{Token, bytes, matched, prefix_len};
use super::{Action, Phrase, Stands};

/// From where things in a row are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CountedFrom {
    /// Where one begins to read: the second house.
    Start,
    /// The other end: the last house.
    End,
    /// A side that is named: the second house from the right.
    Side(Area),
}

/// How an object stands to its landmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// On it, on top of it, worn by it.
    On,
    /// In it, inside it, among them.
    In,
    /// Over it, without touching it.
    Above,
    /// Under it.
    Below,
    /// Next to it, near it, at it.
    Beside,
    /// To the left of it.
    LeftOf,
    /// To the right of it.
    RightOf,
    /// Hidden by it.
    Behind,
    /// Before it, facing the viewer.
    InFrontOf,
    /// Between two or more.
    Between,
    /// On all sides of it.
    Around,
    /// Given to it, for it to wear or have.
    Of,
    /// What it is taken from.
    From,
}

/// What kind of place it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaceKind {
    /// A part of the picture: `on the left`, `in the top right corner`.
    Area(Area),
    /// A number in a row of like things, from 1: `the second house from the left`.
    Nth {
        /// Which one.
        nth: usize,
        /// Counted from where.
        from: CountedFrom,
    },
    /// By something else: `under the coffee table`.
    Landmark {
        /// How it stands to the landmark.
        relation: Relation,
        /// The landmark.
        landmark: Phrase,
    },
}

/// A place, as it is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    text: String,
    words: String,
    opening: String,
    kind: PlaceKind,
}

impl Place {
    /// The place as a phrase: `on the left`, `left`, `next to the star`; `to the dog` of `give the dog a hat`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What kind of place it is.
    pub fn kind(&self) -> &PlaceKind {
        &self.kind
    }

    /// The words of the relation to a landmark: `next to`.
    pub fn relation_words(&self) -> &str {
        &self.words
    }

    /// The landmark, if there is one.
    pub fn landmark(&self) -> Option<&Phrase> {
        match &self.kind {
            PlaceKind::Landmark { landmark, .. } => Some(landmark),
            _ => None,
        }
    }

    /// The number in a row as it is written before a name: `second`.
    pub(super) fn opening_text(&self) -> &str {
        &self.opening
    }

    /// The same place with the number before the name, counted from the side behind it.
    pub(super) fn counted(self, source: &str, opening: &Opening, nth: usize, side: Area) -> Self {
        let kind = PlaceKind::Nth { nth, from: CountedFrom::Side(side) };
        Self { kind, opening: source[opening.span.clone()].to_owned(), ..self }
    }

    /// A landmark that the sentence implies: `the dog` of `give the dog a hat`.
    pub(super) fn implied(source: &str, words: &str, landmark: &Found) -> Option<Self> {
        let relation = relation_at(words)?;
        let landmark = Phrase::new(source, landmark, Stands::InInstruction);
        Some(Self {
            text: format!("{words} {}", landmark.text()),
            words: words.to_owned(),
            opening: String::new(),
            kind: PlaceKind::Landmark { relation, landmark },
        })
    }

    /// The place that words before a name say: `left` of `the left house`.
    pub(super) fn opening(source: &str, opening: &Opening) -> Self {
        let text = source[opening.span.clone()].to_owned();
        Self { opening: text.clone(), text, words: String::new(), kind: opening.kind.clone() }
    }
}

/// Words of place before a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) span: Range<usize>,
    pub(super) kind: PlaceKind,
}

/// Relations to a landmark by the words for them, longer ones before those that they begin with.
const RELATIONS: &[(&str, Relation)] = &[
    ("to/on/at the left/left-hand side? of", Relation::LeftOf),
    ("to/on/at the right/right-hand side? of", Relation::RightOf),
    ("left of", Relation::LeftOf),
    ("right of", Relation::RightOf),
    ("on top of", Relation::On),
    ("on/at/in the top/side/surface/front/edge of", Relation::On),
    ("at/on the bottom/foot/base of", Relation::Below),
    ("at/on/by/near the end/entrance/start/rim/border of", Relation::Beside),
    ("in/at/to the middle/center/centre/corner/inside of", Relation::In),
    ("in/at the front of", Relation::InFrontOf),
    ("in/at the back of", Relation::Behind),
    ("in between", Relation::Between),
    ("in front of", Relation::InFrontOf),
    ("in/into", Relation::In),
    ("out of", Relation::From),
    ("next to", Relation::Beside),
    ("close/closest/closer/nearest/adjacent/near to", Relation::Beside),
    ("across from", Relation::Beside),
    ("away? from/off", Relation::From),
    ("onto/on/upon/atop/across/along", Relation::On),
    ("inside/within/among/amongst/through", Relation::In),
    ("above/over", Relation::Above),
    ("below/under/underneath/beneath", Relation::Below),
    (
        "beside/by/near/nearest/against/at/opposite/alongside/beyond/outside/facing/towards/toward",
        Relation::Beside,
    ),
    ("behind", Relation::Behind),
    ("between", Relation::Between),
    ("around/round", Relation::Around),
    ("to/for", Relation::Of),
];

/// The relation that some words name.
fn relation_at(words: &str) -> Option<Relation> {
    let tokens = super::words::tokens(words);
    RELATIONS.iter().find(|it| matched(&tokens, it.0) == Some(tokens.len())).map(|it| it.1)
}

/// A number in a row: `second`, `3rd`, `last`.
fn ordinal(tokens: &[Token]) -> Option<(usize, usize, CountedFrom)> {
    const ORDINALS: [&str; 10] = [
        "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth",
        "tenth",
    ];
    let word = tokens.first()?.lower.as_str();
    if word == "last" {
        return Some((1, 1, CountedFrom::End));
    }
    let named = ORDINALS.iter().position(|it| *it == word).map(|it| it + 1);
    let figure =
        || ["st", "nd", "rd", "th"].iter().find_map(|it| word.strip_suffix(it)?.parse().ok());
    let nth = named.or_else(figure).filter(|it| (1..=99).contains(it))?;
    match matched(&tokens[1..], "to last") {
        Some(n) => Some((1 + n, nth, CountedFrom::End)),
        None => Some((1, nth, CountedFrom::Start)),
    }
}

/// The place of `leftmost` in `the leftmost of the boats`; not of `the top of the cake`, which is a part of it.
pub(super) fn opening_kind(tokens: &[Token]) -> Option<PlaceKind> {
    const OF: &str = "upper/lower/left/right/top/bottom of the/these/those two/three/four/five";
    let most =
        tokens.first().is_some_and(|it| it.lower.ends_with("most") || ordinal(tokens).is_some());
    (most || matched(tokens, OF).is_some()).then(|| which(tokens)).flatten().map(|it| it.1)
}

/// Words of place before a name, and how many there are.
fn which(tokens: &[Token]) -> Option<(usize, PlaceKind)> {
    if let Some((n, nth, from)) = ordinal(tokens) {
        return Some((n, PlaceKind::Nth { nth, from }));
    }
    let far = usize::from(matched(tokens, "far").is_some());
    let (n, area) = corner_of(&tokens[far..])?;
    let more = matched(&tokens[far + n..], "hand/most? side/corner?").unwrap_or(0);
    Some((far + n + more, PlaceKind::Area(area)))
}

/// The words of place that stand before a name, and how many there are: `left` in `left house`.
pub(super) fn opening(tokens: &[Token]) -> Option<(usize, PlaceKind)> {
    let (n, kind) = which(tokens)?;
    let counts =
        |it: &&Token| has("two three four five six seven eight nine ten few couple", &it.lower);
    let n = n + tokens[n..].iter().take_while(counts).count();
    let name = tokens.get(n)?;
    let compound = has(BODY_PARTS, &name.lower) || name.is("hat") && tokens[0].is("top");
    let noun = name.is_word() && !name.is("of") && !closes(tokens, n);
    let counted = has(DETERMINERS, &name.lower) && !name.is("one");
    (noun && !compound && !counted).then_some((n, kind))
}

/// Whether a stretch ends with the words for a corner: `top left` of `insert our logo top left`.
pub(super) fn ends_with_corner(tokens: &[Token], at: usize) -> bool {
    at + 2 == tokens.len() && corner_of(&tokens[at..]).is_some_and(|it| it.0 == 2)
}

/// Whether a word may open a place.
pub(super) fn opens_place(word: &str) -> bool {
    const WORDS: &str = "on in at to near next above below under beneath behind beside between over inside around by \
        left right top somewhere";
    has(WORDS, word)
}

/// Which landmark a relation may have.
fn is_landmark(found: &Found, relation: Relation, action: Action) -> bool {
    const STATES: &str = "fire night noon day color colour style front front general motion flight love half bloom \
        mind danger trouble way total fact particular addition space spot area gap region";
    let worn = relation == Relation::In
        && action != Action::Add
        && (has(CLOTHES, &found.noun) || has(COLORS, &found.noun));
    let whole = has(PICTURES, &found.noun);
    !worn
        && !whole
        && !has(STATES, &found.noun)
        && (!has("me us you", &found.noun) || relation == Relation::Behind)
        && !has("it out camera viewer", &found.noun)
}

/// The place that words behind a name say: `parked next to the tree`, `on the left`, `who sits in the corner`.
pub(super) fn behind(source: &str, tokens: &[Token], action: Action) -> Option<Place> {
    // Behind another phrase, a relation may belong to that: `the man with a hat on his head`.
    let mut nested = false;
    let mut at = 0;
    while at < tokens.len() {
        let rest = &tokens[at..];
        if let Some((n, area)) = area_at(rest) {
            let text = source[bytes(&rest[..n])?].to_owned();
            return Some(Place {
                text,
                words: String::new(),
                opening: String::new(),
                kind: PlaceKind::Area(area),
            });
        }
        // What comes may be described, but it comes to a thing that is there.
        let comes = action == Action::Add
            && rest
                .iter()
                .skip(1)
                .take(3)
                .any(|it| has("the that this my his her our their its", &it.lower));
        if (!nested || comes)
            && let Some(place) = landmark_at(source, rest, action)
        {
            return Some(place);
        }
        // `that leans over the pool`.
        let does = at > 0 && has(RELATIVES, &tokens[at - 1].lower) && rest[0].lower.ends_with('s');
        nested |= !is_passed_over(&rest[0]) && !does;
        at += 1;
    }
    None
}

/// A relation and its landmark at the start of a stretch.
fn landmark_at(source: &str, tokens: &[Token], action: Action) -> Option<Place> {
    let (n, relation) = RELATIONS.iter().find_map(|it| Some((matched(tokens, it.0)?, it.1)))?;
    let fits = match relation {
        Relation::Of => action == Action::Add,
        // `smoke coming out of the chimney`.
        Relation::From => action == Action::Remove || action == Action::Add && tokens[0].is("out"),
        _ => true,
    };
    let verb = |it: &Token| verb_in(&[HAVING, DOING], &it.lower).is_some();
    if relation == Relation::Of && tokens.get(n).is_some_and(verb) {
        return None;
    }
    if !fits
        || tokens[0].is("to") && relation == Relation::Of && prefix_len(tokens, "to be").is_some()
    {
        return None;
    }
    let ends =
        |it: &&Token| has(BEING, &it.lower) || has("should would could must needs has", &it.lower);
    let len = tokens[n..].iter().take_while(|it| !ends(it)).count();
    // `the one that is there`: the clause goes with its verb.
    let relative = len > 1 && has(RELATIVES, &tokens[n + len - 1].lower);
    let found = phrase(&tokens[n..n + len - usize::from(relative)])
        .filter(|it| is_landmark(it, relation, action))?;
    let landmark = Phrase::new(source, &found, Stands::InInstruction);
    let words = tokens[..n].iter().map(|it| it.lower.as_str()).collect::<Vec<_>>().join(" ");
    // A landmark for which a pronoun stood was named before.
    let text = match source.get(tokens[0].span.start..found.all.end) {
        Some(text) if tokens[n - 1].span.end <= found.all.start => text.to_owned(),
        _ => format!("{words} {}", landmark.text()),
    };
    Some(Place {
        text,
        words,
        opening: String::new(),
        kind: PlaceKind::Landmark { relation, landmark },
    })
}

/// Words that stand between a name and its place and say nothing of another thing.
const ADVERBS: &str = "just right directly somewhere only also all still currently up down over out sits stands \
    lies sat stood lay hangs flies grows sits lives is seen shown found placed one and , 's there here you see \
    we i can exactly straight slightly further farther open closed visible lying left showing peeking";

/// Whether a word between a name and its place says nothing of another thing: `that is parked right by the tree`.
fn is_passed_over(token: &Token) -> bool {
    let word = token.lower.as_str();
    has(RELATIVES, word)
        || has(BEING, word)
        || has(ADVERBS, word)
        || word.len() > 4 && (word.ends_with("ing") || word.ends_with("ed"))
}
