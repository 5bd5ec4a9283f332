//! Connections that stay silent, send too little, or are too many.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use retouch::server::{
    connections::{ConnectionLimits, Connections},
    serving::{self, PortLimits},
    tls::Listener,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{
    service::Routes,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{MANY, in_time, terms, until};

/// How long peers may take here.
const SOON: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(600);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A server of health.
async fn serve(terms: PortLimits) -> SocketAddr {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), None).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (_, health) = tonic_health::server::health_reporter();
    let routes = Routes::new(health).prepare();
    tokio::spawn(serving::serve(listener, routes, terms, std::future::pending()));
    addr
}

async fn client(addr: SocketAddr) -> HealthClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).unwrap();
    HealthClient::new(in_time("a connection", endpoint.connect()).await.unwrap())
}

fn anything() -> HealthCheckRequest {
    HealthCheckRequest { service: String::new() }
}

/// How long the server keeps a connection after these words, each a moment after the one before.
async fn kept(addr: SocketAddr, words: &[&[u8]]) -> Duration {
    let started = Instant::now();
    let mut peer = TcpStream::connect(addr).await.unwrap();
    for word in words {
        peer.write_all(word).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut answer = Vec::new();
    let _ = in_time("an end", peer.read_to_end(&mut answer)).await;
    started.elapsed()
}

#[tokio::test]
async fn a_peer_that_says_too_little_is_let_go() {
    let addr = serve(terms(SOON, MANY)).await;
    let magic_alone = [PREFACE];
    let cases: [(&str, &[&[u8]]); 6] = [
        ("nothing", &[]),
        ("half a preface", &[&PREFACE[..11]]),
        ("a preface byte by byte", &[b"P", b"R", b"I", b" "]),
        ("a preface without settings", &magic_alone),
        ("half a request line", &[b"POST /x HT"]),
        ("half of the headers", &[b"POST /x HTTP/1.1\r\nhost: a\r\n", b"a: b\r\n", b"c: "]),
    ];
    for (what, words) in cases {
        let kept = kept(addr, words).await;
        assert!(kept >= SOON && kept < 20 * SOON, "{what}: {kept:?}");
    }
}

#[tokio::test]
async fn a_client_may_be_idle_and_call_again() {
    let terms = terms(SOON, MANY);
    let connections = terms.connections.clone();
    let mut client = client(serve(terms).await).await;
    client.check(anything()).await.unwrap();
    tokio::time::sleep(3 * SOON).await;
    assert_eq!(connections.count(), 1, "it is the same connection");
    client.check(anything()).await.unwrap();
    drop(client);
    until("the end of the connection", || connections.count() == 0).await;
}

#[tokio::test]
async fn idle_connections_make_room_for_new_ones() {
    let limits = ConnectionLimits { total: 4, per_address: 4 };
    let terms = terms(LONG, limits);
    let connections = terms.connections.clone();
    let addr = serve(terms).await;
    let mut silent = Vec::new();
    for _ in 0..12 {
        silent.push(TcpStream::connect(addr).await.unwrap());
    }
    client(addr).await.check(anything()).await.unwrap();
    assert!(connections.count() <= 4);
    // The first that came is the first that went.
    let mut byte = [0];
    let end = in_time("an end", silent[0].read(&mut byte)).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[tokio::test]
async fn a_connection_with_a_call_is_kept_and_a_new_one_refused() {
    let limits = ConnectionLimits { total: 9, per_address: 2 };
    let addr = serve(terms(LONG, limits)).await;
    let mut watches = Vec::new();
    for _ in 0..2 {
        let mut watch = client(addr).await.watch(anything()).await.unwrap().into_inner();
        watch.message().await.unwrap().unwrap();
        watches.push(watch);
    }
    let mut third = TcpStream::connect(addr).await.unwrap();
    let mut byte = [0];
    let end = in_time("an end", third.read(&mut byte)).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    // A call that has ended makes room.
    watches.pop();
    let served = async {
        loop {
            let endpoint = Endpoint::from_shared(format!("http://{addr}")).unwrap();
            if let Ok(channel) = endpoint.connect().await
                && HealthClient::new(channel).check(anything()).await.is_ok()
            {
                break;
            }
        }
    };
    in_time("room", served).await;
    watches.pop();
}

#[test]
fn an_address_has_its_own_limit_and_a_network_of_ipv6_is_one() {
    let connections = Connections::new(ConnectionLimits { total: 5, per_address: 2 });
    let mut busy = Vec::new();
    let mut admit = |ip: &str| {
        let place = connections.admit(ip.parse().unwrap());
        let is_in = place.is_some();
        busy.extend(place.map(|it| it.call()));
        is_in
    };
    for (ip, is_in) in [
        ("192.0.2.1", true),
        ("::ffff:192.0.2.1", true),
        ("192.0.2.1", false),
        ("2001:db8::1", true),
        ("2001:db8::2", true),
        ("2001:db8::ffff:0:3", false),
        ("2001:db8:0:1::1", true),
        // All of them have calls.
        ("192.0.2.9", false),
    ] {
        assert_eq!(admit(ip), is_in, "{ip}");
    }
    busy.pop();
    assert!(connections.admit("192.0.2.9".parse().unwrap()).is_some());
}
