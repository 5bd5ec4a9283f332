//! Commits of jobs one after the other, each of which is known to be acknowledged or not.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use retouch::{
    journal::{
        job_id,
        ledger::{Commit, Ledger, LedgerError, Revision},
    },
    wire::{journal::v1::JobRecord, v1::EditEvent},
};

use crate::ledger::conformance;

/// The next commit of a job: one more event.
pub(crate) fn next(record: &mut JobRecord) -> EditEvent {
    let job = record.job.as_mut().unwrap();
    job.last_sequence += 1;
    job.etag = format!("{:x}", job.last_sequence);
    EditEvent { sequence: job.last_sequence, ..EditEvent::default() }
}

/// Commits to a job of a number until `over`, and again what was not acknowledged and is not there; `acknowledged` is
/// the last event that was. Returns the longest time of a commit.
pub(crate) fn commit_until(
    ledger: &dyn Ledger,
    number: u128,
    over: &AtomicBool,
    acknowledged: &AtomicU64,
) -> Duration {
    let (mut record, mut revision) = (conformance::record(number), Revision::NONE);
    let mut longest = Duration::ZERO;
    while !over.load(Ordering::Acquire) {
        let event = next(&mut record);
        let commit = Commit { job: Some(&record), events: &[event], artifacts: &[] };
        let started = Instant::now();
        loop {
            match ledger.commit(commit, revision) {
                Ok(stored) => {
                    revision = stored;
                    break;
                }
                Err(LedgerError::Down) if over.load(Ordering::Acquire) => return longest,
                // Whether it is stored is known once the servers are back.
                Err(LedgerError::Down) => match ledger.job(job_id(&record)) {
                    Ok(Some((stored, it))) if it == record => {
                        revision = stored;
                        break;
                    }
                    Ok(_) | Err(LedgerError::Down) => {}
                    Err(error) => panic!("{error}"),
                },
                Err(_) if over.load(Ordering::Acquire) => return longest,
                Err(error) => panic!("{error}"),
            }
        }
        longest = longest.max(started.elapsed());
        acknowledged.store(record.job.as_ref().unwrap().last_sequence, Ordering::Release);
    }
    longest
}

/// The numbers of a job's events.
pub(crate) fn events(ledger: &dyn Ledger, number: u128) -> Vec<u64> {
    let job = job_id(&conformance::record(number));
    ledger.events(job, 0, usize::MAX).unwrap().iter().map(|it| it.sequence).collect()
}
