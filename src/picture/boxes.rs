//! Boxes in the syntax of `--box`: `x0,y0,x1,y1` in pixels, half-open, or in percent of the picture.

use std::str::FromStr;

use crate::picture::{error::PictureError, size::Size};

/// A syntactically valid box, not yet checked against a picture's size.
#[derive(Debug, Clone, PartialEq)]
pub struct BoxSpec {
    text: String,
    corners: Corners,
}

/// A half-open pixel rectangle: columns `x0..x1` and rows `y0..y1`, at least one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelBox {
    /// First column.
    pub x0: u32,
    /// First row.
    pub y0: u32,
    /// End column, exclusive.
    pub x1: u32,
    /// End row, exclusive.
    pub y1: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Corners {
    /// Non-negative pixels.
    Pixels([u32; 4]),
    /// Percentages, 0 to 100.
    Percent([f64; 4]),
}

impl FromStr for BoxSpec {
    type Err = PictureError;

    fn from_str(text: &str) -> Result<BoxSpec, PictureError> {
        let text = text.to_owned();
        let Some(parts) = four(text.split(',').map(str::trim)) else {
            return Err(PictureError::BoxSyntax { text });
        };
        if let Some(pixels) = four(parts.iter().filter_map(|it| it.parse::<i64>().ok())) {
            check_order(&text, pixels)?;
            if let Some(pixels) = four(pixels.iter().filter_map(|&it| u32::try_from(it).ok())) {
                return Ok(BoxSpec { text, corners: Corners::Pixels(pixels) });
            }
            return Err(PictureError::BoxOutside { text, bounds: "0,0 and its size".to_owned() });
        }
        let percent =
            |it: &&str| it.strip_suffix('%')?.trim().parse().ok().filter(|it: &f64| it.is_finite());
        let Some(percent) = four(parts.iter().filter_map(percent)) else {
            return Err(PictureError::BoxSyntax { text });
        };
        check_order(&text, percent)?;
        if percent.iter().any(|it| !(0.0..=100.0).contains(it)) {
            return Err(PictureError::BoxOutside { text, bounds: "0% and 100%".to_owned() });
        }
        Ok(BoxSpec { text, corners: Corners::Percent(percent) })
    }
}

impl BoxSpec {
    /// Converts the box to pixels of a picture of this size; percentages are rounded to the nearest pixel edge.
    ///
    /// # Errors
    /// [`PictureError::BoxOutside`], and [`PictureError::BoxEmpty`] if percentages leave less than half a pixel.
    pub fn resolve(&self, size: Size) -> Result<PixelBox, PictureError> {
        let [x0, y0, x1, y1] = match self.corners {
            Corners::Pixels(pixels) => pixels,
            Corners::Percent([x0, y0, x1, y1]) => {
                let edge =
                    |percent: f64, side: u32| (percent / 100.0 * f64::from(side)).round() as u32;
                [
                    edge(x0, size.width),
                    edge(y0, size.height),
                    edge(x1, size.width),
                    edge(y1, size.height),
                ]
            }
        };
        let text = self.text.clone();
        if x1 > size.width || y1 > size.height {
            return Err(PictureError::BoxOutside {
                text,
                bounds: format!("0,0 and {},{}", size.width, size.height),
            });
        }
        if x0 == x1 || y0 == y1 {
            return Err(PictureError::BoxEmpty { text });
        }
        Ok(PixelBox { x0, y0, x1, y1 })
    }
}

/// The items, if there are exactly four.
fn four<T: std::fmt::Debug>(items: impl Iterator<Item = T>) -> Option<[T; 4]> {
    let items: Vec<T> = items.collect();
    items.try_into().ok()
}

fn check_order<T: PartialOrd>(text: &str, [x0, y0, x1, y1]: [T; 4]) -> Result<(), PictureError> {
    if x1 < x0 || y1 < y0 {
        return Err(PictureError::BoxReversed { text: text.to_owned() });
    }
    if x1 == x0 || y1 == y0 {
        return Err(PictureError::BoxEmpty { text: text.to_owned() });
    }
    Ok(())
}
