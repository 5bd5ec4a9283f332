//! `retouch batch`: many edits on a server with limited concurrency; an interrupted batch is resumed by running it
//! again.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use clap::Args;
use futures_util::{StreamExt, stream};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::cli::{
    error::CliError,
    interrupt::Interrupt,
    outputs,
    remote::{self, exit_code, run::Site, server_args::ServerArgs},
    resolve,
    screen::Screen,
};
use crate::client::{
    connect::Remote,
    error::ClientError,
    follow::Follow,
    manifest::{self, Item},
    refusal::Refusal,
    state_file::{Entry, Outcome, StateFile},
};
use crate::picture::{
    error::PictureError,
    write::{self, Overwrite},
};
use crate::wire::v1::{
    self, CreateEditJobRequest, EventOptions, edit_event::Event, edit_job::State,
};

#[derive(Debug, Args)]
pub(crate) struct BatchArgs {
    /// JSON lines with id, image and instruction, and optionally mask (a file) and any other field of `EditSpec`; paths
    /// are relative to this file (docs/client.md).
    #[arg(value_name = "MANIFEST")]
    pub(crate) manifest: PathBuf,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Edits at a time.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) concurrency: u32,
    /// Folder of the results, each ID.png, or .jpg or .webp as `output` says, and of what was done so far.
    #[arg(short, long, value_name = "DIR", default_value = "batch")]
    pub(crate) out: PathBuf,
    /// Overwrite files that no call of this batch has made.
    #[arg(long)]
    pub(crate) force: bool,
    /// Print progress as JSON lines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Shared state of a run.
struct Batch<'a> {
    site: Site<'a>,
    args: &'a BatchArgs,
    state: RefCell<StateFile>,
}

/// A finished edit.
struct Ended {
    id: String,
    /// Warnings of the edit.
    warnings: Vec<v1::Warning>,
    outcome: Result<PathBuf, CliError>,
}

/// Runs the command.
///
/// # Errors
/// [`CliError::Batch`] if any edit failed; the cause if it stops the whole batch.
pub(crate) fn run(args: &BatchArgs, screen: &mut Screen) -> Result<(), CliError> {
    let interrupt = Interrupt::listen()?;
    let items = manifest::read(&args.manifest)?;
    outputs::make_folder("--out", &args.out)?;
    let state = RefCell::new(StateFile::open(&args.out)?);
    remote::block_on(async {
        let remote = args.server.connect().await?;
        let site = Site { remote: &remote, interrupt: &interrupt };
        interrupt.stop_cleanly();
        run_all(&Batch { site, args, state }, &items, screen).await
    })
}

async fn run_all(batch: &Batch<'_>, items: &[Item], screen: &mut Screen) -> Result<(), CliError> {
    let of = items.len();
    let edits = stream::iter(items).map(|item| batch.edit(item));
    let mut edits = edits.buffer_unordered(batch.args.concurrency as usize);
    let mut failures = Vec::new();
    let mut done = 0;
    screen.edits(of);
    loop {
        let ended = batch.site.interrupt.or(async { Ok::<_, CliError>(edits.next().await) }).await;
        if ended.is_err() {
            let left = "jobs at the server go on; the same command fetches them";
            screen.warning("INTERRUPTED", left);
        }
        let Some(Ended { id, warnings, outcome }) = ended? else { break };
        done += 1;
        for v1::Warning { reason, message } in &warnings {
            screen.warning(reason, &format!("{id}: {message}"));
        }
        match outcome {
            Ok(path) => {
                let path = path.display().to_string();
                screen.edited(done, of, &id, &json!({"edited": {"id": id, "path": path}}));
            }
            // No other edit can succeed either.
            Err(error) if stops_all(&error) => return Err(error),
            Err(error) => {
                let reason = error.line();
                let what = format!("{id} failed");
                screen.edited(done, of, &what, &json!({"failed": {"id": id, "reason": reason}}));
                failures.push((id, reason));
            }
        }
    }
    let failed = failures.len();
    screen.record(&json!({"summary": {"edits": of, "failed": failed}}));
    for (id, reason) in &failures {
        screen.text(&format!("failed: {id}: {reason}"));
    }
    if failed > 0 {
        return Err(CliError::Batch { failed, of });
    }
    screen.text(&format!("{of} edits in {}", batch.args.out.display()));
    Ok(())
}

/// Whether an error stops the whole batch: no server, no valid key, or no disk.
fn stops_all(error: &CliError) -> bool {
    match error {
        CliError::Client(error) => exit_code::of(error) == 8,
        CliError::Write { .. }
        | CliError::Output(PictureError::DiskFull { .. } | PictureError::NotWritable { .. }) => {
            true
        }
        _ => false,
    }
}

impl Batch<'_> {
    /// Runs one edit, unless an earlier run completed it.
    async fn edit(&self, item: &Item) -> Ended {
        let mut warnings = Vec::new();
        let outcome = self.try_edit(item, &mut warnings).await;
        Ended { id: item.id.clone(), warnings, outcome }
    }

    async fn try_edit(
        &self,
        item: &Item,
        warnings: &mut Vec<v1::Warning>,
    ) -> Result<PathBuf, CliError> {
        // 1. Read the inputs, and check whether the edit is done.
        let image = read_picture(&item.image)?;
        let mask = item.mask.as_deref().map(read_picture).transpose()?;
        let digest = item.digest(&image, mask.as_deref());
        let path = self.args.out.join(format!("{}.{}", item.id, extension(item)));
        let overwrite = match self.known(item, &digest, &path) {
            Known::Done => return Ok(path),
            Known::Ours => Overwrite::Replace,
            Known::Not if self.args.force => Overwrite::Replace,
            Known::Not => Overwrite::Refuse,
        };
        write::check_target(&path, overwrite).map_err(CliError::Output)?;

        // 2. Run the job.
        let made = self.job(item, &digest, image, mask, warnings).await;
        let made = made.and_then(|file| {
            write::write_atomically(&path, &file, overwrite).map_err(CliError::Output)
        });
        match made {
            Ok(()) => self.keep(item, digest, Outcome::Done(name_of(&path))).map(|()| path),
            Err(error) => {
                // Only a failed job needs a new request id.
                if matches!(error, CliError::Client(ClientError::Failed(_))) {
                    self.keep(item, digest, Outcome::Failed(error.to_string()))?;
                }
                Err(error)
            }
        }
    }

    /// Creates the job, or finds that of an earlier run by its request id, and waits for its result; collects its
    /// warnings.
    async fn job(
        &self,
        item: &Item,
        digest: &str,
        image: Bytes,
        mask: Option<Bytes>,
        warnings: &mut Vec<v1::Warning>,
    ) -> Result<Bytes, CliError> {
        let Site { remote, interrupt } = self.site;
        let failures = self.state.borrow().failures(&item.id, digest);
        let spec = spec(item, remote, image, mask).await?;
        let request = CreateEditJobRequest {
            request_id: request_id(&item.id, digest, failures),
            spec: Some(spec),
            ..CreateEditJobRequest::default()
        };
        let job = remote.create(request).await?;
        let options = EventOptions {
            preview_every: Some(0),
            cluster_map: Some(false),
            heatmaps: Some(false),
            max_inline_bytes: Some(0),
            ..EventOptions::default()
        };
        // A job of an earlier run replays its events.
        let mut follow = Follow::watch(remote, job.name.clone(), Some(options));
        while let Some(event) = interrupt.or(follow.next()).await? {
            if let Some(Event::Warning(warning)) = event.event {
                warnings.push(warning);
            }
        }
        let job = remote.job(&job.name).await?;
        if job.state() != State::Succeeded {
            let refusal = Refusal::from(&job.error.unwrap_or_default());
            return Err(ClientError::Failed(Box::new(refusal)).into());
        }
        Ok(remote.result(&job).await?)
    }

    fn known(&self, item: &Item, digest: &str, path: &Path) -> Known {
        let state = self.state.borrow();
        match state.last(&item.id) {
            Some(Entry { digest: of, outcome: Outcome::Done(name), .. })
                if of == digest && *name == name_of(path) && path.is_file() =>
            {
                Known::Done
            }
            Some(_) => Known::Ours,
            None => Known::Not,
        }
    }

    fn keep(&self, item: &Item, digest: String, outcome: Outcome) -> Result<(), CliError> {
        let id = item.id.clone();
        Ok(self.state.borrow_mut().keep(Entry { id, digest, outcome })?)
    }
}

/// Whether an output file belongs to this batch.
enum Known {
    /// Written by an earlier run for the same request.
    Done,
    /// Belongs to an earlier run that failed, or that had another request.
    Ours,
    /// Not known to the batch.
    Not,
}

async fn spec(
    item: &Item,
    remote: &Remote,
    image: Bytes,
    mask: Option<Bytes>,
) -> Result<v1::EditSpec, CliError> {
    let mut spec = item.spec.clone();
    spec.image = Some(remote.image(image).await?);
    if let Some(mask) = mask {
        let image = Some(remote.image(mask).await?);
        spec.mask = Some(v1::Mask { image, ..v1::Mask::default() });
    }
    spec.events.get_or_insert(EventOptions { preview_every: Some(0), ..EventOptions::default() });
    Ok(spec)
}

/// Request id of an item, the same until its job fails, so that a repeated run finds the job of an earlier one
/// (idempotency).
fn request_id(id: &str, digest: &str, failures: u32) -> String {
    let digest = Sha256::digest(format!("{id}\n{digest}\n{failures}"));
    format!("batch-{digest:x}")
}

fn read_picture(path: &Path) -> Result<Bytes, CliError> {
    resolve::read_picture_file(path).map(|(bytes, _)| bytes.into())
}

fn extension(item: &Item) -> &'static str {
    match item.spec.output.as_ref().map_or("", |it| it.mime_type.as_str()) {
        "image/jpeg" => "jpg",
        "image/webp" => "webp",
        _ => "png",
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
