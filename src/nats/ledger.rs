//! The streams as the ledger of the job store.

use std::{
    collections::HashSet,
    sync::{MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use uuid::Uuid;

use crate::journal::{
    job_id,
    ledger::{Blob, Commit, Ledger, LedgerError, News, Revision},
    relay,
};
use crate::nats::{
    Nats, blobs,
    entries::{self, Entries},
    feed::{self, Tail},
    leases, log, sweep,
};
use crate::wire::{
    journal::v1::{ArtifactRecord, JobRecord},
    v1::EditEvent,
};

/// Kind of the leases of workers.
const WORKER: &str = "worker";
/// Kind of the leases of processes.
const PROCESS: &str = "process";
/// Kind of the leases of callers that wait for a job.
const SEAT: &str = "seat";
/// Entries of the index of events after which it is cleared.
const INDEXED: usize = 100_000;

impl Ledger for Nats {
    fn commit(&self, commit: Commit<'_>, expected: Revision) -> Result<Revision, LedgerError> {
        let wire = self.link.wire.clone();
        let entries = Entries::new(&wire, commit, expected)?;
        let id = entries.commit;
        self.feed.begins(id, commit.job.is_some());
        let stored = self.link.wait(async move { log::commit(&wire, entries).await });
        self.feed.ends(id, stored.is_ok(), &self.tell);
        if matches!(stored, Err(LedgerError::Conflict)) {
            metrics::counter!("retouch_engine_conflicts_total").increment(1);
        }
        let sequence = stored?;
        let Some(record) = commit.job else { return Ok(Revision::NONE) };
        self.note(job_id(record), last_event(record), sequence);
        Ok(Revision(sequence))
    }

    fn remove(
        &self,
        jobs: &[(Revision, &JobRecord)],
        artifacts: &[Blob],
    ) -> Result<(), LedgerError> {
        let wire = self.link.wire.clone();
        let gone = jobs.iter().map(|(revision, it)| (*revision, job_id(it), (*it).clone()));
        let gone: Vec<_> = gone.collect();
        let ids: Vec<Uuid> = artifacts.iter().map(|it| it.id).collect();
        let spilled: Vec<Uuid> = gone.iter().map(|(_, id, _)| *id).collect();
        for id in &spilled {
            self.index().remove(id);
        }
        let commit = Uuid::now_v7();
        self.feed.begins(commit, false);
        let removed = self.link.wait(async move {
            log::remove(&wire, commit, gone, ids.clone()).await?;
            let files = ids.iter().map(|id| blobs::subject(&wire, "blob", &id.to_string()));
            let spills = spilled.iter().map(|id| blobs::subject(&wire, "spill", &id.to_string()));
            let all = files.chain(spills).collect();
            blobs::drop_all(&wire, all).await;
            Ok(())
        });
        self.feed.ends(commit, removed.is_ok(), &self.tell);
        removed
    }

    fn each_job(&self, visit: &mut dyn FnMut(Revision, JobRecord)) -> Result<(), LedgerError> {
        let wire = self.link.wire.clone();
        let (to, found) = self.link.wait(async move { feed::load(&wire, "job").await })?;
        self.feed.jobs_to.store(to, Ordering::Release);
        let found = found.into_iter().filter_map(|(at, it)| Some((Revision(at), it.job?)));
        let mut jobs: Vec<(Revision, JobRecord)> = found.collect();
        // Ids are ordered by creation time (UUID version 7).
        jobs.sort_by_key(|(_, record)| job_id(record));
        for (revision, record) in jobs {
            visit(revision, record);
        }
        Ok(())
    }

    fn each_artifact(&self, visit: &mut dyn FnMut(ArtifactRecord)) -> Result<(), LedgerError> {
        let wire = self.link.wire.clone();
        let (to, found) = self.link.wait(async move { feed::load(&wire, "art").await })?;
        self.feed.artifacts_to.store(to, Ordering::Release);
        let found = found.into_iter().map(|(_, it)| (feed::artifact_id(&it), it.artifact));
        let mut artifacts: Vec<_> = found.filter_map(|(id, it)| Some((id, it?))).collect();
        artifacts.sort_by_key(|(id, _)| *id);
        for (_, record) in artifacts {
            visit(record);
        }
        Ok(())
    }

    fn job(&self, id: Uuid) -> Result<Option<(Revision, JobRecord)>, LedgerError> {
        let wire = self.link.wire.clone();
        self.link.wait(async move { log::job(&wire, id).await })
    }

    fn artifact(&self, id: Uuid) -> Result<Option<ArtifactRecord>, LedgerError> {
        let wire = self.link.wire.clone();
        self.link.wait(async move { log::artifact(&wire, id).await })
    }

    fn request(&self, tenant: &str, request_id: &str) -> Result<Option<Uuid>, LedgerError> {
        let wire = self.link.wire.clone();
        let subject = wire.names.request(tenant, request_id);
        self.link.wait(async move {
            let Some(last) = wire.last(&wire.names.log(), &subject).await? else { return Ok(None) };
            let record = log::kept(&wire, &last.payload).await?;
            Ok(record.and_then(|it| Uuid::try_parse(&it.created).ok()))
        })
    }

    fn events(&self, job: Uuid, after: u64, limit: usize) -> Result<Vec<EditEvent>, LedgerError> {
        // The message after the last one that is known to end at or before that number.
        let known = self.index().get(&job).cloned().unwrap_or_default();
        let from = known.iter().rev().find(|(event, _)| *event <= after).map_or(0, |it| it.1);
        let wire = self.link.wire.clone();
        let (found, seen) = self.link.wait(async move {
            let (mut found, mut seen) = (Vec::new(), Vec::new());
            let (log, subject) = (wire.names.log(), wire.names.job(job));
            let mut from = from + 1;
            while found.len() < limit {
                let Some(next) = wire.next(&log, &subject, from).await? else { break };
                from = next.sequence + 1;
                let Some(record) = entries::whole(&wire, &next.payload).await? else { continue };
                if record.removed {
                    // What comes after is of another job of this id.
                    found.clear();
                    seen.clear();
                    continue;
                }
                seen.push((record.job.as_ref().map_or(0, last_event), next.sequence));
                found.extend(entries::events_after(record, after));
            }
            found.truncate(limit);
            Ok::<_, LedgerError>((found, seen))
        })?;
        for (event, sequence) in seen {
            self.note(job, event, sequence);
        }
        Ok(found)
    }

    fn tail(&self) -> Box<dyn Iterator<Item = News> + Send> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A second one hears nothing.
        let Some(told) = told else { return Box::new(std::iter::empty()) };
        self.feed.follows.store(true, Ordering::Release);
        let wire = self.link.wire.clone();
        let now = self.link.wait(async move { log::last_sequence(&wire).await });
        let (wire, feed, tell) = (self.link.wire.clone(), self.feed.clone(), self.tell.clone());
        let runtime = self.link.handle();
        let begin = move || {
            let loaded = [&feed.jobs_to, &feed.artifacts_to].map(|it| it.load(Ordering::Acquire));
            let loaded = loaded.into_iter().filter(|it| *it > 0);
            let from = loaded.chain(now.ok()).min().map_or(1, |it| it + 1);
            runtime.spawn(feed::follow(wire, &feed, from, tell));
        };
        Box::new(Tail { begin: Some(begin), told })
    }

    /// The servers refuse what has no room.
    fn check_room(&self, _: u64) -> Result<(), LedgerError> {
        Ok(())
    }

    fn put_blobs(&self, blobs: &[(Uuid, &[u8])]) -> Result<(), LedgerError> {
        let wire = self.link.wire.clone();
        let copied = |(id, bytes): &(Uuid, &[u8])| (id.to_string(), Bytes::copy_from_slice(bytes));
        let blobs: Vec<(String, Bytes)> = blobs.iter().map(copied).collect();
        self.link.wait(async move {
            for (index, (id, bytes)) in blobs.iter().enumerate() {
                let subject = blobs::subject(&wire, "blob", id);
                if let Err(error) = blobs::put(&wire, &subject, bytes.clone()).await {
                    let stored = blobs[..=index].iter();
                    let stored = stored.map(|(id, _)| blobs::subject(&wire, "blob", id)).collect();
                    if !matches!(error, LedgerError::Down) {
                        blobs::drop_all(&wire, stored).await;
                    }
                    return Err(error);
                }
            }
            Ok(())
        })
    }

    fn read_blob(&self, blob: Blob, offset: u64, limit: usize) -> Result<Vec<u8>, LedgerError> {
        let wire = self.link.wire.clone();
        let subject = blobs::subject(&wire, "blob", &blob.id.to_string());
        self.link.wait(async move { blobs::read(&wire, &subject, blob.bytes, offset, limit).await })
    }

    fn drop_blobs(&self, blobs: &[Blob]) {
        let wire = self.link.wire.clone();
        let subject = |it: &Blob| blobs::subject(&wire, "blob", &it.id.to_string());
        let subjects = blobs.iter().map(subject).collect();
        self.link.wait({
            let wire = wire.clone();
            async move { blobs::drop_all(&wire, subjects).await }
        });
    }

    /// The servers make deletions durable by themselves; what is left to do is what processes that died have left.
    fn tidy(&self) -> Result<(), LedgerError> {
        let wire = self.link.wire.clone();
        self.link.wait(async move { sweep::sweep(&wire).await }).map(drop)
    }

    fn lease(&self, worker: &str, lasts: Duration) -> Result<(), LedgerError> {
        let (wire, worker) = (self.link.wire.clone(), worker.to_owned());
        self.link.wait(async move { leases::hold(&wire, WORKER, &worker, lasts).await })
    }

    fn leases(&self) -> Result<HashSet<String>, LedgerError> {
        let wire = self.link.wire.clone();
        self.link.wait(async move { leases::held(&wire, WORKER).await })
    }

    fn relay(&self) -> Option<relay::Shared> {
        let live: relay::Shared = self.live.clone();
        Some(live)
    }

    fn present(&self, process: &str, lasts: Duration) -> Result<(), LedgerError> {
        let (wire, process) = (self.link.wire.clone(), process.to_owned());
        self.link.wait(async move { leases::hold(&wire, PROCESS, &process, lasts).await })
    }

    fn processes(&self) -> Result<usize, LedgerError> {
        let wire = self.link.wire.clone();
        Ok(self.link.wait(async move { leases::held(&wire, PROCESS).await })?.len().max(1))
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn seat(&self, job: Uuid, lasts: Duration) -> Result<(), LedgerError> {
        let wire = self.link.wire.clone();
        self.link.wait(async move { leases::hold(&wire, SEAT, &job.to_string(), lasts).await })
    }

    fn seats(&self) -> Result<HashSet<Uuid>, LedgerError> {
        let wire = self.link.wire.clone();
        let held = self.link.wait(async move { leases::held(&wire, SEAT).await })?;
        Ok(held.iter().filter_map(|it| Uuid::try_parse(it).ok()).collect())
    }
}

impl Nats {
    fn index(&self) -> MutexGuard<'_, std::collections::HashMap<Uuid, Vec<(u64, u64)>>> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers which message of the log a job's events go to.
    fn note(&self, job: Uuid, event: u64, sequence: u64) {
        let mut index = self.index();
        if index.len() >= INDEXED {
            index.clear();
        }
        let known = index.entry(job).or_default();
        if known.last().is_none_or(|it| it.1 < sequence) {
            known.push((event, sequence));
        }
    }
}

/// The number of a record's last event.
fn last_event(record: &JobRecord) -> u64 {
    record.job.as_ref().map_or(0, |it| it.last_sequence)
}
