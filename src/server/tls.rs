//! Connections, plain or TLS: accepted one by one, shaken hands with side by side, certificates read again when they change.
//!
//! tonic's own TLS takes its certificate once, at the start; quickwit wraps its acceptor for the same reason.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, TcpConnectInfo, TcpIncoming};

use crate::server::{config::TlsFiles, stamp::Stamp};

/// How long a peer may take over its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes at a time; a connection beyond them is dropped, so that silent peers can't use up the process's files.
const HANDSHAKES: usize = 1024;
/// Silence on a connection after which TCP itself asks whether the peer is there.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// The pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
    tls: Option<Arc<Certificates>>,
}

impl Listener {
    /// Opens the port; with files, for TLS.
    ///
    /// # Errors
    /// [`TlsError`] if the address is taken, or the files can't be used.
    pub async fn bind(listen: SocketAddr, tls: Option<TlsFiles>) -> Result<Self, TlsError> {
        let tls = tls.map(Certificates::open).transpose()?.map(Arc::new);
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

    /// The connections, for tonic's `serve_with_incoming`. The port closes when the stream is dropped.
    ///
    /// Must be called within a tokio runtime.
    pub fn incoming(self) -> impl Stream<Item = io::Result<Connection>> + Send + 'static {
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(self.accept(sender));
        ReceiverStream::new(receiver).map(Ok)
    }

    async fn accept(self, sender: mpsc::Sender<Connection>) {
        let mut tcp =
            TcpIncoming::from(self.tcp).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE));
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
        loop {
            let next = tokio::select! {
                () = sender.closed() => return,
                next = tcp.next() => next,
            };
            let stream = match next {
                None => return,
                Some(Ok(stream)) => stream,
                Some(Err(error)) => {
                    tracing::warn!(%error, "a connection can't be accepted");
                    time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(tls) = &self.tls else {
                if sender.send(Connection(Io::Plain(stream))).await.is_err() {
                    return;
                }
                continue;
            };
            let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
                tracing::warn!(limit = HANDSHAKES, "too many handshakes at a time, one is dropped");
                continue;
            };
            let (acceptor, sender) = (TlsAcceptor::from(tls.now()), sender.clone());
            tokio::spawn(async move {
                let shaken = time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
                drop(permit);
                match shaken {
                    // A receiver that is gone has shut down.
                    Ok(Ok(stream)) => {
                        let _ = sender.send(Connection(Io::Tls(Box::new(stream)))).await;
                    }
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "a handshake failed");
                    }
                    Err(_) => tracing::debug!("a handshake took too long"),
                }
            });
        }
    }
}

/// Certificates, and what their files were when they were last read.
#[derive(Debug)]
struct Certificates {
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
    fn now(&self) -> Arc<ServerConfig> {
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

/// An accepted connection.
#[derive(Debug)]
pub struct Connection(Io);

#[derive(Debug)]
enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connected for Connection {
    /// The addresses, so that `tonic::Request::remote_addr` works on either kind.
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        match &self.0 {
            Io::Plain(stream) => stream.connect_info(),
            Io::Tls(stream) => stream.get_ref().0.connect_info(),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Io::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Io::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Io::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Io::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Io::Plain(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Io::Plain(stream) => Pin::new(stream).poll_flush(context),
            Io::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
