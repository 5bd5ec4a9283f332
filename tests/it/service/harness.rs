//! Test harness: a server with a scripted model, and helpers for requests to it.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicUsize},
    time::{Duration, Instant},
};

use bytes::Bytes;
use retouch::{
    jobs::{
        queue::QueueLimits,
        runner::Runner,
        store::{Limits, Store},
    },
    journal::{Journal, error::JournalError, ledger::Ledger, space::Space},
    server::{config::Config, keys::Keys},
    serving::service::Service,
    wire::v1::{
        self, CreateEditJobRequest, EditEvent, EditSpec, Image, edit_event::Event, edit_job::State,
        edit_service_client::EditServiceClient, image::Source,
    },
};
use tempfile::TempDir;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

use super::script::Script;
use crate::server_edges::MANY;

/// The script's limits.
pub(crate) const LIMITS: Limits = Limits {
    slots: 1,
    queue: QueueLimits { total: 8, tenant: 8 },
    tenant_awaiting: 4,
    queue_timeout: Duration::from_secs(60),
    run_timeout: Duration::from_secs(60),
    default_ttl: Duration::from_secs(3600),
    max_ttl: Duration::from_secs(7200),
    max_pixels: 1 << 20,
    max_artifact_bytes: 4 << 20,
    max_attempts: 3,
    lease: Duration::from_secs(30),
};
pub(crate) const SPACE: Space = Space { quota: 1 << 30, min_free: 0 };
/// A PNG of 32 by 24 pixels.
pub(crate) fn picture(level: u8) -> Bytes {
    let image = image::RgbImage::from_pixel(32, 24, image::Rgb([level, 20, 30]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner().into()
}

/// A mask of all of it.
pub(crate) fn white() -> Bytes {
    let image = image::GrayImage::from_pixel(32, 24, image::Luma([255]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner().into()
}

/// A running server.
pub(crate) struct Harness {
    pub(crate) store: Arc<Store>,
    pub(crate) client: EditServiceClient<Channel>,
    pub(crate) url: String,
    pub(crate) localize_steps: Arc<AtomicUsize>,
    service: Service,
    folder: Folder,
}

enum Folder {
    Own(TempDir),
    Given(PathBuf),
}

impl Harness {
    pub(crate) async fn new() -> Self {
        Self::with(LIMITS).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        Self::scripted(Folder::Own(tempfile::tempdir().unwrap()), limits).await
    }

    pub(crate) async fn over(folder: &Path) -> Self {
        Self::scripted(Folder::Given(folder.to_owned()), LIMITS).await
    }

    async fn scripted(folder: Folder, limits: Limits) -> Self {
        let script = Script::new();
        let steps = Arc::clone(&script.localize_steps);
        let server = Self::start(folder, limits, Config::default(), move || Box::new(script)).await;
        Self { localize_steps: steps, ..server }
    }

    /// A server over a model that its worker's thread loads; in a folder of its own, or one of a server before.
    pub(crate) async fn real(
        folder: Option<&Path>,
        load: impl FnOnce() -> Box<dyn Runner + Send> + Send + 'static,
    ) -> Self {
        let folder = match folder {
            Some(it) => Folder::Given(it.to_owned()),
            None => Folder::Own(tempfile::tempdir().unwrap()),
        };
        Self::start(folder, LIMITS, Config::default(), load).await
    }

    /// A server that is configured otherwise.
    pub(crate) async fn configured(config: Config) -> Self {
        let folder = Folder::Own(tempfile::tempdir().unwrap());
        Self::start(folder, LIMITS, config, || Box::new(Script::new())).await
    }

    async fn start(
        folder: Folder,
        limits: Limits,
        config: Config,
        load: impl FnOnce() -> Box<dyn Runner + Send> + Send + 'static,
    ) -> Self {
        let path = match &folder {
            Folder::Own(it) => it.path(),
            Folder::Given(it) => it,
        };
        let journal = open(path, SPACE).await;
        Self::start_over(journal, folder, limits, config, load).await
    }

    /// A server over a journal that is open.
    pub(crate) async fn over_journal(journal: Journal, folder: TempDir) -> Self {
        let config = Config::default();
        Self::start_over(journal, Folder::Own(folder), LIMITS, config, || Box::new(Script::new()))
            .await
    }

    /// A server over a ledger that has no folder.
    pub(crate) async fn over_ledger(ledger: impl Ledger + 'static) -> Self {
        let folder = Folder::Own(tempfile::tempdir().unwrap());
        Self::start_over(ledger, folder, LIMITS, Config::default(), || Box::new(Script::new()))
            .await
    }

    async fn start_over(
        ledger: impl Ledger + 'static,
        folder: Folder,
        limits: Limits,
        config: Config,
        load: impl FnOnce() -> Box<dyn Runner + Send> + Send + 'static,
    ) -> Self {
        let store = Store::open(ledger, limits).unwrap();
        let service = serve(&store, config, load).await;
        let url = format!("http://{}", service.address);
        let client = connect(&url, &store).await;
        Self { store, client, url, localize_steps: Arc::default(), service, folder }
    }

    /// Ends the server as a drain that has no time left does; the folder stays.
    pub(crate) async fn stop(self) -> PathBuf {
        self.store.drain();
        assert!(self.service.stop().await, "a step still runs");
        match self.folder {
            Folder::Own(it) => it.keep(),
            Folder::Given(it) => it,
        }
    }

    /// Where the journal is.
    pub(crate) fn folder(&self) -> &Path {
        match &self.folder {
            Folder::Own(it) => it.path(),
            Folder::Given(it) => it,
        }
    }

    pub(crate) async fn create(&self, request: CreateEditJobRequest) -> v1::EditJob {
        self.client.clone().create_edit_job(request).await.unwrap().into_inner()
    }

    pub(crate) async fn refused(&self, request: CreateEditJobRequest) -> (Code, String) {
        reason(&self.client.clone().create_edit_job(request).await.unwrap_err())
    }

    pub(crate) async fn get(&self, name: &str) -> v1::EditJob {
        let request = v1::GetEditJobRequest { name: name.to_owned() };
        self.client.clone().get_edit_job(request).await.unwrap().into_inner()
    }

    pub(crate) async fn cancel(&self, name: &str) -> Result<v1::EditJob, Status> {
        let request = v1::CancelEditJobRequest { name: name.to_owned(), reason: String::new() };
        self.client.clone().cancel_edit_job(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn decide(
        &self,
        name: &str,
        decision: v1::MaskDecision,
    ) -> Result<v1::EditJob, Status> {
        let request = v1::SubmitMaskRequest { name: name.to_owned(), decision: Some(decision) };
        self.client.clone().submit_mask(request).await.map(tonic::Response::into_inner)
    }

    /// All events of a job after a number, until its end.
    pub(crate) async fn watch(&self, name: &str, after_sequence: u64) -> Vec<EditEvent> {
        let request =
            v1::WatchEditJobRequest { name: name.to_owned(), after_sequence, events: None };
        let mut stream = self.client.clone().watch_edit_job(request).await.unwrap().into_inner();
        let mut events = Vec::new();
        while let Some(event) = stream.message().await.unwrap() {
            events.push(event);
        }
        events
    }

    /// Waits until a job is in a state.
    pub(crate) async fn until(&self, name: &str, state: State) -> v1::EditJob {
        let started = Instant::now();
        loop {
            let job = self.get(name).await;
            if job.state() == state {
                return job;
            }
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "{:?}: {:?}",
                job.state(),
                job.error
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}: not in a minute");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The folder's journal, once the connections of a server before have let it go.
pub(crate) async fn open(folder: &Path, space: Space) -> Journal {
    for _ in 0..500 {
        match Journal::open(folder, space) {
            Ok(journal) => return journal,
            Err(JournalError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the journal is still in use");
}

/// The files of a folder and of those in it.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// A folder as a crash would leave it: a file that is renamed meanwhile may be missing.
pub(crate) fn copied(from: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in files(from) {
        let to = copy.path().join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        let _ = std::fs::copy(&file, to);
    }
    copy
}

/// Serves a store on a free port, with one runner.
pub(crate) async fn serve(
    store: &Arc<Store>,
    mut config: Config,
    load: impl FnOnce() -> Box<dyn Runner + Send> + Send + 'static,
) -> Service {
    config.server.listen.set_ip(Ipv4Addr::LOCALHOST.into());
    config.server.listen.set_port(0);
    let keys = Arc::new(Keys::open(config.auth.keys_file.as_deref()).unwrap());
    let load = || Ok(vec![vec![load()]]);
    Service::start(&config, Arc::clone(store), keys, MANY, load).await.unwrap()
}

async fn connect(url: &str, store: &Store) -> EditServiceClient<Channel> {
    // The worker tells of its model a moment after the server is there.
    while store.model().is_none() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    EditServiceClient::connect(url.to_owned()).await.unwrap()
}

/// An edit of three steps a pass.
pub(crate) fn spec(instruction: &str) -> EditSpec {
    EditSpec {
        image: Some(Image { source: Some(Source::Data(picture(10))) }),
        instruction: instruction.to_owned(),
        steps: Some(3),
        seed: Some(1),
        ..EditSpec::default()
    }
}

pub(crate) fn request(spec: EditSpec) -> CreateEditJobRequest {
    CreateEditJobRequest { spec: Some(spec), ..CreateEditJobRequest::default() }
}

/// Code and reason of a refused call.
pub(crate) fn reason(status: &Status) -> (Code, String) {
    let info = status.get_details_error_info().expect("every refusal has its reason");
    assert_eq!(info.domain, "retouch");
    (status.code(), info.reason)
}

/// The kind of a control event.
fn kind(event: &EditEvent) -> Option<String> {
    match event.event.as_ref()? {
        Event::State(state) => Some(state.state().as_str_name().replace("STATE_", "")),
        Event::Part(_) => Some("part".to_owned()),
        Event::Instruction(_) => Some("instruction".to_owned()),
        Event::Warning(warning) => Some(format!("warning {}", warning.reason)),
        Event::ClusterMap(_) => Some("clusters".to_owned()),
        Event::Heatmap(_) => Some("heatmap".to_owned()),
        Event::MaskProposed(_) => Some("proposed".to_owned()),
        Event::MaskSettled(_) => Some("settled".to_owned()),
        Event::Drift(_) => Some("drift".to_owned()),
        Event::Result(_) => Some("result".to_owned()),
        Event::Error(error) => Some(format!("error {}", error.reason)),
        Event::Queue(_) | Event::Step(_) | Event::Preview(_) | Event::Heartbeat(_) => None,
    }
}

/// What kinds of control events these are, in their order.
pub(crate) fn kinds(events: &[EditEvent]) -> Vec<String> {
    events.iter().filter_map(kind).collect()
}

/// Numbers of the control events, each as often as it came; the others carry the number of the last of these.
pub(crate) fn numbers(events: &[EditEvent]) -> Vec<u64> {
    events.iter().filter(|it| kind(it).is_some()).map(|it| it.sequence).collect()
}
