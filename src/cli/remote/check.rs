//! `retouch jobs check`: a small edit that is made at one address of a server, watched at every one, and deleted. Where
//! several processes answer under one name, it shows that they share their jobs.

use std::{
    collections::BTreeSet,
    io::Cursor,
    mem::{self, Discriminant},
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future;
use image::{ImageFormat, Rgb, RgbImage};
use serde_json::json;

use crate::cli::{
    error::CliError,
    remote::{jobs_args::CheckArgs, server_args::ServerArgs},
    screen::Screen,
};
use crate::client::{connect::Remote, error::ClientError, follow::Follow, refusal::Refusal};
use crate::wire::{
    spec,
    v1::{
        CreateEditJobRequest, EditSpec, EventOptions, GetServerInfoRequest, Method,
        edit_event::Event, edit_job::State,
    },
};

/// Width and height of the picture, in pixels.
const SIDE: u32 = 64;
/// Steps of the edit.
const STEPS: u32 = 4;
/// How long the job is kept if it can't be deleted.
const KEPT: Duration = Duration::from_secs(600);

/// Runs the check.
///
/// # Errors
/// [`CliError`] if an address can't be called, the job fails, or one process tells it otherwise than another.
pub(crate) async fn run(args: &CheckArgs, screen: &mut Screen) -> Result<(), CliError> {
    let within = Duration::from_secs(args.within);
    let late = || wrong(format!("the job was not seen to its end within {} s", args.within));
    tokio::time::timeout(within, Box::pin(check(args, screen))).await.map_err(|_| late())?
}

async fn check(args: &CheckArgs, screen: &mut Screen) -> Result<(), CliError> {
    let started = Instant::now();
    let server = &args.call.server;
    let addresses = if args.at.is_empty() { addresses(server).await? } else { args.at.clone() };
    if addresses.len() < args.at_least as usize {
        let (found, wanted) = (addresses.len(), args.at_least);
        let url = crate::address::masked(server.url()?);
        return Err(wrong(format!("{url}: addresses: {found}, and at least {wanted} are wanted")));
    }
    let mut remotes = Vec::new();
    for address in &addresses {
        remotes.push(server.connect_to(*address).await?);
    }
    let processes = processes(&remotes).await?;
    let job = remotes[0].create(request()?).await?.name;
    screen.text(&format!("{job} made at {}", addresses[0]));
    let watched = future::try_join_all(remotes.iter().map(|it| watched(it, &job))).await;
    let told = watched?;
    if let Some(other) = told.iter().position(|it| *it != told[0]) {
        let (first, other) = (addresses[0], addresses[other]);
        return Err(wrong(format!("{other} tells {job} otherwise than {first}")));
    }
    // Made at the first, taken and deleted at the last.
    let last = &remotes[remotes.len() - 1];
    let bytes = last.result(&last.job(&job).await?).await?.len();
    last.delete(&job).await?;
    let seconds = started.elapsed().as_secs_f64();
    let (events, count) = (told[0].len(), addresses.len());
    screen.record(&json!({
        "job": job, "addresses": addresses, "processes": processes, "events": events, "seconds": seconds,
    }));
    screen.text(&format!(
        "{events} events watched at {count} {}, without a gap; its picture of {bytes} bytes taken from {}, and deleted \
         there; {seconds:.1} s",
        if count == 1 { "address" } else { "addresses" },
        addresses[count - 1],
    ));
    Ok(())
}

/// The addresses of the server's name, each once, in order.
async fn addresses(server: &ServerArgs) -> Result<Vec<SocketAddr>, CliError> {
    let url = server.url()?;
    let uri = crate::address::url(url);
    let uri = uri.map_err(|error| {
        CliError::Usage(format!("--server {}: {error}", crate::address::masked(url)))
    })?;
    let port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let found = tokio::net::lookup_host((host, uri.port_u16().unwrap_or(port))).await;
    let unreachable = |error: std::io::Error| ClientError::Unreachable {
        url: crate::address::masked(url),
        reason: error.to_string(),
    };
    let found: BTreeSet<SocketAddr> = found.map_err(unreachable)?.collect();
    Ok(found.into_iter().collect())
}

/// Names of the processes behind the connections, of those that share their jobs.
async fn processes(remotes: &[Remote]) -> Result<BTreeSet<String>, CliError> {
    let mut names = BTreeSet::new();
    for remote in remotes {
        let mut api = remote.api.clone();
        let info = api.get_server_info(GetServerInfoRequest {}).await;
        let info = info.map_err(|status| ClientError::from(Refusal::from(&status)))?.into_inner();
        names.extend(Some(info.process).filter(|it| !it.is_empty()));
    }
    Ok(names)
}

/// A control event without its content: its kind, and the state that it tells.
type Told = (Discriminant<Event>, Option<State>);

/// Follows the job to its end; returns its control events in their order.
async fn watched(remote: &Remote, job: &str) -> Result<Vec<Told>, CliError> {
    let options = EventOptions { preview_every: Some(0), ..EventOptions::default() };
    let mut follow = Follow::watch(remote, job.to_owned(), Some(options));
    let (mut told, mut end, mut error) = (Vec::new(), None, None);
    while let Some(event) = follow.next().await? {
        let (last, number) = (told.len() as u64, event.sequence);
        // Steps and the like repeat the last number.
        if number == last {
            continue;
        }
        if number != last + 1 {
            return Err(wrong(format!("event {} of {job} is missing before {number}", last + 1)));
        }
        let Some(event) = event.event else { continue };
        let kind = mem::discriminant(&event);
        let state = match event {
            Event::State(changed) => Some(changed.state()),
            Event::Error(why) => {
                error = Some(why);
                None
            }
            _ => None,
        };
        end = state.or(end);
        told.push((kind, state));
    }
    if end == Some(State::Succeeded) {
        return Ok(told);
    }
    Err(ClientError::Failed(Box::new(Refusal::from(&error.unwrap_or_default()))).into())
}

/// A job of the plain backbone, which needs no object in the picture.
fn request() -> Result<CreateEditJobRequest, CliError> {
    let picture = RgbImage::from_fn(SIDE, SIDE, |x, y| Rgb([(x * 4) as u8, (y * 4) as u8, 128]));
    let mut file = Cursor::new(Vec::new());
    let written = picture.write_to(&mut file, ImageFormat::Png);
    written.map_err(|error| CliError::Defect(error.to_string()))?;
    let data = crate::wire::v1::image::Source::Data(Bytes::from(file.into_inner()));
    let asked = EditSpec {
        image: Some(crate::wire::v1::Image { source: Some(data) }),
        instruction: "make it blue".to_owned(),
        method: Method::InstructPix2pix as i32,
        steps: Some(STEPS),
        seed: Some(1),
        ttl: Some(spec::duration(KEPT)),
        ..EditSpec::default()
    };
    Ok(CreateEditJobRequest {
        request_id: uuid::Uuid::now_v7().to_string(),
        spec: Some(asked),
        ..CreateEditJobRequest::default()
    })
}

fn wrong(what: String) -> CliError {
    ClientError::Garbled(what).into()
}
