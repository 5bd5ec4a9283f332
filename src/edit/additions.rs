//! Where an addition goes, by the change that pass 1 predicts: in the place that the words say, in one piece, and off
//! other things.
//!
//! Differs: the paper localizes additions by their words' attention alone.

use image::{Rgb, RgbImage};

use crate::edit::{
    components::connected,
    grid::{Field, Grid},
    said::{self, Said, Whereabouts},
};
use crate::instruction::area::Area;
use crate::picture::{
    color_names::Lab,
    resample::{self, Filter},
    size::Size,
    tones::median_of,
};

/// How well a cell must lie in the part of the picture that is said.
const IN_PLACE: f64 = 0.4;

/// A change in the place, of the picture's greatest, below which the model draws elsewhere; then the place itself is
/// where the addition goes.
const DRAWN_FROM: f32 = 0.3;

/// Radius of a place, in shares of the picture's sides.
const PLACE_RADIUS: f64 = 0.25;

/// A change, of the greatest, from which a cell is the addition whatever stands there.
const CORE: f32 = 0.4;

/// Distance in color, in CIELAB, from which something is not the ground that the addition stands on.
const OTHER: f32 = 20.0;

/// The predicted change, 0 to 1, where the addition goes, and 0 elsewhere; cells above `threshold` are its mask.
pub fn added(change: Field, picture: &RgbImage, said: &[Said], threshold: f64) -> Field {
    let mut field = change.normalized();
    let [said] = said else { return field };
    if let Some(Whereabouts::In(area)) = said.place {
        field = in_place(field, area);
    }
    if said.several {
        return field;
    }
    off_others(&mut field, picture);
    one_piece(&mut field, threshold as f32);
    field
}

/// The change within a part of the picture, or that part where nothing is drawn in it.
fn in_place(mut field: Field, area: Area) -> Field {
    let (middle_x, middle_y) = middle(area);
    let grid = field.grid;
    for (cell, value) in field.values.iter_mut().enumerate() {
        let (x, y) = place(cell, grid);
        if said::within(area, x, y) < IN_PLACE {
            *value = 0.0;
        }
    }
    if greatest(&field) < DRAWN_FROM {
        for (cell, value) in field.values.iter_mut().enumerate() {
            let (x, y) = place(cell, grid);
            let near = (x - middle_x).hypot(y - middle_y) < PLACE_RADIUS;
            *value = f32::from(u8::from(near));
        }
    }
    field.normalized()
}

/// Where one begins to look for something in a part of the picture.
fn middle(area: Area) -> (f64, f64) {
    let (low, high) = (0.25, 0.75);
    match area {
        Area::Left => (low, 0.5),
        Area::Right => (high, 0.5),
        Area::Top => (0.5, low),
        Area::Bottom | Area::Foreground => (0.5, high),
        Area::TopLeft => (low, low),
        Area::TopRight => (high, low),
        Area::BottomLeft => (low, high),
        Area::BottomRight | Area::Corner => (high, high),
        Area::Middle | Area::Background => (0.5, 0.5),
    }
}

/// Takes out the cells around the addition in which something else stands than on the ground that it covers.
fn off_others(field: &mut Field, picture: &RgbImage) {
    let size = Size::new(field.grid.width as u32, field.grid.height as u32);
    let small = resample::resize_rgb(picture, size, Filter::Box);
    let colors: Vec<Rgb<u8>> = small.pixels().copied().collect();
    let core = |value: f32| value > CORE;
    let covered = colors.iter().zip(&field.values).filter(|it| core(*it.1)).map(|it| *it.0);
    let Some(ground) = median_of(covered).map(Lab::of) else { return };
    for (color, value) in colors.iter().zip(&mut field.values) {
        if !core(*value) && Lab::of(*color).distance(ground) > OTHER {
            *value = 0.0;
        }
    }
}

/// Keeps the piece above the threshold that has the greatest change.
fn one_piece(field: &mut Field, threshold: f32) {
    let labels: Vec<i64> = field.values.iter().map(|&it| i64::from(it > threshold)).collect();
    let pieces = connected(&labels, field.grid);
    let highest = field.values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    let Some(piece) = highest.map(|it| pieces[it.0]) else { return };
    for (value, other) in field.values.iter_mut().zip(&pieces) {
        if *other != piece {
            *value = 0.0;
        }
    }
}

fn greatest(field: &Field) -> f32 {
    field.values.iter().copied().fold(0.0, f32::max)
}

/// The middle of a cell, in shares of the picture's sides.
fn place(cell: usize, grid: Grid) -> (f64, f64) {
    let share = |cell: i64, cells: i64| (cell as f64 + 0.5) / cells as f64;
    let cell = cell as i64;
    (share(cell % grid.width, grid.width), share(cell / grid.width, grid.height))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: i64 = 16;

    fn field(value: impl Fn(i64, i64) -> f32) -> Field {
        let values = (0..SIDE * SIDE).map(|it| value(it % SIDE, it / SIDE)).collect();
        Field { grid: Grid { height: SIDE, width: SIDE }, values }
    }

    /// The cells of the mask, on a picture with a red thing in its upper left quarter.
    fn cells(change: Field, place: Option<Area>) -> Vec<(i64, i64)> {
        let picture = RgbImage::from_fn(64, 64, |x, y| {
            Rgb(if x < 32 && y < 32 { [220, 40, 40] } else { [150, 160, 150] })
        });
        let said = Said { place: place.map(Whereabouts::In), ..Said::default() };
        let added = added(change, &picture, &[said], 0.1);
        let above = added.values.iter().enumerate().filter(|it| *it.1 > 0.1);
        above.map(|it| (it.0 as i64 % SIDE, it.0 as i64 / SIDE)).collect()
    }

    #[test]
    fn an_addition_is_one_piece_and_keeps_off_other_things() {
        let near = |x: i64, y: i64| (6..12).contains(&x) && (6..12).contains(&y);
        let change = field(|x, y| match (x, y) {
            _ if (9..12).contains(&x) && (9..12).contains(&y) => 1.0,
            _ if near(x, y) => 0.2,
            (0..2, 14..) => 0.3,
            _ => 0.0,
        });
        let found = cells(change, None);
        assert!(found.contains(&(10, 10)) && found.contains(&(9, 6)));
        assert!(!found.contains(&(7, 7)), "the red thing is left alone");
        assert!(!found.contains(&(0, 15)), "a second piece");
    }

    #[test]
    fn a_place_that_is_said_holds() {
        // It is drawn on the left, and a little on the right.
        let change = |little| {
            field(move |x, y| match (x, y) {
                (2..5, 6..10) => 1.0,
                (11..14, 6..10) => little,
                _ => 0.0,
            })
        };
        let right = cells(change(0.5), Some(Area::Right));
        assert!(right.iter().all(|it| (11..14).contains(&it.0)) && !right.is_empty());
        // Where it is drawn nowhere in its place, the place is the mask.
        let right = cells(change(0.0), Some(Area::Right));
        assert!(right.contains(&(12, 8)) && right.iter().all(|it| it.0 >= 8), "{right:?}");
    }
}
