//! Reconciles the folder of artifact files with the journal's records when a server starts.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use crate::journal::layout::{self, PARTIAL, SET_ASIDE, sync};

/// Counts of what was done with a folder's files.
#[derive(Debug, Default)]
pub(super) struct Takeover {
    /// Files moved from the flat layout to their shard.
    pub(super) moved: usize,
    /// Files moved back from `set-aside` because a record refers to them.
    pub(super) taken_back: usize,
    /// Files without a record, moved to `set-aside`.
    pub(super) set_aside: usize,
    /// Records whose file is missing or has another length.
    pub(super) lost: usize,
    touched: BTreeSet<PathBuf>,
}

/// A file named like an artifact.
#[derive(Debug)]
pub(super) struct ArtifactFile {
    /// Id of the artifact.
    pub(super) id: Uuid,
    /// Whether it was still being written.
    pub(super) is_partial: bool,
    /// Its path.
    pub(super) path: PathBuf,
    /// Its length in bytes.
    pub(super) bytes: u64,
}

/// Files named like artifacts in a folder, flat or in shards; other files are ignored, since retouch did not write
/// them.
pub(super) fn found(folder: &Path) -> io::Result<Vec<ArtifactFile>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        let entries = match fs::read_dir(&current) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let (name, kind) = (entry.file_name(), entry.file_type()?);
            let Some(name) = name.to_str() else { continue };
            if kind.is_dir() && current == folder && is_shard(name) {
                folders.push(entry.path());
            }
            let (name, is_partial) =
                match name.strip_suffix(PARTIAL).and_then(|it| it.strip_suffix('.')) {
                    Some(name) => (name, true),
                    None => (name, false),
                };
            if let Ok(id) = Uuid::try_parse(name)
                && kind.is_file()
            {
                let bytes = entry.metadata()?.len();
                found.push(ArtifactFile { id, is_partial, path: entry.path(), bytes });
            }
        }
    }
    Ok(found)
}

fn is_shard(name: &str) -> bool {
    name.len() == 2 && u8::from_str_radix(name, 16).is_ok()
}

impl Takeover {
    /// Moves files with records to their shards and others aside, and finishes interrupted deletions. Safe against a
    /// crash at any point: the next start finds every file.
    pub(super) fn of(
        folder: &Path,
        known: &HashMap<Uuid, u64>,
        going: &HashSet<Uuid>,
    ) -> io::Result<Self> {
        let mut takeover = Self::default();
        let aside = folder.with_file_name(SET_ASIDE);
        let mut there = HashSet::new();
        for file in found(folder)? {
            let place = layout::path(folder, file.id);
            if file.is_partial || going.contains(&file.id) {
                // Never committed, or already deleted from the journal.
                fs::remove_file(&file.path)?;
                takeover.touch(&file.path);
            } else if let Some(bytes) = known.get(&file.id)
                && (file.path == place || !place.exists())
            {
                takeover.moved += usize::from(takeover.rename(&file.path, &place)?);
                takeover.lost += usize::from(*bytes != file.bytes);
                there.insert(file.id);
            } else {
                takeover.rename(&file.path, &free_name(&layout::path(&aside, file.id)))?;
                takeover.set_aside += 1;
            }
        }
        for (id, bytes) in known.iter().filter(|(id, _)| !there.contains(*id)) {
            let kept = layout::path(&aside, *id);
            if fs::metadata(&kept).is_ok_and(|it| it.len() == *bytes) {
                takeover.rename(&kept, &layout::path(folder, *id))?;
                takeover.taken_back += 1;
            } else {
                takeover.lost += 1;
            }
        }
        takeover.settle(folder, &aside)?;
        Ok(takeover)
    }

    /// Moves a file unless it is in place already; returns whether it was moved.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<bool> {
        if from == to {
            return Ok(false);
        }
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        fs::rename(from, to)?;
        self.touch(from);
        self.touch(to);
        Ok(true)
    }

    fn touch(&mut self, file: &Path) {
        self.touched.extend(file.parent().map(Path::to_owned));
    }

    /// Syncs all changes, and removes folders that are now empty.
    fn settle(&self, folder: &Path, aside: &Path) -> io::Result<()> {
        for touched in &self.touched {
            if touched != folder && fs::remove_dir(touched).is_err() {
                sync(touched)?;
            }
        }
        if aside.exists() && fs::remove_dir(aside).is_err() {
            sync(aside)?;
        }
        sync(folder)?;
        folder.parent().map_or(Ok(()), sync)
    }
}

/// The path, or the path with a number appended, at which no file exists.
fn free_name(path: &Path) -> PathBuf {
    let mut free = path.to_owned();
    let mut number = 0_u32;
    while free.exists() {
        number += 1;
        free = path.with_extension(number.to_string());
    }
    free
}
