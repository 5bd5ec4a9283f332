//! Ways between programs on which nothing passes for a while: a partition of a network. What was sent comes afterwards, as
//! TCP sends it again.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// A way to a port.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    /// Whether what is sent to the port is held, and what comes from it.
    held: [Arc<AtomicBool>; 2],
}

impl Proxy {
    pub(crate) fn before(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), held: Default::default() };
        let held = proxy.held.clone();
        thread::spawn(move || {
            for from in listener.incoming().map_while(Result::ok) {
                let Ok(to) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                let ways = [(&from, &to, &held[0]), (&to, &from, &held[1])];
                for (from, to, held) in ways {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let held = Arc::clone(held);
                    thread::spawn(move || pass(from, to, &held));
                }
            }
        });
        proxy
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Holds what is sent to the port, and what comes from it, or lets them pass.
    pub(crate) fn hold(&self, to: bool, from: bool) {
        self.held[0].store(to, Ordering::Release);
        self.held[1].store(from, Ordering::Release);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, held: &AtomicBool) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count) = from.read(&mut buffer) {
        while held.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(10));
        }
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
