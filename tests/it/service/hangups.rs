//! Clients that disconnect in the middle of a call, whose handler is then dropped at any await point.

use std::{sync::Arc, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use retouch::{
    jobs::{job::Job, queue::QueueLimits, store::Limits, timeouts},
    wire::v1::{
        CreateEditJobRequest, EditSpec, edit_job::State, edit_service_client::EditServiceClient,
    },
};

use super::harness::{Harness, LIMITS, numbers, request, spec, until};

/// Calls of each method that are hung up.
const HANGUPS: usize = 32;
/// The latest moment: by then a job is accepted, and no job here is over.
const LATEST: Duration = Duration::from_millis(40);
const GRACE: Duration = Duration::from_millis(400);

async fn server() -> Harness {
    Harness::with(Limits { queue: QueueLimits { total: 64, tenant: 64 }, ..LIMITS }).await
}

/// An edit that takes longer than anybody here waits.
fn endless() -> CreateEditJobRequest {
    CreateEditJobRequest {
        disconnect_grace: Some(GRACE.try_into().unwrap()),
        ..request(EditSpec { localize_steps: Some(1000), ..spec("edit") })
    }
}

/// Makes a call on a connection of its own, and closes both after a time.
async fn hang_up<F: Future<Output: Send> + Send + 'static>(
    server: &Harness,
    after: Duration,
    call: impl FnOnce(EditServiceClient<tonic::transport::Channel>) -> F,
) {
    let client = EditServiceClient::connect(server.url.clone()).await.unwrap();
    let call = tokio::spawn(call(client));
    tokio::time::sleep(after).await;
    call.abort();
    let _ = call.await;
}

/// A moment for a hang-up, more often early than late: a job is accepted within few milliseconds.
fn moment(rng: &mut StdRng) -> Duration {
    LATEST.mul_f64(rng.random::<f64>().powi(3))
}

/// Every job ends because its client is gone, and the model is free for the next.
async fn all_end_as_gone(server: &Harness) -> Vec<Arc<Job>> {
    // A call whose handler was dropped may still be making its job.
    tokio::time::sleep(2 * GRACE).await;
    until("they end", || server.store.all().iter().all(|it| it.is_over())).await;
    let jobs = server.store.all();
    for job in &jobs {
        let view = server.store.view(job).unwrap();
        assert_eq!(
            (view.state(), view.error.unwrap().reason.as_str()),
            (State::Cancelled, "CLIENT_GONE")
        );
    }
    let free = server.client.clone().run_edit(request(spec("next"))).await.unwrap().into_inner();
    assert_eq!(free.state(), State::Succeeded);
    jobs
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_in_one_call_ends_after_the_grace_and_not_before() {
    let server = server().await;
    let grace = Duration::from_secs(10);
    let asked =
        CreateEditJobRequest { disconnect_grace: Some(grace.try_into().unwrap()), ..endless() };
    let mut client = EditServiceClient::connect(server.url.clone()).await.unwrap();
    let call = tokio::spawn(async move { client.run_edit(asked).await });
    let localizing = |it: &Arc<Job>| it.state() == State::Localizing;
    until("it begins", || server.store.all().iter().any(localizing)).await;
    call.abort();
    let jobs = server.store.all();
    assert_eq!(jobs.len(), 1);
    until("it is seen to leave", || jobs[0].alone_since().is_some()).await;
    server.store.clock.advance(grace / 2);
    timeouts::look(&server.store);
    assert_eq!(jobs[0].state(), State::Localizing);
    server.store.clock.advance(grace / 2);
    until("it ends", || jobs[0].is_over()).await;
    all_end_as_gone(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_owns_its_job_takes_it_along_wherever_it_is_dropped() {
    let server = server().await;
    let mut rng = StdRng::seed_from_u64(3);
    for index in 0..HANGUPS {
        let after = moment(&mut rng);
        if index % 2 == 0 {
            hang_up(&server, after, |mut client| async move {
                client.run_edit(endless()).await.map(drop)
            })
            .await;
        } else {
            hang_up(&server, after, |mut client| async move {
                let mut events = client.stream_edit(endless()).await?.into_inner();
                while events.message().await?.is_some() {}
                Ok::<_, tonic::Status>(())
            })
            .await;
        }
    }
    assert!(!all_end_as_gone(&server).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_being_created_is_there_whole_or_not_at_all() {
    let server = server().await;
    let asked = |index: usize| CreateEditJobRequest {
        request_id: index.to_string(),
        ..request(spec("edit"))
    };
    // 1. Nobody hears of the jobs; a call that was faster than its client is heard.
    let mut rng = StdRng::seed_from_u64(5);
    for index in 0..HANGUPS {
        let after = moment(&mut rng);
        hang_up(
            &server,
            after,
            |mut client| async move { client.create_edit_job(asked(index)).await },
        )
        .await;
    }
    tokio::time::sleep(LATEST).await;
    let made = server.store.all().len();
    // 2. Each runs to its end, as nobody has to wait for it.
    until("they end", || server.store.all().iter().all(|it| it.is_over())).await;
    for job in server.store.all() {
        let view = server.store.view(&job).unwrap();
        assert_eq!(view.state(), State::Succeeded, "{:?}", view.error);
        assert_eq!(numbers(&server.watch(&view.name, 0).await), (1..=10).collect::<Vec<u64>>());
    }
    // 3. Whoever asks again gets the same one.
    for index in 0..HANGUPS {
        let job = server.create(asked(index)).await;
        server.until(&job.name, State::Succeeded).await;
    }
    assert_eq!(server.store.all().len(), HANGUPS);
    assert!((1..=HANGUPS).contains(&made), "{made}");
}
