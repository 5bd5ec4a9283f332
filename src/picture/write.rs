//! Files that are either whole or absent: written beside their place, flushed, then moved there.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::picture::error::PictureError;

/// What to do with a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// Leave it, and fail.
    Refuse,
    /// Put the new file in its place.
    Replace,
}

/// Checks that a file could be written, by all that can be told beforehand; costly work then does not end in vain.
///
/// # Errors
/// [`PictureError::Exists`], [`PictureError::NotAFile`], [`PictureError::NoFolder`], [`PictureError::NotWritable`].
pub fn check_target(path: &Path, overwrite: Overwrite) -> Result<(), PictureError> {
    let target = Target::of(path, overwrite)?;
    target.begin().map(drop)
}

/// Writes a file in one stroke: other programs, and a person after a crash, see all of it or none.
///
/// # Errors
/// As [`check_target`], and [`PictureError::DiskFull`], [`PictureError::Write`].
pub fn write_atomically(
    path: &Path,
    bytes: &[u8],
    overwrite: Overwrite,
) -> Result<(), PictureError> {
    let target = Target::of(path, overwrite)?;
    let mut file = target.begin()?;
    let failed = |source: io::Error| write_error(path, source);
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    let moved = match overwrite {
        Overwrite::Refuse => file.persist_noclobber(&target.file),
        Overwrite::Replace => file.persist(&target.file),
    };
    moved.map_err(|it| failed(it.error))?;
    // The new name itself is on disk once its folder is; some file systems do not sync folders, and need not.
    let _ = fs::File::open(&target.folder).and_then(|it| it.sync_all());
    Ok(())
}

/// A place that a file may be moved to.
struct Target {
    file: PathBuf,
    folder: PathBuf,
}

impl Target {
    fn of(path: &Path, overwrite: Overwrite) -> Result<Target, PictureError> {
        // A link is followed, so that replacing changes the file it leads to, not the link.
        let file = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        match fs::metadata(&file) {
            Ok(found) if !found.is_file() => {
                return Err(PictureError::NotAFile { path: path.to_owned() });
            }
            Ok(_) if overwrite == Overwrite::Refuse => {
                return Err(PictureError::Exists { path: path.to_owned() });
            }
            _ => {}
        }
        if path.file_name().is_none() {
            return Err(PictureError::NotAFile { path: path.to_owned() });
        }
        let folder = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        if !folder.is_dir() {
            return Err(PictureError::NoFolder { path: folder });
        }
        Ok(Target { file, folder })
    }

    /// Opens the unfinished file, which goes away again unless it is moved to its place.
    fn begin(&self) -> Result<NamedTempFile, PictureError> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".retouch-").suffix(".part");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As any new file of this user, less the umask; a temporary file's own are the owner's alone.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let opened = builder.tempfile_in(&self.folder);
        opened.map_err(|source| match write_error(&self.folder, source) {
            PictureError::Write { path, source } => PictureError::NotWritable { path, source },
            full => full,
        })
    }
}

fn write_error(path: &Path, source: io::Error) -> PictureError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            PictureError::DiskFull { path, source }
        }
        io::ErrorKind::AlreadyExists => PictureError::Exists { path },
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
