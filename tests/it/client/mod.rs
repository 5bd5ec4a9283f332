//! The command line against a server in this process gives the same edits, files and output lines as a local run.

// Where the server is, who calls, and what of it is shown.
mod address;
// Many edits, a call that is killed, one that goes on.
mod batch;
// Jobs seen, decided, cancelled and deleted.
mod jobs;
// Pictures that are made again, here and there.
mod records;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command as Process, Stdio},
    sync::Arc,
    time::Duration,
};

use assert_cmd::Command;
use image::{GrayImage, Luma, Rgb, RgbImage};
use predicates::str::contains;
use retouch::{
    edit::settings::EditSettings,
    editing::editor::Editor,
    jobs::{
        queue::QueueLimits,
        runner::{ModelInfo, Runner},
        store::{Limits, Store},
    },
    journal::{Journal, space::Space},
    models::snapshot::Snapshot,
    pipelines::EditPipeline,
    server::{config::Config, keys::Keys},
    serving::{editor_runner::EditorRunner, service::Service},
    wire::v1::{EditJob, edit_job::State},
};
use serde_json::Value;
use tch::Kind;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::cli::{Desk, INSTRUCTION, scene};
use crate::server_edges::MANY;
use crate::support::{self, load_pipeline};

/// What a small server allows.
const LIMITS: Limits = Limits {
    slots: 1,
    queue: QueueLimits { total: 64, tenant: 64 },
    tenant_awaiting: 8,
    queue_timeout: Duration::from_secs(600),
    run_timeout: Duration::from_secs(600),
    default_ttl: Duration::from_secs(24 * 3600),
    max_ttl: Duration::from_secs(7 * 24 * 3600),
    max_pixels: 64 << 20,
    max_artifact_bytes: 64 << 20,
    max_attempts: 3,
    lease: Duration::from_secs(30),
};

/// A server with the demo model, in fp32 on one thread.
pub(crate) struct Site {
    address: SocketAddr,
    store: Arc<Store>,
    runtime: Runtime,
    service: Service,
}

impl Site {
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_at(folder, "127.0.0.1:0".parse().unwrap())
    }

    fn start_at(folder: &Path, address: SocketAddr) -> Self {
        let journal = Journal::open(folder, Space { quota: 1 << 30, min_free: 0 }).unwrap();
        let store = Store::open(journal, LIMITS).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let mut config = Config::default();
        config.server.listen = address;
        let keys = Arc::new(Keys::open(None).unwrap());
        let load = || {
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            let runner = runner(&root.join("assets/demo-model"));
            Ok(vec![vec![Box::new(runner) as Box<dyn Runner + Send>]])
        };
        let service = Service::start(&config, Arc::clone(&store), keys, MANY, load);
        let service = runtime.block_on(service).unwrap();
        Self { address: service.address, store, runtime, service }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All jobs, newest last.
    pub(crate) fn jobs(&self) -> Vec<EditJob> {
        let mut jobs: Vec<EditJob> =
            self.store.all().iter().map(|it| self.store.view(it).unwrap()).collect();
        jobs.sort_by(|a, b| a.name.cmp(&b.name));
        jobs
    }

    /// Waits until a job is in a state.
    fn wait(&self, name: &str, state: State) -> EditJob {
        for _ in 0..1200 {
            let job = self.store.job("local", name).unwrap();
            let job = self.store.view(&job).unwrap();
            if job.state() == state {
                return job;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{name} never was {}", state.as_str_name());
    }

    /// Ends as a process that is told to: running jobs go back to their checkpoint, every connection breaks.
    fn stop(self) {
        assert!(self.runtime.block_on(self.service.stop()), "a step still runs");
        self.runtime.shutdown_timeout(Duration::from_secs(5));
    }
}

/// The demo model, or one of its kind, in fp32 on one thread.
pub(crate) fn runner(path: &Path) -> EditorRunner {
    tch::set_num_threads(1);
    let pipeline = load_pipeline(path, Kind::Float);
    let snapshot = Snapshot::open(path).unwrap();
    let model = ModelInfo {
        name: "demo-model".to_owned(),
        digest: pipeline.digest().to_owned(),
        device: "cpu".to_owned(),
        dtype: "fp32".to_owned(),
        libtorch: "test".to_owned(),
        loras: Vec::new(),
        recommended: EditSettings::recommended(snapshot.retouch_json().unwrap()).unwrap(),
        preview_decoder: true,
    };
    EditorRunner::new(Editor::new(Box::new(pipeline), None), model, 1 << 20)
}

/// A server and a folder to work in.
struct Office {
    desk: Desk,
    site: Site,
    _data: TempDir,
}

impl Office {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        Self { desk: Desk::new(), site: Site::start(data.path()), _data: data }
    }

    /// `retouch edit` of the scene on this machine, as the server would.
    fn local(&self, args: &[&str]) -> Command {
        let mut command = self.desk.edit(["--seed", "7", "--dtype", "fp32"]);
        command.args(args);
        command
    }

    /// `retouch edit` of the scene at the server.
    fn remote(&self, args: &[&str]) -> Command {
        let mut command = self.desk.edit(["--seed", "7", "--server", &self.site.url()]);
        command.args(args);
        command
    }

    /// A command that runs until it is told otherwise, its lines as they come.
    fn spawn(&self, args: &[&str]) -> (Child, impl Iterator<Item = String> + use<>) {
        let mut command = support::listening_retouch();
        command.args(args).args(["--server", &self.site.url(), "--json"]);
        command.current_dir(self.desk.path("")).env_remove("RETOUCH_MODEL");
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (child, lines.map_while(Result::ok))
    }

    /// Names of the files in a folder of maps; previews, of which a slow reader misses some, apart.
    fn maps(&self, folder: &str) -> (BTreeSet<String>, BTreeSet<String>) {
        let entries = fs::read_dir(self.desk.path(folder)).unwrap();
        let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
        names.partition(|name| name.starts_with("preview-"))
    }
}

/// Keys of JSON lines.
fn keys(command: &mut Command) -> BTreeSet<String> {
    let output = command.assert().success().get_output().stdout.clone();
    let text = String::from_utf8(output).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.flat_map(|it| it.as_object().unwrap().keys().cloned().collect::<Vec<_>>()).collect()
}

#[test]
fn an_edit_at_a_server_gives_the_same_picture_files_and_lines_as_one_on_this_machine() {
    let office = Office::new();
    let local = keys(&mut office.local(&["-o", "local.png", "--maps", "local", "--json"]));
    let remote = keys(&mut office.remote(&["-o", "remote.png", "--maps", "remote", "--json"]));
    assert_eq!(office.desk.picture("local.png"), office.desk.picture("remote.png"));

    let more: Vec<&String> = remote.difference(&local).collect();
    assert!(local.is_subset(&remote), "{local:?} {remote:?}");
    assert!(more.iter().all(|it| ["job", "queue"].contains(&it.as_str())), "{more:?}");

    let (local_previews, local_maps) = office.maps("local");
    let (previews, maps) = office.maps("remote");
    assert_eq!(local_maps, maps);
    assert!(!previews.is_empty() && previews.is_subset(&local_previews), "{previews:?}");
    for name in
        ["mask.png", "overlay.png", "clusters.png"].map(String::from).iter().chain(&previews)
    {
        let [a, b] = ["local", "remote"].map(|it| office.desk.picture(&format!("{it}/{name}")));
        assert_eq!(a, b, "{name}");
    }
    for name in maps.iter().filter(|it| it.starts_with("attention-")) {
        let [a, b] = ["local", "remote"].map(|it| office.desk.picture(&format!("{it}/{name}")));
        // 16 bits between minimum and maximum: a level of 8 bits may be the next one.
        assert!(a.as_raw().iter().zip(b.as_raw()).all(|(a, b)| a.abs_diff(*b) <= 2), "{name}");
    }
}

#[test]
fn masks_variants_and_comparisons_are_those_of_this_machine() {
    let office = Office::new();
    let painted = GrayImage::from_fn(64, 64, |x, _| Luma([if x < 8 { 200 } else { 100 }]));
    painted.save(office.desk.path("left.png")).unwrap();
    let cases: &[(&str, &[&str])] = &[
        ("clusters", &["--clusters", "1,2"]),
        ("union", &["--mask", "left.png", "--box", "40,0,64,64", "--clusters", "1"]),
        ("shapes", &["--mask", "left.png", "--box", "50%,0%,60%,90%", "--invert-mask"]),
        ("grown", &["--dilate", "3", "--feather", "2"]),
        ("inverted", &["--invert-mask"]),
        ("whole", &["--action", "global"]),
        ("plain", &["--method", "instruct-pix2pix"]),
        ("masked", &["--method", "instruct-pix2pix", "--box", "20,10,50,40", "--dilate", "2"]),
        ("latent", &["--method", "instruct-pix2pix", "--mask", "left.png", "--preserve", "latent"]),
        ("found", &["--localizer", "diffedit", "--refine=false", "--size", "native"]),
    ];
    for (name, args) in cases {
        let (here, there) = (format!("{name}-here.png"), format!("{name}-there.png"));
        office.local(&["-o", &here]).args(*args).assert().success();
        office.remote(&["-o", &there]).args(*args).assert().success();
        assert_eq!(office.desk.picture(&here), office.desk.picture(&there), "{name}");
    }

    let args = ["-n", "2", "--dilate", "1", "--compare", "instruct-pix2pix"];
    office.local(&["-o", "here.png", "--maps", "here"]).args(args).assert().success();
    let run = office.remote(&["-o", "there.png", "--maps", "there"]).args(args).assert().success();
    let said = String::from_utf8(run.get_output().stderr.clone()).unwrap();
    assert_eq!(said.matches("understood: ").count(), 1, "{said}");
    for index in [1, 2] {
        let [here, there] = ["here", "there"].map(|it| format!("{it}-{index}.png"));
        assert_eq!(office.desk.picture(&here), office.desk.picture(&there), "{index}");
    }
}

#[test]
fn a_large_picture_is_uploaded_in_pieces() {
    let office = Office::new();
    // Noise does not compress: 4 MiB, above what a request holds.
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let picture = RgbImage::from_fn(1200, 1200, |_, _| Rgb([noise(), noise(), noise()]));
    picture.save(office.desk.path("large.png")).unwrap();
    assert!(fs::metadata(office.desk.path("large.png")).unwrap().len() > 4 << 20);
    let args = ["edit", "large.png", INSTRUCTION, "--steps", "1", "-o", "out.png", "--server"];
    let url = office.site.url();
    office.desk.retouch(args).args([&url, "--box", "0,0,16,16"]).assert().success();
    assert_eq!(office.desk.picture("out.png").dimensions(), (1200, 1200));
    assert_eq!(office.desk.picture("out.png").get_pixel(600, 600), picture.get_pixel(600, 600));
}

#[test]
fn an_edit_goes_on_when_the_server_is_started_again() {
    let data = tempfile::tempdir().unwrap();
    let desk = Desk::new();
    let site = Site::start(data.path());
    let address = site.address;
    let office = Office { desk, site, _data: data };
    let path = scene().display().to_string();
    let args = ["edit", &path, INSTRUCTION, "--seed", "7", "--steps", "40", "-o", "out.png"];
    let (mut child, mut lines) = office.spawn(&args);
    let is_edit = |line: &String| line.contains("PASS_EDIT");
    assert!(lines.by_ref().any(|line| is_edit(&line)), "it never began");
    let Office { desk, site, _data: data } = office;
    site.stop();
    let site = Site::start_at(data.path(), address);
    let rest: Vec<String> = lines.collect();
    assert!(child.wait().unwrap().success(), "{rest:?}");
    let jobs = site.jobs();
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].attempt, 2);
    // Pass 1 was kept.
    assert!(!rest.iter().any(|line| line.contains("PASS_LOCALIZE")), "{rest:?}");
    let args = ["edit", &path, INSTRUCTION, "--seed", "7", "--steps", "40", "-o", "local.png"];
    desk.retouch(args).args(["--dtype", "fp32"]).assert().success();
    assert_eq!(desk.picture("local.png"), desk.picture("out.png"));
    site.stop();
}

#[test]
fn ctrl_c_cancels_the_job() {
    let office = Office::new();
    let path = scene().display().to_string();
    let args = ["edit", &path, INSTRUCTION, "--steps", "1000", "-o", "out.png"];
    let (mut child, mut lines) = office.spawn(&args);
    assert!(lines.any(|line| line.contains("\"step\":{")), "it never began");
    let sent = Process::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(office.site.jobs()[0].state(), State::Cancelled);
    assert!(office.desk.files().is_empty());
}

#[test]
fn what_the_server_refuses_has_an_exit_code_and_one_line() {
    let office = Office::new();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["--steps", "0"], 2, "steps is 0, expected 1 to 1000"),
        (&["--text-guidance", "99"], 2, "text guidance is 99"),
        (&["--clusters", "31"], 2, "there is no cluster 31"),
        (&["--box", "0,0,64,64", "--invert-mask"], 3, "EMPTY_MASK"),
        (
            &["--method", "instruct-pix2pix", "--box", "0,0,9,9", "--clusters", "1"],
            2,
            "instruct-pix2pix finds no clusters",
        ),
        (
            &["--model", "/models/other"],
            2,
            "spec.model: `other` is not loaded; this server has `demo-model`",
        ),
        (&["--localization", "found.json"], 2, "--localization is for edits on this machine"),
        (&["--device", "cuda"], 2, "--device is for edits on this machine"),
    ];
    for (args, code, text) in cases {
        let url = office.site.url();
        let mut command = office.desk.retouch(["edit"]);
        command.arg(scene()).arg(INSTRUCTION).args(["-o", "no.png", "--server", &url]);
        if !args.contains(&"--steps") {
            command.args(["--steps", "2"]);
        }
        let run = command.args(*args).assert();
        let said = String::from_utf8(run.get_output().stderr.clone()).unwrap();
        assert_eq!(run.get_output().status.code(), Some(*code), "{args:?}: {said}");
        assert!(said.lines().last().unwrap().contains(text), "{args:?}: {said}");
    }
    let mut unparsed = office.desk.retouch(["edit"]);
    unparsed.arg(scene()).args(["colorless green ideas", "--strict", "--server"]);
    unparsed.arg(office.site.url()).assert().code(4).stderr(contains("OBJECT_NOT_FOUND"));
    assert!(office.desk.files().is_empty());
}

/// The path of a file in the repository's held-out set.
fn held_out(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/heldout/image").join(name)
}
