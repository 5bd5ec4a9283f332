//! `retouch journal`: checks, repairs and exports the data folder of a stopped server.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use crate::cli::{engine_error::DAMAGE, error::CliError, serve_config};
use crate::journal::{
    error::JournalError,
    examine::{self, Contents},
    id_of, job_id,
};
use crate::wire::{
    journal::v1::JobRecord,
    message_json,
    v1::{self, edit_job::State, image::Source, mask_decision::Decision},
};

/// File name of an export's list of jobs.
const LIST: &str = "jobs.jsonl";
/// Folder of an export for files without a record.
const UNKNOWN: &str = "unknown";

#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// Say what a data folder holds, and what of it is damaged, lost or unknown; changes nothing.
    Check(FolderArgs),
    /// Drop records that can't be read, keeping the store as it was beside it, and put files where they belong.
    Repair(FolderArgs),
    /// Write all pictures under names that say what they show, with a list of the jobs; changes nothing in the data
    /// folder.
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct FolderArgs {
    /// The data folder of a server that does not run now [default: the user's data folder].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// Where the pictures go: a folder that is empty, or not there yet.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

impl FolderArgs {
    fn folder(&self) -> Result<PathBuf, CliError> {
        let folder = self.data_dir.clone().or_else(serve_config::data_folder);
        folder.ok_or_else(|| {
            CliError::Usage("there is no data folder; give --data-dir DIR".to_owned())
        })
    }
}

/// Runs the command.
///
/// # Errors
/// [`CliError::Journal`] if the folder can't be read, [`CliError::Write`] if the output can't be written.
pub(crate) fn run(command: &JournalCommand) -> Result<ExitCode, CliError> {
    match command {
        JournalCommand::Check(args) => check(&args.folder()?),
        JournalCommand::Repair(args) => repair(&args.folder()?),
        JournalCommand::Export(args) => export(&args.folder.folder()?, &args.output),
    }
}

fn check(folder: &Path) -> Result<ExitCode, CliError> {
    let contents = examine::contents(folder)?;
    let findings = examine::findings(&contents)?;
    let mut lines = vec![summary(&contents)];
    lines.extend(findings.iter().map(ToString::to_string));
    if findings.is_empty() {
        lines.push("nothing is wrong".to_owned());
    }
    say(&lines)?;
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { DAMAGE.into() })
}

fn repair(folder: &Path) -> Result<ExitCode, CliError> {
    let kept = examine::repair(folder)?;
    let contents = examine::contents(folder)?;
    let mut lines = vec![summary(&contents)];
    if let Some(kept) = kept {
        lines.push(format!(
            "records that could not be read were dropped; {} has them",
            kept.display()
        ));
    }
    // Lost files are reported, since a repair can't restore them.
    lines.extend(examine::findings(&contents)?.iter().map(ToString::to_string));
    say(&lines)?;
    Ok(ExitCode::SUCCESS)
}

fn summary(contents: &Contents) -> String {
    let mut states = BTreeMap::<&str, usize>::new();
    for record in &contents.jobs {
        let state = record.job.as_ref().map_or(State::Unspecified, v1::EditJob::state);
        *states.entry(state.as_str_name().trim_start_matches("STATE_")).or_default() += 1;
    }
    let states: Vec<String> =
        states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let (jobs, artifacts) = (contents.jobs.len(), contents.artifacts.len());
    format!("{jobs} jobs ({}), {artifacts} artifacts", states.join(", "))
}

fn export(folder: &Path, output: &Path) -> Result<ExitCode, CliError> {
    let contents = match examine::contents(folder) {
        Err(error) if !matches!(error, JournalError::InUse { .. }) => {
            let files = examine::files_of(folder)?;
            if files.is_empty() {
                return Err(error.into());
            }
            // Pictures are exported even without their jobs.
            let said = writeln!(
                io::stderr(),
                "retouch: {error}; pictures are exported without their jobs"
            );
            said.map_err(|source| CliError::Write { path: "standard error".into(), source })?;
            Contents { files, ..Contents::default() }
        }
        contents => contents?,
    };
    let mut export = Export::new(&contents, output)?;
    let mut list = String::new();
    for record in &contents.jobs {
        list += &export.job(record)?;
        list.push('\n');
    }
    export.rest()?;
    let path = output.join(LIST);
    fs::write(&path, list).map_err(|source| CliError::Write { path, source })?;
    let (jobs, pictures) = (contents.jobs.len(), export.written);
    say(&[format!("{jobs} jobs and {pictures} pictures were written to {}", output.display())])?;
    Ok(ExitCode::SUCCESS)
}

/// An export in progress.
struct Export<'a> {
    contents: &'a Contents,
    output: &'a Path,
    /// Names in use, in lower case.
    taken: HashSet<String>,
    exported: HashSet<Uuid>,
    written: usize,
}

impl<'a> Export<'a> {
    fn new(contents: &'a Contents, output: &'a Path) -> Result<Self, CliError> {
        let there = match fs::read_dir(output) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(source) => return Err(CliError::Write { path: output.to_owned(), source }),
            Ok(mut entries) => entries.next().is_some(),
        };
        if there {
            let output = output.display();
            return Err(CliError::Usage(format!("{output} is not empty; give another --output")));
        }
        make(output)?;
        let (taken, exported) = (HashSet::new(), HashSet::new());
        Ok(Self { contents, output, taken, exported, written: 0 })
    }

    /// Writes a job's pictures; returns its line in the list.
    fn job(&mut self, record: &JobRecord) -> Result<String, CliError> {
        let job = record.job.clone().unwrap_or_default();
        let id = job_id(record).simple().to_string();
        // Such as 2026-11-30T08-24-48: without colons, which some file systems don't allow.
        let time = job.create_time.map(|it| it.to_string()).unwrap_or_default();
        let time = time.split(['.', 'Z']).next().unwrap_or_default().replace(':', "-");
        let own = named_by(record);
        let (mut files, mut lost) = (BTreeMap::new(), Vec::new());
        for name in &record.artifacts {
            let Some(artifact) = id_of(name) else { continue };
            let shown = own.get(&artifact).copied().map(str::to_owned);
            let shown = shown.or_else(|| self.contents.shows.get(&artifact).cloned());
            let shown = shown.unwrap_or_else(|| "picture".to_owned());
            let wanted = format!("{time}-{}-{}", &id[id.len() - 8..], plain(&shown));
            match self.write(artifact, &plain(&record.tenant), &wanted)? {
                Some(path) => drop(files.insert(path, shown)),
                None => lost.push(name),
            }
        }
        let job = message_json::job(&job);
        Ok(json!({ "tenant": record.tenant, "job": job, "files": files, "lost": lost }).to_string())
    }

    /// Writes files that no job refers to: uploads, and files without a record.
    fn rest(&mut self) -> Result<(), CliError> {
        for id in self
            .contents
            .files
            .keys()
            .filter(|it| !self.exported.contains(it))
            .copied()
            .collect::<Vec<_>>()
        {
            match self.contents.artifacts.get(&id) {
                Some(record) => self.write(id, &plain(&record.tenant), &format!("upload-{id}"))?,
                None => self.write(id, UNKNOWN, &id.to_string())?,
            };
        }
        Ok(())
    }

    /// Copies an artifact's file; returns its path in the output, or `None` if it is lost.
    fn write(&mut self, id: Uuid, folder: &str, wanted: &str) -> Result<Option<String>, CliError> {
        let Some(from) = self.contents.files.get(&id) else { return Ok(None) };
        let bytes =
            fs::read(from).map_err(|source| JournalError::Io { path: from.clone(), source })?;
        let kind = image::guess_format(&bytes).ok();
        let kind = kind.and_then(|it| it.extensions_str().first()).copied().unwrap_or("bin");
        let numbered = |number: u32| match number {
            1 => format!("{folder}/{wanted}.{kind}"),
            number => format!("{folder}/{wanted}-{number}.{kind}"),
        };
        let mut names = (1..).map(numbered);
        let name =
            names.find(|it| self.taken.insert(it.to_lowercase())).expect("numbers don't end");
        make(&self.output.join(folder))?;
        let path = self.output.join(&name);
        fs::write(&path, bytes).map_err(|source| CliError::Write { path, source })?;
        self.exported.insert(id);
        self.written += 1;
        Ok(Some(name))
    }
}

/// Artifacts named by a job's own fields, with what they are.
fn named_by(record: &JobRecord) -> HashMap<Uuid, &'static str> {
    let spec = record.job.as_ref().and_then(|it| it.spec.as_ref());
    let given = spec.and_then(|it| it.mask.as_ref()).and_then(|it| it.image.as_ref());
    let chosen = match record.decision.as_ref().and_then(|it| it.decision.as_ref()) {
        Some(Decision::Replace(mask)) => mask.image.as_ref(),
        _ => None,
    };
    let input = spec.and_then(|it| it.image.as_ref());
    let named = [(input, "input"), (given, "given-mask"), (chosen, "chosen-mask")];
    let id = |image: &v1::Image| match image.source.as_ref()? {
        Source::Artifact(name) => id_of(name),
        Source::Data(_) => None,
    };
    named.into_iter().filter_map(|(image, what)| Some((id(image?)?, what))).collect()
}

/// A text made safe for a file name.
fn plain(text: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = text.chars().map(plain).take(64).collect();
    if name.trim_matches('.').is_empty() { "none".to_owned() } else { name }
}

fn make(folder: &Path) -> Result<(), CliError> {
    let path = || folder.to_owned();
    fs::create_dir_all(folder).map_err(|source| CliError::Write { path: path(), source })
}

fn say(lines: &[String]) -> Result<(), CliError> {
    match writeln!(io::stdout(), "{}", lines.join("\n")) {
        // A closed pipe is not an error: the reader has what it wants.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        said => said.map_err(|source| CliError::Write { path: "standard output".into(), source }),
    }
}
