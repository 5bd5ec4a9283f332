//! Connections of a port: accepting, TLS handshake, protocol detection, calls, maximum age, graceful shutdown.
//!
//! hyper-util serves each of them. Differs: tonic's own server limits neither the time that a client may be silent nor
//! the number of connections, and answers a passed deadline with CANCELLED.

use std::{
    convert::Infallible,
    error::Error,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
    time,
};
use tokio_rustls::TlsAcceptor;
use tonic::{body::Body, transport::server::TcpIncoming};
use tower::{Service, ServiceExt};

use crate::server::{
    connections::{Address, Connections, OpenCall, Place},
    tls::{self, Listener},
};

/// Longest time for a handshake, for the first bytes, and for the headers.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval of HTTP/2 keepalive pings on silent connections, and the timeout of their answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));
/// Idle time after which TCP keepalive probes begin.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// Most streams that a client may open and reset before they are accepted; a burst of cancellations must not cost other
/// calls their connection (measured by `tests/it/service`).
const PENDING_RESETS: usize = 1024;
/// Largest header list that HTTP/2 accepts, in bytes: well above the gate's limit, so that the gate reports the error.
const MAX_HEADERS: u32 = 256 * 1024;
/// Pause after a failed accept, mostly for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Shortest interval between repeated log lines.
const QUIET: Duration = Duration::from_secs(10);
/// Connection preface of HTTP/2 (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length of an HTTP/2 frame header; the client's SETTINGS frame follows the preface.
const FRAME_HEAD: usize = 9;

/// Any error.
type BoxError = Box<dyn Error + Send + Sync>;

/// Limits on connections of a port.
#[derive(Debug, Clone)]
pub struct PortLimits {
    /// The open connections and their limits.
    pub connections: Arc<Connections>,
    /// Longest time for the handshake, then for the first bytes, then for the headers of an HTTP/1.1 request.
    pub header_timeout: Duration,
    /// Age at which a connection is asked to close (GOAWAY); `None` is never.
    pub age: Option<Duration>,
}

/// The client of a connection, in the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its socket address.
    pub socket: SocketAddr,
    /// Id of the connection.
    pub connection: u64,
}

impl Peer {
    /// The address by which connections are counted.
    pub fn address(&self) -> Address {
        self.socket.ip().into()
    }
}

/// Serves a port until it is told to stop, then until its connections have ended.
pub async fn serve<S, B>(
    listener: Listener,
    service: S,
    terms: PortLimits,
    stop: impl Future<Output = ()>,
) where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let (stopping, stopped) = watch::channel(());
    let mut stop = pin!(stop);
    let (tcp, certificates) = listener.into_parts();
    let mut tcp =
        TcpIncoming::from(tcp).with_nodelay(Some(true)).with_keepalive(Some(TCP_KEEPALIVE));
    let mut quiet = Quiet::default();
    loop {
        let next = tokio::select! {
            () = &mut stop => break,
            next = tcp.next() => next,
        };
        let stream = match next {
            None => break,
            Some(Ok(stream)) => stream,
            Some(Err(error)) => {
                quiet.say(|| tracing::warn!(%error, "a connection can't be accepted"));
                // Mostly for lack of file descriptors, of which each idle connection holds one.
                terms.connections.close_idle();
                time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // A client that has already disconnected has no address.
        let Ok(socket) = stream.peer_addr() else { continue };
        let Some(place) = terms.connections.admit(socket.ip()) else {
            let open = terms.connections.count();
            quiet.say(|| {
                tracing::warn!(
                    %socket,
                    open,
                    "connection limit reached and every connection has open calls; a new one was refused"
                );
            });
            continue;
        };
        let tls = certificates.as_ref().map(|it| TlsAcceptor::from(it.now()));
        let talk = Talk {
            socket,
            place,
            terms: terms.clone(),
            stopped: stopped.clone(),
            service: service.clone(),
        };
        tokio::spawn(async move {
            let place = Arc::clone(&talk.place);
            let talk: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(talk.over(stream, tls));
            tokio::select! {
                () = place.closed() => tracing::debug!(%socket, "closed for another connection"),
                () = talk => {}
            }
        });
    }
    drop(tcp);
    drop(stopped);
    let _ = stopping.send(());
    stopping.closed().await;
}

/// Rate limit for log lines.
#[derive(Debug, Default)]
struct Quiet(Option<Instant>);

impl Quiet {
    fn say(&mut self, line: impl FnOnce()) {
        if self.0.is_none_or(|last| last.elapsed() > QUIET) {
            self.0 = Some(Instant::now());
            line();
        }
    }
}

/// A connection with the service and limits for it.
struct Talk<S> {
    socket: SocketAddr,
    place: Arc<Place>,
    terms: PortLimits,
    stopped: watch::Receiver<()>,
    service: S,
}

impl<S, B> Talk<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    async fn over(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        let Some(tls) = tls else { return self.spoken(stream).await };
        let socket = self.socket;
        match time::timeout(self.terms.header_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.spoken(stream).await,
            Ok(Err(error)) if tls::is_about_certificates(&error) => {
                tracing::warn!(
                    %socket,
                    %error,
                    "TLS handshake failed: the client's or the server's certificate was rejected"
                );
            }
            Ok(Err(error)) => tracing::debug!(%socket, %error, "a handshake failed"),
            Err(_) => tracing::debug!(%socket, "a handshake took too long"),
        }
    }

    async fn spoken<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, mut io: I) {
        let socket = self.socket;
        let read = match time::timeout(self.terms.header_timeout, first_words(&mut io)).await {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => {
                return tracing::debug!(%socket, %error, "a peer went before it said anything");
            }
            Err(_) => return tracing::debug!(%socket, "a peer said too little for too long"),
        };
        self.served(Rewound { read, io }).await;
    }

    async fn served<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, io: I) {
        let Self { socket, place, terms, mut stopped, service } = self;
        let peer = Peer { socket, connection: place.number() };
        let service = service_fn(move |request: Request<Incoming>| {
            let call = place.call();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            let service = service.clone();
            async move {
                let answer = service.oneshot(request).await?;
                Ok::<_, Infallible>(
                    answer.map(|body| Body::new(CountedAnswer { body, _call: call })),
                )
            }
        });
        let http = http(terms.header_timeout);
        let mut connection = pin!(http.serve_connection(TokioIo::new(io), service));
        let mut old = pin!(async {
            match terms.age {
                Some(age) => time::sleep(age).await,
                None => std::future::pending().await,
            }
        });
        let mut is_asked = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%socket, %error, "a connection failed");
                    }
                    return;
                }
                () = &mut old, if !is_asked => {}
                _ = stopped.changed(), if !is_asked => {}
            }
            is_asked = true;
            connection.as_mut().graceful_shutdown();
        }
    }
}

/// HTTP settings of every connection.
fn http(header_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let (every, within) = KEEPALIVE;
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(header_timeout);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(every)
        .keep_alive_timeout(within)
        .adaptive_window(true)
        .max_concurrent_streams(None)
        .max_header_list_size(MAX_HEADERS)
        .max_pending_accept_reset_streams(PENDING_RESETS);
    http
}

/// Reads until the client speaks HTTP/2 and its SETTINGS frame has begun, or else HTTP/1.1, whose headers hyper times
/// out itself.
async fn first_words(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    let mut read = BytesMut::with_capacity(1024);
    loop {
        if io.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let common = read.len().min(PREFACE.len());
        if read[..common] != PREFACE[..common] || read.len() >= PREFACE.len() + FRAME_HEAD {
            return Ok(read.freeze());
        }
    }
}

/// A connection whose first bytes were already read, and are read again.
#[derive(Debug)]
struct Rewound<I> {
    read: Bytes,
    io: I,
}

impl<I: AsyncRead + Unpin> AsyncRead for Rewound<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.io).poll_read(context, buffer);
        }
        let length = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read[..length]);
        self.read.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Rewound<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// A response body that counts its call as open until it is sent.
#[derive(Debug)]
struct CountedAnswer<B> {
    body: B,
    _call: OpenCall,
}

impl<B: http_body::Body<Data = Bytes> + Unpin> http_body::Body for CountedAnswer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
