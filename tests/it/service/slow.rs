//! A slow disk does not delay read-only calls.

use std::time::{Duration, Instant};

use retouch::{
    journal::Journal,
    wire::v1::{self, CreateEditJobRequest, EditSpec, edit_job::State},
};

use super::{
    disk::Disk,
    harness::{Harness, SPACE, request, spec},
};

/// How long a commit takes, and a call that only reads may.
const COMMIT: Duration = Duration::from_secs(3);
const ANSWER: Duration = Duration::from_millis(1500);

async fn in_time<T>(what: &str, call: impl Future<Output = T>) -> T {
    let answer = tokio::time::timeout(ANSWER, call).await;
    answer.unwrap_or_else(|_| panic!("{what} waited for the disk"))
}

/// All calls share the server's one thread: one that blocks it stops every other.
#[tokio::test(flavor = "current_thread")]
async fn calls_that_read_are_answered_while_commits_are_slow() {
    let (disk, folder) = (Disk::default(), tempfile::tempdir().unwrap());
    let journal = Journal::open_backend(disk.clone(), folder.path(), SPACE).unwrap();
    let server = Harness::over_journal(journal, folder).await;
    let mut client = server.client.clone();
    let done = client.run_edit(request(spec("edit"))).await.unwrap().into_inner();
    let long = EditSpec { localize_steps: Some(1000), ..spec("edit") };
    let running = server.create(request(long)).await;
    server.until(&running.name, State::Localizing).await;

    disk.slow_down(COMMIT);
    let started = Instant::now();
    let changes: Vec<_> = (0..20)
        .map(|number| {
            let (mut client, name) = (client.clone(), running.name.clone());
            tokio::spawn(async move {
                if number == 0 {
                    let cancel = v1::CancelEditJobRequest { name, reason: String::new() };
                    return client.cancel_edit_job(cancel).await.map(drop);
                }
                let request_id = format!("slow-{number}");
                let asked = CreateEditJobRequest { request_id, ..request(spec("slow")) };
                client.create_edit_job(asked).await.map(drop)
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    while started.elapsed() < COMMIT {
        // The job that is being changed, too.
        for job in [&running, &done] {
            in_time("GetEditJob", server.get(&job.name)).await;
        }
        in_time("WatchEditJob", server.watch(&done.name, 0)).await;
        let list = v1::ListEditJobsRequest::default();
        in_time("ListEditJobs", client.list_edit_jobs(list)).await.unwrap();
        let info = client.get_server_info(v1::GetServerInfoRequest {});
        in_time("GetServerInfo", info).await.unwrap();
        let name = done.result.as_ref().unwrap().image.as_ref().unwrap().name.clone();
        let download = v1::DownloadArtifactRequest { name, offset: 0 };
        let mut chunks = in_time("DownloadArtifact", client.download_artifact(download))
            .await
            .unwrap()
            .into_inner();
        while in_time("DownloadArtifact", chunks.message()).await.unwrap().is_some() {}
    }
    assert!(changes.iter().any(|it| !it.is_finished()), "the disk was not slow");
    disk.slow_down(Duration::ZERO);
    for change in changes {
        let _ = change.await.unwrap();
    }
}
