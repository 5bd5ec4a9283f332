//! Which thing of a picture the words mean: parts of clusters are joined to things, and these are compared by
//! attention, color, size and place.
//!
//! Differs: the paper edits every cluster whose score passes a threshold. Here one object is one thing: where the words
//! say nothing but its noun the one with the most attention, and where they say more the one that fits them best.

use std::collections::BTreeSet;

use image::{Rgb, RgbImage};

use crate::edit::{
    components::neighbors,
    grid::Grid,
    said::{Rival, Said},
    selection,
};
use crate::picture::{
    color_names::Lab,
    grid, guided_filter,
    mask::{Mask, Radius},
    size::Size,
    tones::{median, tones},
};

/// A picture in parts.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The picture as the model sees it.
    pub picture: &'a RgbImage,
    /// The grid of `parts`.
    pub grid: Grid,
    /// A part from 0 for each cell.
    pub parts: &'a [i64],
}

/// From which evidence a part may be meant: the logarithm of its attention, from that of the picture's middling cell
/// (0) to that of the best part (1).
const LEAST_EVIDENCE: f64 = 0.3;

/// Attention, of that of the part that it touches, from which a part belongs to the same thing.
const JOINS_FROM: f64 = 0.1;

/// A part with so many times fewer cells than the one that it touches is the border of that.
const BORDER_CELLS: usize = 3;

/// Most things that are compared.
const MOST: usize = 6;

/// Share of two things' pixels that both have, from which they are one.
const SAME_FROM: f64 = 0.5;

/// Least distance of a thing's color from that of its surroundings, in CIELAB.
const LEAST_CONTRAST: f32 = 12.0;

/// Least share of a part that is left when it is brought to the picture's edges, and least share of what it becomes
/// that was its own. A part that is no thing but the border of one drifts there.
const LEAST_KEPT: (f64, f64) = (0.4, 0.25);

/// Largest distance between the picture's edges and the cells' borders, in cells (docs/ablations.md).
pub(crate) const REFINE_CELLS: f64 = 3.0;

/// Parts that make a thing.
struct Candidate {
    /// The part with the most attention.
    seed: usize,
    parts: BTreeSet<usize>,
    evidence: f64,
}

/// A thing as it looks.
struct Look {
    mask: Mask,
    rival: Rival,
    stands_out: bool,
}

/// The parts that the words mean: of the thing that fits them best, those whose score is above `tau`; of several things
/// (`the stars`), all above it.
///
/// `attention` is that of the object's words at each cell, `landmark` the middle of what the object's place is told by,
/// in shares of the picture's sides.
pub fn meant(
    scene: Scene<'_>,
    attention: &[f32],
    said: &Said,
    landmark: Option<(f64, f64)>,
    tau: f64,
) -> Vec<bool> {
    let count = scene.parts.iter().max().map_or(0, |&it| it as usize + 1);
    if said.several {
        return selection::select(&selection::scores(scene.parts, count, attention), tau).0;
    }
    let means = selection::means(scene.parts, count, attention);
    let mut candidates = scene.candidates(attention, &means, said);
    let best = if candidates.len() > 1 {
        let rivals = scene.rivals(&candidates);
        let rated: Vec<Rival> = rivals.iter().map(|it| it.1).collect();
        rivals[said.best(&rated, landmark)].0
    } else {
        0
    };
    scene.grown(&candidates.swap_remove(best), attention, tau, count)
}

impl Scene<'_> {
    /// The things that may be meant, by falling attention; the first one alone if the words tell no others from it.
    fn candidates(&self, attention: &[f32], means: &[f64], said: &Said) -> Vec<Candidate> {
        let (cells, touching) = (self.cells(means.len()), self.touching(means.len()));
        let evidence = evidence(attention, means);
        let mut order: Vec<usize> = (0..means.len()).collect();
        order.sort_by(|&a, &b| means[b].total_cmp(&means[a]));
        let mut found: Vec<Candidate> = vec![];
        for part in order {
            if !found.is_empty() && evidence[part] < LEAST_EVIDENCE {
                break;
            }
            let joins = |it: &&mut Candidate| {
                let (more, larger) = (means[it.seed], cells[it.seed]);
                let alike = means[part] >= JOINS_FROM * more || cells[part] * BORDER_CELLS < larger;
                alike && !it.parts.is_disjoint(&touching[part])
            };
            if let Some(thing) = found.iter_mut().find(joins) {
                thing.parts.insert(part);
            } else if found.is_empty() || said.singles_out() {
                let parts = BTreeSet::from([part]);
                found.push(Candidate { seed: part, parts, evidence: evidence[part] });
            }
        }
        found
    }

    /// Number of cells of each part.
    fn cells(&self, count: usize) -> Vec<usize> {
        let mut cells = vec![0; count];
        self.parts.iter().for_each(|&part| cells[part as usize] += 1);
        cells
    }

    /// The parts that each part touches.
    fn touching(&self, count: usize) -> Vec<BTreeSet<usize>> {
        let mut touching = vec![BTreeSet::new(); count];
        for (cell, &part) in self.parts.iter().enumerate() {
            let others = neighbors(cell, self.grid).map(|it| self.parts[it] as usize);
            touching[part as usize].extend(others.filter(|&it| it != part as usize));
        }
        touching
    }

    /// The candidates that are things, with their indices, as they look; the first one always is.
    fn rivals(&self, candidates: &[Candidate]) -> Vec<(usize, Rival)> {
        let mut masks: Vec<Mask> = vec![];
        let mut rivals = vec![];
        for (index, candidate) in candidates.iter().enumerate().take(2 * MOST) {
            let look = self.look(candidate);
            let again = || masks.iter().any(|it| overlap(it, &look.mask) > SAME_FROM);
            if index == 0 || look.stands_out && !again() {
                rivals.push((index, look.rival));
                masks.push(look.mask);
            }
            if rivals.len() == MOST {
                break;
            }
        }
        rivals
    }

    /// How a candidate looks once it is brought to the picture's edges.
    fn look(&self, candidate: &Candidate) -> Look {
        let size = Size::new(self.picture.width(), self.picture.height());
        let cells = self.mask(|part| candidate.parts.contains(&part));
        let core = self.mask(|part| part == candidate.seed);
        let mask = refined(&cells, self.picture, self.grid);

        let shorter = size.width.min(size.height);
        let near = mask.clone().dilated(pixels(1));
        let around = mask.clone().dilated(pixels((shorter / 20).max(2)));
        let inside = |x, y| mask.holds(x, y) && core.holds(x, y);
        let tones =
            tones(self.picture, inside).or_else(|| tones(self.picture, |x, y| core.holds(x, y)));
        let tones = tones.unwrap_or([Lab::of(Rgb([0; 3])); 3]);
        let beside =
            median(self.picture, |x, y| around.holds(x, y) && !near.holds(x, y)).map(Lab::of);

        let both = |one: &Mask, other: &Mask| one.clone().intersection(other).area_share();
        let area = mask.area_share();
        let kept = both(&mask, &core) >= LEAST_KEPT.0 * core.area_share()
            && both(&mask, &cells) >= LEAST_KEPT.1 * area;
        let (x, y) = mask.middle();
        Look {
            rival: Rival { evidence: candidate.evidence, tones, area, x, y },
            stands_out: kept && beside.is_none_or(|it| it.distance(tones[0]) >= LEAST_CONTRAST),
            mask,
        }
    }

    /// The pixels of some parts.
    fn mask(&self, holds: impl Fn(usize) -> bool) -> Mask {
        let cells: Vec<bool> = self.parts.iter().map(|&part| holds(part as usize)).collect();
        of_cells(self.picture, self.grid, &cells)
    }

    /// A thing's parts, and those in touch with it whose attention, of the thing's greatest, is above `tau`.
    fn grown(&self, thing: &Candidate, attention: &[f32], tau: f64, count: usize) -> Vec<bool> {
        let in_thing = |part: i64| thing.parts.contains(&(part as usize));
        let least = attention.iter().copied().fold(f32::INFINITY, f32::min);
        let own = attention.iter().zip(self.parts).filter(|it| in_thing(*it.1));
        let peak = own.map(|it| *it.0).fold(f32::MIN_POSITIVE, f32::max);
        let rescaled: Vec<f32> = attention.iter().map(|it| (it - least) / peak).collect();
        let scores = selection::means(self.parts, count, &rescaled);
        let touching = self.touching(count);
        let mut taken: Vec<bool> = (0..count).map(|it| thing.parts.contains(&it)).collect();
        let mut open: Vec<usize> = thing.parts.iter().copied().collect();
        while let Some(part) = open.pop() {
            for &next in &touching[part] {
                if !taken[next] && scores[next] > tau {
                    taken[next] = true;
                    open.push(next);
                }
            }
        }
        if taken.iter().all(|&it| it) {
            return (0..count).map(|it| thing.parts.contains(&it)).collect();
        }
        taken
    }
}

/// The color of what some cells hold, brought to the picture's edges; `None` without cells.
pub fn color(picture: &RgbImage, grid: Grid, cells: &[bool]) -> Option<Lab> {
    let cells = of_cells(picture, grid, cells);
    let mask = refined(&cells, picture, grid);
    let kept = median(picture, |x, y| mask.holds(x, y) && cells.holds(x, y));
    kept.or_else(|| median(picture, |x, y| cells.holds(x, y))).map(Lab::of)
}

/// The pixels of some cells.
fn of_cells(picture: &RgbImage, grid: Grid, cells: &[bool]) -> Mask {
    let size = Size::new(picture.width(), picture.height());
    let grid = Size::new(grid.width as u32, grid.height as u32);
    let values = grid::upsample_nearest(cells, grid, size);
    Mask::from_fn(size, |x, y| values[(y * size.width + x) as usize])
}

/// A mask of cells, brought to the picture's edges.
fn refined(mask: &Mask, picture: &RgbImage, grid: Grid) -> Mask {
    let side = f64::from(picture.width()) / grid.width as f64;
    let side = side.min(f64::from(picture.height()) / grid.height as f64);
    guided_filter::refined(mask, picture, (REFINE_CELLS * side).round() as u32)
}

/// Where each part's attention lies between the picture's middling cell and the best part, on a logarithmic scale.
fn evidence(attention: &[f32], means: &[f64]) -> Vec<f64> {
    let mut sorted = attention.to_vec();
    sorted.sort_by(f32::total_cmp);
    let tiny = 1e-12;
    let middling = f64::from(sorted[sorted.len() / 2]).max(tiny);
    let best = means.iter().copied().fold(tiny, f64::max);
    let range = (best / middling).ln().max(1e-6);
    means.iter().map(|it| (it.max(tiny) / middling).ln() / range).collect()
}

/// Intersection over union.
fn overlap(one: &Mask, other: &Mask) -> f64 {
    let both = one.clone().intersection(other).area_share();
    both / one.clone().union(other).area_share().max(f64::MIN_POSITIVE)
}

fn pixels(radius: u32) -> Radius {
    Radius::try_from(radius.min(crate::picture::mask::MAX_RADIUS)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::said::{Extent, Whereabouts};
    use crate::instruction::{
        area::Area,
        place::{CountedFrom, Relation},
    };

    const SIDE: usize = 16;
    const CELL: u32 = 4;

    /// A square of cells: column, row, side, color, attention.
    type Square = (usize, usize, usize, [u8; 3], f32);

    const BLUE: [u8; 3] = [40, 80, 220];
    const PURPLE: [u8; 3] = [146, 62, 190];

    /// The index of the square that is meant, by the cells that are selected.
    fn meant_of(squares: &[Square], said: &Said, landmark: Option<(f64, f64)>) -> Vec<usize> {
        let within = |square: &Square, x: usize, y: usize| {
            (square.0..square.0 + square.2).contains(&x)
                && (square.1..square.1 + square.2).contains(&y)
        };
        let at = |x: usize, y: usize| squares.iter().position(|it| within(it, x, y));
        let cells = || (0..SIDE * SIDE).map(|it| at(it % SIDE, it / SIDE));
        let parts: Vec<i64> = cells().map(|it| it.map_or(0, |it| it as i64 + 1)).collect();
        let attention: Vec<f32> = cells().map(|it| it.map_or(1e-6, |it| squares[it].4)).collect();
        let side = SIDE as u32 * CELL;
        let picture = RgbImage::from_fn(side, side, |x, y| {
            let square = at((x / CELL) as usize, (y / CELL) as usize);
            Rgb(square.map_or([170, 170, 140], |it| squares[it].3))
        });
        let grid = Grid { height: SIDE as i64, width: SIDE as i64 };
        let scene = Scene { picture: &picture, grid, parts: &parts };
        let meant = meant(scene, &attention, said, landmark, 0.02);
        assert!(!meant[0], "the ground is no thing");
        (0..squares.len()).filter(|&it| meant[it + 1]).collect()
    }

    fn said(colors: &[&str], extent: Option<Extent>, place: Option<Whereabouts>) -> Said {
        let colors = colors.iter().map(|&it| it.to_owned()).collect();
        Said { colors, extent, place, several: false }
    }

    #[test]
    fn without_words_the_thing_with_the_most_attention_is_meant_alone() {
        let squares = [(2, 2, 4, BLUE, 0.01), (10, 10, 4, PURPLE, 0.003)];
        assert_eq!(meant_of(&squares, &Said::default(), None), [0]);
        let several = Said { several: true, ..Said::default() };
        assert_eq!(meant_of(&squares, &several, None), [0, 1]);
    }

    #[test]
    fn a_named_color_outweighs_attention_that_is_drawn_to_its_neighbor() {
        let squares = [(2, 2, 4, PURPLE, 0.01), (10, 10, 4, BLUE, 0.001)];
        assert_eq!(meant_of(&squares, &said(&["blue"], None, None), None), [1]);
        // Not where nothing looks at the words.
        let squares = [(2, 2, 4, PURPLE, 0.01), (10, 10, 4, BLUE, 3e-6)];
        assert_eq!(meant_of(&squares, &said(&["blue"], None, None), None), [0]);
    }

    #[test]
    fn a_thing_of_two_colors_bears_both() {
        let picture = RgbImage::from_fn(16, 16, |_, y| {
            Rgb(if y < 7 { [142, 75, 20] } else { [241, 132, 36] })
        });
        let tones = tones(&picture, |x, _| x < 8).unwrap();
        let said = |color| said(&[color], None, None).color(&tones);
        assert!(
            said("orange") > -0.05 && said("brown") > -0.05,
            "{} {}",
            said("orange"),
            said("brown")
        );
        assert!(said("blue") < -1.0, "{}", said("blue"));
    }

    #[test]
    fn sizes_are_those_beside_others() {
        let squares = [(1, 1, 6, BLUE, 0.01), (10, 10, 3, BLUE, 0.002)];
        assert_eq!(meant_of(&squares, &said(&[], Some(Extent::Small), None), None), [1]);
        assert_eq!(meant_of(&squares, &said(&[], Some(Extent::Large), None), None), [0]);
    }

    #[test]
    fn places_are_areas_numbers_or_landmarks() {
        let squares = [(1, 2, 4, BLUE, 0.01), (6, 10, 4, BLUE, 0.008), (11, 2, 4, BLUE, 0.008)];
        let place = |place| said(&[], None, Some(place));
        assert_eq!(meant_of(&squares, &place(Whereabouts::In(Area::Right)), None), [2]);
        assert_eq!(meant_of(&squares, &place(Whereabouts::In(Area::Bottom)), None), [1]);
        let second = Whereabouts::Nth(2, CountedFrom::Start);
        assert_eq!(meant_of(&squares, &place(second), None), [1]);
        let last = Whereabouts::Nth(1, CountedFrom::End);
        assert_eq!(meant_of(&squares, &place(last), None), [2]);
        let beside = Whereabouts::By(Relation::Beside, 0..0);
        assert_eq!(meant_of(&squares, &place(beside), Some((0.9, 0.5))), [2]);
    }

    #[test]
    fn a_thing_keeps_its_parts() {
        // Two halves that touch, the second with less attention.
        let squares = [(2, 2, 4, BLUE, 0.01), (6, 2, 4, BLUE, 0.002), (11, 11, 3, BLUE, 0.004)];
        assert_eq!(meant_of(&squares, &Said::default(), None), [0, 1]);
    }
}
