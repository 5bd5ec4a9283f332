//! `retouch serve --max-batch`: jobs run at once over shared steps, and each gives the picture that it gives alone.

use std::time::Duration;

use retouch::wire::v1::{CreateEditJobRequest, GetServerInfoRequest};
use tokio::time::timeout;

use super::process::{Server, edit};
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
