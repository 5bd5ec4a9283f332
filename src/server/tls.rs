//! Listener of the gRPC port, plaintext or TLS, with certificates that are reloaded when their files change.
//!
//! tonic's own TLS loads its certificate only once, at the start; quickwit wraps its acceptor for the same reason.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::net::TcpListener;

use crate::server::{config::TlsFiles, stamp::Stamp};

/// Why the listener can't be opened, or certificates can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The address can't be bound.
    #[error("can't bind {listen}")]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// The underlying error.
        source: io::Error,
    },
    /// A file is not PEM of the expected kind.
    #[error("{path} can't be used as {what}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// The expected kind, such as `a certificate`.
        what: &'static str,
        /// The underlying error.
        source: rustls::pki_types::pem::Error,
    },
    /// A file has no certificate in it.
    #[error("{path} holds no certificate")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// rustls refuses the certificates.
    #[error("the certificates can't be used")]
    Certificates(#[from] rustls::Error),
    /// rustls refuses the clients' CA certificates.
    #[error("the CA certificates for clients (tls.client_ca) are invalid")]
    Roots(#[from] rustls::server::VerifierBuilderError),
}

/// An open listener with its TLS configuration.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    tls: Option<ReloadedTls>,
}

impl Listener {
    /// Binds the port, for TLS if files are given.
    ///
    /// # Errors
    /// [`TlsError`] if the address can't be bound, or the files can't be used.
    pub async fn bind(listen: SocketAddr, tls: Option<TlsFiles>) -> Result<Self, TlsError> {
        let tls = tls.map(ReloadedTls::open).transpose()?;
        let tcp =
            TcpListener::bind(listen).await.map_err(|source| TlsError::Bind { listen, source })?;
        Ok(Self { tcp, tls })
    }

    /// The bound address, with the actual port if port 0 was asked for.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// A listener over an already bound socket, in plaintext.
    ///
    /// # Errors
    /// If the socket can't be registered with the runtime.
    pub fn plain(socket: std::net::TcpListener) -> io::Result<Self> {
        Ok(Self { tcp: TcpListener::from_std(socket)?, tls: None })
    }

    /// The listener, and its certificates if it has any.
    pub(super) fn into_parts(self) -> (TcpListener, Option<ReloadedTls>) {
        (self.tcp, self.tls)
    }
}

/// Whether a handshake failed over trust in a certificate, which an operator has to fix.
pub(super) fn is_about_certificates(error: &io::Error) -> bool {
    use rustls::{AlertDescription as Alert, Error};
    let error = error.get_ref().and_then(|it| it.downcast_ref::<Error>());
    match error {
        Some(
            Error::InvalidCertificate(_)
            | Error::NoCertificatesPresented
            | Error::InvalidCertRevocationList(_),
        ) => true,
        Some(Error::AlertReceived(alert)) => matches!(
            alert,
            Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
        ),
        _ => false,
    }
}

/// TLS configuration, with the state of its files when last read.
#[derive(Debug)]
pub(super) struct ReloadedTls {
    files: TlsFiles,
    read: Mutex<(Stamp, Arc<ServerConfig>)>,
}

impl ReloadedTls {
    fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let stamp = Stamp::of(&files.paths());
        let read = Mutex::new((stamp, Arc::new(read(&files)?)));
        Ok(Self { files, read })
    }

    /// The TLS configuration, reloaded if a file has changed; if they have become invalid, the previous one stays in
    /// use.
    pub(super) fn now(&self) -> Arc<ServerConfig> {
        let stamp = Stamp::of(&self.files.paths());
        // The state stays consistent even if a thread panicked while holding the lock.
        let mut last = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != stamp {
            last.0 = stamp;
            match read(&self.files) {
                Ok(config) => {
                    tracing::info!(cert = %self.files.cert.display(), "certificates reloaded");
                    last.1 = Arc::new(config);
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(
                        error,
                        "the changed certificates are invalid; the previous ones stay in use"
                    );
                }
            }
        }
        Arc::clone(&last.1)
    }
}

fn read(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(path)? {
                roots.add(root)?;
            }
            builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?,
            )
        }
    };
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| TlsError::Pem {
        path: files.key.clone(),
        what: "a private key",
        source,
    })?;
    let mut config = builder.with_single_cert(certificates(&files.cert)?, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = |source| TlsError::Pem { path: path.clone(), what: "a certificate", source };
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(fault)?
        .collect::<Result<_, _>>()
        .map_err(fault)?;
    if found.is_empty() {
        return Err(TlsError::Empty { path: path.clone() });
    }
    Ok(found)
}
