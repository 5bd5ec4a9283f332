//! Repeated requests, requests for several variants, and callers that go away.

use std::time::Duration;

use http::Method;
use retouch::{
    jobs::{queue::QueueLimits, store::Limits},
    wire::v1::{EditSpec, edit_job::State},
};
use serde_json::json;

use super::plain::{Answer, address, ask, asked, request, send};
use crate::service::harness::{self, Harness, LIMITS, spec, until};

fn jobs(answer: &Answer) -> Vec<String> {
    let answer = answer.good();
    let name = |it: &serde_json::Value| it["retouch"]["job"].as_str().unwrap().to_owned();
    answer["data"].as_array().unwrap().iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_under_its_key_gets_the_same_jobs() {
    let server = Harness::new().await;
    let key = [("idempotency-key", "one")];
    let fields = json!({"retouch": {"steps": 3}});
    let first = jobs(&ask(&server, &asked(fields.clone()), &key).await);
    assert_eq!(jobs(&ask(&server, &asked(fields.clone()), &key).await), first);
    // The key is the request id of the other calls.
    assert_eq!(server.get(&first[0]).await.request_id, "one");
    // As a stream, too.
    let mut streamed = fields.clone();
    streamed["stream"] = true.into();
    let events = ask(&server, &asked(streamed), &key).await;
    assert!(String::from_utf8_lossy(&events.body).contains(&first[0]));
    // Another request under it is refused, and not repeated by the official clients.
    for other in [json!({"prompt": "another"}), json!({"n": 2}), json!({"user": "b"})] {
        let answer = ask(&server, &asked(other), &key).await;
        let key = Some("Idempotency-Key".to_owned());
        assert_eq!(answer.error(), (409, "REQUEST_ID_REUSED".to_owned(), key));
        assert_eq!(answer.headers["x-should-retry"], "false");
    }
    assert_eq!(server.store.all().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_for_variants_gets_the_same_variants_without_a_seed_of_its_own() {
    let server = Harness::new().await;
    let key = [("idempotency-key", "many")];
    let fields = asked(json!({"n": 3, "retouch": {"steps": 2}}));
    let first = jobs(&ask(&server, &fields, &key).await);
    assert_eq!(first.len(), 3);
    assert_eq!(jobs(&ask(&server, &fields, &key).await), first);
    for (name, id) in first.iter().zip(["many", "many#2", "many#3"]) {
        assert_eq!(server.get(name).await.request_id, id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_keys_are_refused() {
    let server = Harness::new().await;
    for key in ["", "ä", &"k".repeat(121)] {
        let answer = ask(&server, &asked(json!({})), &[("idempotency-key", key)]).await;
        let expected = (400, "INVALID_ARGUMENT".to_owned(), Some("Idempotency-Key".to_owned()));
        assert_eq!(answer.error(), expected, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn variants_are_made_all_or_none() {
    let limits = Limits { queue: QueueLimits { total: 4, tenant: 4 }, ..LIMITS };
    let server = Harness::with(limits).await;
    let endless = EditSpec { localize_steps: Some(1000), ..spec("edit") };
    let running = server.create(harness::request(endless.clone())).await;
    server.until(&running.name, State::Localizing).await;
    let waiting = server.create(harness::request(endless)).await;
    let key = [("idempotency-key", "four")];
    let fields = asked(json!({"n": 4}));
    let refused = ask(&server, &fields, &key).await;
    assert_eq!(refused.error(), (429, "QUEUE_FULL".to_owned(), None));
    assert!(refused.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(server.store.all().len(), 2, "not one of four");
    // Its key is free for the repeat.
    for name in [waiting.name, running.name] {
        server.cancel(&name).await.unwrap();
    }
    assert_eq!(jobs(&ask(&server, &fields, &key).await).len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_connection_ends_its_jobs_after_the_grace() {
    let server = Harness::new().await;
    for stream in [false, true] {
        let fields = asked(json!({"n": 2, "stream": stream, "retouch": {"steps": 1000}}));
        let headers = [("content-type", "application/json")];
        let call = request(Method::POST, "/v1/images/edits", &headers, fields.to_string());
        let call = tokio::spawn(send(address(&server), call));
        let live = || server.store.live();
        until("they are there", || live().len() == 2).await;
        until("one runs", || live().iter().any(|it| !it.is_waiting())).await;
        call.abort();
        until("nobody waits", || live().iter().all(|it| it.alone_since().is_some())).await;
        server.store.clock.advance(Duration::from_secs(9));
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(live().len(), 2, "the grace is not over");
        let jobs = live();
        server.store.clock.advance(Duration::from_secs(2));
        until("they end", || live().is_empty()).await;
        for job in jobs {
            let error = server.store.view(&job).unwrap().error.unwrap();
            assert_eq!(error.reason, "CLIENT_GONE");
        }
    }
}
