//! The port that calls come in on, plain or TLS, and its certificates, read again when they change.
//!
//! tonic's own TLS takes its certificate once, at the start; quickwit wraps its acceptor for the same reason.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::net::TcpListener;

use crate::server::{config::TlsFiles, stamp::Stamp};

/// Why the listener can't be opened, or certificates can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The address.
    #[error("{listen} can't be listened on")]
    Bind {
        /// Which.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A file that is not PEM of the right kind.
    #[error("{path} can't be used as {what}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// Such as `a certificate`.
        what: &'static str,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// A file without what it should hold.
    #[error("{path} holds no certificate")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Certificates that rustls refuses.
    #[error("the certificates can't be used")]
    Certificates(#[from] rustls::Error),
    /// Roots that rustls refuses.
    #[error("the roots of client certificates can't be used")]
    Roots(#[from] rustls::server::VerifierBuilderError),
}

/// A port on which calls come in.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    tls: Option<Certificates>,
}

impl Listener {
    /// Opens the port; with files, for TLS.
    ///
    /// # Errors
    /// [`TlsError`] if the address is taken, or the files can't be used.
    pub async fn bind(listen: SocketAddr, tls: Option<TlsFiles>) -> Result<Self, TlsError> {
        let tls = tls.map(Certificates::open).transpose()?;
        let tcp =
            TcpListener::bind(listen).await.map_err(|source| TlsError::Bind { listen, source })?;
        Ok(Self { tcp, tls })
    }

    /// Where it listens, with the port that was taken for port 0.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// A port that is open already, in plaintext.
    ///
    /// # Errors
    /// If the runtime can't watch it.
    pub fn plain(socket: std::net::TcpListener) -> io::Result<Self> {
        Ok(Self { tcp: TcpListener::from_std(socket)?, tls: None })
    }

    /// The port, and its certificates if it has any.
    pub(super) fn into_parts(self) -> (TcpListener, Option<Certificates>) {
        (self.tcp, self.tls)
    }
}

/// Whether a handshake failed because one side does not trust the other's certificate, which somebody has to see to.
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

/// Certificates, and what their files were when they were last read.
#[derive(Debug)]
pub(super) struct Certificates {
    files: TlsFiles,
    read: Mutex<(Stamp, Arc<ServerConfig>)>,
}

impl Certificates {
    fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let stamp = Stamp::of(&files.paths());
        let read = Mutex::new((stamp, Arc::new(read(&files)?)));
        Ok(Self { files, read })
    }

    /// The certificates, read again if a file has changed; files that have become unusable leave the old ones.
    pub(super) fn now(&self) -> Arc<ServerConfig> {
        let stamp = Stamp::of(&self.files.paths());
        // A thread that panicked here left whole values behind.
        let mut last = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != stamp {
            last.0 = stamp;
            match read(&self.files) {
                Ok(config) => {
                    tracing::info!(cert = %self.files.cert.display(), "certificates read again");
                    last.1 = Arc::new(config);
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(
                        error,
                        "changed certificates are not usable, the old ones stay"
                    );
                }
            }
        }
        Arc::clone(&last.1)
    }
}

fn read(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
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
