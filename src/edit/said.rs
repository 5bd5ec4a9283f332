//! What an instruction says of an object beyond its noun: color, size, place, and how well a thing fits that.
//!
//! Differs: the paper tells things of one kind apart by attention alone. Attention to `small` or `left` says little of
//! which thing is the small or the left one, and that to `blue` is drawn to purple as well, while a picture's colors,
//! sizes and places can be compared.

use std::ops::Range;

use crate::instruction::{
    Instruction, Phrase,
    area::Area,
    place::{CountedFrom, Place, PlaceKind, Relation},
};
use crate::picture::color_names::Lab;

/// What is said of one object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// Words for its color, in lower case.
    pub colors: Vec<String>,
    /// Its size, beside others of its kind.
    pub extent: Option<Extent>,
    /// Where it is, or where it is to come.
    pub place: Option<Whereabouts>,
    /// Whether it is several things.
    pub several: bool,
}

/// A size beside others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Small, little, thin.
    Small,
    /// Neither large nor small.
    Medium,
    /// Large, tall, wide.
    Large,
}

/// A place, with its landmark's words in the localization instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// In a part of the picture.
    In(Area),
    /// In a row of like things, from 1.
    Nth(usize, CountedFrom),
    /// By something else.
    By(Relation, Range<usize>),
}

/// A thing that may be meant, as far as words speak of things. Places are shares of the picture's sides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rival {
    /// How much attention the object's words pay it, on a logarithmic scale: 1 for the thing with the most.
    pub evidence: f64,
    /// Its color, and those of its lighter and its darker half: a house is as much the color of its walls as of its roof.
    pub tones: [Lab; 3],
    /// Its share of the picture.
    pub area: f64,
    /// Its middle, from the left.
    pub x: f64,
    /// Its middle, from the top.
    pub y: f64,
}

/// What each kind of word weighs, beside the evidence of attention (docs/ablations.md).
const COLOR: f64 = 0.8;
const SIZE: f64 = 0.8;
const PLACE: f64 = 3.0;

/// Sizes and numbers in a row are told among the things that are worse by no more than this than the best one.
const LIKE: f64 = 0.6;

/// Least likeness of a color, as a power of ten.
const UNLIKE: f64 = -2.0;

/// Greatest factor by which a size counts, as a power of two.
const MANY_TIMES: f64 = 2.0;

impl Said {
    /// Whether it tells one thing from others of its kind.
    pub fn singles_out(&self) -> bool {
        !self.colors.is_empty() || self.extent.is_some() || self.place.is_some()
    }

    /// The index of the thing that fits best; `landmark` is the middle of what the place is told by.
    ///
    /// # Panics
    /// If there is none.
    pub fn best(&self, rivals: &[Rival], landmark: Option<(f64, f64)>) -> usize {
        // 1. Attention, color and place speak of each thing by itself.
        let mut fits: Vec<f64> =
            rivals.iter().map(|it| it.evidence + COLOR * self.color(&it.tones)).collect();
        if let Some(place) = &self.place {
            let near = fits.iter_mut().zip(rivals);
            near.for_each(|(fit, rival)| *fit += PLACE * place.fit(rival, landmark));
        }

        // 2. Size and number speak of things of a kind.
        let alike = |fits: &[f64]| -> Vec<usize> {
            let best = fits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            (0..fits.len()).filter(|&it| fits[it] > best - LIKE).collect()
        };
        if let Some(extent) = self.extent {
            let alike = alike(&fits);
            let areas: Vec<f64> = alike.iter().map(|&it| rivals[it].area).collect();
            for &index in &alike {
                fits[index] -= SIZE * extent.misfit(rivals[index].area, &areas);
            }
        }
        if let Some(Whereabouts::Nth(nth, from)) = &self.place {
            let mut row = alike(&fits);
            let place = |it: usize| along(*from, &rivals[it]);
            row.sort_by(|&a, &b| place(a).total_cmp(&place(b)));
            if let Some(&it) = row.get(nth - 1) {
                return it;
            }
        }
        let best = fits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        best.expect("there is a thing").0
    }

    /// How little a thing of some colors bears the names that are said, as a power of ten: 0 where one of them bears each
    /// best, or none is said.
    pub fn color(&self, colors: &[Lab]) -> f64 {
        let likeness =
            |name: &String| colors.iter().filter_map(|it| it.likeness(name)).reduce(f32::max);
        let likeness = self.colors.iter().filter_map(likeness);
        likeness.map(|it| f64::from(it).log10().max(UNLIKE)).sum()
    }

    /// What an instruction says of each of its objects; `text` is the localization instruction.
    pub fn of(instruction: &Instruction, text: &str) -> Vec<Self> {
        let of = |phrase: &Phrase| {
            let place = phrase.place().or_else(|| instruction.place());
            Self {
                colors: phrase.colors().map(str::to_lowercase).collect(),
                extent: phrase.sizes().find_map(|it| Extent::of(&it.to_lowercase())),
                place: place.and_then(|it| Whereabouts::of(it, text)),
                several: phrase.is_plural(),
            }
        };
        instruction.objects().iter().map(of).collect()
    }
}

impl Extent {
    /// The size that a word says.
    fn of(word: &str) -> Option<Self> {
        match word {
            "tiny" | "small" | "little" | "short" | "narrow" | "thin" | "smaller" | "shorter"
            | "smallest" | "shortest" | "mini" | "miniature" | "wee" => Some(Self::Small),
            "medium" | "medium-sized" => Some(Self::Medium),
            "big" | "large" | "huge" | "giant" | "gigantic" | "tall" | "long" | "wide"
            | "thick" | "bigger" | "larger" | "taller" | "longer" | "biggest" | "largest"
            | "tallest" | "enormous" | "massive" | "great" => Some(Self::Large),
            _ => None,
        }
    }
}

impl Extent {
    /// How far an area is from the one among these that fits, as a power of two.
    fn misfit(self, area: f64, areas: &[f64]) -> f64 {
        let mut sorted = areas.to_vec();
        sorted.sort_by(f64::total_cmp);
        let wanted = match self {
            Self::Small => sorted[0],
            Self::Medium => sorted[sorted.len() / 2],
            Self::Large => sorted[sorted.len() - 1],
        };
        (area / wanted).log2().abs().min(MANY_TIMES)
    }
}

/// Where along a row a thing comes.
fn along(from: CountedFrom, rival: &Rival) -> f64 {
    match from {
        CountedFrom::End | CountedFrom::Side(Area::Right) => -rival.x,
        CountedFrom::Side(Area::Top) => rival.y,
        CountedFrom::Side(Area::Bottom) => -rival.y,
        CountedFrom::Start | CountedFrom::Side(_) => rival.x,
    }
}

impl Whereabouts {
    /// How well a thing is in its place, 0 to 1.
    fn fit(&self, rival: &Rival, landmark: Option<(f64, f64)>) -> f64 {
        match (self, landmark) {
            (Self::In(area), _) => within(*area, rival.x, rival.y),
            (Self::By(relation, _), Some(at)) => beside(*relation, (rival.x, rival.y), at),
            (Self::By(..), None) | (Self::Nth(..), _) => 0.0,
        }
    }

    fn of(place: &Place, text: &str) -> Option<Self> {
        match place.kind() {
            PlaceKind::Area(area) => Some(Self::In(*area)),
            PlaceKind::Nth { nth, from } => Some(Self::Nth(*nth, *from)),
            PlaceKind::Landmark { relation, landmark } => {
                let start = text.rfind(landmark.name())?;
                Some(Self::By(*relation, start..start + landmark.name().len()))
            }
        }
    }
}

/// How well a point lies in a part of the picture, 0 to 1; as well as any where a picture has no such part.
pub fn within(area: Area, x: f64, y: f64) -> f64 {
    let middle = 1.0 - (x - 0.5).hypot(y - 0.5) * std::f64::consts::SQRT_2;
    let both = |one: f64, other: f64| one.min(other);
    match area {
        Area::Left => 1.0 - x,
        Area::Right => x,
        Area::Top => 1.0 - y,
        Area::Bottom => y,
        Area::Middle => middle,
        Area::TopLeft => both(1.0 - x, 1.0 - y),
        Area::TopRight => both(x, 1.0 - y),
        Area::BottomLeft => both(1.0 - x, y),
        Area::BottomRight => both(x, y),
        Area::Corner => 1.0 - middle,
        Area::Background | Area::Foreground => 0.5,
    }
}

/// How well a point stands to a landmark, 0 to 1: on the side that is said, and near.
fn beside(relation: Relation, (x, y): (f64, f64), at: (f64, f64)) -> f64 {
    let near = 1.0 - (x - at.0).hypot(y - at.1) / std::f64::consts::SQRT_2;
    let side = match relation {
        Relation::LeftOf => at.0 - x,
        Relation::RightOf => x - at.0,
        Relation::Above => at.1 - y,
        Relation::Below => y - at.1,
        _ => 1.0,
    };
    if side > 0.0 { near } else { near / 2.0 }
}
