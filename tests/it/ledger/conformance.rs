//! What every ledger does, as a model of it says, whatever is done to it in whatever order.

use std::{collections::BTreeMap, time::Duration};

use proptest::{prelude::*, sample::Index, test_runner::TestCaseResult};
use retouch::{
    journal::{
        Journal,
        error::JournalError,
        job_id,
        ledger::{Blob, Commit, Ledger, LedgerError, News, Revision},
    },
    wire::{
        journal::v1::{ArtifactRecord, JobRecord},
        v1::{Artifact, EditEvent, EditJob},
    },
};
use uuid::Uuid;

use super::memory::Memory;
use crate::service::{disk::Disk, harness::SPACE};

const TENANT: &str = "tenant";

/// Something that is done to a ledger.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// A commit of a job, its first one under a request id.
    Commit {
        job: u8,
        request: u8,
        events: u8,
        artifact: Option<u8>,
        stale: bool,
    },
    Remove {
        job: u8,
        artifact: Option<u8>,
        stale: bool,
    },
    Put {
        blob: u8,
        bytes: Vec<u8>,
    },
    Drop {
        blob: u8,
    },
    Read {
        blob: u8,
        offset: Index,
        limit: usize,
    },
    Lease {
        worker: u8,
    },
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let stale = || prop::bool::weighted(0.2);
    let artifact = || prop::option::of(0..3_u8);
    prop_oneof![
        4 => (0..4_u8, 0..4_u8, 0..3_u8, artifact(), stale()).prop_map(
            |(job, request, events, artifact, stale)| Op::Commit { job, request, events, artifact, stale }
        ),
        1 => (0..4_u8, artifact(), stale())
            .prop_map(|(job, artifact, stale)| Op::Remove { job, artifact, stale }),
        1 => (0..3_u8, prop::collection::vec(any::<u8>(), 0..50))
            .prop_map(|(blob, bytes)| Op::Put { blob, bytes }),
        1 => (0..3_u8).prop_map(|blob| Op::Drop { blob }),
        2 => (0..3_u8, any::<Index>(), 0..60_usize)
            .prop_map(|(blob, offset, limit)| Op::Read { blob, offset, limit }),
        1 => (0..3_u8).prop_map(|worker| Op::Lease { worker }),
    ]
}

/// What a ledger must hold.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) jobs: BTreeMap<Uuid, (Revision, JobRecord, Vec<EditEvent>)>,
    requests: BTreeMap<String, Uuid>,
    artifacts: BTreeMap<Uuid, ArtifactRecord>,
    blobs: BTreeMap<Uuid, Vec<u8>>,
    workers: Vec<String>,
}

fn job_of(number: u8) -> Uuid {
    Uuid::from_u128(u128::from(number) + 1)
}

fn artifact_of(number: u8) -> Uuid {
    Uuid::from_u128(u128::from(number) + 1000)
}

fn conflicts<T>(outcome: &Result<T, LedgerError>) -> bool {
    matches!(outcome, Err(LedgerError::Conflict))
}

impl Model {
    pub(crate) fn run(&mut self, ledger: &dyn Ledger, op: &Op) -> TestCaseResult {
        match op {
            Op::Commit { job, request, events, artifact, stale } => {
                self.commit(ledger, job_of(*job), *request, *events, *artifact, *stale)?;
            }
            Op::Remove { job, artifact, stale } => {
                let Some((revision, record, _)) = self.jobs.get(&job_of(*job)).cloned() else {
                    return Ok(());
                };
                let blob = artifact.map(artifact_of);
                let length = |id| self.blobs.get(&id).map_or(0, |it: &Vec<u8>| it.len() as u64);
                let blobs: Vec<Blob> =
                    blob.map(|id| Blob { id, bytes: length(id) }).into_iter().collect();
                let expected = Revision(revision.0 + u64::from(*stale));
                let outcome = ledger.remove(&[(expected, &record)], &blobs);
                prop_assert_eq!(conflicts(&outcome), *stale);
                if !stale {
                    self.jobs.remove(&job_id(&record));
                    self.requests.retain(|_, it| *it != job_id(&record));
                    if let Some(id) = blob {
                        self.artifacts.remove(&id);
                        self.blobs.remove(&id);
                    }
                }
            }
            Op::Put { blob, bytes } => {
                let id = artifact_of(*blob);
                if let std::collections::btree_map::Entry::Vacant(free) = self.blobs.entry(id) {
                    ledger.put_blobs(&[(id, bytes)]).unwrap();
                    free.insert(bytes.clone());
                }
            }
            Op::Drop { blob } => {
                let id = artifact_of(*blob);
                if let Some(bytes) = self.blobs.remove(&id) {
                    ledger.drop_blobs(&[Blob { id, bytes: bytes.len() as u64 }]);
                }
            }
            Op::Read { blob, offset, limit } => {
                let id = artifact_of(*blob);
                let Some(expected) = self.blobs.get(&id) else {
                    let read = ledger.read_blob(Blob { id, bytes: 1 }, 0, 1);
                    let lost = |it: &LedgerError| {
                        matches!(it, LedgerError::Store(JournalError::Lost { .. }))
                    };
                    prop_assert!(read.as_ref().is_err_and(lost), "{:?}", read);
                    return Ok(());
                };
                let (bytes, offset) = (expected.len() as u64, offset.index(expected.len() + 1));
                let read = ledger.read_blob(Blob { id, bytes }, offset as u64, *limit).unwrap();
                let end = (offset + limit).min(expected.len());
                prop_assert_eq!(&read, &expected[offset..end]);
                let other = ledger.read_blob(Blob { id, bytes: bytes + 1 }, 0, 1);
                prop_assert!(other.is_err(), "a file of another length is not what was stored");
            }
            Op::Lease { worker } => {
                let worker = format!("worker-{worker}");
                ledger.lease(&worker, Duration::from_secs(3600)).unwrap();
                self.workers.push(worker);
            }
        }
        self.check(ledger)
    }

    fn commit(
        &mut self,
        ledger: &dyn Ledger,
        id: Uuid,
        request: u8,
        events: u8,
        artifact: Option<u8>,
        stale: bool,
    ) -> TestCaseResult {
        let there = self.jobs.get(&id).cloned();
        let (now, before, mut log) = match there {
            Some((revision, record, log)) => (revision, Some(record), log),
            None => (Revision::NONE, None, Vec::new()),
        };
        let mut record = before.unwrap_or_else(|| JobRecord {
            job: Some(EditJob {
                name: format!("jobs/{id}"),
                request_id: if request == 0 { String::new() } else { request.to_string() },
                ..EditJob::default()
            }),
            tenant: TENANT.to_owned(),
            ..JobRecord::default()
        });
        let job = record.job.as_mut().unwrap();
        let version = u64::from_str_radix(&job.etag, 16).unwrap_or_default() + 1;
        job.etag = format!("{version:x}");
        let request = job.request_id.clone();
        let first = job.last_sequence + 1;
        job.last_sequence += u64::from(events);
        let event = |sequence| EditEvent { sequence, ..EditEvent::default() };
        let events: Vec<EditEvent> = (first..=job.last_sequence).map(event).collect();
        let artifacts: Vec<ArtifactRecord> = artifact.map(record_of).into_iter().collect();

        let commit = Commit { job: Some(&record), events: &events, artifacts: &artifacts };
        let expected = if stale { Revision(now.0 + 1) } else { now };
        let outcome = ledger.commit(commit, expected);
        let taken = self.requests.get(&request).is_some_and(|it| *it != id);
        prop_assert_eq!(conflicts(&outcome), stale || taken, "{:?}", outcome);
        if let Ok(revision) = outcome {
            prop_assert!(revision > now);
            log.extend(events);
            self.jobs.insert(id, (revision, record, log));
            if !request.is_empty() {
                self.requests.insert(request, id);
            }
            self.artifacts.extend(artifact.map(|it| (artifact_of(it), record_of(it))));
        }
        Ok(())
    }

    pub(crate) fn check(&self, ledger: &dyn Ledger) -> TestCaseResult {
        for number in 0..4 {
            let (id, kept) = (job_of(number), self.jobs.get(&job_of(number)));
            let found = ledger.job(id).unwrap();
            prop_assert_eq!(found, kept.map(|it| (it.0, it.1.clone())));
            let log = kept.map(|it| it.2.clone()).unwrap_or_default();
            prop_assert_eq!(&ledger.events(id, 0, usize::MAX).unwrap(), &log);
            let some: Vec<EditEvent> = log.iter().skip(1).take(2).cloned().collect();
            prop_assert_eq!(ledger.events(id, 1, 2).unwrap(), some);
            let request = number.to_string();
            let made = ledger.request(TENANT, &request).unwrap();
            prop_assert_eq!(made, self.requests.get(&request).copied());
            prop_assert_eq!(ledger.request("another", &request).unwrap(), None);
            let artifact = ledger.artifact(artifact_of(number)).unwrap();
            prop_assert_eq!(artifact.as_ref(), self.artifacts.get(&artifact_of(number)));
        }
        let mut jobs = Vec::new();
        ledger.each_job(&mut |revision, record| jobs.push((revision, record))).unwrap();
        let expected: Vec<_> = self.jobs.values().map(|it| (it.0, it.1.clone())).collect();
        prop_assert_eq!(jobs, expected);
        let mut artifacts = Vec::new();
        ledger.each_artifact(&mut |record| artifacts.push(record)).unwrap();
        prop_assert_eq!(artifacts, self.artifacts.values().cloned().collect::<Vec<_>>());
        let leases = ledger.leases().unwrap();
        prop_assert!(self.workers.iter().all(|it| leases.contains(it)));
        prop_assert!(leases.iter().all(|it| self.workers.contains(it)));
        Ok(())
    }
}

pub(crate) fn record_of(artifact: u8) -> ArtifactRecord {
    let name = format!("artifacts/{}", artifact_of(artifact));
    let artifact = Some(Artifact { name, ..Artifact::default() });
    ArtifactRecord { artifact, tenant: TENANT.to_owned() }
}

/// A new job.
pub(crate) fn record(id: u128) -> JobRecord {
    let name = format!("jobs/{}", Uuid::from_u128(id));
    JobRecord {
        job: Some(EditJob { name, etag: "1".to_owned(), ..EditJob::default() }),
        tenant: TENANT.to_owned(),
        ..JobRecord::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_journal_is_a_ledger_and_keeps_all_over_a_crash(ops in prop::collection::vec(op(), 1..40)) {
        let (disk, folder) = (Disk::default(), tempfile::tempdir().unwrap());
        let journal = Journal::open_backend(disk.clone(), folder.path(), SPACE).unwrap();
        let mut model = Model::default();
        for op in &ops {
            model.run(&journal, op)?;
        }
        prop_assert!(journal.tail().next().is_none(), "no other process has the folder");
        drop(journal);
        let again = Journal::open_backend(disk.after_a_crash(), folder.path(), SPACE).unwrap();
        // Its workers were threads of the process that crashed.
        model.workers.clear();
        model.check(&again)?;
    }

    #[test]
    fn a_ledger_in_memory_is_one_and_shows_the_same_to_every_process(
        ops in prop::collection::vec((op(), any::<bool>()), 1..40),
    ) {
        let first = Memory::new();
        let second = first.another();
        let mut fed = second.tail();
        let mut model = Model::default();
        for (op, by_first) in &ops {
            let before = model.jobs.clone();
            model.run(if *by_first { &first } else { &second }, op)?;
            // Each process hears of what the other commits, in order.
            if *by_first && let Some(applied) = changed(&before, &model.jobs) {
                let told = fed.find_map(|it| match it {
                    News::Job(told) => Some(told),
                    News::Artifact(_) | News::ArtifactGone(_) => None,
                });
                let told = *told.unwrap();
                prop_assert_eq!((told.revision, told.record), applied);
            }
        }
        model.check(&second)?;
    }
}

pub(crate) type Jobs = BTreeMap<Uuid, (Revision, JobRecord, Vec<EditEvent>)>;

/// The job that an op changed or deleted.
pub(crate) fn changed(before: &Jobs, after: &Jobs) -> Option<(Revision, JobRecord)> {
    let gone = before.iter().find(|(id, _)| !after.contains_key(id));
    if let Some((_, (_, record, _))) = gone {
        return Some((Revision::NONE, record.clone()));
    }
    let news = after.iter().find(|(id, it)| before.get(id).is_none_or(|was| was.0 != it.0));
    news.map(|(_, (revision, record, _))| (*revision, record.clone()))
}
