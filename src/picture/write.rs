//! Atomic file writes: a temporary file in the target's folder, synced, then renamed.

use std::{
    fs::{self, File, Metadata, Permissions},
    io::{self, Write},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};
use tempfile::NamedTempFile;

use crate::picture::error::PictureError;

/// Maximum number of symbolic links to follow, as in Linux.
const MAX_LINKS: usize = 40;

/// Names of a process's open file descriptors; a file behind one is not a path of its own.
const STREAMS: [&str; 5] = ["/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"];

/// Bytes of a test write: a full disk may still accept a new file name.
const TRIAL: [u8; 4096] = [0; 4096];

/// What to do if the file exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// Fail.
    Refuse,
    /// Replace it; permissions are kept, and the owner where allowed.
    Replace,
}

/// Checks that a file can be written by creating a temporary one in its folder, before expensive work starts.
///
/// Symbolic links are followed, also dangling ones. Nothing is left behind.
///
/// # Errors
/// [`PictureError::Exists`], [`PictureError::NotAFile`], [`PictureError::Stream`], [`PictureError::Protected`],
/// [`PictureError::NameTooLong`], [`PictureError::NoFolder`], [`PictureError::NotWritable`],
/// [`PictureError::DiskFull`], [`PictureError::Write`].
pub fn check_target(path: &Path, overwrite: Overwrite) -> Result<(), PictureError> {
    let target = Target::of(path, overwrite)?;
    let mut file = target.begin()?;
    file.write_all(&TRIAL).map_err(|source| write_error(path, source))?;
    if target.old.is_none() {
        let tried = File::create_new(&target.file).and_then(|_| fs::remove_file(&target.file));
        tried.map_err(|source| write_error(path, source))?;
    }
    Ok(())
}

/// Writes a file atomically: after a crash it is either complete or absent.
///
/// # Errors
/// As [`check_target`].
pub fn write_atomically(
    path: &Path,
    bytes: &[u8],
    overwrite: Overwrite,
) -> Result<(), PictureError> {
    let target = Target::of(path, overwrite)?;
    let mut file = target.begin()?;
    let failed = |source: io::Error| write_error(path, source);
    file.write_all(bytes).map_err(failed)?;
    if let Some(old) = &target.old {
        // Only root may give a file away; whoever else replaces another's file owns it then.
        let _ = fchown(file.as_file(), Some(old.uid()), Some(old.gid()));
        file.as_file().set_permissions(old.permissions()).map_err(failed)?;
    }
    file.as_file().sync_all().map_err(failed)?;
    let moved = match overwrite {
        Overwrite::Refuse => file.persist_noclobber(&target.file),
        Overwrite::Replace => file.persist(&target.file),
    };
    moved.map_err(|it| failed(it.error))?;
    // The new name itself is on disk once its folder is; some file systems do not sync folders, and need not.
    let _ = File::open(&target.folder).and_then(|it| it.sync_all());
    Ok(())
}

/// The canonical path of a file, which need not exist; two paths of one file have the same.
pub fn place(path: &Path) -> PathBuf {
    let file = followed(path).unwrap_or_else(|_| path.to_owned());
    let folder = folder_of(&file).canonicalize();
    match (folder, file.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => file,
    }
}

/// A resolved output path.
struct Target {
    /// The path with all links resolved.
    file: PathBuf,
    folder: PathBuf,
    /// Metadata of the existing file, if any.
    old: Option<Metadata>,
}

impl Target {
    fn of(path: &Path, overwrite: Overwrite) -> Result<Target, PictureError> {
        // A link is followed, so that replacing changes the file it leads to, not the link.
        let file = followed(path)?;
        let old = match fs::metadata(&file) {
            Ok(found) => Some(found),
            Err(error) if is_absence(&error) => None,
            Err(error) => return Err(write_error(path, error)),
        };
        let path = path.to_owned();
        let ends_as_folder = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        match &old {
            Some(found) if is_stream(found) => return Err(PictureError::Stream { path }),
            Some(found) if !found.is_file() => return Err(PictureError::NotAFile { path }),
            _ if path.file_name().is_none() || ends_as_folder => {
                return Err(PictureError::NotAFile { path });
            }
            Some(_) if overwrite == Overwrite::Refuse => {
                return Err(PictureError::Exists { path });
            }
            Some(found) if found.permissions().readonly() || !may_write(&file) => {
                return Err(PictureError::Protected { path });
            }
            _ => {}
        }
        let folder = folder_of(&file);
        if !folder.is_dir() {
            return Err(PictureError::NoFolder { path: folder });
        }
        Ok(Target { file, folder, old })
    }

    /// Creates the temporary file, which is deleted on drop unless it is renamed.
    fn begin(&self) -> Result<NamedTempFile, PictureError> {
        // Permissions of a new file (0666 less the umask), since a temporary file's are 0600. A replacement is never
        // more permissive than the file that it replaces.
        let mode = self.old.as_ref().map_or(0o666, |old| old.permissions().mode() & 0o666);
        let mut builder = tempfile::Builder::new();
        builder.prefix(".retouch-").suffix(".part").permissions(Permissions::from_mode(mode));
        let opened = builder.tempfile_in(&self.folder);
        opened.map_err(|source| match write_error(&self.folder, source) {
            PictureError::Write { path, source } => PictureError::NotWritable { path, source },
            full => full,
        })
    }
}

/// The path at the end of a chain of symbolic links, whether or not it exists.
fn followed(path: &Path) -> Result<PathBuf, PictureError> {
    let mut file = path.to_owned();
    for _ in 0..MAX_LINKS {
        if STREAMS.iter().any(|it| file.starts_with(it)) {
            return Err(PictureError::Stream { path: path.to_owned() });
        }
        match fs::symlink_metadata(&file) {
            Ok(found) if found.is_symlink() => {
                let to = fs::read_link(&file).map_err(|source| write_error(path, source))?;
                file = folder_of(&file).join(to);
            }
            Ok(_) => return Ok(file),
            Err(error) if is_absence(&error) => return Ok(file),
            Err(source) => return Err(write_error(path, source)),
        }
    }
    Err(PictureError::Links { path: path.to_owned() })
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Whether an error means that the file does not exist; a path component that is not a folder is reported elsewhere.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn is_stream(found: &Metadata) -> bool {
    let kind = found.file_type();
    kind.is_fifo() || kind.is_char_device() || kind.is_socket() || kind.is_block_device()
}

fn may_write(file: &Path) -> bool {
    access(file, Access::WRITE_OK).is_ok()
}

fn write_error(path: &Path, source: io::Error) -> PictureError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            PictureError::DiskFull { path, source }
        }
        io::ErrorKind::AlreadyExists => PictureError::Exists { path },
        io::ErrorKind::InvalidFilename => PictureError::NameTooLong { path },
        _ => PictureError::Write { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let message = write_error("out.png".as_ref(), kind.into()).to_string();
            let expected = "the disk is full at out.png, free some space or choose another folder";
            assert_eq!(message, expected);
        }
    }
}
