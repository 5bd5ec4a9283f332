//! A raw HTTP/2 client for requests that no gRPC library would send.

use std::{convert::Infallible, net::SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Method, Request};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::{net::TcpStream, sync::mpsc};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::in_time;

/// An HTTP/2 connection.
#[derive(Clone)]
pub(crate) struct Raw(SendRequest<UnsyncBoxBody<Bytes, Infallible>>);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) http: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    trailers: HeaderMap,
}

impl Raw {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        let (sender, connection) =
            handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    /// A call of a method of the service, with further headers and a body that ends.
    pub(crate) async fn call(
        &self,
        method: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let (sender, answer) = self.open(method, headers);
        // An answer may come before the body has gone.
        let _ = sender.send(body.into()).await;
        drop(sender);
        answer.await
    }

    /// A call whose body goes on for as long as its sender is there.
    pub(crate) fn open(
        &self,
        method: &str,
        headers: &[(&str, &str)],
    ) -> (mpsc::Sender<Bytes>, impl Future<Output = Answer> + Send + use<>) {
        let service = if method.starts_with('/') { "" } else { "/retouch.v1.EditService/" };
        let path = format!("{service}{method}");
        self.request(
            Method::POST,
            &path,
            &[("content-type", "application/grpc"), ("te", "trailers")],
            headers,
        )
    }

    /// Any request; of headers that are there twice the later ones count.
    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        usual: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> (mpsc::Sender<Bytes>, impl Future<Output = Answer> + Send + use<>) {
        let (sender, pieces) = mpsc::channel(64);
        let body = StreamBody::new(ReceiverStream::new(pieces).map(|it| Ok(Frame::data(it))));
        let mut request = Request::builder().method(method).uri(format!("http://localhost{path}"));
        for (name, value) in usual.iter().filter(|(name, _)| headers.iter().all(|it| it.0 != *name))
        {
            request = request.header(*name, *value);
        }
        for (name, value) in headers.iter().filter(|it| !it.1.is_empty()) {
            request = request.header(*name, *value);
        }
        let mut connection = self.0.clone();
        let request = request.body(BodyExt::boxed_unsync(body)).unwrap();
        let answer = tokio::spawn(async move {
            let (head, body) = connection.send_request(request).await.unwrap().into_parts();
            let whole = body.collect().await.unwrap();
            let trailers = whole.trailers().cloned().unwrap_or_default();
            Answer {
                http: head.status.as_u16(),
                headers: head.headers,
                body: whole.to_bytes(),
                trailers,
            }
        });
        (sender, async move { in_time("an answer", answer).await.unwrap() })
    }
}

impl Answer {
    /// The status of gRPC.
    pub(crate) fn status(&self) -> Status {
        let status = Status::from_header_map(&self.headers)
            .or_else(|| Status::from_header_map(&self.trailers));
        status.unwrap_or_else(|| panic!("no status: {self:?}"))
    }

    /// Code and reason; the reason is empty where the call went well.
    pub(crate) fn reason(&self) -> (Code, String) {
        let status = self.status();
        let info = status.get_details_error_info();
        assert!(status.code() == Code::Ok || info.is_some(), "a bare status: {status:?}");
        (status.code(), info.map(|it| it.reason).unwrap_or_default())
    }
}

/// A message as it is on the wire.
pub(crate) fn framed(message: &impl Message) -> Vec<u8> {
    frame(0, &message.encode_to_vec())
}

/// Bytes as a message, with a flag.
pub(crate) fn frame(flag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut frame = BytesMut::new();
    frame.put_u8(flag);
    frame.put_u32(bytes.len() as u32);
    frame.put_slice(bytes);
    frame.to_vec()
}

/// The beginning of a message of so many bytes.
pub(crate) fn head(length: u32) -> Bytes {
    let mut head = BytesMut::new();
    head.put_u8(0);
    head.put_u32(length);
    head.freeze()
}
