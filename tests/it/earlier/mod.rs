//! What an earlier version left opens, goes on and ends right: its data folder, batches, localizations, records, flags.

// What it printed, read by today's commands.
mod commands;
// A data folder with a job in every state.
mod data_folder;
// Its layout becomes today's, whole or not at all.
mod migration;

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use image::RgbImage;
use tempfile::TempDir;

use crate::service::harness::copied;
use crate::support;

/// What the earlier version left; see its `README.md`.
fn earlier(name: &str) -> PathBuf {
    support::fixtures().join("earlier").join(name)
}

/// A copy of its data folder.
fn data() -> TempDir {
    let folder = copied(&earlier("data"));
    let packed = fs::File::open(folder.path().join("journal.redb.gz")).unwrap();
    let mut store = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut store).unwrap();
    fs::write(folder.path().join("journal.redb"), store).unwrap();
    fs::remove_file(folder.path().join("journal.redb.gz")).unwrap();
    folder
}

/// The demo model with the settings that it recommended then, which are part of its digest.
fn model() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo-model");
    for entry in fs::read_dir(demo).unwrap().map(Result::unwrap) {
        let to = folder.path().join(entry.file_name());
        std::os::unix::fs::symlink(entry.path(), to).unwrap();
    }
    fs::remove_file(folder.path().join("retouch.json")).unwrap();
    fs::copy(earlier("retouch.json"), folder.path().join("retouch.json")).unwrap();
    folder
}

/// That an edit is the one that was made then, put into its picture as today: of what is inside the mask only what
/// changed. Where the picture was kept then it is kept now; where it was not, it may be now, and differs by what the
/// autoencoder loses at an edge.
fn assert_same_edit(now: &RgbImage, then: &RgbImage, picture: &RgbImage) {
    assert_eq!(now.dimensions(), then.dimensions());
    for ((now, then), own) in now.pixels().zip(then.pixels()).zip(picture.pixels()) {
        assert!(now == then || then != own, "{now:?} where {own:?} was kept");
        let apart = now.0.iter().zip(then.0).map(|(a, b)| a.abs_diff(b)).max().unwrap();
        assert!(apart <= 32, "{now:?} instead of {then:?}, over {own:?}");
    }
}
