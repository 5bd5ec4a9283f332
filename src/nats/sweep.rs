//! Files whose process died between storing them and the commit that would have named them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::journal::ledger::LedgerError;
use crate::nats::{
    blobs, leases,
    link::{self, Wire},
    log,
};

/// Age from which a file that no record names is deleted, and how often they are looked for, by one of all processes.
const AGE: Duration = Duration::from_secs(60 * 60);
/// Kind of the lease of the process that looks.
const JANITOR: &str = "janitor";

/// Deletes files that no record names, unless a process has looked for them a short while ago; returns how many.
pub(super) async fn sweep(wire: &Wire) -> Result<usize, LedgerError> {
    if !leases::held(wire, JANITOR).await?.is_empty() {
        return Ok(0);
    }
    leases::hold(wire, JANITOR, "sweep", AGE).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Ids begin with the time at which they were made (UUID version 7).
    let is_old = |id: &Uuid| {
        id.get_timestamp().is_some_and(|it| it.to_unix().0 + AGE.as_secs() < now.as_secs())
    };
    let mut gone = Vec::new();
    for id in stored(wire).await?.into_iter().filter(is_old) {
        if log::artifact(wire, id).await?.is_none() {
            gone.push(blobs::subject(wire, "blob", &id.to_string()));
        }
    }
    let count = gone.len();
    if count > 0 {
        tracing::info!(count, "files that no record names are deleted");
        blobs::drop_all(wire, gone).await;
    }
    Ok(count)
}

/// Ids of the files that there are, as many as the servers name at once.
async fn stored(wire: &Wire) -> Result<Vec<Uuid>, LedgerError> {
    let first = wire.names.subject("blob", "*.0");
    let call = format!("STREAM.INFO.{}", wire.names.blob());
    let info = wire.ask::<Value>(&call, &json!({ "subjects_filter": first })).await?;
    let info = info.map_err(|error| link::refused(&call, error.description))?;
    let subjects = info["state"]["subjects"].as_object();
    let id = |subject: &String| Uuid::try_parse(subject.rsplit('.').nth(1)?).ok();
    Ok(subjects.into_iter().flatten().filter_map(|(subject, _)| id(subject)).collect())
}
