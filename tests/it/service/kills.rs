//! `retouch serve` killed by SIGKILL at several moments, and restarted on the same data folder.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use retouch::wire::v1::{
    self, AcceptMask, CreateEditJobRequest, MaskDecision, MaskPolicy, SubmitMaskRequest,
    edit_job::State, mask_decision::Decision,
};

use super::{
    harness::numbers,
    process::{Server, edit, until},
};

/// Where the job is when its server is killed, each twice.
const KILLS: [State; 8] = [
    State::Localizing,
    State::Editing,
    State::Queued,
    State::AwaitingMask,
    State::Editing,
    State::AwaitingMask,
    State::Localizing,
    State::Queued,
];
/// A pass takes several times as long.
const MOMENT: Duration = Duration::from_millis(60);

/// Passes long enough to be killed in, on a busy machine too.
fn asked() -> CreateEditJobRequest {
    let mut request = edit(40);
    request.spec.as_mut().unwrap().localize_steps = Some(40);
    request
}

fn picture(job: &v1::EditJob) -> bytes::Bytes {
    job.result.as_ref().unwrap().image.as_ref().unwrap().sha256.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_goes_on_where_it_was_and_gives_the_same_picture() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path());
    let whole = server.client().await.run_edit(asked()).await.unwrap().into_inner();
    let mut rng = StdRng::seed_from_u64(17);
    for state in KILLS {
        // 1. A job in that state, and a moment within it. A server that has localized this before is done with it at
        //    once.
        if state == State::Localizing {
            server.signal("-KILL");
            drop(server);
            server = Server::start(folder.path());
        }
        let mut client = server.client().await;
        let mut request = asked();
        if state == State::AwaitingMask {
            request.spec.as_mut().unwrap().mask_policy = MaskPolicy::Review as i32;
        }
        let ahead = match state {
            State::Queued => Some(client.create_edit_job(asked()).await.unwrap().into_inner()),
            _ => None,
        };
        let job = client.create_edit_job(request).await.unwrap().into_inner();
        until(&server, &job.name, state).await;
        tokio::time::sleep(MOMENT.mul_f64(rng.random())).await;
        server.signal("-KILL");
        drop(server);

        // 2. Another server.
        server = Server::start(folder.path());
        if state == State::AwaitingMask {
            let job = until(&server, &job.name, state).await;
            let decision = Some(Decision::Accept(AcceptMask::default()));
            let decision = Some(MaskDecision { decision, ..MaskDecision::default() });
            let submit = SubmitMaskRequest { name: job.name, decision };
            server.client().await.submit_mask(submit).await.unwrap();
        }
        let done = until(&server, &job.name, State::Succeeded).await;
        assert_eq!(picture(&done), picture(&whole), "killed while {state:?}");
        let was_running = matches!(state, State::Localizing | State::Editing);
        assert_eq!(done.attempt, if was_running { 2 } else { 1 }, "killed while {state:?}");
        if let Some(ahead) = ahead {
            assert_eq!(
                picture(&until(&server, &ahead.name, State::Succeeded).await),
                picture(&whole)
            );
        }

        // 3. No event was lost, or told twice.
        let watch = v1::WatchEditJobRequest { name: job.name, ..Default::default() };
        let mut events = server.client().await.watch_edit_job(watch).await.unwrap().into_inner();
        let mut told = Vec::new();
        while let Some(event) = events.message().await.unwrap() {
            told.push(event);
        }
        assert_eq!(numbers(&told), (1..=done.last_sequence).collect::<Vec<u64>>());
    }
}
