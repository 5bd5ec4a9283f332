//! Reading the log in order: all that is there at a start, and what other processes commit from then on.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, Sender},
    },
    time::{Duration, Instant},
};

use async_nats::{
    HeaderMap,
    jetstream::{
        self,
        consumer::{
            DeliverPolicy,
            pull::{Ordered, OrderedConfig},
        },
    },
};
use bytes::Bytes;
use futures_util::StreamExt;
use uuid::Uuid;

use crate::journal::{
    id_of,
    ledger::{Applied, LedgerError, News, Revision},
};
use crate::nats::{
    entries,
    link::{self, Wire},
};
use crate::wire::journal::v1::LogRecord;

/// How long the mark of a load stays in the log.
const MARK: &str = "60";
/// How long a load waits for the next message.
const SILENCE: Duration = Duration::from_secs(30);
/// Pause before a broken feed is opened again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the id of an own commit is kept, in case the feed has not come to it.
const OWN: Duration = Duration::from_secs(120);

/// What this process knows of the log's order.
#[derive(Debug, Default)]
pub(super) struct Feed {
    /// Up to which sequence jobs and artifacts were loaded, each.
    pub(super) jobs_to: AtomicU64,
    pub(super) artifacts_to: AtomicU64,
    /// Whether the feed is followed.
    pub(super) follows: AtomicBool,
    own: Mutex<HashMap<Bytes, Own>>,
}

/// A commit of this process.
#[derive(Debug)]
struct Own {
    since: Instant,
    /// Whether nothing more comes of it after a job.
    ends_with_job: bool,
    /// Whether its caller knows that it is stored.
    known: bool,
    /// What the feed has told of it meanwhile.
    held: Vec<News>,
}

impl Feed {
    fn own(&self) -> MutexGuard<'_, HashMap<Bytes, Own>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A commit of this process begins, which the feed does not tell it of.
    pub(super) fn begins(&self, commit: Uuid, ends_with_job: bool) {
        if self.follows.load(Ordering::Acquire) {
            let since = Instant::now();
            let begun = Own { since, ends_with_job, known: false, held: Vec::new() };
            let mut own = self.own();
            own.retain(|_, it| !it.known || it.since.elapsed() < OWN);
            own.insert(entries::id(commit), begun);
        }
    }

    /// It has ended. If its caller does not know that it is stored, and it is, the feed tells of it after all.
    pub(super) fn ends(&self, commit: Uuid, stored: bool, tell: &Sender<News>) {
        let id = entries::id(commit);
        let mut own = self.own();
        if stored {
            if own.get(&id).is_some_and(|it| it.ends_with_job && it.held.iter().any(is_job)) {
                own.remove(&id);
            }
            own.entry(id).and_modify(|it| it.known = true);
        } else if let Some(Own { held, .. }) = own.remove(&id) {
            // Fails only if nobody follows.
            for news in held {
                drop(tell.send(news));
            }
        }
    }

    /// Tells of a message unless this process made it.
    fn told(&self, commit: &Bytes, news: News, tell: &Sender<News>) -> bool {
        let mut own = self.own();
        match own.get(commit).map(|it| (it.known, it.ends_with_job)) {
            Some((true, ends_with_job)) => {
                if ends_with_job && is_job(&news) {
                    own.remove(commit);
                }
                true
            }
            Some((false, _)) => {
                own.entry(commit.clone()).and_modify(|it| it.held.push(news));
                true
            }
            None => {
                drop(own);
                tell.send(news).is_ok()
            }
        }
    }
}

fn is_job(news: &News) -> bool {
    matches!(news, News::Job(_))
}

/// The last message of every subject of a kind with its sequence, as of a moment after this call, and that moment's
/// sequence.
pub(super) async fn load(
    wire: &Wire,
    kind: &str,
) -> Result<(u64, Vec<(u64, LogRecord)>), LedgerError> {
    // A mark of our own: once it comes, all that was there before it has come. It is stored when the consumer knows the
    // last message of each subject: a job whose last one came between would be missed.
    let mark = wire.names.subject("mark", Uuid::now_v7().simple());
    let filters = vec![wire.names.all(kind), mark.clone()];
    let mut messages = open(wire, filters, DeliverPolicy::LastPerSubject).await?;
    let mut headers = HeaderMap::new();
    headers.insert("Nats-TTL", MARK);
    let until = wire.store_again(&mark, headers, Bytes::from_static(b"")).await?;
    // A subject may come again: a feed that broke goes on with every message.
    let mut last = HashMap::new();
    loop {
        let next = tokio::time::timeout(SILENCE, messages.next()).await;
        let message = match next {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(error))) => return Err(link::refused("load the log", error.to_string())),
            Ok(None) | Err(_) => return Err(LedgerError::Down),
        };
        let sequence = message.info().map_or(0, |it| it.stream_sequence);
        if sequence >= until {
            return Ok((until, last.into_values().collect()));
        }
        let record = entries::latest(wire, sequence, &message.payload).await?;
        match record.filter(|it| !it.removed) {
            Some(record) => drop(last.insert(message.subject.to_string(), (sequence, record))),
            None => drop(last.remove(message.subject.as_str())),
        }
    }
}

/// Follows the log from a sequence on, into a channel, until nobody receives.
pub(super) fn follow(
    wire: Wire,
    feed: &Arc<Feed>,
    from: u64,
    tell: Sender<News>,
) -> impl Future<Output = ()> + use<> {
    let feed = Arc::clone(feed);
    async move {
        let mut from = from;
        loop {
            if let Err(error) = follow_on(&wire, &feed, &mut from, &tell).await {
                tracing::warn!(%error, "the feed of commits broke; it is opened again");
                metrics::counter!("retouch_engine_feed_breaks_total").increment(1);
            } else {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Follows until the feed breaks, which is an error, or nobody receives.
async fn follow_on(
    wire: &Wire,
    feed: &Feed,
    from: &mut u64,
    tell: &Sender<News>,
) -> Result<(), LedgerError> {
    let filters = vec![wire.names.all("job"), wire.names.all("art")];
    let policy = DeliverPolicy::ByStartSequence { start_sequence: (*from).max(1) };
    let mut messages = open(wire, filters, policy).await?;
    while let Some(message) = messages.next().await {
        let message =
            message.map_err(|error| link::refused("follow the log", error.to_string()))?;
        let (sequence, pending) =
            message.info().map_or((0, 0), |it| (it.stream_sequence, it.pending));
        metrics::gauge!("retouch_engine_feed_lag").set(pending as f64);
        if sequence < *from {
            continue;
        }
        let record = entries::latest(wire, sequence, &message.payload).await;
        let told = match record {
            Ok(Some(record)) => {
                let commit = record.commit_id.clone();
                let news = news(wire, &message.subject, sequence, record);
                news.is_none_or(|it| feed.told(&commit, it, tell))
            }
            Ok(None) => true,
            // A deleted job's file is gone with it.
            Err(LedgerError::Store(error)) => {
                tracing::warn!(%error, "a commit of the log can't be read");
                true
            }
            Err(error) => return Err(error),
        };
        if !told {
            return Ok(());
        }
        *from = sequence + 1;
    }
    Err(LedgerError::Down)
}

/// What a message of the log says.
fn news(wire: &Wire, subject: &str, sequence: u64, record: LogRecord) -> Option<News> {
    let (kind, rest) = wire.names.rest(subject)?;
    match (kind, record.removed) {
        ("job", removed) => {
            let revision = if removed { Revision::NONE } else { Revision(sequence) };
            Some(News::Job(Box::new(Applied { revision, record: record.job? })))
        }
        ("art", true) => Some(News::ArtifactGone(Uuid::try_parse(rest).ok()?)),
        ("art", false) => Some(News::Artifact(record.artifact?)),
        _ => None,
    }
}

async fn open(
    wire: &Wire,
    filter_subjects: Vec<String>,
    deliver_policy: DeliverPolicy,
) -> Result<Ordered, LedgerError> {
    let config = OrderedConfig { filter_subjects, deliver_policy, ..OrderedConfig::default() };
    let context = jetstream::new(wire.client.clone());
    let patience = link::Patience::new();
    loop {
        let consumer = context.create_consumer_on_stream(config.clone(), wire.names.log()).await;
        let said = match consumer {
            Ok(consumer) => match consumer.messages().await {
                Ok(messages) => return Ok(messages),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        patience.pause(&said).await?;
    }
}

/// The feed as its receiver has it: it begins when it is first asked.
pub(super) struct Tail<F> {
    pub(super) begin: Option<F>,
    pub(super) told: Receiver<News>,
}

impl<F: FnOnce()> Iterator for Tail<F> {
    type Item = News;

    fn next(&mut self) -> Option<News> {
        if let Some(begin) = self.begin.take() {
            begin();
        }
        self.told.recv().ok()
    }
}

/// The id of an artifact's record.
pub(super) fn artifact_id(record: &LogRecord) -> Option<Uuid> {
    record.artifact.as_ref()?.artifact.as_ref().and_then(|it| id_of(&it.name))
}
