//! Event streams over gRPC: one task per stream, with flow control that never holds up the job.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    time,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Status, Streaming};

use crate::jobs::{
    fault::Fault,
    follow::Follower,
    job::{Job, Seat},
    store::Store,
};
use crate::server::{edit_service::answers::Answers, status};
use crate::wire::{
    reason::Reason,
    v1::{self, EditEvent, edit_input::Input},
};

/// Longest time that a client may take to accept one event.
const STALL: Duration = Duration::from_secs(30);

/// Time that a client has, after the last event, to half-close its side of the stream.
const CLOSING: Duration = Duration::from_secs(5);

/// Status of a stream after its job has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The job's own status.
    OfJob,
    /// OK: the watch itself succeeded.
    OfWatch,
}

/// Creates streams and counts the open ones.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    store: Arc<Store>,
    open: Arc<Mutex<u32>>,
}

/// The sending side of a stream.
struct Line {
    events: mpsc::Sender<Result<EditEvent, Status>>,
    end: Arc<OnceLock<Status>>,
    _counted: Counted,
}

/// An open stream, counted in the metrics until dropped.
struct Counted(Arc<Mutex<u32>>);

impl Counted {
    fn new(open: &Arc<Mutex<u32>>) -> Self {
        count(open, |it| it + 1);
        Self(Arc::clone(open))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        count(&self.0, |it| it - 1);
    }
}

/// Changes the count of open streams and publishes it under the lock, so that values are published in order.
fn count(open: &Mutex<u32>, change: impl FnOnce(u32) -> u32) {
    let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
    *open = change(*open);
    metrics::gauge!("retouch_streams_open").set(f64::from(*open));
}

impl Streams {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, open: Arc::default() }
    }

    /// Streams the job's events to their end.
    pub(super) fn follow(
        &self,
        follower: Follower,
        seat: Seat,
        ending: Ending,
        deadline: Option<Instant>,
    ) -> Answers<EditEvent> {
        let (line, answers) = self.open();
        let nothing = std::future::pending();
        tokio::spawn(run(follower, seat, ending, deadline, line, nothing));
        answers
    }

    /// Streams the job's events to their end, and handles the caller's messages meanwhile.
    pub(super) fn converse(
        &self,
        follower: Follower,
        seat: Seat,
        inputs: Streaming<v1::EditInput>,
        deadline: Option<Instant>,
    ) -> Answers<EditEvent> {
        let (line, answers) = self.open();
        let store = Arc::clone(&self.store);
        let heard = hear(Arc::clone(&store), Arc::clone(follower.job()), inputs);
        // Runs even while the client accepts no event. An invalid message ends the stream with its status; the job
        // continues.
        let (tell, told) = oneshot::channel();
        let mut hearing = tokio::spawn(async {
            if let Some(status) = heard.await {
                let _ = tell.send(status);
            }
        });
        let refused = async {
            match told.await {
                Ok(status) => status,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::spawn(async move {
            run(follower, seat, Ending::OfJob, deadline, line, refused).await;
            // HAProxy drops the status of a call whose client side is still open when the response ends.
            if time::timeout(CLOSING, &mut hearing).await.is_err() {
                hearing.abort();
            }
        });
        answers
    }

    /// Opens a stream; the status set on its sending side follows all events.
    fn open(&self) -> (Line, Answers<EditEvent>) {
        let (events, received) = mpsc::channel(1);
        let end = Arc::new(OnceLock::<Status>::new());
        let last = Arc::clone(&end);
        let tail = tokio_stream::iter(std::iter::once_with(move || last.get().cloned()));
        let answers = ReceiverStream::new(received).chain(tail.filter_map(|it| it.map(Err)));
        (Line { events, end, _counted: Counted::new(&self.open) }, Box::pin(answers))
    }
}

/// Sends a job's events until it ends, the client disconnects or stalls, a client's message is refused, or the server
/// shuts down.
async fn run(
    mut follower: Follower,
    seat: Seat,
    ending: Ending,
    deadline: Option<Instant>,
    line: Line,
    refused: impl Future<Output = Status>,
) {
    tokio::pin!(refused);
    let opened = Instant::now();
    let mut is_first = true;
    let job = Arc::clone(follower.job());
    let end = loop {
        let event = tokio::select! {
            () = line.events.closed() => return,
            status = &mut refused => {
                let _ = line.end.set(status);
                break None;
            }
            () = at(deadline) => {
                // An attached job is ended by its own deadline check, whose events are sent first.
                if ending == Ending::OfJob && !job.is_over() && job.attached {
                    time::sleep(Duration::from_millis(300)).await;
                    if job.is_over() { continue_to_end(&mut follower, &line).await; }
                }
                break Some(Fault::new(Reason::ClientDeadline, "the caller's deadline has passed"));
            }
            event = follower.next() => event,
        };
        match event {
            Ok(Some(event)) => match time::timeout(STALL, line.events.send(Ok(event))).await {
                Ok(Ok(())) if std::mem::take(&mut is_first) => {
                    metrics::histogram!("retouch_first_event_seconds")
                        .record(opened.elapsed().as_secs_f64());
                }
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => {
                    let message = "the client read no event for 30 s; resume with WatchEditJob";
                    let fault = Fault::new(Reason::ClientGone, message);
                    let _ = line.end.set(status::of_fault(&fault));
                    return; // as a broken stream: whoever does not read may be gone
                }
            },
            Ok(None) if ending == Ending::OfWatch => break None,
            Ok(None) => break follower.fault().await.unwrap_or_else(Some),
            Err(fault) => break Some(fault),
        }
    };
    if let Some(fault) = end {
        let _ = line.end.set(status::of_fault(&fault));
    }
    seat.leave();
}

/// Sends the remaining events of a job that has ended.
async fn continue_to_end(follower: &mut Follower, line: &Line) {
    while let Ok(Some(event)) = follower.next().await {
        if time::timeout(STALL, line.events.send(Ok(event))).await.is_err() {
            return;
        }
    }
}

/// Handles mask decisions and cancellations; returns the status of the first that fails.
async fn hear(
    store: Arc<Store>,
    job: Arc<Job>,
    mut inputs: Streaming<v1::EditInput>,
) -> Option<Status> {
    loop {
        let input = match inputs.message().await {
            Ok(Some(input)) => input,
            // After a half-close the review's timeout applies; a reset also ends the event stream.
            Ok(None) => return None,
            Err(status) => return status::of_input(status),
        };
        let (store, job) = (Arc::clone(&store), Arc::clone(&job));
        let done = tokio::task::spawn_blocking(move || match input.input {
            Some(Input::Mask(decision)) => store.decide(&job, decision).map(drop),
            Some(Input::Cancel(cancel)) => store.cancel(&job, &cancel.reason).map(drop),
            Some(Input::Start(_)) | None => {
                let message = "only `mask` and `cancel` may follow `start`";
                Err(Fault::new(Reason::InvalidArgument, message))
            }
        });
        match done.await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => return Some(status::of_fault(&fault)),
            Err(_) => {
                return Some(status::of_fault(&Fault::new(Reason::Internal, "the server failed")));
            }
        }
    }
}

/// Waits until a deadline; forever if there is none.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(at) => time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
