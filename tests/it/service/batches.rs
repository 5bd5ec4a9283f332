//! Concurrent jobs: in shared batches (`retouch serve --max-batch`), where each gives the picture that it gives alone,
//! and on several devices (`--devices`).

use std::{sync::Arc, thread, time::Duration};

use retouch::{
    jobs::{runner::Runner, store::Limits, worker},
    wire::v1::{CreateEditJobRequest, GetServerInfoRequest, edit_job::State},
};
use tokio::time::timeout;

use super::{
    harness::{Harness, LIMITS, request, spec},
    process::{Server, edit},
    script::Script,
};
use crate::support::psnr;

/// Two edits of the same length, with noise of their own.
fn jobs() -> [CreateEditJobRequest; 2] {
    [3, 4].map(|seed| {
        let mut request = edit(40);
        request.spec.as_mut().unwrap().seed = Some(seed);
        request
    })
}

async fn picture(server: &Server, job: CreateEditJobRequest) -> image::RgbImage {
    let done = server.client().await.run_edit(job).await.unwrap().into_inner();
    let file = done.result.unwrap().image.unwrap();
    image::load_from_memory(&file.inline).unwrap().into_rgb8()
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_share_steps_give_the_pictures_that_they_give_alone() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let one_by_one = Server::start(folders[0].path());
    let shared = Server::start_with(folders[1].path(), &["--max-batch", "2"]);

    let [first, second] = jobs();
    let both_run = async {
        let mut client = shared.client().await;
        loop {
            let info = client.get_server_info(GetServerInfoRequest {}).await.unwrap().into_inner();
            let load = info.load.unwrap();
            assert_eq!(load.slots, 2);
            if load.free_slots == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let both_run = async {
        timeout(Duration::from_secs(60), both_run).await.expect("two jobs run at once");
    };
    let (first, second, ()) =
        tokio::join!(picture(&shared, first), picture(&shared, second), both_run);
    for (job, found) in jobs().into_iter().zip([first, second]) {
        let alone = picture(&one_by_one, job).await;
        // fp32 sums in another order; 60 dB is one value in fifteen off by one level.
        assert!(psnr(&found, &alone) > 60.0, "{}", psnr(&found, &alone));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_two_devices_run_side_by_side_and_name_theirs() {
    let server = Harness::with(Limits { slots: 2, ..LIMITS }).await;
    let store = Arc::clone(&server.store);
    let second = thread::spawn(move || {
        let script = Script::on("cuda:1");
        store.set_model(script.model().clone());
        worker::run(&store, &script, "model-1-0", 1)
    });
    let info = || async {
        let asked = server.client.clone().get_server_info(GetServerInfoRequest {}).await;
        asked.unwrap().into_inner()
    };
    let both_are_there = async {
        while info().await.devices.len() < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(20), both_are_there).await.expect("both devices are there");
    assert_eq!(info().await.devices, ["cpu", "cuda:1"]);

    let mut long = spec("make the bee a bird");
    long.steps = Some(30);
    let jobs = [request(long.clone()), request(long)];
    let first = server.create(jobs[0].clone()).await;
    let other = server.create(jobs[1].clone()).await;
    let both_run = async {
        while info().await.load.unwrap().free_slots > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(20), both_run).await.expect("both run at once");
    let mut devices = Vec::new();
    for job in [first, other] {
        let done = server.until(&job.name, State::Succeeded).await;
        devices.push(done.result.unwrap().provenance.unwrap().device);
    }
    devices.sort();
    assert_eq!(devices, ["cpu", "cuda:1"]);
    server.stop().await;
    second.join().unwrap();
}
