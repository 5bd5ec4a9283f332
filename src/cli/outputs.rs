//! Output files: checked before any work, and written atomically.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use crate::cli::{error::CliError, resolve};
use crate::kernels::standard_output;
use crate::picture::{
    error::PictureError,
    write::{self, Overwrite},
};

/// Checks that a result can be written to a file, or to standard output for `-`.
///
/// # Errors
/// [`CliError::Output`], [`CliError::Write`], and [`CliError::Usage`] if a picture would go to a terminal.
pub(crate) fn check(path: &Path, overwrite: Overwrite) -> Result<(), CliError> {
    if !resolve::is_dash(path) {
        return write::check_target(path, overwrite).map_err(CliError::Output);
    }
    check_open()?;
    if io::stdout().is_terminal() {
        return Err(CliError::Usage(
            "standard output is a terminal, which shows no picture; give -o FILE, or a pipe or > FILE after the command"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Refuses two outputs at one path, or an output at the path of an input.
///
/// # Errors
/// [`CliError::Usage`], naming the file.
pub(crate) fn check_distinct<'a>(
    outputs: impl IntoIterator<Item = &'a PathBuf>,
    inputs: impl IntoIterator<Item = &'a PathBuf>,
) -> Result<(), CliError> {
    let is_file = |it: &&PathBuf| !resolve::is_dash(it);
    let mut taken: Vec<PathBuf> =
        inputs.into_iter().filter(is_file).map(|it| write::place(it)).collect();
    for output in outputs.into_iter().filter(is_file) {
        let place = write::place(output);
        if taken.contains(&place) {
            return Err(CliError::Usage(format!(
                "{} is a file that this command reads or writes already; choose another name",
                output.display()
            )));
        }
        taken.push(place);
    }
    Ok(())
}

/// Creates the folder that a flag names, with its parents.
///
/// # Errors
/// [`CliError::Usage`] for `-`, [`CliError::Write`].
pub(crate) fn make_folder(flag: &str, path: &Path) -> Result<(), CliError> {
    if resolve::is_dash(path) {
        return Err(CliError::Usage(format!("{flag} takes a folder, not standard output")));
    }
    fs::create_dir_all(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            let why = format!("it is a file; choose another folder for {flag}");
            CliError::Write { path: path.to_owned(), source: io::Error::other(why) }
        }
        io::ErrorKind::InvalidFilename => {
            CliError::Output(PictureError::NameTooLong { path: path.to_owned() })
        }
        _ => CliError::Write { path: path.to_owned(), source },
    })
}

/// Writes a result atomically, or to standard output for `-`.
///
/// # Errors
/// [`CliError::Output`] or [`CliError::Write`].
pub(crate) fn put(path: &Path, bytes: &[u8], overwrite: Overwrite) -> Result<(), CliError> {
    if resolve::is_dash(path) {
        check_open()?;
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
        return written
            .map_err(|source| CliError::Write { path: "standard output".into(), source });
    }
    write::write_atomically(path, bytes, overwrite).map_err(CliError::Output)
}

/// Prints a command's result on standard output. A closed pipe is not an error.
///
/// # Errors
/// [`CliError::Write`].
pub(crate) fn print(bytes: &[u8]) -> Result<(), CliError> {
    match put("-".as_ref(), bytes, Overwrite::Refuse) {
        Err(CliError::Write { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        put => put,
    }
}

/// Refuses a standard output that was closed at the process's start: Rust replaces it by one that discards all output.
fn check_open() -> Result<(), CliError> {
    if standard_output::was_open() {
        return Ok(());
    }
    let source = io::Error::other("it is closed; give -o FILE, or leave it open");
    Err(CliError::Write { path: "standard output".into(), source })
}
