//! `retouch jobs`: list, show, watch, decide, cancel, delete and check the jobs of a server.

use serde_json::json;

use crate::cli::{
    args::MaskArgs,
    error::CliError,
    interrupt::Interrupt,
    outputs,
    remote::{
        self, check,
        jobs_args::{DecideArgs, JobsArgs, JobsCommand, ListArgs, WatchArgs},
        jobs_table, request,
        run::Site,
    },
    reporter::Reporter,
    resolve,
    screen::{Screen, Stream},
};
use crate::client::connect::Remote;
use crate::picture::{size::Size, write::Overwrite};
use crate::wire::v1::{
    self, AcceptMask, EditJob, EventOptions, ListEditJobsRequest, edit_job::State,
    mask_decision::Decision,
};

/// Largest page of jobs (`ListEditJobsRequest.page_size`).
const PAGE: u32 = 200;

/// Whether to print JSON, and where: on standard error if the picture goes to standard output.
pub(crate) fn results(args: &JobsArgs) -> (bool, Stream) {
    let json = args.command.call().json;
    match &args.command {
        JobsCommand::Watch(watch) if watch.output.as_deref().is_some_and(resolve::is_dash) => {
            (json, Stream::Err)
        }
        _ => (json, Stream::Out),
    }
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] if the command fails.
pub(crate) fn run(args: &JobsArgs, screen: &mut Screen) -> Result<(), CliError> {
    remote::block_on(async {
        let server = &args.command.call().server;
        match &args.command {
            JobsCommand::List(args) => list(&server.connect().await?, args, screen).await,
            JobsCommand::Get(args) => {
                let job = server.connect().await?.job(&args.full()).await?;
                show(&job, screen);
                Ok(())
            }
            JobsCommand::Watch(args) => Box::pin(watch(args, screen)).await,
            JobsCommand::Cancel(args) => {
                let remote = server.connect().await?;
                let job = remote.cancel(&args.of.full(), &args.reason).await?;
                told(&job, screen);
                Ok(())
            }
            JobsCommand::Mask(args) => decide(&server.connect().await?, args, screen).await,
            JobsCommand::Delete(args) => {
                let (remote, name) = (server.connect().await?, args.full());
                remote.delete(&name).await?;
                screen.record(&json!({"deleted": name}));
                screen.text(&format!("{name}: deleted"));
                Ok(())
            }
            JobsCommand::Check(args) => check::run(args, screen).await,
        }
    })
}

async fn list(remote: &Remote, args: &ListArgs, screen: &mut Screen) -> Result<(), CliError> {
    let mut request = ListEditJobsRequest {
        states: args.state.iter().map(|&it| State::from(it) as i32).collect(),
        labels: args.label.iter().cloned().collect(),
        ..ListEditJobsRequest::default()
    };
    let mut jobs = Vec::new();
    let most = args.limit as usize;
    while jobs.len() < most {
        request.page_size = (args.limit - jobs.len() as u32).min(PAGE) as i32;
        let page = remote.list(request.clone()).await?;
        jobs.extend(page.jobs);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    for job in &jobs {
        screen.record(&jobs_table::json(job));
    }
    screen.text(&jobs_table::table(&jobs, screen.columns()));
    Ok(())
}

async fn watch(args: &WatchArgs, screen: &mut Screen) -> Result<(), CliError> {
    let interrupt = Interrupt::listen()?;
    let overwrite = if args.force { Overwrite::Replace } else { Overwrite::Refuse };
    if let Some(output) = &args.output {
        outputs::check(output, overwrite)?;
    }
    let remote = args.of.call.server.connect().await?;
    let site = Site { remote: &remote, interrupt: &interrupt };
    // Previews would not be shown.
    let options = EventOptions { preview_every: Some(0), ..EventOptions::default() };
    let name = args.of.full();
    interrupt.stop_cleanly();
    let mut reporter = Reporter::new(screen, &interrupt);
    site.watch(&name, Some(options), &mut reporter).await?;
    if let Some(output) = &args.output {
        let bytes = remote.result(&remote.job(&name).await?).await?;
        outputs::put(output, &bytes, overwrite)?;
        screen.written("edited", output);
    }
    Ok(())
}

async fn decide(remote: &Remote, args: &DecideArgs, screen: &mut Screen) -> Result<(), CliError> {
    let MaskArgs { dilate, feather, .. } = args.mask;
    let name = args.of.full();
    let (decision, etag) = if args.accept {
        (Decision::Accept(AcceptMask { dilate_px: dilate, feather_px: feather }), String::new())
    } else {
        let given = &args.mask;
        if given.mask.is_empty() && given.clusters.is_empty() && given.boxes.is_empty() {
            let message = "say which mask: --accept, --mask, --clusters or --box";
            return Err(CliError::Usage(message.to_owned()));
        }
        let job = remote.job(&name).await?;
        let proposed = job.mask.unwrap_or_default();
        let choice = resolve::mask(given, size(&name, &proposed)?, screen)?;
        (Decision::Replace(request::mask(&choice, remote).await?), proposed.etag)
    };
    let request_id = uuid::Uuid::now_v7().to_string();
    let decision = v1::MaskDecision { decision: Some(decision), etag, request_id };
    told(&remote.decide(&name, decision).await?, screen);
    Ok(())
}

/// Size of the job's picture, from the mask it proposed.
fn size(name: &str, proposed: &v1::MaskProposed) -> Result<Size, CliError> {
    match &proposed.mask {
        Some(mask) => Ok(Size::new(mask.width, mask.height)),
        None => Err(CliError::Usage(format!(
            "{name} has no proposed mask yet; see `retouch jobs get {name}`, or accept it in advance with --accept"
        ))),
    }
}

fn show(job: &EditJob, screen: &mut Screen) {
    screen.record(&jobs_table::json(job));
    screen.text(&jobs_table::details(job));
}

/// Prints the outcome of a job in short.
fn told(job: &EditJob, screen: &mut Screen) {
    screen.record(&jobs_table::json(job));
    screen.text(&format!("{}: {}", job.name, jobs_table::state(job.state())));
}
