//! Commits whose answers are lost, and servers that change their leader.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use retouch::{
    journal::{
        job_id,
        ledger::{Commit, Ledger, LedgerError, News, Revision},
    },
    nats::{Nats, options::Options},
};

use super::{load::next, nats_server::NatsServer};
use crate::ledger::conformance;

/// A way to a server on which its answers can be lost.
struct Proxy {
    port: u16,
    /// Whether answers are lost; the connection breaks a moment later, and the next one is as it should be.
    deaf: Arc<AtomicBool>,
}

impl Proxy {
    fn before(server: &NatsServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (deaf, url) = (Arc::new(AtomicBool::new(false)), server.url());
        let flag = Arc::clone(&deaf);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(url.trim_start_matches("nats://")) else {
                    continue;
                };
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || pass(from, to, &AtomicBool::new(false)));
                let flag = Arc::clone(&flag);
                thread::spawn(move || pass(server, client, &flag));
            }
        });
        Self { port, deaf }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, deaf: &AtomicBool) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count) = from.read(&mut buffer) {
        if deaf.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(100));
            deaf.store(false, Ordering::Release);
            break;
        }
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn a_commit_whose_answer_is_lost_is_made_once_and_known_to_be() {
    let Some(server) = NatsServer::start() else { return };
    let proxy = Proxy::before(&server);
    let url = format!("nats://127.0.0.1:{}", proxy.port);
    let ledger = Nats::open(&Options::plain(url, "rt"), true).unwrap();
    let direct = Nats::open(&Options::plain(server.url(), "rt"), true).unwrap();
    let (mut record, mut revision) = (conformance::record(1), Revision::NONE);
    record.job.as_mut().unwrap().request_id = "once".to_owned();
    let artifacts = [conformance::record_of(1)];
    for turn in 0..12 {
        let event = next(&mut record);
        // Batches and single messages; every other answer is lost.
        let artifacts = if turn % 3 == 0 { &artifacts[..] } else { &[] };
        proxy.deaf.store(turn % 2 == 0, Ordering::Release);
        let commit = Commit { job: Some(&record), events: &[event], artifacts };
        revision = ledger.commit(commit, revision).unwrap();
        assert_eq!(direct.job(job_id(&record)).unwrap(), Some((revision, record.clone())));
    }
    let events = direct.events(job_id(&record), 0, usize::MAX).unwrap();
    let numbers: Vec<u64> = events.iter().map(|it| it.sequence).collect();
    assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
    // Somebody else's commit in between is a conflict, whatever answers were lost.
    let event = next(&mut record);
    let commit = Commit { job: Some(&record), events: &[event], artifacts: &[] };
    direct.commit(commit, revision).unwrap();
    proxy.deaf.store(true, Ordering::Release);
    let late = ledger.commit(commit, revision);
    assert!(matches!(late, Err(LedgerError::Conflict)), "{late:?}");
}

/// Run by `make test-cluster`: a minute.
#[test]
#[ignore = "takes a minute; `make test-cluster` runs it"]
fn three_servers_lose_no_acknowledged_commit_when_each_is_killed_under_load() {
    let Some(mut servers) = NatsServer::cluster() else { return };
    let urls: Vec<String> = servers.iter().map(NatsServer::url).collect();
    let options = Options { replicas: 3, ..Options::plain(urls.join(","), "rt") };
    let ledger = Nats::open(&options, true).unwrap();
    let follower = Nats::open(&options, false).unwrap();
    let ended = AtomicBool::new(false);
    let (kept, told) = thread::scope(|scope| {
        let followed = scope.spawn(|| {
            let mut seen = [0; 4];
            for news in follower.tail() {
                let News::Job(applied) = news else { continue };
                let job = applied.record.job.unwrap();
                let index = job_id_of(&job.name);
                assert_eq!(job.last_sequence, seen[index] + 1, "the feed has a gap");
                seen[index] = job.last_sequence;
                if index == 3 {
                    break;
                }
            }
            seen
        });
        let load = |index: u128| {
            let (mut record, mut revision) = (conformance::record(index), Revision::NONE);
            let mut longest = Duration::ZERO;
            while !ended.load(Ordering::Acquire) {
                let event = next(&mut record);
                let started = Instant::now();
                let commit = Commit { job: Some(&record), events: &[event], artifacts: &[] };
                revision = ledger.commit(commit, revision).unwrap();
                longest = longest.max(started.elapsed());
            }
            (record, longest)
        };
        thread::sleep(Duration::from_secs(1));
        let loads: Vec<_> = (0..3).map(|index| scope.spawn(move || load(index))).collect();
        for server in &mut servers {
            thread::sleep(Duration::from_secs(4));
            server.kill();
            thread::sleep(Duration::from_secs(9));
            server.again();
        }
        thread::sleep(Duration::from_secs(5));
        ended.store(true, Ordering::Release);
        let kept: Vec<_> = loads.into_iter().map(|it| it.join().unwrap()).collect();
        let mut last = conformance::record(3);
        let event = next(&mut last);
        let commit = Commit { job: Some(&last), events: &[event], artifacts: &[] };
        ledger.commit(commit, Revision::NONE).unwrap();
        (kept, followed.join().unwrap())
    });
    for (index, (record, longest)) in kept.iter().enumerate() {
        let acknowledged = record.job.as_ref().unwrap().last_sequence;
        let events = follower.events(job_id(record), 0, usize::MAX).unwrap();
        let numbers: Vec<u64> = events.iter().map(|it| it.sequence).collect();
        assert_eq!(numbers, (1..=acknowledged).collect::<Vec<_>>());
        assert_eq!(told[index], acknowledged);
        println!("{acknowledged} acknowledged commits, none lost; the longest took {longest:?}");
    }
}

fn job_id_of(name: &str) -> usize {
    retouch::journal::id_of(name).unwrap().as_u128() as usize
}
