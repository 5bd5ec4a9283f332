//! The evidence of a localization's objects, from the maps of its run.

use crate::edit::{
    confidence::{Evidence, TINY},
    grid::Field,
    localization::Localization,
};
use crate::editing::iam_edit::localization_map::{self, LocalizedPrompt, Maps};

impl Evidence {
    /// The evidence of each object of a localization, in their order.
    ///
    /// `change` is how far the run's prediction is from the source; it may have any grid.
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
