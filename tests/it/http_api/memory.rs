//! What uploads cost in memory: 16 of 30 MB at once, by forms and by JSON, are held to the budget for bodies.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    thread,
};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::plain::{Form, form_type};
use crate::service::process::Server;

/// Uploads at once, and the size of each picture.
const UPLOADS: usize = 16;
const SIZE: usize = 30_000_000;
/// The default of `server.body_budget_bytes`, in MiB.
const BUDGET: u64 = 256;
/// What buffers of connections and threads may take beside it, in MiB.
const BESIDE: u64 = 64;

/// A body of a form or of JSON with a picture that is none, so that nothing is decoded.
fn bodies() -> [(String, Vec<u8>); 2] {
    let picture: Vec<u8> = (0..SIZE).map(|it| (it % 251) as u8).collect();
    let form = Form::default().text("prompt", "make the bee blue").file("image", &picture).bytes();
    let uri = format!("data:image/png;base64,{}", STANDARD.encode(&picture));
    let json = format!(
        "{{\"prompt\": \"make the bee blue\", \"images\": [{{\"image_url\": \"{uri}\"}}]}}"
    );
    [(form_type(), form), ("application/json".to_owned(), json.into_bytes())]
}

/// Sends a body, and returns the status.
fn upload(address: &str, kind: &str, body: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /v1/images/edits HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut line = String::new();
    match BufReader::new(stream).read_line(&mut line) {
        Ok(_) if !line.is_empty() => line.split(' ').nth(1).unwrap().parse().unwrap(),
        other => panic!("no answer: {other:?}"),
    }
}

/// Resident memory of a process at its highest since it was last asked, in MiB.
fn highest(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).unwrap();
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn uploads_at_once_take_no_more_than_the_budget() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    for (kind, body) in bodies() {
        highest(server.pid());
        let before = highest(server.pid());
        let statuses: Vec<u16> = thread::scope(|scope| {
            let upload = || {
                // Refused for want of memory, a client comes again.
                let tries = (0..200).map(|_| {
                    let status = upload(server.address(), &kind, &body);
                    if status == 429 {
                        thread::sleep(std::time::Duration::from_secs(1));
                    }
                    status
                });
                tries.into_iter().find(|it| *it != 429).unwrap_or_default()
            };
            let uploads: Vec<_> = (0..UPLOADS).map(|_| scope.spawn(upload)).collect();
            uploads.into_iter().map(|it| it.join().unwrap()).collect()
        });
        let more = highest(server.pid()).saturating_sub(before);
        eprintln!("{kind}: {more} MiB more than before");
        assert_eq!(statuses, [400; UPLOADS], "{kind}: no picture, in the end");
        assert!(more < BUDGET + BESIDE, "{kind}: {more} MiB");
    }
}
