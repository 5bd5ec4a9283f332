//! Leases: messages with a time to live, so that the servers end them, by their own clocks.

use std::{collections::HashSet, time::Duration};

use async_nats::HeaderMap;
use serde_json::{Value, json};

use crate::journal::ledger::LedgerError;
use crate::nats::link::{self, Wire};

/// Takes or renews a lease.
pub(super) async fn hold(
    wire: &Wire,
    kind: &str,
    name: &str,
    lasts: Duration,
) -> Result<(), LedgerError> {
    let mut headers = HeaderMap::new();
    // The servers count whole seconds.
    headers.insert("Nats-TTL", lasts.as_secs().max(1).to_string());
    wire.store_again(&subject(wire, kind, name), headers, bytes::Bytes::from_static(b"1")).await?;
    Ok(())
}

/// The names of the leases of a kind that have not ended.
pub(super) async fn held(wire: &Wire, kind: &str) -> Result<HashSet<String>, LedgerError> {
    let all = subject(wire, kind, ">");
    let call = format!("STREAM.INFO.{}", wire.names.lease());
    let info = wire.ask::<Value>(&call, &json!({ "subjects_filter": all })).await?;
    let info = info.map_err(|error| link::refused(&call, error.description))?;
    let before = all.len() - 1;
    let subjects = info["state"]["subjects"].as_object();
    Ok(subjects.into_iter().flatten().map(|(subject, _)| subject[before..].to_owned()).collect())
}

fn subject(wire: &Wire, kind: &str, name: &str) -> String {
    wire.names.subject("lease", format!("{kind}.{name}"))
}
