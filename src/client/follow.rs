//! Follows a job's events to their end, reconnecting when a connection breaks.

use tonic::{Status, Streaming};

use crate::client::{connect::Remote, error::ClientError, retry::Retry};
use crate::wire::v1::{
    CreateEditJobRequest, EditEvent, EventOptions, WatchEditJobRequest, edit_event::Event,
    edit_job::State,
};

/// A job that is followed.
#[derive(Debug)]
pub struct Follow<'a> {
    remote: &'a Remote,
    /// Creates the job, or finds it by its request id until its name is known.
    start: Option<CreateEditJobRequest>,
    options: Option<EventOptions>,
    /// Name of the job; empty until the first event.
    job: String,
    /// Sequence number of the last control event received.
    sequence: u64,
    events: Option<Streaming<EditEvent>>,
    retry: Retry,
    is_over: bool,
}

impl<'a> Follow<'a> {
    /// Creates a job, and follows it.
    pub fn start(remote: &'a Remote, request: CreateEditJobRequest) -> Self {
        let start = Some(request);
        Self { start, ..Self::watch(remote, String::new(), None) }
    }

    /// Follows an existing job.
    pub fn watch(remote: &'a Remote, job: String, options: Option<EventOptions>) -> Self {
        Self {
            remote,
            start: None,
            options,
            job,
            sequence: 0,
            events: None,
            retry: Retry::default(),
            is_over: false,
        }
    }

    /// The job's name; empty until the first event.
    pub fn job(&self) -> &str {
        &self.job
    }

    /// Whether the job has ended.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// The next event; `None` after the terminal state.
    ///
    /// # Errors
    /// The server's error once a retry can't help.
    pub async fn next(&mut self) -> Result<Option<EditEvent>, ClientError> {
        // After the terminal state the stream only has the job's status, which the error event has already reported.
        while !self.is_over {
            match self.read_once().await {
                Ok(event) => {
                    self.take(&event);
                    return Ok(Some(event));
                }
                Err(status) => {
                    self.events = None;
                    self.retry.after(&status).await?;
                }
            }
        }
        Ok(None)
    }

    async fn read_once(&mut self) -> Result<EditEvent, Status> {
        if self.events.is_none() {
            self.events = Some(self.open().await?);
        }
        let events = self.events.as_mut().expect("it was opened above");
        let ended = || Status::unavailable("the events ended before the job did");
        events.message().await?.ok_or_else(ended)
    }

    async fn open(&self) -> Result<Streaming<EditEvent>, Status> {
        let mut api = self.remote.api.clone();
        let response = match &self.start {
            Some(request) if self.job.is_empty() => api.stream_edit(request.clone()).await?,
            _ => {
                let (name, after_sequence) = (self.job.clone(), self.sequence);
                let events = self.options;
                api.watch_edit_job(WatchEditJobRequest { name, after_sequence, events }).await?
            }
        };
        Ok(response.into_inner())
    }

    fn take(&mut self, event: &EditEvent) {
        if self.job.is_empty() {
            self.job.clone_from(&event.job);
        }
        if event.sequence > self.sequence || matches!(&event.event, Some(Event::Step(_))) {
            // A stream that delivered a new event resets the retries.
            self.retry = Retry::default();
        }
        self.sequence = self.sequence.max(event.sequence);
        let Some(Event::State(state)) = &event.event else { return };
        self.is_over = matches!(state.state(), State::Succeeded | State::Failed | State::Cancelled);
    }
}
