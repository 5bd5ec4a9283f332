//! Connection to a server: URL, TLS certificates, API key and trace context.

use std::{
    env,
    fmt::Display,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use opentelemetry::trace::TraceContextExt;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::cli::{client::refusal::RemoteError, error::CliError};
use crate::server::address::{self, masked};
use crate::wire::v1::edit_service_client::EditServiceClient;

/// Timeout of connecting.
const CONNECT: Duration = Duration::from_secs(10);
/// HTTP/2 keepalive while calls are open: interval and timeout, to detect a server that has vanished.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(20));
/// Largest response, in bytes; servers keep theirs below 4 MiB.
const MAX_ANSWER: usize = 8 << 20;
/// Largest request, in bytes; pictures larger than [`super::request::INLINE`] are uploaded in chunks.
const MAX_REQUEST: usize = 32 << 20;

/// The server, as typed.
#[derive(derive_more::Debug, Clone, Default, Args)]
pub(crate) struct ServerArgs {
    /// Use the server at this address, such as `http://localhost:50051`, instead of a model on this machine.
    #[arg(long, value_name = "URL", env = "RETOUCH_SERVER", hide_env_values = true)]
    #[debug(skip)]
    pub(crate) server: Option<String>,
    /// Key that the server knows the caller by.
    #[arg(long, value_name = "KEY", env = "RETOUCH_API_KEY", hide_env_values = true)]
    #[debug(skip)]
    pub(crate) api_key: Option<String>,
    /// Certificates, in PEM, that may have signed the server's, instead of the system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The caller's own certificate, in PEM, for servers that ask for one.
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub(crate) client_cert: Option<PathBuf>,
    /// The key of that certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    pub(crate) client_key: Option<PathBuf>,
}

/// gRPC client that adds the caller's headers.
pub(crate) type Api = EditServiceClient<InterceptedService<Channel, Headers>>;

/// A connected server.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    /// The gRPC client.
    pub(crate) api: Api,
}

/// Headers of every call.
#[derive(derive_more::Debug, Clone)]
pub(crate) struct Headers {
    #[debug(skip)]
    authorization: Option<MetadataValue<Ascii>>,
    trace: Option<MetadataValue<Ascii>>,
}

impl ServerArgs {
    /// Whether a server is given.
    pub(crate) fn is_given(&self) -> bool {
        self.server.is_some()
    }

    /// Refuses flags that have an effect only with a server.
    ///
    /// # Errors
    /// [`CliError::Usage`] names the flag.
    pub(crate) fn refuse_alone(&self) -> Result<(), CliError> {
        let given = [("--ca", &self.ca), ("--client-cert", &self.client_cert)];
        match given.into_iter().find(|(_, path)| path.is_some()) {
            Some((flag, _)) => Err(CliError::Usage(format!("{flag} needs --server"))),
            None => Ok(()),
        }
    }

    /// Connects.
    ///
    /// # Errors
    /// [`CliError::Usage`] for invalid flags, [`RemoteError::Unreachable`] if the server can't be reached.
    pub(crate) async fn connect(&self) -> Result<Remote, CliError> {
        let Some(url) = &self.server else {
            let message = "no server: give --server URL or set RETOUCH_SERVER";
            return Err(CliError::Usage(message.to_owned()));
        };
        let endpoint = self.endpoint(url)?;
        let channel = endpoint.connect().await.map_err(|error| RemoteError::Unreachable {
            url: url.clone(),
            reason: deepest(&error),
        })?;
        let headers = Headers { authorization: self.authorization()?, trace: traceparent() };
        let api = EditServiceClient::with_interceptor(channel, headers)
            .max_decoding_message_size(MAX_ANSWER)
            .max_encoding_message_size(MAX_REQUEST);
        Ok(Remote { api })
    }

    fn endpoint(&self, url: &str) -> Result<Endpoint, CliError> {
        let wrong = |why: &dyn Display| CliError::Usage(format!("--server {}: {why}", masked(url)));
        let uri = address::url(url).map_err(|error| wrong(&error))?;
        let secure = uri.scheme_str() == Some("https");
        let (every, within) = KEEPALIVE;
        let endpoint = Endpoint::from(uri)
            .user_agent(concat!("retouch/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| CliError::Defect(error.to_string()))?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(every)
            .keep_alive_timeout(within);
        if !secure {
            let given = [("--ca", &self.ca), ("--client-cert", &self.client_cert)];
            return match given.into_iter().find(|(_, path)| path.is_some()) {
                Some((flag, _)) => Err(wrong(&format_args!("{flag} is for https:// addresses"))),
                None => Ok(endpoint),
            };
        }
        let tls = endpoint.tls_config(self.tls()?);
        tls.map_err(|error| CliError::Usage(format!("certificates: {}", deepest(&error))))
    }

    fn tls(&self) -> Result<ClientTlsConfig, CliError> {
        let mut tls = ClientTlsConfig::new();
        tls = match &self.ca {
            Some(path) => tls.ca_certificate(Certificate::from_pem(read("--ca", path)?)),
            None => tls.with_enabled_roots(),
        };
        if let (Some(cert), Some(key)) = (&self.client_cert, &self.client_key) {
            let (cert, key) = (read("--client-cert", cert)?, read("--client-key", key)?);
            tls = tls.identity(Identity::from_pem(cert, key));
        }
        Ok(tls)
    }

    fn authorization(&self) -> Result<Option<MetadataValue<Ascii>>, CliError> {
        let Some(key) = &self.api_key else { return Ok(None) };
        let value = format!("Bearer {}", key.trim()).parse::<MetadataValue<Ascii>>();
        let mut value = value.map_err(|_| {
            CliError::Usage("--api-key holds characters that no key has".to_owned())
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        if let Some(authorization) = &self.authorization {
            metadata.insert("authorization", authorization.clone());
        }
        if let Some(trace) = &self.trace {
            metadata.insert("traceparent", trace.clone());
        }
        Ok(request)
    }
}

/// The W3C trace context of the active span, else that of the parent process (`TRACEPARENT`).
fn traceparent() -> Option<MetadataValue<Ascii>> {
    let context = tracing::Span::current().context();
    let span = context.span().span_context().clone();
    let text = if span.is_valid() {
        let (trace, id, flags) = (span.trace_id(), span.span_id(), span.trace_flags().to_u8());
        format!("00-{trace}-{id}-{flags:02x}")
    } else {
        env::var("TRACEPARENT").ok().filter(|it| it.len() == 55 && it.starts_with("00-"))?
    };
    text.parse().ok()
}

fn read(flag: &str, path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(|error| CliError::Usage(format!("{flag} {}: {error}", path.display())))
}

/// The innermost source of an error, as text.
fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string().replace('\n', " ")
}
