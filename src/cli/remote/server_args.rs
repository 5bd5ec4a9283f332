//! Flags of the connection to a server.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::Args;

use crate::cli::error::CliError;
use crate::client::connect::{Certificates, Remote, Server, ServerError};

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
        match self.certificate_flag() {
            Some(flag) => Err(CliError::Usage(format!("{flag} needs --server"))),
            None => Ok(()),
        }
    }

    /// Connects.
    ///
    /// # Errors
    /// [`CliError::Usage`] for invalid flags, [`CliError::Client`] if the server can't be reached.
    pub(crate) async fn connect(&self) -> Result<Remote, CliError> {
        Ok(self.server(None)?.connect().await?)
    }

    /// Connects to one address of the server's host.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub(crate) async fn connect_to(&self, address: SocketAddr) -> Result<Remote, CliError> {
        Ok(self.server(Some(address))?.connect().await?)
    }

    /// The server's URL.
    ///
    /// # Errors
    /// [`CliError::Usage`] if there is none.
    pub(crate) fn url(&self) -> Result<&str, CliError> {
        let none =
            || CliError::Usage("no server: give --server URL or set RETOUCH_SERVER".to_owned());
        self.server.as_deref().ok_or_else(none)
    }

    fn server(&self, address: Option<SocketAddr>) -> Result<Server, CliError> {
        let url = self.url()?;
        let identity = match (&self.client_cert, &self.client_key) {
            (Some(certificate), Some(key)) => {
                Some((read("--client-cert", certificate)?, read("--client-key", key)?))
            }
            _ => None,
        };
        let ca = self.ca.as_deref().map(|path| read("--ca", path)).transpose()?;
        let certificates = Certificates { ca, identity };
        let traceparent = traceparent();
        let key = self.api_key.as_deref();
        let server = Server::at(address, url, key, certificates, traceparent.as_deref());
        server.map_err(|error| CliError::Usage(self.flagged(&error)))
    }

    /// The error with the flag that it is about.
    fn flagged(&self, error: &ServerError) -> String {
        match error {
            ServerError::Url { .. } => format!("--server {error}"),
            ServerError::NotSecure { url } => {
                let flag = self.certificate_flag().unwrap_or_default();
                format!("--server {url}: {flag} is for https:// addresses")
            }
            ServerError::Key => {
                "--api-key contains characters that are not allowed in a key".to_owned()
            }
            ServerError::Certificates(_) => error.to_string(),
        }
    }

    /// The first flag given that names a certificate.
    fn certificate_flag(&self) -> Option<&'static str> {
        let flags = [("--ca", &self.ca), ("--client-cert", &self.client_cert)];
        flags.into_iter().find(|(_, path)| path.is_some()).map(|(flag, _)| flag)
    }
}

/// The W3C trace context of the process that started this one (`TRACEPARENT`).
fn traceparent() -> Option<String> {
    env::var("TRACEPARENT").ok().filter(|it| it.len() == 55 && it.starts_with("00-"))
}

fn read(flag: &str, path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(|error| CliError::Usage(format!("{flag} {}: {error}", path.display())))
}
