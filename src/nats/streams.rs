//! The three streams, with the settings that the promises need: made if they are missing, refused if they are unfit.

use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use serde::Deserialize;
use serde_json::Value;

use crate::nats::{
    blobs::LEAST_PAYLOAD,
    error::NatsError,
    link::{Silence, Wire},
    options::Options,
};

/// Window in which the servers know messages by their ids, of which none are used.
const DUPLICATES: Duration = Duration::from_secs(1);

/// How long a start asks servers that do not answer yet.
const PATIENCE: Duration = Duration::from_secs(15);
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(200);
/// Code of too few servers for the replicas.
const NO_PEERS: u32 = 10005;
/// Code of a stream that there is not.
const NO_STREAM: u32 = 10059;

/// The streams that a service needs.
pub(super) fn wanted(wire: &Wire, options: &Options) -> Vec<Config> {
    let names = &wire.names;
    let max_bytes = if options.max_bytes == 0 { -1 } else { options.max_bytes as i64 };
    let common = Config {
        storage: StorageType::File,
        retention: RetentionPolicy::Limits,
        num_replicas: options.replicas,
        discard: DiscardPolicy::New,
        max_bytes,
        max_messages: -1,
        max_messages_per_subject: -1,
        duplicate_window: DUPLICATES,
        allow_direct: true,
        ..Config::default()
    };
    let log = Config {
        name: names.log(),
        description: Some("retouch: commits of jobs".to_owned()),
        subjects: ["job", "art", "req", "mark"].map(|it| names.all(it)).to_vec(),
        allow_rollup: true,
        allow_message_ttl: true,
        allow_atomic_publish: true,
        ..common.clone()
    };
    let lease = Config {
        name: names.lease(),
        description: Some("retouch: leases of workers and seats of callers".to_owned()),
        subjects: vec![names.all("lease")],
        max_messages_per_subject: 1,
        max_bytes: -1,
        allow_message_ttl: true,
        ..common.clone()
    };
    let blob = Config {
        name: names.blob(),
        description: Some("retouch: bytes of artifacts".to_owned()),
        subjects: ["blob", "spill"].map(|it| names.all(it)).to_vec(),
        max_messages_per_subject: 1,
        ..common
    };
    vec![log, lease, blob]
}

/// What `engine init` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// The stream was made.
    New,
    /// It was there, as it should be.
    There,
}

/// Makes the streams that are missing, and checks the others.
pub(super) async fn init(wire: &Wire, options: &Options) -> Result<Vec<(String, Made)>, NatsError> {
    let mut made = Vec::new();
    for wanted in wanted(wire, options) {
        let name = wanted.name.clone();
        if found(wire, &name).await?.is_some() {
            made.push((name, Made::There));
            continue;
        }
        make(wire, &wanted).await?;
        made.push((name, Made::New));
    }
    check(wire, options).await?;
    Ok(made)
}

/// Makes a stream. A cluster that has just started has no leader or too few members for a while.
async fn make(wire: &Wire, wanted: &Config) -> Result<(), NatsError> {
    let failed = |why| NatsError::Request { what: format!("make the stream {}", wanted.name), why };
    let body = serde_json::to_value(wanted).map_err(|error| failed(error.to_string()))?;
    let mut said = String::new();
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        match wire.api::<Value>(&format!("STREAM.CREATE.{}", wanted.name), &body).await {
            // Another process may have been faster.
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) if error.err_code == NO_PEERS => said = error.description,
            Ok(Err(error)) => return Err(failed(error.description)),
            Err(Silence::Error(why)) => return Err(failed(why)),
            Err(Silence::Away(why)) => said = why,
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(failed(said))
}

/// Checks that the streams are there and fit.
pub(super) async fn check(wire: &Wire, options: &Options) -> Result<(), NatsError> {
    let payload = wire.client.max_payload();
    if payload < LEAST_PAYLOAD {
        return Err(NatsError::Unfit {
            stream: "server".to_owned(),
            setting: "max_payload",
            found: payload.to_string(),
            needed: format!("at least {LEAST_PAYLOAD}"),
        });
    }
    for wanted in wanted(wire, options) {
        let stream = wanted.name.clone();
        let found = found(wire, &stream).await?;
        let found = found.ok_or_else(|| NatsError::Missing { stream: stream.clone() })?;
        if let Some((setting, found, needed)) = unfit(&found, &wanted) {
            return Err(NatsError::Unfit { stream, setting, found, needed });
        }
    }
    Ok(())
}

/// The first setting of a stream that breaks a promise: its name, what it is, and what is needed.
fn unfit(found: &Config, wanted: &Config) -> Option<(&'static str, String, String)> {
    let said = |it: &dyn std::fmt::Debug| format!("{it:?}").to_lowercase();
    let settings: [(&'static str, String, String); 11] = [
        ("subjects", said(&sorted(found)), said(&sorted(wanted))),
        ("retention", said(&found.retention), said(&wanted.retention)),
        ("storage", said(&found.storage), said(&wanted.storage)),
        ("discard", said(&found.discard), said(&wanted.discard)),
        ("max_age", said(&found.max_age), said(&wanted.max_age)),
        ("max_msgs", said(&found.max_messages), said(&wanted.max_messages)),
        (
            "max_msgs_per_subject",
            said(&found.max_messages_per_subject),
            said(&wanted.max_messages_per_subject),
        ),
        ("allow_direct", said(&found.allow_direct), said(&wanted.allow_direct)),
        ("allow_rollup_hdrs", said(&found.allow_rollup), said(&wanted.allow_rollup)),
        ("allow_msg_ttl", said(&found.allow_message_ttl), said(&wanted.allow_message_ttl)),
        ("allow_atomic", said(&found.allow_atomic_publish), said(&wanted.allow_atomic_publish)),
    ];
    settings.into_iter().find(|(_, found, wanted)| found != wanted)
}

fn sorted(config: &Config) -> Vec<String> {
    let mut subjects = config.subjects.clone();
    subjects.sort();
    subjects
}

/// The settings of a stream; `None` if there is none of that name.
async fn found(wire: &Wire, stream: &str) -> Result<Option<Config>, NatsError> {
    #[derive(Deserialize)]
    struct Info {
        config: Config,
    }
    let call = format!("STREAM.INFO.{stream}");
    let failed = |why| NatsError::Request { what: format!("describe the stream {stream}"), why };
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        match wire.api::<Info>(&call, &Value::Null).await {
            Ok(Ok(info)) => return Ok(Some(info.config)),
            Ok(Err(error)) if error.err_code == NO_STREAM => return Ok(None),
            Ok(Err(error)) => return Err(failed(error.description)),
            Err(Silence::Error(said)) => return Err(failed(said)),
            Err(Silence::Away(_)) => tokio::time::sleep(PAUSE).await,
        }
    }
    let why = "no answer: JetStream may be off there, or the rules of access forbid it";
    Err(failed(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_breaks_a_promise_is_named_and_others_are_the_operators() {
        let wanted = Config {
            name: "RT_LOG".to_owned(),
            subjects: vec!["rt.job.>".to_owned(), "rt.art.>".to_owned()],
            max_messages: -1,
            discard: DiscardPolicy::New,
            allow_rollup: true,
            ..Config::default()
        };
        assert_eq!(unfit(&wanted.clone(), &wanted), None);
        let other = Config {
            subjects: vec!["rt.art.>".to_owned(), "rt.job.>".to_owned()],
            num_replicas: 3,
            max_bytes: 1 << 30,
            ..wanted.clone()
        };
        assert_eq!(unfit(&other, &wanted), None);
        let aged = Config { max_age: Duration::from_secs(60), ..wanted.clone() };
        assert_eq!(unfit(&aged, &wanted).map(|it| it.0), Some("max_age"));
        let old = Config { discard: DiscardPolicy::Old, ..wanted.clone() };
        let told = unfit(&old, &wanted).unwrap();
        assert_eq!(told, ("discard", "old".to_owned(), "new".to_owned()));
    }
}
