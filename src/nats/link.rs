//! The connection to the servers, on a runtime of its own, so that callers may block on it from any thread.

use std::{
    future::Future,
    path::Path,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use async_nats::{
    Client, ConnectOptions, HeaderMap, Request, ServerAddr, client::RequestErrorKind,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::journal::ledger::LedgerError;
use crate::nats::{
    answers::{self, Answer, ApiError},
    carried::Carried,
    error::NatsError,
    names::Names,
    options::Options,
};

/// Oldest server with atomic batches and TTLs of messages as they are used here.
const OLDEST: ((i64, i64, i64), &str) = ((2, 12, 0), "2.12");
/// How long one request may take.
const REPLY: Duration = Duration::from_secs(2);
/// How long a call is repeated while the servers can't answer, as in an election, which takes up to 11 s.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pause before a request is repeated.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a start waits for a server.
const AT_START: Duration = Duration::from_secs(20);

/// A connection that callers block on.
#[derive(Debug)]
pub(super) struct Link {
    runtime: Option<Runtime>,
    pub(super) wire: Wire,
}

/// The connection within its runtime.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    pub(super) client: Client,
    pub(super) names: Arc<Names>,
    pub(super) carried: Arc<Carried>,
}

/// A stored message.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) sequence: u64,
    pub(super) payload: Bytes,
}

impl Link {
    /// Connects to the servers; waits a while for the first one.
    pub(super) fn open(options: &Options) -> Result<Self, NatsError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("retouch-nats")
            .enable_all()
            .build()
            .map_err(|error| NatsError::Connect {
                urls: options.urls.clone(),
                why: error.to_string(),
            })?;
        let options = options.clone();
        let names = Arc::new(Names::new(&options.prefix));
        let client = wait(&runtime, async move { connect(&options).await })?;
        Ok(Self { runtime: Some(runtime), wire: Wire { client, names, carried: Arc::default() } })
    }

    /// Blocks until a future has ended, on whichever thread this is.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        wait(self.runtime(), work)
    }

    /// Where futures run.
    pub(super) fn handle(&self) -> tokio::runtime::Handle {
        self.runtime().handle().clone()
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("the runtime goes with the link")
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // A drop that waits panics on a thread of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn wait<T: Send + 'static>(runtime: &Runtime, work: impl Future<Output = T> + Send + 'static) -> T {
    let (tell, told) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        // The caller waits as long as its link lives.
        let _ = tell.send(work.await);
    });
    told.recv().expect("a future of the link runs to its end")
}

async fn connect(options: &Options) -> Result<Client, NatsError> {
    let address = |url: &str| {
        let url = url.trim();
        url.parse::<ServerAddr>()
            .map_err(|error| NatsError::Url { url: url.to_owned(), why: error.to_string() })
    };
    let addresses = options.urls.split(',').map(address).collect::<Result<Vec<_>, _>>()?;
    let until = Instant::now() + AT_START;
    loop {
        let with = named(let_in(options)?, &addresses);
        let error = match with.connect(addresses.clone()).await {
            Ok(client) => return checked(client),
            Err(error) => error,
        };
        if Instant::now() >= until
            || error.kind() == async_nats::ConnectErrorKind::AuthorizationViolation
        {
            let urls = options.urls.clone();
            return Err(NatsError::Connect { urls, why: error.to_string() });
        }
        tracing::info!(%error, "waiting for a NATS server");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// With the user name and password of the first URL that has them, which the client itself passes over.
fn named(with: ConnectOptions, addresses: &[ServerAddr]) -> ConnectOptions {
    let user = addresses.iter().find_map(|it| Some((it.username()?, it.password()?)));
    let Some((user, password)) = user else { return with };
    let plain = |it: &str| percent_decode_str(it).decode_utf8_lossy().into_owned();
    with.user_and_password(plain(user), plain(password))
}

fn checked(client: Client) -> Result<Client, NatsError> {
    let ((major, minor, patch), needed) = OLDEST;
    if client.is_server_compatible(major, minor, patch) {
        return Ok(client);
    }
    Err(NatsError::Old { found: client.server_info().version, needed })
}

/// The client's options: its name, how it is let in, and that it never gives up.
fn let_in(options: &Options) -> Result<ConnectOptions, NatsError> {
    let mut with = ConnectOptions::new()
        .name("retouch")
        .custom_inbox_prefix(format!("_INBOX_{}", options.prefix))
        .reconnect_delay_callback(|tries| Duration::from_millis(20 << tries.min(6)))
        .event_callback(|event| async move {
            match event {
                async_nats::Event::Connected => tracing::info!("connected to a NATS server"),
                event => tracing::warn!(%event, "the connection to NATS"),
            }
        });
    let read =
        |path: &Path, what| std::fs::read_to_string(path).map_err(|error| file(path, what, &error));
    if let Some(path) = &options.credentials {
        let what = "NATS credentials";
        with = with.credentials(&read(path, what)?).map_err(|error| file(path, what, &error))?;
    }
    if let Some(path) = &options.nkey {
        with = with.nkey(read(path, "the seed of an nkey")?.trim().to_owned());
    }
    if let Some(path) = &options.tls_ca {
        with = with.add_root_certificates(path.clone()).require_tls(true);
    }
    if let Some((cert, key)) = &options.tls_client {
        with = with.add_client_certificate(cert.clone(), key.clone());
    }
    Ok(with)
}

fn file(path: &Path, what: &'static str, why: &dyn ToString) -> NatsError {
    NatsError::File { path: path.display().to_string(), what, why: why.to_string() }
}

/// An answer that is an error.
#[derive(Debug, Deserialize)]
struct Failed {
    error: Option<ApiError>,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Silence {
    /// For now: the servers are away, or elect a leader.
    Away(String),
    /// For good.
    Error(String),
}

impl Wire {
    /// Sends a message to a stream, once.
    pub(super) async fn store(&self, subject: &str, headers: HeaderMap, payload: Bytes) -> Answer {
        let request = Request::new().headers(headers).payload(payload).timeout(Some(REPLY));
        match self.client.send_request(subject.to_owned(), request).await {
            Ok(message) => answers::of_ack(&message.payload),
            Err(error) => match error.kind() {
                RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                    Answer::Refused(error.to_string())
                }
                _ => Answer::Unknown(error.to_string()),
            },
        }
    }

    /// Sends a message to a stream until it is stored, where a repetition does no harm.
    pub(super) async fn store_again(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<u64, LedgerError> {
        let patience = Patience::new();
        loop {
            match self.store(subject, headers.clone(), payload.clone()).await {
                Answer::Stored(sequence) => return Ok(sequence),
                Answer::Stale => return Err(LedgerError::Conflict),
                Answer::Full(said) => return Err(full(said)),
                Answer::Refused(said) => return Err(refused("store a message", said)),
                Answer::Unknown(said) => patience.pause(&said).await?,
            }
        }
    }

    /// Asks the JetStream API, once.
    pub(super) async fn api<T: for<'a> Deserialize<'a>>(
        &self,
        call: &str,
        body: &Value,
    ) -> Result<Result<T, ApiError>, Silence> {
        let payload = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let request = Request::new().payload(payload).timeout(Some(REPLY));
        let answer = self.client.send_request(format!("$JS.API.{call}"), request).await;
        let answer = answer.map_err(|error| match error.kind() {
            RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                Silence::Error(error.to_string())
            }
            _ => Silence::Away(error.to_string()),
        })?;
        let wrong = |error: serde_json::Error| Silence::Error(error.to_string());
        let failed: Failed = serde_json::from_slice(&answer.payload).map_err(wrong)?;
        match failed.error {
            Some(error) if error.passes() => Err(Silence::Away(error.description)),
            Some(error) => Ok(Err(error)),
            None => Ok(Ok(serde_json::from_slice(&answer.payload).map_err(wrong)?)),
        }
    }

    /// Asks the JetStream API until it answers.
    pub(super) async fn ask<T: for<'a> Deserialize<'a>>(
        &self,
        call: &str,
        body: &Value,
    ) -> Result<Result<T, ApiError>, LedgerError> {
        let patience = Patience::new();
        loop {
            match self.api(call, body).await {
                Ok(answer) => return Ok(answer),
                Err(Silence::Error(said)) => return Err(refused(call, said)),
                Err(Silence::Away(said)) => patience.pause(&said).await?,
            }
        }
    }

    /// A stored message, read from the stream's leader, so that no commit before the call is missed.
    pub(super) async fn read(
        &self,
        stream: &str,
        which: &Value,
    ) -> Result<Option<Stored>, LedgerError> {
        #[derive(Deserialize)]
        struct Found {
            message: Message,
        }
        #[derive(Deserialize)]
        struct Message {
            seq: u64,
            #[serde(default)]
            data: String,
        }
        let call = format!("STREAM.MSG.GET.{stream}");
        match self.ask::<Found>(&call, which).await? {
            Ok(Found { message }) => {
                let payload = BASE64_STANDARD.decode(&message.data);
                let payload = payload.map_err(|error| refused(&call, error.to_string()))?.into();
                Ok(Some(Stored { sequence: message.seq, payload }))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(refused(&call, error.description)),
        }
    }

    /// The last message of a subject.
    pub(super) async fn last(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<Stored>, LedgerError> {
        self.read(stream, &json!({ "last_by_subj": subject })).await
    }

    /// The first message of a subject from a sequence on.
    pub(super) async fn next(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
    ) -> Result<Option<Stored>, LedgerError> {
        self.read(stream, &json!({ "seq": from.max(1), "next_by_subj": subject })).await
    }

    /// Deletes the messages of a subject.
    pub(super) async fn purge(&self, stream: &str, subject: &str) -> Result<(), LedgerError> {
        let call = format!("STREAM.PURGE.{stream}");
        match self.ask::<Value>(&call, &json!({ "filter": subject })).await? {
            Ok(_) => Ok(()),
            Err(error) => Err(refused(&call, error.description)),
        }
    }
}

/// How long a call has waited for the servers.
#[derive(Debug)]
pub(super) struct Patience {
    since: Instant,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { since: Instant::now() }
    }

    /// Waits before another try.
    ///
    /// # Errors
    /// [`LedgerError::Down`] once there has been no answer for long enough.
    pub(super) async fn pause(&self, said: &str) -> Result<(), LedgerError> {
        if self.since.elapsed() >= PATIENCE {
            tracing::warn!(said, "the NATS servers do not answer");
            metrics::counter!("retouch_engine_down_total").increment(1);
            return Err(LedgerError::Down);
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

/// There is no room for a message.
pub(super) fn full(said: String) -> LedgerError {
    let source = NatsError::Request { what: "store a message".to_owned(), why: said };
    LedgerError::Full(crate::journal::error::JournalError::Remote(Box::new(source)))
}

/// The server refuses what it is asked.
pub(super) fn refused(what: &str, why: String) -> LedgerError {
    let source = NatsError::Request { what: what.to_owned(), why };
    LedgerError::Store(crate::journal::error::JournalError::Remote(Box::new(source)))
}
