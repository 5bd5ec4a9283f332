//! Processes that come and go, and callers who ask another one when theirs is gone.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use retouch::wire::v1::{
    self, AcceptMask, CreateEditJobRequest, EditSpec, MaskDecision, MaskPolicy, edit_event::Event,
    edit_job::State, edit_service_client::EditServiceClient, mask_decision::Decision,
};
use tonic::{Code, Response, Status, transport::Channel};

use super::scripted::{Process, Setting};
use crate::service::harness::{numbers, request, spec};

/// Longest time in which some process answers.
const PATIENCE: Duration = Duration::from_secs(120);

/// Processes of one kind.
pub(crate) struct Fleet {
    setting: Setting,
    processes: Mutex<Vec<(Process, EditServiceClient<Channel>)>>,
    next: AtomicUsize,
}

impl Fleet {
    pub(crate) fn new(count: usize, setting: &Setting) -> Self {
        let start = |_| {
            let process = Process::start(setting);
            let client = process.client();
            (process, client)
        };
        let processes = Mutex::new((0..count).map(start).collect());
        Self { setting: setting.clone(), processes, next: AtomicUsize::new(0) }
    }

    /// Does something to a process, by its index.
    pub(crate) fn with<T>(&self, index: usize, work: impl FnOnce(&mut Process) -> T) -> T {
        work(&mut self.processes.lock().unwrap()[index].0)
    }

    /// The index of the process of a worker's name; `None` if it is gone.
    pub(crate) fn of_worker(&self, worker: &str) -> Option<usize> {
        let processes = self.processes.lock().unwrap();
        processes.iter().position(|(it, _)| worker.starts_with(&it.name))
    }

    /// Starts a process in the place of another.
    pub(crate) fn replace(&self, index: usize) {
        let new = Process::start(&self.setting);
        let client = new.client();
        self.processes.lock().unwrap()[index] = (new, client);
    }

    fn client(&self) -> EditServiceClient<Channel> {
        let processes = self.processes.lock().unwrap();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        processes[turn % processes.len()].1.clone()
    }

    /// Calls one process after the other until one answers.
    pub(crate) async fn call<T, A, F>(
        &self,
        asked: &A,
        call: impl Fn(EditServiceClient<Channel>, A) -> F,
    ) -> Result<T, Status>
    where
        A: Clone,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let started = Instant::now();
        loop {
            let passing =
                [Code::Unavailable, Code::Unknown, Code::Cancelled, Code::DeadlineExceeded];
            match call(self.client(), asked.clone()).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) if !passing.contains(&status.code()) => return Err(status),
                Err(status) => assert!(started.elapsed() < PATIENCE, "nobody answers: {status:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn create(&self, asked: &CreateEditJobRequest) -> v1::EditJob {
        self.call(asked, |mut it, asked| async move { it.create_edit_job(asked).await })
            .await
            .unwrap()
    }

    pub(crate) async fn get(&self, name: &str) -> v1::EditJob {
        let asked = v1::GetEditJobRequest { name: name.to_owned() };
        self.call(&asked, |mut it, asked| async move { it.get_edit_job(asked).await })
            .await
            .unwrap()
    }

    pub(crate) async fn in_state(&self, state: State) -> Vec<v1::EditJob> {
        let asked = v1::ListEditJobsRequest { states: vec![state as i32], ..Default::default() };
        self.call(&asked, |mut it, asked| async move { it.list_edit_jobs(asked).await })
            .await
            .unwrap()
            .jobs
    }

    /// The job once it has ended; its mask is accepted if that is asked for.
    pub(crate) async fn ended(&self, name: &str, within: Duration) -> v1::EditJob {
        let started = Instant::now();
        loop {
            let job = self.get(name).await;
            match job.state() {
                State::Succeeded | State::Failed | State::Cancelled => return job,
                State::AwaitingMask => {
                    let decision = Some(Decision::Accept(AcceptMask::default()));
                    let decision = Some(MaskDecision { decision, ..MaskDecision::default() });
                    let asked = v1::SubmitMaskRequest { name: name.to_owned(), decision };
                    // Refused if an earlier try was heard after all.
                    let _ = self
                        .call(&asked, |mut it, asked| async move { it.submit_mask(asked).await })
                        .await;
                }
                _ => {}
            }
            let what = format!("{name} is {:?} at {:?}", job.state(), job.worker);
            assert!(started.elapsed() < within, "{what}, after {within:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// All events of a job that has ended.
    pub(crate) async fn events(&self, name: &str) -> Vec<v1::EditEvent> {
        let asked = v1::WatchEditJobRequest { name: name.to_owned(), ..Default::default() };
        let started = Instant::now();
        'tries: loop {
            assert!(started.elapsed() < PATIENCE, "nobody tells of {name}");
            let stream = self
                .call(&asked, |mut it, asked| async move { it.watch_edit_job(asked).await })
                .await;
            let (mut stream, mut events) = (stream.unwrap(), Vec::new());
            loop {
                match stream.message().await {
                    Ok(Some(event)) => events.push(event),
                    Ok(None) => return events,
                    Err(_) => continue 'tries,
                }
            }
        }
    }

    /// Checks that a job has ended well, once, without a gap, and with the picture that it has undisturbed; returns the
    /// number of its attempt.
    pub(crate) async fn check(&self, name: &str, picture: &Bytes, within: Duration) -> u32 {
        let job = self.ended(name, within).await;
        assert_eq!(job.state(), State::Succeeded, "{name}: {:?}", job.error);
        assert_eq!(self::picture(&job), *picture, "{name}");
        let events = self.events(name).await;
        assert_eq!(numbers(&events), (1..=job.last_sequence).collect::<Vec<_>>(), "{name}");
        let results = events.iter().filter(|it| matches!(it.event, Some(Event::Result(_))));
        assert_eq!(results.count(), 1, "{name}");
        let ends = events.iter().filter(
            |it| matches!(&it.event, Some(Event::State(it)) if it.state() == State::Succeeded),
        );
        assert_eq!(ends.count(), 1, "{name}");
        job.attempt
    }
}

/// The digest of a job's result.
pub(crate) fn picture(job: &v1::EditJob) -> Bytes {
    job.result.as_ref().unwrap().image.as_ref().unwrap().sha256.clone()
}

/// A job of some steps whose result tells its seed.
pub(crate) fn asked(id: &str, seed: u64, is_reviewed: bool) -> CreateEditJobRequest {
    let policy = if is_reviewed { MaskPolicy::Review } else { MaskPolicy::Auto };
    let spec = EditSpec {
        seed: Some(seed),
        steps: Some(8),
        localize_steps: Some(8),
        mask_policy: policy as i32,
        ..spec("edit")
    };
    CreateEditJobRequest { request_id: id.to_owned(), ..request(spec) }
}
