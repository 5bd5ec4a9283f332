//! What a server's monitoring port says that an ordinary connection may not ask: whether it syncs every write.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use serde_json::Value;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer, in bytes.
const LONGEST: u64 = 4 << 20;

/// Whether a server syncs every write before it acknowledges it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sync {
    /// It does.
    Always,
    /// It does now and then: what it acknowledged meanwhile is lost with the power.
    Sometimes,
    /// It does not say.
    Unknown(String),
}

impl fmt::Display for Sync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => write!(f, "yes"),
            Self::Sometimes => write!(f, "no"),
            Self::Unknown(why) => write!(f, "unknown ({why})"),
        }
    }
}

/// Asks the monitoring port at `http://HOST:PORT`.
pub fn sync(url: &str) -> Sync {
    match varz(url) {
        Ok(varz) => of_varz(&varz),
        Err(error) => Sync::Unknown(error.to_string()),
    }
}

fn of_varz(varz: &Value) -> Sync {
    let config = &varz["jetstream"]["config"];
    match config["sync_always"].as_bool() {
        Some(true) => Sync::Always,
        // The field is left out where it is false.
        _ if config["store_dir"].is_string() => Sync::Sometimes,
        _ => Sync::Unknown("its JetStream is off".to_owned()),
    }
}

fn varz(url: &str) -> io::Result<Value> {
    let rest = url.strip_prefix("http://");
    let rest = rest.ok_or_else(|| io::Error::other("give http://HOST:PORT"))?;
    let host = rest.trim_end_matches('/');
    let address = host.to_socket_addrs()?.next();
    let address = address.ok_or_else(|| io::Error::other("it has no address"))?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /varz HTTP/1.0\r\nHost: {host}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    let body = text.split_once("\r\n\r\n").map_or("", |it| it.1);
    serde_json::from_str(body).map_err(|_| io::Error::other("it answers no JSON"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_server_that_says_so_syncs_always() {
        let varz = |config: Value| json!({ "jetstream": { "config": config } });
        let of = |config| of_varz(&varz(config));
        assert_eq!(of(json!({ "store_dir": "/data", "sync_always": true })), Sync::Always);
        assert_eq!(of(json!({ "store_dir": "/data" })), Sync::Sometimes);
        assert!(matches!(of(json!({})), Sync::Unknown(_)));
        assert!(matches!(sync("nats://localhost:1"), Sync::Unknown(_)));
    }
}
