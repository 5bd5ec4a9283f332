//! Power loss and corrupt journal records: acknowledged jobs survive, and nothing panics.

use std::sync::Arc;

use proptest::prelude::*;
use prost::Message;
use retouch::{
    edit::{
        grid::{Field, Grid},
        localization::{Localization, WordMap},
    },
    jobs::{runner::Runner, store::Store},
    journal::{Journal, space::Space},
    picture::{
        decode::{self, InputLimits},
        size::Size,
    },
    wire::{
        journal::v1::JobRecord,
        localization_json::SavedLocalization,
        masks,
        spec::{self, SpecTerms},
        v1::{self, EditSpec, edit_job::State},
    },
};

use super::{
    disk::Disk,
    harness::{LIMITS, picture, request, spec},
    script::Script,
};

fn store(disk: &Disk, folder: &std::path::Path) -> Arc<Store> {
    let space = Space { quota: 1 << 30, min_free: 0 };
    let journal = Journal::open_backend(disk.clone(), folder, space).unwrap();
    let store = Store::open(journal, LIMITS).unwrap();
    store.set_model(Script::new().model().clone());
    store
}

#[tokio::test]
async fn a_create_that_was_answered_survives_a_disk_that_loses_what_was_not_synced() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let before = store(&disk, folder.path());
    let mut names = Vec::new();
    for number in 0..12 {
        let asked = request(EditSpec { seed: Some(number), ..spec("edit") });
        let attachment = retouch::jobs::admission::Attachment::Detached;
        // Each create is followed by a crash at once: what the answer promised must be there.
        if number < 8 {
            names.push(before.create("local", asked, attachment).unwrap().name());
        }
        let crashed = disk.after_a_crash();
        let after = store(&crashed, folder.path());
        for name in &names {
            let job = after.job("local", name).unwrap();
            assert_eq!(job.state(), State::Queued);
            let image = after.view(&job).unwrap().spec.unwrap().image;
            let image = retouch::jobs::store::image_name(image.as_ref()).unwrap().to_owned();
            assert_eq!(after.artifacts.read_all(&image).unwrap(), picture(10));
            assert_eq!(after.events(job.id, 0).unwrap().len(), 1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bytes that claim to be a spec are refused or become one that says everything and stays as it is.
    #[test]
    fn specs_of_any_bytes_are_refused_or_settled(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(asked) = EditSpec::decode(bytes.as_slice()) {
            settle(asked);
        }
    }

    /// Numbers of every size, in every field.
    #[test]
    fn specs_of_any_numbers_are_refused_or_settled(
        steps in any::<Option<u32>>(), guidance in any::<Option<f64>>(), tau in any::<Option<f64>>(),
        enums in prop::collection::vec(-2..9i32, 8), seconds in any::<Option<i64>>(), nanos in any::<i32>(),
        corners in prop::collection::vec(any::<f64>(), 4), ids in prop::collection::vec(any::<u32>(), 0..4),
        dilate_px in any::<u32>(), text in ".{0,60}",
    ) {
        let boxes = vec![v1::Rect { x0: corners[0], y0: corners[1], x1: corners[2], y1: corners[3] }];
        let mask = v1::Mask {
            boxes: Some(v1::BoxSet { boxes }),
            clusters: (!ids.is_empty()).then_some(v1::ClusterSelection { ids }),
            dilate_px,
            ..Default::default()
        };
        let size = Size::new(32, 24);
        if masks::check(&mask).is_empty() {
            let _ = masks::choice(&mask, None, size);
        }
        settle(EditSpec {
            instruction: text,
            steps,
            localize_steps: steps,
            text_guidance: guidance,
            image_guidance: guidance,
            tau,
            threshold: tau,
            grow: tau,
            mask_policy: enums[0],
            method: enums[1],
            preserve: enums[2],
            modulation: enums[3],
            action: enums[4],
            scheduler: enums[5],
            localizer: enums[6],
            priority: enums[7],
            mask: (dilate_px % 2 == 0).then_some(mask),
            review_timeout: seconds.map(|seconds| prost_types::Duration { seconds, nanos }),
            ttl: seconds.map(|seconds| prost_types::Duration { seconds, nanos }),
            ..spec("edit")
        });
    }

    /// Pictures and masks of any bytes, and of a good file with some bytes changed.
    #[test]
    fn pictures_of_any_bytes_are_refused_or_decoded(
        bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..400usize, value in any::<u8>(),
    ) {
        let limits = InputLimits { bytes: 1 << 20, pixels: 1 << 20 };
        let _ = decode::decode("any", &bytes, limits);
        let mut good = picture(9).to_vec();
        let at = at % good.len();
        good[at] = value;
        let _ = decode::decode("changed", &good, limits);
    }

    /// Records of the journal; what is read is written as the same again.
    #[test]
    fn records_of_any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(record) = JobRecord::decode(bytes.as_slice()) {
            assert_eq!(JobRecord::decode(record.encode_to_vec().as_slice()), Ok(record));
        }
    }

    /// Saved localizations, some bytes of which are other ones: what is read fits together.
    #[test]
    fn localizations_of_any_bytes_are_refused_or_read(
        at in any::<prop::sample::Index>(), with in "[0-9.,:{}a-e\"\\[\\]-]{0,3}", cut in 0..3usize,
    ) {
        let mut json = localization();
        let at = at.index(json.len() - cut);
        json.replace_range(at..at + cut, &with);
        if let Ok(SavedLocalization { localization: read, .. }) = SavedLocalization::from_json(&json) {
            assert_eq!(read.labels.len() as i64, read.grid.height * read.grid.width);
            assert!(read.labels.iter().all(|it| (1..=read.clusters.len()).contains(&usize::from(*it))));
            for word in &read.words {
                assert_eq!(word.values.len() as i64, word.grid.height * word.grid.width);
            }
        }
    }
}

/// A saved localization of six cells.
fn localization() -> String {
    let grid = Grid { height: 2, width: 3 };
    let field = Field { grid, values: vec![0.1, 0.9, 0.2, 0.8, 0.3, 0.7] };
    let word =
        WordMap { word: "bee".to_owned(), is_object: true, grid, values: field.values.clone() };
    SavedLocalization {
        image_sha256: "ab".to_owned(),
        model_digest: "cd".to_owned(),
        asked: None,
        localization: Localization::from_threshold("change the bee", &field, 0.5, vec![word]),
    }
    .to_json()
}

/// Normalizes a spec; what is accepted says everything, and is its own normal form.
fn settle(asked: EditSpec) {
    let recommended = retouch::edit::settings::EditSettings::paper();
    let hour = std::time::Duration::from_secs(3600);
    let terms = SpecTerms {
        model: "script",
        recommended: &recommended,
        preview_decoder: false,
        default_ttl: hour,
        max_ttl: hour,
    };
    if let Ok(settled) = spec::normalize(asked, &terms) {
        assert!(settled.seed.is_some() && settled.steps.is_some() && settled.tau.is_some());
        assert_eq!(spec::normalize(settled.clone(), &terms), Ok(settled));
    }
}
