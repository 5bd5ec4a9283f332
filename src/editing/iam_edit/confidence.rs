//! Confidence of pass 1 that the object is in the picture, where its mask is.
//!
//! Differs: the paper's localization always finds a mask. Words for something that is not in the picture get some
//! attention as well, and its best cluster becomes the mask. The values that pass 1 computes anyway distinguish the two
//! cases, without further U-Net calls.

use crate::edit::{
    confidence::{Evidence, TINY},
    grid::Field,
    localization::Localization,
};
use crate::editing::iam_edit::localization_map::{self, LocalizedPrompt, Maps};

impl Evidence {
    /// The evidence for each object of a localization, in order.
    ///
    /// `change` is the distance of the run's prediction from the source per cell; it may have any grid.
    pub fn of_objects(
        found: &Localization,
        prompt: LocalizedPrompt<'_>,
        maps: Maps<'_>,
        change: &Field,
    ) -> Vec<Self> {
        let selected = found.selected();
        let mask: Vec<bool> = found.labels.iter().map(|it| selected.contains(it)).collect();
        let change = change.resized(found.grid);
        let contrast = found.contrast.unwrap_or(1.0);
        let weakest = localization_map::weakest_words(prompt, maps);
        let objects = localization_map::object_maps(prompt, maps).into_iter().zip(weakest);
        let of = |(attention, weakest): (Vec<f32>, f32)| Self {
            weakest: (f64::from(weakest) + TINY).ln(),
            ..Self::of(contrast, &attention, &mask, &change.values)
        };
        objects.map(of).collect()
    }
}
