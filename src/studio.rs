//! The studio's page, embedded: a page for browsers on the port of the service, beside its calls.
//!
//! The page calls the service as any other gRPC-Web client does, by paths relative to its own address.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body_util::Full;
use include_dir::{Dir, DirEntry, include_dir};
use tonic::body::Body;
use tower::{Layer, Service};

/// Any error.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What the page may load and do: its own files and calls, and pictures that it holds itself.
const POLICY: &str = "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";
/// Headers of every answer.
const HEADERS: [(&str, &str); 4] = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
];
/// The page itself.
const INDEX: &str = "index.html";
/// Files whose names are digests of what they hold.
const NAMED_BY_DIGEST: &str = "assets/";

/// The built page (`make studio`).
static PAGE: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/assets/studio");

/// One file of the page.
struct File {
    mime: &'static str,
    bytes: Bytes,
    /// Compressed, where that is worth it.
    gzip: Option<Bytes>,
}

static FILES: LazyLock<BTreeMap<String, File>> = LazyLock::new(|| {
    let mut files = BTreeMap::new();
    add(&PAGE, &mut files);
    files
});

/// Adds the files of a folder, and of those in it.
fn add(folder: &'static Dir<'static>, files: &mut BTreeMap<String, File>) {
    for entry in folder.entries() {
        match entry {
            DirEntry::Dir(folder) => add(folder, files),
            DirEntry::File(file) => {
                let name = file.path().to_string_lossy().into_owned();
                let (bytes, mime) = (Bytes::from_static(file.contents()), mime(&name));
                let is_text = mime.starts_with("text/") || mime == "image/svg+xml";
                let gzip = is_text.then(|| gzipped(&bytes).ok()).flatten();
                files.insert(name, File { mime, bytes, gzip });
            }
        }
    }
}

fn gzipped(bytes: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish().map(Bytes::from)
}

/// The media type of a file of the page.
fn mime(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

/// Layer that answers for the page's files in front of a service.
#[derive(Debug, Clone, Copy)]
pub struct StudioLayer {
    is_on: bool,
}

impl StudioLayer {
    /// A layer that serves the page if `is_on`, else passes everything on.
    pub fn new(is_on: bool) -> Self {
        Self { is_on }
    }
}

impl<S> Layer<S> for StudioLayer {
    type Service = Studio<S>;

    fn layer(&self, inner: S) -> Studio<S> {
        Studio { inner, is_on: self.is_on }
    }
}

/// A service with the page in front of it.
#[derive(Debug, Clone)]
pub struct Studio<S> {
    inner: S,
    is_on: bool,
}

impl<S, B> Service<Request<Body>> for Studio<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let file = if self.is_on { asked(request.method(), request.uri().path()) } else { None };
        if let Some((name, file)) = file {
            let answer = answer(name, file, request.method(), request.headers());
            return Box::pin(async move { Ok(answer) });
        }
        let answer = self.inner.call(request);
        Box::pin(async move { Ok(answer.await?.map(Body::new)) })
    }
}

/// The file that a request asks for.
fn asked(method: &Method, path: &str) -> Option<(&'static str, &'static File)> {
    if method != Method::GET && method != Method::HEAD {
        return None;
    }
    let name = path.strip_prefix('/')?;
    let name = if name.is_empty() { INDEX } else { name };
    FILES.get_key_value(name).map(|(name, file)| (name.as_str(), file))
}

/// Whether an entry of Accept-Encoding, such as `gzip;q=0.8`, says that gzip is taken.
fn is_gzip(entry: &str) -> bool {
    let mut parts = entry.split(';').map(str::trim);
    let weight = |it: &str| {
        it.split_once('=').filter(|it| it.0.eq_ignore_ascii_case("q"))?.1.parse::<f32>().ok()
    };
    parts.next().is_some_and(|it| it.eq_ignore_ascii_case("gzip"))
        && parts.all(|it| weight(it) != Some(0.0))
}

fn answer(name: &str, file: &File, method: &Method, headers: &HeaderMap) -> Response<Body> {
    let takes_gzip = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','))
        .any(is_gzip);
    let packed = file.gzip.as_ref().filter(|_| takes_gzip);
    let bytes = packed.unwrap_or(&file.bytes).clone();
    let length = HeaderValue::from(bytes.len());
    let body = if method == Method::HEAD { Body::empty() } else { Body::new(Full::new(bytes)) };
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.mime));
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if packed.is_some() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let cache = if name.starts_with(NAMED_BY_DIGEST) {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Size of the page in bytes, compressed as a browser gets it.
    fn weight() -> usize {
        FILES.values().map(|it| it.gzip.as_ref().unwrap_or(&it.bytes).len()).sum()
    }

    #[test]
    fn the_page_weighs_at_most_400_kb() {
        assert!(weight() <= 400_000, "{} bytes", weight());
    }

    #[test]
    fn the_page_names_no_other_origin_and_holds_no_inline_script_or_style() {
        let page = &FILES[INDEX].bytes;
        let page = std::str::from_utf8(page).unwrap();
        assert!(
            !page.contains("http:") && !page.contains("https:") && !page.contains("//"),
            "{page}"
        );
        assert!(!page.contains("<style") && !page.contains("style="), "{page}");
        let scripts = page.matches("<script").count();
        assert_eq!(
            (scripts, page.matches("<script type=\"module\" crossorigin src=\"./").count()),
            (1, 1)
        );
    }

    #[test]
    fn files_are_asked_for_by_their_path() {
        let name = |method, path| asked(&method, path).map(|it| it.0);
        assert_eq!(name(Method::GET, "/"), Some(INDEX));
        assert_eq!(name(Method::HEAD, "/icon.svg"), Some("icon.svg"));
        assert_eq!(name(Method::POST, "/"), None);
        for path in ["/retouch.v1.EditService/Edit", "//", "/../Cargo.toml", "/assets", "/%2e"] {
            assert_eq!(name(Method::GET, path), None, "{path}");
        }
    }
}
