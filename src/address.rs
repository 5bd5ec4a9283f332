//! Server URLs: parsing, and masking of secrets for messages.

use http::Uri;

/// Why a server URL is refused. Its text never repeats the URL, which may contain secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not a URL with a host.
    #[error("is not a server URL; give http://HOST:PORT or https://HOST:PORT")]
    Form,
    /// The scheme is not http or https.
    #[error("must start with http:// or https://, as in http://HOST:PORT")]
    Scheme,
    /// It contains a user name or password, which gRPC has no use for.
    #[error(
        "contains a user name or password, which gRPC does not support; give http://HOST:PORT or https://HOST:PORT"
    )]
    User,
    /// It contains a path or query, which gRPC has no use for.
    #[error(
        "contains a path or query, which gRPC does not support; give http://HOST:PORT or https://HOST:PORT"
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
