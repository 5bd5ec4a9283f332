//! Networks that are partitioned: a process cut off from the servers, in one direction and in both, and servers from each
//! other. TCP proxies stand in for the network.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use retouch::{
    nats::{Nats, options::Options},
    wire::v1::edit_job::State,
};

use super::{
    fleet::{Fleet, asked, picture},
    load,
    nats_server::{NatsServer, free_port},
    proxy::Proxy,
    scripted::{Process, Setting},
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute; `make test-cluster` runs it"]
async fn a_process_that_is_cut_off_writes_nothing_late_and_its_jobs_end_elsewhere() {
    let Some(nats) = NatsServer::start() else { return };
    let proxy = Proxy::before(nats.port());
    let direct = Setting { step: 100, ..Setting::over(&nats.url()) };
    let cut_off = Process::start(&Setting { nats: proxy.url(), ..direct.clone() });
    let name = cut_off.name.clone();
    let others = Fleet::new(2, &direct);
    let within = Duration::from_secs(120);
    let undisturbed = others.create(&asked("undisturbed", 5, false)).await;
    let expected = picture(&others.ended(&undisturbed.name, within).await);
    for (turn, (to, from)) in [(true, true), (false, true), (true, false)].into_iter().enumerate() {
        let mut jobs = Vec::new();
        let has_one = loop {
            for number in 0..6 {
                let id = format!("job {turn} {} {number}", jobs.len());
                jobs.push(others.create(&asked(&id, 5, false)).await.name);
            }
            let running = others.in_state(State::Editing).await;
            if running.iter().any(|it| it.worker.starts_with(&name)) {
                break running.len();
            }
        };
        proxy.hold(to, from);
        tokio::time::sleep(Duration::from_secs(12)).await;
        proxy.hold(false, false);
        let mut attempts = Vec::new();
        for job in &jobs {
            attempts.push(others.check(job, &expected, within).await);
        }
        let again = attempts.iter().filter(|it| **it > 1).count();
        println!(
            "held to the server: {to}, from it: {from}: {} jobs, {has_one} of them running, {again} again",
            jobs.len()
        );
        // What it sends keeps its lease, even where it hears no answer.
        assert!(again > 0 || !to, "{attempts:?}");
    }
    drop(cut_off);
}

/// A proxy on the way from a server to another, by their indices.
type Way = (usize, usize, Proxy);

/// Three servers whose routes go through proxies, one for each direction of each pair.
fn routed() -> Option<(Vec<NatsServer>, Vec<Way>)> {
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let mut proxies = Vec::new();
    for from in 0..3 {
        for to in (0..3).filter(|it| *it != from) {
            proxies.push((from, to, Proxy::before(ports[to])));
        }
    }
    let server = |index: usize| {
        let routes = proxies.iter().filter(|it| it.0 == index).map(|it| it.2.url());
        let routes = routes.collect::<Vec<_>>().join(", ");
        // Nobody finds the way past a proxy.
        let way = format!("listen: 127.0.0.1:{}, advertise: \"127.0.0.1:1\"", ports[index]);
        NatsServer::configured(&format!(
            "cluster {{ name: test, {way}, no_advertise: true, routes: [{routes}] }}"
        ))
    };
    let servers = (0..3).map(server).collect::<Option<Vec<_>>>()?;
    Some((servers, proxies))
}

#[test]
#[ignore = "takes two minutes; `make test-cluster` runs it"]
fn three_servers_lose_no_acknowledged_commit_when_each_is_cut_off_from_the_others_under_load() {
    let Some((servers, proxies)) = routed() else { return };
    // A process at each server.
    let open = |it: &NatsServer| {
        let options = Options { replicas: 3, ..Options::plain(it.url(), "rt") };
        Nats::open(&options, true).unwrap()
    };
    let ledgers: Vec<Nats> = servers.iter().map(open).collect();
    let (over, acknowledged) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 3]);
    let longest = thread::scope(|scope| {
        let loads: Vec<_> = acknowledged
            .iter()
            .enumerate()
            .map(|(number, acknowledged)| {
                let (ledger, over) = (&ledgers[number], &over);
                scope.spawn(move || load::commit_until(ledger, number as u128, over, acknowledged))
            })
            .collect();
        for alone in 0..3 {
            thread::sleep(Duration::from_secs(4));
            let before = acknowledged.each_ref().map(|it| it.load(Ordering::Acquire));
            let of = proxies.iter().filter(|it| it.0 == alone || it.1 == alone);
            of.clone().for_each(|it| it.2.hold(true, true));
            thread::sleep(Duration::from_secs(15));
            let during = acknowledged.each_ref().map(|it| it.load(Ordering::Acquire));
            of.for_each(|it| it.2.hold(false, false));
            println!(
                "server {alone} cut off for 15 s: acknowledged before {before:?}, at its end {during:?}"
            );
            for number in (0..3).filter(|it| *it != alone) {
                assert!(during[number] > before[number], "the majority goes on");
            }
            thread::sleep(Duration::from_secs(10));
        }
        over.store(true, Ordering::Release);
        loads.into_iter().map(|it| it.join().unwrap()).collect::<Vec<_>>()
    });
    let mut all = 0;
    for (number, acknowledged) in acknowledged.iter().enumerate() {
        let acknowledged = acknowledged.load(Ordering::Acquire);
        let events = load::events(&ledgers[(number + 1) % 3], number as u128);
        assert_eq!(events, (1..=events.len() as u64).collect::<Vec<_>>());
        assert!(events.len() as u64 >= acknowledged, "{} of {acknowledged}", events.len());
        all += acknowledged;
    }
    println!("{all} acknowledged commits, none lost; the longest took {longest:?}");
}
