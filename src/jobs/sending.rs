//! Steps and previews of this process's jobs on their way to others, on a thread of their own.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use crate::jobs::job::Job;
use crate::journal::relay::Relay;
use crate::wire::v1::{EditEvent, edit_event::Event};

/// The sending side of the relay in this process; without one, nothing is sent.
#[derive(Debug, Default)]
pub(super) struct Sending(Option<mpsc::Sender<Arc<Job>>>);

impl Sending {
    /// Starts the thread that encodes and sends: the model's own has better to do.
    pub(super) fn start(relay: Option<Arc<dyn Relay>>) -> Self {
        let Some(relay) = relay else { return Self(None) };
        let (send, sent) = mpsc::channel::<Arc<Job>>();
        thread::spawn(move || {
            while let Ok(first) = sent.recv() {
                let mut jobs = vec![first];
                // Of a job that was changed several times meanwhile the last is sent.
                while let Ok(more) = sent.try_recv() {
                    jobs.retain(|it| it.id != more.id);
                    jobs.push(more);
                }
                for job in jobs {
                    show(&*relay, &job);
                }
            }
        });
        Self(Some(send))
    }

    /// Says that a job's worker shows something new.
    pub(super) fn changed(&self, job: &Arc<Job>) {
        if let Some(send) = &self.0
            && job.elsewhere.is_wanted()
        {
            // The thread ends with the process.
            let _ = send.send(Arc::clone(job));
        }
    }
}

fn show(relay: &dyn Relay, job: &Job) {
    let latest = job.latest();
    let of = |event| EditEvent { event: Some(event), ..EditEvent::default() };
    if let Some(shot) =
        latest.preview.value.filter(|it| job.elsewhere.is_unsent(it.pass as i32, it.step))
    {
        relay.show(job.id, &of(Event::Preview(shot.preview())));
    }
    if let Some(step) = latest.step.value {
        relay.show(job.id, &of(Event::Step(step)));
    }
}
