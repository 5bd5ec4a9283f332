//! Confidence of pass 1 that the object is in the picture, where its mask is.
//!
//! Differs: the paper's localization always finds a mask. Words for something that is not in the picture get some
//! attention as well, and its best cluster becomes the mask. The values that pass 1 computes anyway distinguish the two
//! cases, without further U-Net calls.

use image::RgbImage;

use crate::edit::{
    confidence::{Evidence, TINY},
    grid::Field,
    localization::Localization,
    things,
};
use crate::editing::iam_edit::localization_map::{self, LocalizedPrompt, Maps};

impl Evidence {
    /// The evidence for each object of a localization, in order.
    ///
    /// `change` is the distance of the run's prediction from the source per cell, which may have any grid, `picture` what
    /// the model sees.
    pub fn of_objects(
        found: &Localization,
        prompt: LocalizedPrompt<'_>,
        maps: Maps<'_>,
        change: &Field,
        picture: &RgbImage,
    ) -> Vec<Self> {
        let selected = found.selected();
        let mask: Vec<bool> = found.labels.iter().map(|it| selected.contains(it)).collect();
        let change = change.resized(found.grid);
        let contrast = found.contrast.unwrap_or(1.0);
        let weakest = localization_map::weakest_words(prompt, maps);
        let objects = localization_map::object_maps(prompt, maps).into_iter().zip(weakest);
        let color = things::color(picture, found.grid, &mask);
        let of = |(index, (attention, weakest)): (usize, (Vec<f32>, f32))| Self {
            weakest: (f64::from(weakest) + TINY).ln(),
            color: prompt.said.get(index).zip(color).map_or(0.0, |(said, it)| said.color(&[it])),
            ..Self::of(contrast, &attention, &mask, &change.values)
        };
        objects.enumerate().map(of).collect()
    }
}
