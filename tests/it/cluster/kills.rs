//! Processes that are killed and stopped at random moments, over all states of their jobs: each job that was accepted
//! ends once, with the picture that it has undisturbed. `RETOUCH_KILLS` says how many are killed.

use std::{
    collections::BTreeMap,
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use retouch::wire::v1::edit_job::State;

use super::{
    fleet::{Fleet, asked, picture},
    nats_server::NatsServer,
    scripted::Setting,
};

/// Processes, and callers who each have a job at all times.
const PROCESSES: usize = 3;
const CALLERS: usize = 12;
/// Kinds of jobs.
const SEEDS: u64 = 5;
/// One of so many is stopped for longer than its lease, not killed.
const STOPPED: usize = 10;
/// How long a job may take in spite of all.
const WITHIN: Duration = Duration::from_secs(300);

const STATES: [State; 5] =
    [State::Queued, State::Localizing, State::AwaitingMask, State::MaskReady, State::Editing];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute or more; `make test-cluster` runs it"]
async fn every_accepted_job_ends_once_as_undisturbed_whichever_process_is_killed_when() {
    let Some(nats) = NatsServer::start() else { return };
    let kills: usize = env::var("RETOUCH_KILLS").map_or(12, |it| it.parse().unwrap());
    let setting = Setting::over(&nats.url());
    let fleet = Arc::new(Fleet::new(PROCESSES, &setting));

    // 1. Undisturbed.
    let mut pictures = Vec::new();
    for seed in 0..SEEDS {
        let job = fleet.create(&asked(&format!("undisturbed {seed}"), seed, false)).await;
        pictures.push(picture(&fleet.ended(&job.name, WITHIN).await));
    }
    let pictures = Arc::new(pictures);

    // 2. Callers, until all are killed that are to be.
    let (over, number) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let caller = || {
        let (fleet, pictures) = (Arc::clone(&fleet), Arc::clone(&pictures));
        let (over, number) = (Arc::clone(&over), Arc::clone(&number));
        tokio::spawn(async move {
            let mut attempts = BTreeMap::new();
            while !over.load(Ordering::Acquire) {
                let number = number.fetch_add(1, Ordering::Relaxed);
                let seed = number as u64 % SEEDS;
                let request = asked(&format!("job {number}"), seed, number.is_multiple_of(2));
                let job = fleet.create(&request).await;
                let attempt = fleet.check(&job.name, &pictures[seed as usize], WITHIN).await;
                // The same request is the same job, at whichever process.
                assert_eq!(fleet.create(&request).await.name, job.name);
                *attempts.entry(attempt).or_insert(0) += 1;
            }
            attempts
        })
    };
    let callers: Vec<_> = (0..CALLERS).map(|_| caller()).collect();

    // 3. The killer: some process that has a job in the state whose turn it is.
    let mut rng = StdRng::seed_from_u64(7);
    let (started, mut hit) = (Instant::now(), BTreeMap::new());
    let lease = Duration::from_secs(setting.lease);
    for turn in 0..kills {
        let state = STATES[turn % STATES.len()];
        let looked = Instant::now();
        let victim = loop {
            let found = fleet.in_state(state).await;
            let victim = found.iter().find_map(|it| match it.worker.as_str() {
                "" => Some(rng.random_range(0..PROCESSES)),
                worker => fleet.of_worker(worker),
            });
            if victim.is_some() {
                break victim;
            }
            if looked.elapsed() > Duration::from_secs(20) {
                break None;
            }
        };
        let Some(victim) = victim else { continue };
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..40))).await;
        *hit.entry(state.as_str_name()).or_insert(0) += 1;
        if turn % STOPPED == STOPPED - 1 {
            fleet.with(victim, |it| it.signal("-STOP"));
            tokio::time::sleep(lease + Duration::from_secs(5)).await;
            fleet.with(victim, |it| it.signal("-CONT"));
        } else {
            let fleet = Arc::clone(&fleet);
            fleet.with(victim, super::scripted::Process::kill);
            tokio::task::spawn_blocking(move || fleet.replace(victim)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..400))).await;
    }
    over.store(true, Ordering::Release);
    let mut attempts = BTreeMap::new();
    for caller in callers {
        for (attempt, count) in caller.await.unwrap() {
            *attempts.entry(attempt).or_insert(0) += count;
        }
    }
    let jobs: usize = attempts.values().sum();
    println!(
        "{kills} killed, one of {STOPPED} stopped, by the state of a job of theirs: {hit:?}; {jobs} jobs, by attempts: \
         {attempts:?}; {:?}",
        started.elapsed()
    );
    assert!(STATES.iter().take(kills).all(|it| hit.contains_key(it.as_str_name())), "{hit:?}");
    let again: usize = attempts.iter().filter(|(it, _)| **it > 1).map(|it| it.1).sum();
    assert!(again > 0, "no kill hit a job: {attempts:?}");
}
