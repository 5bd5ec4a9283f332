//! Masks of the schema (images, clusters, boxes): validation, and conversion to the editor's mask choice.

use crate::edit::edit_mask::MaskChoice;
use crate::picture::{
    Picture,
    boxes::PixelBox,
    error::PictureError,
    mask::{MAX_RADIUS, Mask, Radius},
    note::Note,
    painted::Reading,
    size::Size,
};
use crate::wire::{
    v1::{self, AcceptMask, Rect, mask_decision::Decision},
    violation::Violation,
};

/// Most clusters of a localization.
const MAX_CLUSTERS: u32 = 32;
/// Most boxes of one mask.
const MAX_BOXES: usize = 256;

/// Violations in the mask of a spec that can be found without its image and the input's size.
pub fn check(mask: &v1::Mask) -> Vec<Violation> {
    check_at("spec.mask", mask)
}

/// Violations in a decision, as [`check`] finds them.
pub fn check_decision(decision: &v1::MaskDecision) -> Vec<Violation> {
    match &decision.decision {
        None => vec![Violation {
            field: "decision".to_owned(),
            description: "is empty; accept the mask, or replace it".to_owned(),
        }],
        Some(Decision::Replace(mask)) => check_at("decision.replace", mask),
        Some(Decision::Accept(AcceptMask { dilate_px, feather_px })) => {
            wrong_radii("decision.accept", *dilate_px, *feather_px)
        }
    }
}

/// Violations in a mask at this field path.
fn check_at(place: &str, mask: &v1::Mask) -> Vec<Violation> {
    let mut faults = Vec::new();
    let mut fault = |field: &str, description: String| {
        faults.push(Violation { field: format!("{place}{field}"), description });
    };
    if mask.image.is_none() && mask.clusters.is_none() && mask.boxes.is_none() {
        fault("", "is empty; give an image, clusters or boxes".to_owned());
    }
    if mask.image.as_ref().is_some_and(|it| it.source.is_none()) {
        fault(
            ".image",
            "is empty; give the bytes of a PNG, JPEG or WebP, or an artifact".to_owned(),
        );
    }
    if let Some(clusters) = &mask.clusters {
        if clusters.ids.is_empty() {
            fault(".clusters.ids", "is empty; name at least one cluster".to_owned());
        }
        if let Some(id) = clusters.ids.iter().find(|id| !(1..=MAX_CLUSTERS).contains(id)) {
            let text = format!("there is no cluster {id}; they are numbered from 1");
            fault(".clusters.ids", text);
        }
    }
    if let Some(boxes) = &mask.boxes {
        if boxes.boxes.is_empty() || boxes.boxes.len() > MAX_BOXES {
            fault(".boxes", format!("must be 1 to {MAX_BOXES} boxes"));
        }
        for rect in &boxes.boxes {
            if let Some(text) = wrong_box(rect) {
                fault(".boxes", text);
            }
        }
    }
    faults.extend(wrong_radii(place, mask.dilate_px, mask.feather_px));
    faults
}

/// Whether a decision refers to clusters, which exist only after a localization.
pub fn names_clusters(decision: &v1::MaskDecision) -> bool {
    matches!(&decision.decision, Some(Decision::Replace(mask)) if mask.clusters.is_some())
}

/// The editor's mask choice; `painted` is the mask's decoded image, `size` that of the input.
///
/// # Errors
/// [`PictureError`] if the image or a box doesn't fit the input.
pub fn choice(
    mask: &v1::Mask,
    painted: Option<&Picture>,
    size: Size,
) -> Result<(MaskChoice, Option<Note>), PictureError> {
    let (mut shapes, mut note) = (None::<Mask>, None);
    if let Some(painted) = painted {
        let (mask, resized) = Mask::from_picture("given", painted, Reading::LightPaint, size)?;
        (shapes, note) = (Some(mask), resized);
    }
    if let Some(boxes) = &mask.boxes {
        let boxes = boxes.boxes.iter().map(|rect| pixels(rect, size));
        let mask = Mask::from_boxes(size, &boxes.collect::<Result<Vec<_>, _>>()?);
        shapes = Some(match shapes {
            Some(shapes) => shapes.union(&mask),
            None => mask,
        });
    }
    let clusters = mask.clusters.iter().flat_map(|it| &it.ids);
    let choice = MaskChoice {
        shapes,
        // A larger number is no valid cluster either.
        clusters: clusters.map(|&id| u8::try_from(id).unwrap_or(u8::MAX)).collect(),
        invert: mask.invert,
        dilate: Radius::try_from(mask.dilate_px)?,
        feather: Radius::try_from(mask.feather_px)?,
    };
    Ok((choice, note))
}

/// The mask that a decision stands for: another one, or the proposed one with another border.
pub fn of_decision(decision: &v1::MaskDecision) -> v1::Mask {
    match &decision.decision {
        Some(Decision::Replace(mask)) => mask.clone(),
        Some(Decision::Accept(AcceptMask { dilate_px, feather_px })) => {
            v1::Mask { dilate_px: *dilate_px, feather_px: *feather_px, ..v1::Mask::default() }
        }
        None => v1::Mask::default(),
    }
}

fn wrong_radii(place: &str, dilate: u32, feather: u32) -> Vec<Violation> {
    let radii = [("dilate_px", dilate), ("feather_px", feather)];
    let wrong = radii.into_iter().filter(|(_, radius)| *radius > MAX_RADIUS);
    let violation = |(field, radius)| Violation {
        field: format!("{place}.{field}"),
        description: format!("is {radius}, expected 0 to {MAX_RADIUS}"),
    };
    wrong.map(violation).collect()
}

fn wrong_box(&Rect { x0, y0, x1, y1 }: &Rect) -> Option<String> {
    let text = named(x0, y0, x1, y1);
    if ![x0, y0, x1, y1].iter().all(|it| it.is_finite()) {
        return Some(format!("box {text} has a corner that is no number"));
    }
    if x1 <= x0 || y1 <= y0 {
        return Some(format!("box {text} is reversed or empty; x0 < x1 and y0 < y1"));
    }
    (x0 < 0.0 || y0 < 0.0).then(|| format!("box {text} reaches outside the picture"))
}

/// The pixels of a box, with its edges rounded to the nearest pixel boundaries.
fn pixels(&Rect { x0, y0, x1, y1 }: &Rect, size: Size) -> Result<PixelBox, PictureError> {
    let text = named(x0, y0, x1, y1);
    let [x0, y0, x1, y1] = [x0, y0, x1, y1].map(f64::round);
    if x0 < 0.0 || y0 < 0.0 || x1 > f64::from(size.width) || y1 > f64::from(size.height) {
        let bounds = format!("0,0 and {},{}", size.width, size.height);
        return Err(PictureError::BoxOutside { text, bounds });
    }
    if x0 >= x1 || y0 >= y1 {
        return Err(PictureError::BoxEmpty { text });
    }
    Ok(PixelBox { x0: x0 as u32, y0: y0 as u32, x1: x1 as u32, y1: y1 as u32 })
}

fn named(x0: f64, y0: f64, x1: f64, y1: f64) -> String {
    format!("{x0},{y0},{x1},{y1}")
}
