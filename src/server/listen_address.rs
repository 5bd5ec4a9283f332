//! Parsing of listen addresses.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, ToSocketAddrs},
};

use serde::{Deserialize, Deserializer, de};

use crate::address::masked;

/// Accepted forms of a listen address.
const LISTEN: &str = "expected HOST:PORT, such as 127.0.0.1:50051, localhost:50051, [::]:50051, or :50051 for all of IPv4";

/// Why a listen address is refused.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Not of the form HOST:PORT.
    #[error("`{0}` is not a listen address; {LISTEN}")]
    Form(String),
    /// The port is no number from 0 to 65535.
    #[error("`{0}` is not a port number (0 to 65535); {LISTEN}")]
    Port(String),
    /// The host name doesn't resolve.
    #[error("the host `{host}` can't be resolved ({source}); {LISTEN}")]
    Host {
        /// The host name.
        host: String,
        /// The resolver's error.
        source: io::Error,
    },
}

/// Parses a listen address. A name is resolved, preferring IPv4; without a host it is all IPv4 interfaces.
///
/// # Errors
/// [`ListenError`], which describes the accepted forms.
pub fn listen(text: &str) -> Result<SocketAddr, ListenError> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let form = || ListenError::Form(masked(text));
    let (host, port) = text.rsplit_once(':').ok_or_else(form)?;
    let is_name = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '-' | '_');
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if text.contains('/') || !bracketed && !host.chars().all(is_name) {
        return Err(form());
    }
    let port: u16 = port.parse().map_err(|_| ListenError::Port(port.to_owned()))?;
    if bracketed {
        return Err(form());
    }
    if host.is_empty() {
        return Ok((Ipv4Addr::UNSPECIFIED, port).into());
    }
    let unknown = |source| ListenError::Host { host: host.to_owned(), source };
    let found: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(unknown)?.collect();
    let best = found.iter().find(|it| it.is_ipv4()).or(found.first()).copied();
    best.ok_or_else(|| unknown(io::ErrorKind::NotFound.into()))
}

/// Deserializes a listen address in a configuration file or environment variable.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    listen(&String::deserialize(from)?).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ports_are_addresses() {
        for (text, expected) in [
            ("127.0.0.1:50051", "127.0.0.1:50051"),
            ("[::]:50051", "[::]:50051"),
            ("[::1]:0", "[::1]:0"),
            (":50051", "0.0.0.0:50051"),
            ("localhost:50051", "127.0.0.1:50051"),
        ] {
            assert_eq!(listen(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_told_what_is_wanted() {
        for (text, said) in [
            ("", "is not a listen address"),
            ("50051", "`50051` is not a listen address"),
            ("localhost", "`localhost` is not a listen address"),
            ("::1:50051", "[::]:50051"),
            ("[::1]", "is not a listen address"),
            ("[::x]:1", "is not a listen address"),
            ("/run/retouch.sock", "is not a listen address"),
            ("unix:/run/retouch.sock", "is not a listen address"),
            ("http://localhost:50051", "is not a listen address"),
            ("localhost:70000", "`70000` is not a port number"),
            ("127.0.0.1:65536", "`65536` is not a port number"),
            ("localhost:-1", "`-1` is not a port number"),
            ("localhost:", "`` is not a port number"),
            // Longer than a DNS label may be, so it fails without asking a name server.
            (&format!("{}:1", "x".repeat(64)), "can't be resolved"),
        ] {
            let error = listen(text).unwrap_err().to_string();
            assert!(
                error.contains(said) && error.contains("expected HOST:PORT"),
                "{text}: {error}"
            );
        }
    }
}
