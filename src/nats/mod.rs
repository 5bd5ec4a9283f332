//! The ledger of many processes: one JetStream stream as the log of commits, beside one of leases and one of bytes.
//!
//! A job, an artifact and a request id are a subject each; a commit is a message, or an atomic batch of them, that is
//! stored if the job's subject still has the last sequence that the commit starts from. Every process follows the log,
//! and so has the same jobs. What nobody has to keep (steps, previews) goes past the streams.

mod answers;
mod blobs;
mod carried;
mod entries;
pub mod error;
mod feed;
mod leases;
mod ledger;
mod link;
mod live;
mod log;
pub mod monitor;
mod names;
pub mod options;
pub mod streams;
mod sweep;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
};

use uuid::Uuid;

use crate::journal::ledger::News;
use crate::nats::{
    error::NatsError, feed::Feed, link::Link, live::Live, options::Options, streams::Made,
};

/// The ledger over NATS.
pub struct Nats {
    link: Link,
    feed: Arc<Feed>,
    tell: Sender<News>,
    told: Mutex<Option<Receiver<News>>>,
    /// For each job, up to which event which message of the log goes, as far as it is known, in order.
    index: Mutex<HashMap<Uuid, Vec<(u64, u64)>>>,
    live: Arc<Live>,
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("names", &self.link.wire.names).finish_non_exhaustive()
    }
}

impl Nats {
    /// Connects to the servers, and checks that the streams are as they must be. With `make`, those that are missing are
    /// made.
    ///
    /// # Errors
    /// [`NatsError`].
    pub fn open(options: &Options, make: bool) -> Result<Self, NatsError> {
        let link = Link::open(options)?;
        let (wire, wanted) = (link.wire.clone(), options.clone());
        link.wait(async move {
            if make {
                return streams::init(&wire, &wanted).await.map(drop);
            }
            streams::check(&wire, &wanted).await
        })?;
        let (tell, told) = channel();
        let live = Arc::new(Live::new(link.wire.clone(), link.handle()));
        Ok(Self {
            link,
            live,
            feed: Arc::default(),
            tell,
            told: Mutex::new(Some(told)),
            index: Mutex::default(),
        })
    }

    /// Makes the streams that are missing; returns all of them by name.
    ///
    /// # Errors
    /// [`NatsError`], also if a stream that is there is unfit.
    pub fn init(options: &Options) -> Result<Vec<(String, Made)>, NatsError> {
        let link = Link::open(options)?;
        let (wire, options) = (link.wire.clone(), options.clone());
        link.wait(async move { streams::init(&wire, &options).await })
    }

    /// The version of the server that is connected.
    pub fn server_version(&self) -> String {
        self.link.wire.client.server_info().version
    }
}
