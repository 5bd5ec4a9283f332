//! The relay over plain subjects, which no stream keeps: `PREFIX.want.JOB` and `PREFIX.live.JOB`.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

use async_nats::HeaderMap;
use futures_util::StreamExt;
use prost::Message;
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::journal::relay::{Heard, Relay};
use crate::nats::link::Wire;
use crate::wire::v1::EditEvent;

/// How long a job is listened to after somebody has asked for it.
const WANTED: Duration = Duration::from_secs(15);
/// Header that names the process, which does not hear itself.
const PROCESS: &str = "Rt-Process";

/// The relay of one process.
pub(super) struct Live {
    wire: Wire,
    runtime: Handle,
    process: String,
    tell: Sender<Heard>,
    told: Mutex<Option<Receiver<Heard>>>,
    /// Until when each job is listened to.
    listened: Arc<Mutex<HashMap<Uuid, Instant>>>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("process", &self.process).finish_non_exhaustive()
    }
}

impl Live {
    pub(super) fn new(wire: Wire, runtime: Handle) -> Self {
        let (tell, told) = channel();
        Self {
            wire,
            runtime,
            process: Uuid::now_v7().simple().to_string(),
            tell,
            told: Mutex::new(Some(told)),
            listened: Arc::default(),
        }
    }

    fn publish(&self, subject: String, payload: bytes::Bytes) {
        let (client, mut headers) = (self.wire.client.clone(), HeaderMap::new());
        headers.insert(PROCESS, self.process.as_str());
        self.runtime.spawn(async move {
            // What does not arrive is not missed.
            let _ = client.publish_with_headers(subject, headers, payload).await;
        });
    }
}

impl Relay for Live {
    fn want(&self, job: Uuid) {
        let until = Instant::now() + WANTED;
        if lock(&self.listened).insert(job, until).is_none() {
            let (wire, listened, tell) =
                (self.wire.clone(), Arc::clone(&self.listened), self.tell.clone());
            let process = self.process.clone();
            self.runtime.spawn(async move {
                listen(&wire, job, &process, &listened, &tell).await;
                lock(&listened).remove(&job);
            });
        }
        self.publish(self.wire.names.subject("want", job), bytes::Bytes::new());
    }

    fn show(&self, job: Uuid, event: &EditEvent) {
        let payload = event.encode_to_vec();
        if payload.len() + 1024 > self.wire.client.max_payload() {
            return;
        }
        metrics::counter!("retouch_engine_relay_bytes_total").increment(payload.len() as u64);
        self.publish(self.wire.names.subject("live", job), payload.into());
    }

    fn heard(&self) -> Box<dyn Iterator<Item = Heard> + Send> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(told) = told else { return Box::new(std::iter::empty()) };
        let (wire, tell, process) = (self.wire.clone(), self.tell.clone(), self.process.clone());
        self.runtime.spawn(async move {
            let wanted = wire.names.subject("want", "*");
            let Ok(mut asked) = wire.client.subscribe(wanted).await else { return };
            while let Some(message) = asked.next().await {
                let job = message.subject.rsplit('.').next().and_then(|it| it.parse().ok());
                if let Some(job) = job.filter(|_| !is_of(&message, &process))
                    && tell.send(Heard::Wanted(job)).is_err()
                {
                    return;
                }
            }
        });
        Box::new(told.into_iter())
    }
}

/// Listens to a job until nobody here has asked for it for a while.
async fn listen(
    wire: &Wire,
    job: Uuid,
    process: &str,
    listened: &Mutex<HashMap<Uuid, Instant>>,
    tell: &Sender<Heard>,
) {
    let Ok(mut shown) = wire.client.subscribe(wire.names.subject("live", job)).await else {
        return;
    };
    loop {
        let until = lock(listened).get(&job).copied();
        let Some(until) = until.filter(|it| *it > Instant::now()) else { return };
        let next = tokio::time::timeout_at(until.into(), shown.next()).await;
        let Ok(message) = next else { continue };
        let Some(message) = message else { return };
        if is_of(&message, process) {
            continue;
        }
        let Ok(event) = EditEvent::decode(message.payload) else { continue };
        if tell.send(Heard::Shown(job, Box::new(event))).is_err() {
            return;
        }
    }
}

fn is_of(message: &async_nats::Message, process: &str) -> bool {
    let headers = message.headers.as_ref();
    headers.and_then(|it| it.get(PROCESS)).is_some_and(|it| it.as_str() == process)
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
