//! A ledger in memory, shared by several processes, that refuses or takes its time when it is told to.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use retouch::{
    journal::{
        error::JournalError,
        id_of, job_id,
        ledger::{Applied, Blob, Commit, Ledger, LedgerError, News, Revision},
    },
    wire::{
        journal::v1::{ArtifactRecord, JobRecord},
        v1::EditEvent,
    },
};
use uuid::Uuid;

/// What a ledger does besides its work.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Script {
    /// Commits that conflict from now on, though nobody changed anything.
    pub(crate) conflicts: usize,
    /// Whether nothing can be reached.
    pub(crate) down: bool,
    /// Whether there is no room for commits.
    pub(crate) full: bool,
    /// How long a commit takes.
    pub(crate) slow: Duration,
    /// Whether processes hear of each other's commits later.
    pub(crate) deaf: bool,
}

/// One process's end of a ledger.
#[derive(Debug)]
pub(crate) struct Memory {
    process: usize,
    shared: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    script: Script,
    /// Number of the last commit, over all jobs.
    last: u64,
    jobs: BTreeMap<Uuid, (Revision, JobRecord)>,
    events: BTreeMap<(Uuid, u64), EditEvent>,
    requests: HashMap<(String, String), Uuid>,
    artifacts: BTreeMap<Uuid, ArtifactRecord>,
    blobs: HashMap<Uuid, Vec<u8>>,
    leases: HashMap<String, (usize, Instant)>,
    processes: usize,
    feeds: Vec<(usize, Sender<News>)>,
    /// Commits that were not told yet, each with its process.
    untold: Vec<(usize, News)>,
}

impl State {
    fn revision(&self, job: Uuid) -> Revision {
        self.jobs.get(&job).map_or(Revision::NONE, |it| it.0)
    }

    fn tell(&mut self) {
        if !self.script.deaf {
            for (by, news) in self.untold.drain(..) {
                let others = self.feeds.iter().filter(|it| it.0 != by);
                others.for_each(|it| drop(it.1.send(news.clone())));
            }
        }
    }
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self { process: 0, shared: Arc::default() }
    }

    /// The same ledger, as another process has it.
    pub(crate) fn another(&self) -> Self {
        let mut state = self.shared.lock().unwrap();
        state.processes += 1;
        Self { process: state.processes, shared: Arc::clone(&self.shared) }
    }

    /// Says what it does from now on.
    pub(crate) fn script(&self, change: impl FnOnce(&mut Script)) {
        let mut state = self.shared.lock().unwrap();
        change(&mut state.script);
        state.tell();
    }

    /// Ends the leases of this process, as its death does.
    pub(crate) fn die(&self) {
        self.shared.lock().unwrap().leases.retain(|_, it| it.0 != self.process);
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, LedgerError> {
        let state = self.shared.lock().unwrap();
        if state.script.down { Err(LedgerError::Down) } else { Ok(state) }
    }
}

impl Ledger for Memory {
    fn commit(&self, commit: Commit<'_>, expected: Revision) -> Result<Revision, LedgerError> {
        let slow = self.shared.lock().unwrap().script.slow;
        thread::sleep(slow);
        let mut state = self.state()?;
        if state.script.full {
            return Err(LedgerError::Full(JournalError::Quota { limit: 0 }));
        }
        if state.script.conflicts > 0 {
            state.script.conflicts -= 1;
            return Err(LedgerError::Conflict);
        }
        let mut revision = Revision::NONE;
        if let Some(record) = commit.job {
            let id = job_id(record);
            let key = (record.tenant.clone(), record.job.as_ref().unwrap().request_id.clone());
            if state.revision(id) != expected
                || state.requests.get(&key).is_some_and(|it| *it != id)
            {
                return Err(LedgerError::Conflict);
            }
            if !key.1.is_empty() {
                state.requests.insert(key, id);
            }
            state.last += 1;
            revision = Revision(state.last);
            state.jobs.insert(id, (revision, record.clone()));
            state.events.extend(commit.events.iter().map(|it| ((id, it.sequence), it.clone())));
        }
        for record in commit.artifacts {
            let id = id_of(&record.artifact.as_ref().unwrap().name).unwrap();
            state.artifacts.insert(id, record.clone());
            state.untold.push((self.process, News::Artifact(record.clone())));
        }
        if let Some(record) = commit.job {
            let applied = Applied { revision, record: record.clone() };
            state.untold.push((self.process, News::Job(Box::new(applied))));
        }
        state.tell();
        Ok(revision)
    }

    fn remove(
        &self,
        jobs: &[(Revision, &JobRecord)],
        artifacts: &[Blob],
    ) -> Result<(), LedgerError> {
        let mut state = self.state()?;
        if jobs.iter().any(|(expected, record)| state.revision(job_id(record)) != *expected) {
            return Err(LedgerError::Conflict);
        }
        for (_, record) in jobs {
            let id = job_id(record);
            state.jobs.remove(&id);
            state.events.retain(|key, _| key.0 != id);
            state.requests.retain(|_, job| *job != id);
            let applied = Applied { revision: Revision::NONE, record: (*record).clone() };
            state.untold.push((self.process, News::Job(Box::new(applied))));
        }
        for blob in artifacts {
            state.artifacts.remove(&blob.id);
            state.blobs.remove(&blob.id);
            state.untold.push((self.process, News::ArtifactGone(blob.id)));
        }
        state.tell();
        Ok(())
    }

    fn each_job(&self, visit: &mut dyn FnMut(Revision, JobRecord)) -> Result<(), LedgerError> {
        let jobs = self.state()?.jobs.clone();
        for (revision, record) in jobs.into_values() {
            visit(revision, record);
        }
        Ok(())
    }

    fn each_artifact(&self, visit: &mut dyn FnMut(ArtifactRecord)) -> Result<(), LedgerError> {
        self.state()?.artifacts.values().cloned().for_each(visit);
        Ok(())
    }

    fn job(&self, id: Uuid) -> Result<Option<(Revision, JobRecord)>, LedgerError> {
        Ok(self.state()?.jobs.get(&id).cloned())
    }

    fn artifact(&self, id: Uuid) -> Result<Option<ArtifactRecord>, LedgerError> {
        Ok(self.state()?.artifacts.get(&id).cloned())
    }

    fn request(&self, tenant: &str, request_id: &str) -> Result<Option<Uuid>, LedgerError> {
        let key = (tenant.to_owned(), request_id.to_owned());
        Ok(self.state()?.requests.get(&key).copied())
    }

    fn events(&self, job: Uuid, after: u64, limit: usize) -> Result<Vec<EditEvent>, LedgerError> {
        let state = self.state()?;
        let range = state.events.range((job, after.saturating_add(1))..=(job, u64::MAX));
        Ok(range.take(limit).map(|(_, event)| event.clone()).collect())
    }

    fn tail(&self) -> Box<dyn Iterator<Item = News> + Send> {
        let (feed, fed): (_, Receiver<News>) = mpsc::channel();
        self.shared.lock().unwrap().feeds.push((self.process, feed));
        Box::new(fed.into_iter())
    }

    fn check_room(&self, _: u64) -> Result<(), LedgerError> {
        self.state().map(drop)
    }

    fn put_blobs(&self, blobs: &[(Uuid, &[u8])]) -> Result<(), LedgerError> {
        let mut state = self.state()?;
        state.blobs.extend(blobs.iter().map(|(id, bytes)| (*id, bytes.to_vec())));
        Ok(())
    }

    fn read_blob(&self, blob: Blob, offset: u64, limit: usize) -> Result<Vec<u8>, LedgerError> {
        let state = self.state()?;
        let bytes = state.blobs.get(&blob.id).filter(|it| it.len() as u64 == blob.bytes);
        let lost = || JournalError::Lost { path: "memory".into(), why: "is missing".to_owned() };
        let bytes = bytes.ok_or_else(lost)?;
        Ok(bytes.iter().skip(offset as usize).take(limit).copied().collect())
    }

    fn drop_blobs(&self, blobs: &[Blob]) {
        let mut state = self.shared.lock().unwrap();
        for it in blobs {
            state.blobs.remove(&it.id);
        }
    }

    fn tidy(&self) -> Result<(), LedgerError> {
        Ok(())
    }

    fn lease(&self, worker: &str, lasts: Duration) -> Result<(), LedgerError> {
        let lease = (self.process, Instant::now() + lasts);
        self.state()?.leases.insert(worker.to_owned(), lease);
        Ok(())
    }

    fn leases(&self) -> Result<HashSet<String>, LedgerError> {
        let state = self.state()?;
        let alive = state.leases.iter().filter(|(_, it)| it.1 > Instant::now());
        Ok(alive.map(|(worker, _)| worker.clone()).collect())
    }

    fn is_shared(&self) -> bool {
        true
    }
}
