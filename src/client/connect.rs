//! Connection to a server: URL, TLS certificates, API key and trace context.

use std::{net::SocketAddr, time::Duration};

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri},
};

use crate::address::{self, UrlError, masked};
use crate::client::error::ClientError;
use crate::wire::v1::edit_service_client::EditServiceClient;

/// Timeout of connecting.
const CONNECT: Duration = Duration::from_secs(10);
/// HTTP/2 keepalive while calls are open: interval and timeout, to detect a server that has vanished.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(20));
/// Largest response, in bytes; servers keep theirs below 4 MiB.
const MAX_ANSWER: usize = 8 << 20;
/// Largest request, in bytes; pictures larger than [`super::calls::INLINE`] are uploaded in chunks.
const MAX_REQUEST: usize = 32 << 20;

/// gRPC client that adds the caller's headers.
pub type Api = EditServiceClient<InterceptedService<Channel, Headers>>;

/// Where a server is, and the credentials of its caller, checked but not yet used.
#[derive(Debug)]
pub struct Server {
    url: String,
    endpoint: Endpoint,
    headers: Headers,
}

/// Certificates of a connection, in PEM.
#[derive(Debug, Default)]
pub struct Certificates {
    /// Those that may have signed the server's, instead of the system's.
    pub ca: Option<Vec<u8>>,
    /// The caller's own and its key (mTLS).
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Why a server can't be called as specified.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Its URL is invalid.
    #[error("{url}: {reason}")]
    Url {
        /// The URL, without secrets.
        url: String,
        /// What is wrong.
        reason: UrlError,
    },
    /// Certificates are given for a connection without TLS.
    #[error("{url}: certificates are for https:// addresses")]
    NotSecure {
        /// The URL.
        url: String,
    },
    /// The certificates can't be used.
    #[error("certificates: {0}")]
    Certificates(String),
    /// The API key can't be sent in a header.
    #[error("the API key contains characters that are not allowed in a key")]
    Key,
}

/// A connected server.
#[derive(Debug, Clone)]
pub struct Remote {
    /// The gRPC client.
    pub api: Api,
}

/// Headers of every call.
#[derive(derive_more::Debug, Clone)]
pub struct Headers {
    #[debug(skip)]
    authorization: Option<MetadataValue<Ascii>>,
    traceparent: Option<MetadataValue<Ascii>>,
}

impl Server {
    /// Checks what a connection is made from; `traceparent` is the W3C trace context that every call continues.
    ///
    /// # Errors
    /// [`ServerError`] says which of it is invalid.
    pub fn new(
        url: &str,
        api_key: Option<&str>,
        certificates: Certificates,
        traceparent: Option<&str>,
    ) -> Result<Self, ServerError> {
        Self::at(None, url, api_key, certificates, traceparent)
    }

    /// The same, where `address` is the one of the URL's host that is to be called.
    ///
    /// # Errors
    /// As [`Server::new`].
    pub fn at(
        address: Option<SocketAddr>,
        url: &str,
        api_key: Option<&str>,
        certificates: Certificates,
        traceparent: Option<&str>,
    ) -> Result<Self, ServerError> {
        let endpoint = endpoint(address, url, certificates)?;
        let headers = Headers {
            authorization: api_key.map(authorization).transpose()?,
            traceparent: traceparent.and_then(|it| it.parse().ok()),
        };
        Ok(Self { url: url.to_owned(), endpoint, headers })
    }

    /// Connects.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`].
    pub async fn connect(self) -> Result<Remote, ClientError> {
        let Self { url, endpoint, headers } = self;
        let unreachable = |error| ClientError::Unreachable { url, reason: deepest(&error) };
        let channel = endpoint.connect().await.map_err(unreachable)?;
        let api = EditServiceClient::with_interceptor(channel, headers)
            .max_decoding_message_size(MAX_ANSWER)
            .max_encoding_message_size(MAX_REQUEST);
        Ok(Remote { api })
    }
}

fn endpoint(
    address: Option<SocketAddr>,
    url: &str,
    certificates: Certificates,
) -> Result<Endpoint, ServerError> {
    let Certificates { ca, identity } = certificates;
    let uri = address::url(url);
    let uri = uri.map_err(|reason| ServerError::Url { url: masked(url), reason })?;
    let is_secure = uri.scheme_str() == Some("https");
    let (every, within) = KEEPALIVE;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let endpoint = match address {
        // Called under the host's name, as by everybody.
        Some(address) => Endpoint::from(dialed(&uri, address)).origin(uri),
        None => Endpoint::from(uri),
    };
    let endpoint = endpoint
        .user_agent(concat!("retouch/", env!("CARGO_PKG_VERSION")))
        .expect("a name and a version are a header")
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(every)
        .keep_alive_timeout(within);
    if !is_secure {
        return if ca.is_some() || identity.is_some() {
            Err(ServerError::NotSecure { url: url.to_owned() })
        } else {
            Ok(endpoint)
        };
    }
    let mut tls = ClientTlsConfig::new().domain_name(host);
    tls = match ca {
        Some(ca) => tls.ca_certificate(Certificate::from_pem(ca)),
        None => tls.with_enabled_roots(),
    };
    if let Some((certificate, key)) = identity {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    endpoint.tls_config(tls).map_err(|error| ServerError::Certificates(deepest(&error)))
}

/// The URI of one address of a URI's host.
fn dialed(uri: &Uri, address: SocketAddr) -> Uri {
    let scheme = uri.scheme_str().unwrap_or("http");
    format!("{scheme}://{address}").parse().expect("a scheme and an address are a URI")
}

fn authorization(key: &str) -> Result<MetadataValue<Ascii>, ServerError> {
    let value = format!("Bearer {}", key.trim()).parse();
    let mut value: MetadataValue<Ascii> = value.map_err(|_| ServerError::Key)?;
    value.set_sensitive(true);
    Ok(value)
}

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        if let Some(authorization) = &self.authorization {
            metadata.insert("authorization", authorization.clone());
        }
        if let Some(traceparent) = &self.traceparent {
            metadata.insert("traceparent", traceparent.clone());
        }
        Ok(request)
    }
}

/// The deepest cause of an error.
fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string().replace('\n', " ")
}
