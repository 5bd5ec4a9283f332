//! Parsing of addresses: listen addresses and server URLs, and masking of secrets in URLs for messages.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, ToSocketAddrs},
};

use http::Uri;
use serde::{Deserialize, Deserializer, de};

/// Accepted forms of a listen address.
const LISTEN: &str = "expected HOST:PORT, such as 127.0.0.1:50051, localhost:50051, [::]:50051, or :50051 for all of IPv4";

/// Why a listen address is refused.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Not of the form HOST:PORT.
    #[error("`{0}` is no address to listen on; {LISTEN}")]
    Form(String),
    /// The port is no number from 0 to 65535.
    #[error("`{0}` is no port, which is 0 to 65535; {LISTEN}")]
    Port(String),
    /// The host name doesn't resolve.
    #[error("the host `{host}` has no address ({source}); {LISTEN}")]
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

/// Why a server URL is refused. Its text never repeats the URL, which may contain secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not a URL with a host.
    #[error("is no address; give http://HOST:PORT or https://HOST:PORT")]
    Form,
    /// The scheme is not http or https.
    #[error("must start with http:// or https://, as in http://HOST:PORT")]
    Scheme,
    /// It contains a user name or password, which gRPC has no use for.
    #[error(
        "holds a user name or a password, which would be sent nowhere; give http://HOST:PORT or https://HOST:PORT"
    )]
    User,
    /// It contains a path or query, which gRPC has no use for.
    #[error(
        "holds a path or a query, which would be sent nowhere; give http://HOST:PORT or https://HOST:PORT"
    )]
    Path,
}

/// Parses the URL of a gRPC server.
///
/// # Errors
/// [`UrlError`], which describes the accepted forms.
pub fn url(text: &str) -> Result<Uri, UrlError> {
    let rest = text.strip_prefix("http://").or(text.strip_prefix("https://"));
    let rest = rest.ok_or(UrlError::Scheme)?;
    if rest.contains('@') {
        return Err(UrlError::User);
    }
    if rest.trim_end_matches('/').contains(['/', '?', '#']) {
        return Err(UrlError::Path);
    }
    let uri: Uri = text.parse().map_err(|_| UrlError::Form)?;
    if uri.host().is_none_or(str::is_empty) {
        return Err(UrlError::Form);
    }
    Ok(uri)
}

/// A text in which every URL has its user name, password and query removed.
///
/// A password may contain any character, so everything up to the last `@` is removed.
pub fn masked(text: &str) -> String {
    let Some((before, rest)) = text.split_once("://") else { return text.to_owned() };
    let (user, rest) = match rest.rsplit_once('@') {
        Some((_, rest)) => ("…@", rest),
        None => ("", rest),
    };
    let (rest, query) = match rest.find('?') {
        None => (rest.to_owned(), String::new()),
        Some(at) => {
            let ends =
                |it: char| it.is_whitespace() || matches!(it, '`' | '"' | '\'' | ',' | ')' | ';');
            let end = rest[at..].find(ends).map_or(rest.len(), |it| at + it);
            (format!("{}?…", &rest[..at]), rest[end..].to_owned())
        }
    };
    format!("{before}://{user}{rest}{query}")
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
            ("", "is no address"),
            ("50051", "`50051` is no address"),
            ("localhost", "`localhost` is no address"),
            ("::1:50051", "[::]:50051"),
            ("[::1]", "is no address"),
            ("[::x]:1", "is no address"),
            ("/run/retouch.sock", "is no address"),
            ("unix:/run/retouch.sock", "is no address"),
            ("http://localhost:50051", "is no address"),
            ("localhost:70000", "`70000` is no port"),
            ("127.0.0.1:65536", "`65536` is no port"),
            ("localhost:-1", "`-1` is no port"),
            ("localhost:", "`` is no port"),
            // Longer than a DNS label may be, so it fails without asking a name server.
            (&format!("{}:1", "x".repeat(64)), "has no address"),
        ] {
            let error = listen(text).unwrap_err().to_string();
            assert!(
                error.contains(said) && error.contains("expected HOST:PORT"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_servers_url_has_a_host_and_nothing_secret() {
        for text in ["http://localhost:4317", "https://collector.example", "http://[::1]:1/"] {
            assert!(url(text).is_ok(), "{text}");
        }
        for (text, error) in [
            ("localhost:4317", UrlError::Scheme),
            ("ftp://host", UrlError::Scheme),
            ("http://", UrlError::Form),
            ("http://:4317", UrlError::Form),
            ("http://user:secret@host:1", UrlError::User),
            ("https://token@host", UrlError::User),
            ("https://user:se/cr@et@host", UrlError::User),
            ("http://host:4318/v1/traces", UrlError::Path),
            ("http://host?token=secret", UrlError::Path),
        ] {
            assert_eq!(url(text), Err(error), "{text}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn messages_keep_secrets() {
        for (text, expected) in [
            ("no url", "no url"),
            ("http://host:1/path", "http://host:1/path"),
            ("http://user:secret@host:1 is wrong", "http://…@host:1 is wrong"),
            ("`https://secret@host`, expected", "`https://…@host`, expected"),
            ("at http://u:p@ss/sec?ret@host/x", "at http://…@host/x"),
            (
                "found \"http://host/x?token=secret\", expected",
                "found \"http://host/x?…\", expected",
            ),
            ("http://host?token=secret", "http://host?…"),
        ] {
            assert_eq!(masked(text), expected);
        }
    }
}
