//! What several processes over one NATS server bring and cost: `make bench-scale` prints a table.
//!
//! The processes are this program, run again, with a model that sleeps: 20 steps of 100 ms. The server, with
//! `sync_interval: always`, and all processes share this machine.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

#[path = "../../tests/it/cluster/nats_server.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod nats_server;
mod process;
#[path = "../../tests/it/service/script.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod script;

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use retouch::{
    journal::ledger::{Commit, Ledger, Revision},
    nats::{Nats, options::Options},
    wire::{
        journal::v1::JobRecord,
        v1::{
            self, CreateEditJobRequest, EditJob, EditSpec, Image, edit_event::Event,
            edit_job::State, edit_service_client::EditServiceClient, image::Source,
        },
    },
};
use tonic::transport::Channel;

use crate::{
    nats_server::NatsServer,
    process::{Process, Setting, cpu_seconds, memory, run_if_asked},
};

/// Jobs at once in a process, steps of a job, and milliseconds of a step.
const SLOTS: usize = 4;
const STEPS: u32 = 20;
const STEP: u64 = 100;
/// Jobs in each slot of a run.
const ROUNDS: usize = 5;
/// Jobs one after the other that the overhead is taken from.
const ONE_BY_ONE: usize = 100;
/// Jobs that are watched from another process.
const WATCHED: usize = 20;
/// Jobs that have ended, in the replica of a process.
const KEPT: u128 = 10_000;

fn edit() -> CreateEditJobRequest {
    let image = image::RgbImage::from_pixel(32, 24, image::Rgb([10, 20, 30]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    let spec = EditSpec {
        image: Some(Image { source: Some(Source::Data(bytes.into_inner().into())) }),
        instruction: "make it blue".to_owned(),
        method: v1::Method::InstructPix2pix as i32,
        steps: Some(STEPS),
        seed: Some(1),
        ..EditSpec::default()
    };
    CreateEditJobRequest { spec: Some(spec), ..CreateEditJobRequest::default() }
}

fn main() {
    run_if_asked();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        println!("| what | figure |\n|---|---|");
        for processes in [1, 2, 4, 8] {
            throughput(processes).await;
        }
        overhead().await;
        elsewhere().await;
        replica();
    });
}

fn nats() -> NatsServer {
    NatsServer::start().expect("a NATS server: Go builds it, or NATS_SERVER names one")
}

fn setting(nats: Option<&NatsServer>, slots: usize, step: u64) -> (Setting, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let nats = nats.map(NatsServer::url);
    (Setting { nats, folder: folder.path().to_owned(), slots, step }, folder)
}

fn seconds(at: Option<prost_types::Timestamp>) -> f64 {
    let at = SystemTime::try_from(at.unwrap()).unwrap();
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

/// All jobs, once none of them is waiting or running.
async fn all_ended(mut client: EditServiceClient<Channel>, count: usize) -> Vec<EditJob> {
    loop {
        let (mut jobs, mut page_token) = (Vec::new(), String::new());
        loop {
            let states = vec![State::Succeeded as i32];
            let asked = v1::ListEditJobsRequest {
                states,
                page_size: 200,
                page_token: page_token.clone(),
                ..Default::default()
            };
            let page = client.list_edit_jobs(asked).await.unwrap().into_inner();
            jobs.extend(page.jobs);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        if jobs.len() == count {
            return jobs;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Jobs per second of several processes, beside that many times what a slot alone could do.
async fn throughput(count: usize) {
    let nats = nats();
    let (setting, _folder) = setting(Some(&nats), SLOTS, STEP);
    let processes: Vec<Process> = (0..count).map(|_| Process::start(&setting)).collect();
    let mut clients = Vec::new();
    for process in &processes {
        clients.push(process.client().await);
    }
    let jobs = count * SLOTS * ROUNDS;
    let cpu = |at: &[Process]| at.iter().map(|it| cpu_seconds(it.pid())).sum::<f64>();
    let (before, before_nats) = (cpu(&processes), cpu_seconds(nats.pid()));
    stream::iter(0..jobs)
        .map(|it| {
            let mut client = clients[it % count].clone();
            async move { client.create_edit_job(edit()).await.unwrap() }
        })
        .buffer_unordered(16)
        .collect::<Vec<_>>()
        .await;
    let ended = all_ended(clients[0].clone(), jobs).await;
    let first = ended.iter().map(|it| seconds(it.create_time)).fold(f64::MAX, f64::min);
    let last = ended.iter().map(|it| seconds(it.end_time)).fold(0.0, f64::max);
    let rate = jobs as f64 / (last - first);
    let ideal = (count * SLOTS) as f64 / (f64::from(STEPS) * STEP as f64 / 1e3);
    let each = |it: f64| it / jobs as f64 * 1e3;
    println!(
        "| {count} processes of {SLOTS} slots, {jobs} jobs at once: jobs a second, of what the steps alone allow | \
         {rate:.2} of {ideal:.2}: {:.3} |",
        rate / ideal
    );
    println!(
        "| the same: CPU a job, of the processes and of the server | {:.0} ms, {:.0} ms |",
        each(cpu(&processes) - before),
        each(cpu_seconds(nats.pid()) - before_nats)
    );
}

/// Bytes that a NATS server has received and sent.
fn wire_bytes(nats: &NatsServer) -> (f64, f64) {
    let address = nats.monitor_url().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    let request = format!("GET /varz HTTP/1.0\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let varz: serde_json::Value = serde_json::from_str(body).unwrap();
    (varz["in_bytes"].as_f64().unwrap(), varz["out_bytes"].as_f64().unwrap())
}

/// What a job whose steps take no time costs, with an embedded store and over NATS, one job after the other.
async fn overhead() {
    let nats = nats();
    for (name, engine) in [("embedded", None), ("NATS", Some(&nats))] {
        let (setting, _folder) = setting(engine, 1, 0);
        let process = Process::start(&setting);
        let mut client = process.client().await;
        for _ in 0..10 {
            client.run_edit(edit()).await.unwrap();
        }
        let cpu = cpu_seconds(process.pid());
        let (server, wire) =
            engine.map_or((0.0, (0.0, 0.0)), |it| (cpu_seconds(it.pid()), wire_bytes(it)));
        let mut times = Vec::new();
        for _ in 0..ONE_BY_ONE {
            let started = Instant::now();
            client.run_edit(edit()).await.unwrap();
            times.push(started.elapsed().as_secs_f64());
        }
        let each = |it: f64| it / ONE_BY_ONE as f64;
        println!(
            "| a job without work, {name}: time p50 / p99; CPU of the process | {}; {:.1} ms |",
            quantiles(&mut times),
            each(cpu_seconds(process.pid()) - cpu) * 1e3
        );
        if let Some(nats) = engine {
            let (received, sent) = wire_bytes(nats);
            println!(
                "| the same: CPU of the server; received and sent by it | {:.1} ms; {:.1} and {:.1} kB |",
                each(cpu_seconds(nats.pid()) - server) * 1e3,
                each(received - wire.0) / 1e3,
                each(sent - wire.1) / 1e3
            );
        }
    }
}

/// When each step and preview of a job came.
type Came = BTreeMap<(bool, u32), Instant>;

async fn watch(mut client: EditServiceClient<Channel>, name: String) -> Came {
    let asked = v1::WatchEditJobRequest { name, ..Default::default() };
    let mut events = client.watch_edit_job(asked).await.unwrap().into_inner();
    let mut came = Came::new();
    while let Some(event) = events.message().await.unwrap() {
        match event.event {
            Some(Event::Step(step)) => drop(came.insert((false, step.step), Instant::now())),
            Some(Event::Preview(it)) => drop(came.insert((true, it.step), Instant::now())),
            _ => {}
        }
    }
    came
}

/// First events, steps and previews of jobs that run in another process.
async fn elsewhere() {
    let nats = nats();
    let (answers, _one) = setting(Some(&nats), 0, STEP);
    let (runs, _other) = setting(Some(&nats), SLOTS, STEP);
    let (answers, runs) = (Process::start(&answers), Process::start(&runs));
    assert_ne!(answers.name, runs.name);
    let (here, there) = (answers.client().await, runs.client().await);
    let (mut first, mut started, mut steps, mut previews) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..WATCHED {
        let asked = Instant::now();
        let mut events = here.clone().stream_edit(edit()).await.unwrap().into_inner();
        let name = events.message().await.unwrap().unwrap().job;
        first.push(asked.elapsed().as_secs_f64());
        let watchers =
            [here.clone(), there.clone()].map(|it| tokio::spawn(watch(it, name.clone())));
        let mut is_running = false;
        while let Some(event) = events.message().await.unwrap() {
            if !is_running
                && matches!(&event.event, Some(Event::State(it)) if it.state() == State::Editing)
            {
                is_running = true;
                started.push(asked.elapsed().as_secs_f64());
            }
        }
        let [here, there] = watchers;
        let (here, there) = (here.await.unwrap(), there.await.unwrap());
        for (what, at) in there {
            if let Some(later) = here.get(&what) {
                let late = later.saturating_duration_since(at).as_secs_f64();
                if what.0 { &mut previews } else { &mut steps }.push(late);
            }
        }
    }
    println!(
        "| a job of another process: first event after the call, p50 / p99 | {} |",
        quantiles(&mut first)
    );
    println!("| the same: its start there is heard of here | {} |", quantiles(&mut started));
    let count = steps.len();
    println!(
        "| the same: a step's event here after the same event there ({count} of them) | {} |",
        quantiles(&mut steps)
    );
    let count = previews.len();
    println!("| the same: a preview ({count} of them) | {} |", quantiles(&mut previews));
}

/// Memory of a process that has heard of many jobs, beside one that has heard of none.
fn replica() {
    let nats = nats();
    let (setting, _folder) = setting(Some(&nats), 0, STEP);
    let none = memory(Process::start(&setting).pid());
    let ledger = Nats::open(&Options::plain(nats.url(), "rt"), true).unwrap();
    let failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for part in 0..32 {
            let (ledger, failed) = (&ledger, &failed);
            scope.spawn(move || {
                for index in (0..KEPT).filter(|it| it % 32 == part) {
                    let record = kept(index);
                    let commit = Commit { job: Some(&record), ..Commit::default() };
                    let stored = ledger.commit(commit, Revision::NONE);
                    failed.fetch_or(stored.is_err(), Ordering::Relaxed);
                }
            });
        }
    });
    assert!(!failed.into_inner());
    let started = Instant::now();
    let process = Process::start(&setting);
    println!(
        "| a process that knows {KEPT} jobs that have ended: its memory, beside that of one that knows none; its start | \
         {:.1} and {none:.1} MiB; {:.1} s |",
        memory(process.pid()),
        started.elapsed().as_secs_f64()
    );
}

fn kept(index: u128) -> JobRecord {
    let name = format!("jobs/{}", uuid::Uuid::from_u128(index + 1));
    let spec = edit().spec.map(|it| EditSpec { image: None, ..it });
    let in_an_hour = SystemTime::now() + Duration::from_secs(3600);
    let job = EditJob {
        name,
        spec,
        state: State::Succeeded as i32,
        expire_time: Some(in_an_hour.into()),
        request_id: format!("request {index}"),
        ..EditJob::default()
    };
    JobRecord {
        job: Some(job),
        tenant: "local".to_owned(),
        localization: Bytes::from(vec![7; 2000]),
        ..JobRecord::default()
    }
}

fn quantiles(times: &mut [f64]) -> String {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize] * 1e3;
    format!("{:.1} / {:.1} ms", at(0.5), at(0.99))
}
