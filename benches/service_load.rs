//! Load test of the service on loopback: many watchers, refused requests with large bodies, retained jobs, and what
//! watching costs the model.
//!
//! `make bench-service` starts `retouch serve` with the demo model as a separate process, calls it as clients would,
//! and prints a table. It takes about ten minutes on one machine.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

mod served;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use retouch::wire::v1::{
    self, CreateEditJobRequest, EditSpec, Image, edit_event::Event, edit_job::State, image::Source,
};

use crate::served::Server;

/// Number of watchers, and of the jobs that they watch.
const WATCHERS: (usize, usize) = (1_000, 8);
/// Connections that the watchers share.
const CONNECTIONS: usize = 20;
/// Job creations against a full queue, bytes of their image, and how many are in flight.
const REFUSED: (usize, usize, usize) = (10_000, 4 << 20, 16);
/// Jobs that are retained, created one after the other, and how many are in flight.
const KEPT: (usize, usize) = (5_000, 4);
/// Alternating runs with and without watchers, and the number of watchers.
const PAIRS: (usize, usize) = (5, 100);
/// Alternating runs, one job after the other and as a batch, and the number of jobs.
const BATCHES: (usize, usize) = (5, 4);

/// An edit with a unique seed, so that its localization is not cached.
fn edit(steps: u32) -> CreateEditJobRequest {
    static SEED: AtomicU64 = AtomicU64::new(0);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let picture = std::fs::read(root.join("assets/example.png")).unwrap();
    let spec = EditSpec {
        image: Some(Image { source: Some(Source::Data(picture.into())) }),
        instruction: "change the black tree to blue".to_owned(),
        seed: Some(SEED.fetch_add(1, Ordering::Relaxed)),
        steps: Some(steps),
        ..EditSpec::default()
    };
    CreateEditJobRequest { spec: Some(spec), ..CreateEditJobRequest::default() }
}

fn watch(name: &str) -> v1::WatchEditJobRequest {
    v1::WatchEditJobRequest { name: name.to_owned(), ..Default::default() }
}

#[tokio::main]
async fn main() {
    println!("| what | figure |\n|---|---|");
    watchers().await;
    refusals().await;
    keeping().await;
    observing().await;
    batching().await;
}

/// Many watchers of a few jobs: event latency, and the server's memory.
async fn watchers() {
    let server = Server::start(&[]);
    let before = server.memory().0;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(server.client().await);
    }
    let (count, jobs) = WATCHERS;
    let mut names = Vec::new();
    for _ in 0..jobs {
        names.push(clients[0].create_edit_job(edit(40)).await.unwrap().into_inner().name);
    }
    let tasks: Vec<_> = (0..count)
        .map(|index| {
            let mut client = clients[index % CONNECTIONS].clone();
            let name = names[index % jobs].clone();
            tokio::spawn(async move {
                let asked = Instant::now();
                let mut events = client.watch_edit_job(watch(&name)).await.unwrap().into_inner();
                let (mut first, mut late) = (None, Vec::new());
                while let Some(event) = events.message().await.unwrap() {
                    first.get_or_insert_with(|| asked.elapsed().as_secs_f64());
                    let time = event.time.and_then(|it| SystemTime::try_from(it).ok());
                    // What was replayed is old by right.
                    let is_live = matches!(event.event, Some(Event::Step(_) | Event::Preview(_)));
                    if is_live && let Some(time) = time {
                        late.push(time.elapsed().unwrap_or_default().as_secs_f64());
                    }
                }
                (first.unwrap_or_default(), late)
            })
        })
        .collect();
    let (mut firsts, mut lates) = (Vec::new(), Vec::new());
    for task in tasks {
        let (first, late) = task.await.unwrap();
        firsts.push(first);
        lates.extend(late);
    }
    let (_, peak) = server.memory();
    println!(
        "| {count} watchers on {jobs} jobs: first event, p50 / p99 | {} |",
        quantiles(&mut firsts)
    );
    println!(
        "| the same: a step's event after it was made, p50 / p99 ({} events) | {} |",
        lates.len(),
        quantiles(&mut lates)
    );
    println!(
        "| the same: the server's memory, before and at its highest | {before} / {peak} MiB |"
    );
}

/// Job creations with large images against a full queue: the cost of refusing them.
async fn refusals() {
    let server = Server::start(&[
        ("RETOUCH__JOBS__QUEUE_LIMIT", "1"),
        ("RETOUCH__JOBS__TENANT_QUEUE_LIMIT", "1"),
    ]);
    let mut client = server.client().await;
    let running = client.create_edit_job(edit(1000)).await.unwrap().into_inner();
    loop {
        let request = v1::GetEditJobRequest { name: running.name.clone() };
        if client.get_edit_job(request).await.unwrap().get_ref().state() != State::Queued {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    client.create_edit_job(edit(1000)).await.unwrap();
    let before = server.memory().0;
    let (count, bytes, in_flight) = REFUSED;
    let image = Bytes::from(vec![7u8; bytes]);
    let started = Instant::now();
    let tasks: Vec<_> = (0..in_flight)
        .map(|_| {
            let (client, image) = (client.clone(), image.clone());
            tokio::spawn(async move {
                let mut refused = 0;
                for _ in 0..count / in_flight {
                    let mut asked = edit(10);
                    let source = Some(Source::Data(image.clone()));
                    asked.spec.as_mut().unwrap().image = Some(Image { source });
                    let answer = client.clone().create_edit_job(asked).await;
                    refused += usize::from(
                        answer.is_err_and(|it| it.code() == tonic::Code::ResourceExhausted),
                    );
                }
                refused
            })
        })
        .collect();
    let mut refused = 0;
    for task in tasks {
        refused += task.await.unwrap();
    }
    let (_, peak) = server.memory();
    let each = started.elapsed().as_secs_f64() / count as f64;
    println!(
        "| {count} creates of {} MiB against a full queue: refused as such | {refused} |",
        bytes >> 20
    );
    println!(
        "| the same: the server's memory, before and at its highest | {before} / {peak} MiB |"
    );
    println!("| the same: a refusal | {:.2} ms |", each * 1e3);
}

/// Finished jobs that are retained: the server's memory, also after a restart, and the time to delete one.
async fn keeping() {
    let limits = [("RETOUCH__AUTH__REQUESTS_PER_SECOND", "1000000")];
    let data = Arc::new(tempfile::tempdir().unwrap());
    let server = Server::over(Arc::clone(&data), &limits);
    let client = server.client().await;
    client.clone().run_edit(edit(1)).await.unwrap();
    let before = server.memory().0;
    let (count, in_flight) = KEPT;
    let tasks: Vec<_> = (0..in_flight)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move {
                let mut names = Vec::new();
                for _ in 0..count / in_flight {
                    names.push(client.run_edit(edit(1)).await.unwrap().into_inner().name);
                }
                names
            })
        })
        .collect();
    let mut names = Vec::new();
    for task in tasks {
        names.extend(task.await.unwrap());
    }
    let (after, peak) = server.memory();
    println!(
        "| {count} jobs done and kept: the server's memory before, after and at its highest | {before} / {after} / {peak} MiB |"
    );
    drop(server);

    let server = Server::over(data, &limits);
    let (after, peak) = server.memory();
    println!(
        "| the same after a restart: the server's memory and its highest | {after} / {peak} MiB |"
    );
    let mut client = server.client().await;
    let mut times = Vec::new();
    for name in names.into_iter().take(500) {
        let started = Instant::now();
        client.delete_edit_job(v1::DeleteEditJobRequest { name }).await.unwrap();
        times.push(started.elapsed().as_secs_f64());
    }
    println!("| the same: a delete, p50 / p99 | {} |", quantiles(&mut times));
}

/// The cost of watching: CPU seconds of the model's thread for the same edit with and without watchers, alternating.
async fn observing() {
    let server = Server::start(&[]);
    let mut client = server.client().await;
    let (pairs, count) = PAIRS;
    let steps = 100;
    client.run_edit(edit(steps)).await.unwrap();
    let (mut alone, mut watched) = (Vec::new(), Vec::new());
    for _ in 0..pairs {
        for with in [false, true] {
            let before = model_seconds(&server);
            let job = client.create_edit_job(edit(steps)).await.unwrap().into_inner();
            let number = if with { count } else { 1 };
            let watchers: Vec<_> = (0..number)
                .map(|_| {
                    let (mut client, name) = (client.clone(), job.name.clone());
                    tokio::spawn(async move {
                        let mut events =
                            client.watch_edit_job(watch(&name)).await.unwrap().into_inner();
                        while events.message().await.unwrap().is_some() {}
                    })
                })
                .collect();
            for watcher in watchers {
                watcher.await.unwrap();
            }
            let per_step = (model_seconds(&server) - before) / f64::from(2 * steps) * 1e3;
            if with { &mut watched } else { &mut alone }.push(per_step);
        }
    }
    let ratios: Vec<f64> = watched.iter().zip(&alone).map(|(a, b)| a / b).collect();
    println!(
        "| the model thread's CPU a step with {count} watchers over that with one, {pairs} pairs in turn | {}; {:.2} ms a step |",
        spread(ratios),
        median(alone)
    );
}

/// The effect of batching: edits per second for concurrent jobs, run one after the other and as one batch.
async fn batching() {
    let (pairs, jobs) = BATCHES;
    let size = jobs.to_string();
    let servers =
        ["1", size.as_str()].map(|it| Server::start(&[("RETOUCH__MODEL__MAX_BATCH", it)]));
    let mut seconds = [Vec::new(), Vec::new()];
    for pair in 0..=pairs {
        for turn in 0..servers.len() {
            let which = (pair + turn) % servers.len();
            let client = servers[which].client().await;
            let started = Instant::now();
            let edits: Vec<_> = (0..jobs)
                .map(|_| {
                    let mut client = client.clone();
                    tokio::spawn(async move { client.run_edit(edit(50)).await.unwrap() })
                })
                .collect();
            for edit in edits {
                edit.await.unwrap();
            }
            // The first pair warms up.
            if pair > 0 {
                seconds[which].push(started.elapsed().as_secs_f64());
            }
        }
    }
    let [alone, batched] = seconds;
    let ratios: Vec<f64> = alone.iter().zip(&batched).map(|(a, b)| a / b).collect();
    println!(
        "| edits per second of {jobs} jobs in one batch over one after the other, {pairs} pairs in turn | {} |",
        spread(ratios)
    );
}

/// Seconds of CPU that the model's thread has used.
fn model_seconds(server: &Server) -> f64 {
    for task in std::fs::read_dir(server.proc().join("task")).unwrap() {
        let task = task.unwrap().path();
        if std::fs::read_to_string(task.join("comm")).unwrap().trim() == "retouch-model-0" {
            let stat = std::fs::read_to_string(task.join("schedstat")).unwrap();
            return stat.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9;
        }
    }
    panic!("the server has no model thread");
}

/// Median, minimum and maximum.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values[0], values[values.len() - 1]);
    format!("{:.3} ({low:.3} to {high:.3})", values[values.len() / 2])
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn quantiles(values: &mut [f64]) -> String {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize] * 1e3;
    if values.is_empty() {
        "none".to_owned()
    } else {
        format!("{:.1} / {:.1} ms", at(0.5), at(0.99))
    }
}
