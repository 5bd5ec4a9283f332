//! A client of plain HTTP, and requests as the official clients send them.

use std::{convert::Infallible, io::Cursor, net::SocketAddr};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use image::{ImageFormat, Rgba, RgbaImage};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::service::harness::{Harness, picture};

/// The boundary of forms here.
const BOUNDARY: &str = "----a boundary of tests";

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        let json = serde_json::from_slice(&self.body);
        json.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Its JSON, if it is an answer of success.
    pub(super) fn good(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/json");
        let length = self.headers[header::CONTENT_LENGTH].to_str().unwrap();
        assert_eq!(length, self.body.len().to_string());
        self.json()
    }

    /// Status, code and parameter of an error, which is in OpenAI's shape.
    pub(super) fn error(&self) -> (u16, String, Option<String>) {
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/json");
        let json = self.json();
        let error = json["error"].as_object().unwrap_or_else(|| panic!("{json}"));
        let mut keys: Vec<&str> = error.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["code", "message", "param", "type"]);
        assert!(!error["message"].as_str().unwrap().is_empty());
        let is_retried = self.headers.contains_key(header::RETRY_AFTER);
        let is_final = self.headers.get("x-should-retry").is_some_and(|it| it == "false");
        assert!(is_retried != is_final || self.status == 500, "{:?}", self.headers);
        let param = error["param"].as_str().map(ToOwned::to_owned);
        (self.status, error["code"].as_str().unwrap().to_owned(), param)
    }
}

/// The address of a server.
pub(super) fn address(server: &Harness) -> SocketAddr {
    server.url.strip_prefix("http://").unwrap().parse().unwrap()
}

/// Sends a request on a connection of its own.
pub(super) async fn send<B>(addr: SocketAddr, request: Request<B>) -> Answer
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    Answer { status, headers, body }
}

/// A request with a body.
pub(super) fn request(
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<UnsyncBoxBody<Bytes, Infallible>> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header(header::HOST, "localhost");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(UnsyncBoxBody::new(Full::new(body.into()))).unwrap()
}

/// Reads a path.
pub(super) async fn get(server: &Harness, path: &str) -> Answer {
    send(address(server), request(Method::GET, path, &[], "")).await
}

/// Asks for an edit by JSON.
pub(super) async fn ask(server: &Harness, body: &Value, headers: &[(&str, &str)]) -> Answer {
    let mut all = vec![("content-type", "application/json")];
    all.extend(headers);
    send(address(server), request(Method::POST, "/v1/images/edits", &all, body.to_string())).await
}

/// A request of JSON for an edit with further fields.
pub(super) fn asked(fields: Value) -> Value {
    let mut asked = json!({
        "prompt": "make the bee blue",
        "images": [{"image_url": data_uri(&picture(10))}],
        "retouch": {"steps": 3, "seed": 1},
    });
    let Value::Object(fields) = fields else { panic!("{fields}") };
    asked.as_object_mut().unwrap().extend(fields);
    asked
}

/// A file as a data URI.
pub(super) fn data_uri(bytes: &[u8]) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(bytes))
}

/// The file of a text of base64.
pub(super) fn file(text: &Value) -> Vec<u8> {
    STANDARD.decode(text.as_str().unwrap()).unwrap()
}

/// A form of files and texts.
#[derive(Debug, Default)]
pub(super) struct Form(Vec<u8>);

impl Form {
    /// A form with a picture and an instruction.
    pub(super) fn of_edit() -> Self {
        Self::default()
            .file("image", &picture(10))
            .text("prompt", "make the bee blue")
            .text("retouch[steps]", "3")
            .text("retouch[seed]", "1")
    }

    pub(super) fn text(mut self, name: &str, value: &str) -> Self {
        self.0.extend(
            format!(
                "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            )
            .bytes(),
        );
        self
    }

    pub(super) fn file(mut self, name: &str, bytes: &[u8]) -> Self {
        let head = format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"a.png\"\r\n\
             content-type: image/png\r\n\r\n"
        );
        self.0.extend(head.bytes().chain(bytes.iter().copied()).chain(*b"\r\n"));
        self
    }

    pub(super) fn bytes(mut self) -> Vec<u8> {
        self.0.extend(format!("--{BOUNDARY}--\r\n").bytes());
        self.0
    }

    pub(super) async fn ask(self, server: &Harness, headers: &[(&str, &str)]) -> Answer {
        let kind = form_type();
        let mut all = vec![("content-type", kind.as_str())];
        all.extend(headers);
        let request = request(Method::POST, "/v1/images/edits", &all, self.bytes());
        send(address(server), request).await
    }
}

/// The content type of forms here.
pub(super) fn form_type() -> String {
    format!("multipart/form-data; boundary=\"{BOUNDARY}\"")
}

/// A mask in OpenAI's sense for [`picture`]: its left half is transparent.
pub(super) fn transparent_left() -> Vec<u8> {
    let image = RgbaImage::from_fn(32, 24, |x, _| Rgba([9, 99, 199, if x < 16 { 0 } else { 255 }]));
    png(&image)
}

/// A picture as a PNG.
pub(super) fn png(image: &RgbaImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}
