//! Timeouts and expiry of jobs: review deadlines, queue timeouts, client deadlines, disconnect grace, and times to
//! live.

use std::{sync::Arc, time::Duration};

use crate::jobs::{
    clock,
    fault::Fault,
    job::{self, Job},
    store::Store,
};
use crate::wire::{journal::v1::JobRecord, reason::Reason, v1::edit_job::State};

/// Interval at which the timeouts of live jobs are checked.
const TICK: Duration = Duration::from_millis(100);
/// Interval at which other processes are told of attached streams, in ticks.
const SEATS: u32 = 5;
/// Interval at which other processes are told that this one is there, in ticks.
const PRESENT: u32 = 50;
/// Interval at which jobs of workers that are gone are looked for, in ticks.
const REAP: u32 = 30;
/// Interval at which expired jobs and artifacts are deleted, in ticks.
const SWEEP: u32 = 100;

/// Runs the periodic checks until every other reference to the store is dropped.
pub async fn run(store: Arc<Store>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for tick in 0u32.. {
        ticks.tick().await;
        let store = Arc::clone(&store);
        // On a blocking thread: changes wait for the disk.
        let looked = tokio::task::spawn_blocking(move || {
            look(&store);
            if tick.is_multiple_of(SEATS) {
                store.keep_seats();
                store.ask_for_watched();
            }
            if tick.is_multiple_of(PRESENT) {
                store.keep_present();
            }
            if tick.is_multiple_of(REAP)
                && let Err(error) = store.reap()
            {
                tracing::warn!(%error, "workers' leases could not be checked");
            }
            if tick.is_multiple_of(SWEEP) {
                sweep(&store);
            }
        });
        if let Err(error) = looked.await {
            tracing::error!(%error, "the timeouts of jobs could not be checked");
        }
    }
}

/// Ends every live job whose timeout has passed.
pub fn look(store: &Store) {
    for job in store.live() {
        let Some(found) = job.live().and_then(|it| verdict(store, &job, &it)) else { continue };
        if found.reason == Reason::ClientGone && store.is_waited_for_elsewhere(&job) {
            job.calm();
            continue;
        }
        // Asked again of the draft: somebody else may have started, decided or ended the job by now.
        let ended = store.change(&job, |draft| {
            match verdict(store, &job, draft.record()) {
                Some(fault) if fault.reason == Reason::ReviewTimeout => draft.review_timed_out(),
                Some(fault) => draft.fail(&fault),
                None => {}
            }
            Ok(())
        });
        match ended {
            Ok(()) if job.state() == State::MaskReady => store.enqueue(&job),
            Ok(()) => {}
            Err(error) => tracing::error!(job = %job.id, %error, "a job could not be ended"),
        }
    }
}

/// The timeout that a job has exceeded, if any. Time before the model was loaded doesn't count.
fn verdict(store: &Store, job: &Job, record: &JobRecord) -> Option<Fault> {
    let served = store.served();
    let state = job::state(record);
    if job::is_over(state) {
        return None;
    }
    if job.attached {
        if job.is_past_deadline() {
            return Some(Fault::new(Reason::ClientDeadline, "the caller's deadline has passed"));
        }
        let grace = record.disconnect_grace.and_then(|it| Duration::try_from(it).ok());
        let grace = grace.unwrap_or_default();
        let alone = job.alone_since().zip(served);
        if alone.is_some_and(|(since, served)| store.clock.since(since).min(served) >= grace) {
            let message = "cancelled: the last stream disconnected and none reconnected within disconnect_grace";
            return Some(Fault::new(Reason::ClientGone, message));
        }
    }
    let waited = clock::elapsed(record.state_time, store.clock.now());
    let waited = waited.min(served.unwrap_or_default());
    match state {
        State::Queued | State::MaskReady if waited >= store.limits.queue_timeout => {
            let seconds = waited.as_secs();
            let message = format!(
                "the job waited {seconds} s in the queue, the longest allowed (queue_timeout)"
            );
            Some(Fault::new(Reason::QueueTimeout, message).retry_after(store.wait()))
        }
        State::AwaitingMask => {
            let mask = record.job.as_ref().and_then(|it| it.mask.as_ref());
            let until = clock::time(mask.and_then(|it| it.decide_by))?;
            (until <= store.clock.now()).then(|| Fault::new(Reason::ReviewTimeout, ""))
        }
        _ => None,
    }
}

/// Most jobs deleted in one commit; a commit blocks other writers.
const REMOVED: usize = 256;

/// Deletes jobs and artifacts whose time to live has passed.
pub fn sweep(store: &Store) {
    let now = store.clock.now();
    let mut expired = store.all();
    expired.retain(|it| it.expires().is_some_and(|at| at <= now));
    for jobs in expired.chunks(REMOVED) {
        if let Err(error) = store.expire(jobs) {
            tracing::error!(%error, "expired jobs could not be deleted");
        }
    }
    store.artifacts.expire();
}
