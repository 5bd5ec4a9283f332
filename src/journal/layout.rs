//! Names and places of the files in a data folder.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use uuid::Uuid;

/// Folder of artifacts, in the data folder.
pub(super) const ARTIFACTS: &str = "artifacts";
/// Folder of files without a record, beside it.
pub(super) const SET_ASIDE: &str = "set-aside";

/// Suffix of a file while it is written.
pub(super) const PARTIAL: &str = "partial";

/// Folder of a file within the folder of artifacts.
pub(super) fn shard(folder: &Path, id: Uuid) -> PathBuf {
    folder.join(format!("{:02x}", id.as_bytes()[4]))
}

/// Path of a file within the folder of artifacts.
pub(super) fn path(folder: &Path, id: Uuid) -> PathBuf {
    shard(folder, id).join(id.to_string())
}

/// Syncs a folder, which makes created, renamed and removed names durable.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
