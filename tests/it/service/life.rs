//! Life cycle of jobs: acceptance, execution, end, refusal.

use std::{sync::atomic::Ordering, time::Duration};

use retouch::{
    jobs::{queue::QueueLimits, store::Limits},
    wire::v1::{
        self, CreateEditJobRequest, EditSpec, Image, MaskPolicy, batch_create_result::Outcome,
        edit_event::Event, edit_job::State, image::Source,
    },
};
use tonic::Code;
use tonic_types::StatusExt;

use super::{
    harness::{Harness, LIMITS, kinds, numbers, picture, reason, request, spec},
    requests::upload,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_tells_all_it_does_without_gaps_and_its_end_last() {
    let server = Harness::new().await;
    let mut stream =
        server.client.clone().stream_edit(request(spec("edit"))).await.unwrap().into_inner();
    let mut events = Vec::new();
    while let Some(event) = stream.message().await.unwrap() {
        events.push(event);
    }
    assert_eq!(
        kinds(&events),
        [
            "QUEUED",
            "LOCALIZING",
            "instruction",
            "clusters",
            "heatmap",
            "proposed",
            "EDITING",
            "settled",
            "result",
            "SUCCEEDED"
        ]
    );
    assert_eq!(numbers(&events), (1..=10).collect::<Vec<u64>>());
    let steps = events.iter().filter(|it| matches!(it.event, Some(Event::Step(_)))).count();
    assert!(steps >= 2, "{steps} steps were seen");
    let Some(Event::Result(result)) = &events[events.len() - 2].event else { panic!() };
    assert!(!result.image.as_ref().unwrap().inline.is_empty());
    let provenance = result.provenance.as_ref().unwrap();
    assert_eq!((provenance.seed, provenance.model.as_str()), (1, "script"));
    let timings = result.timings.unwrap();
    assert!(timings.edit.is_some() && timings.localize.is_some() && timings.queued.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_says_all_its_defaults() {
    let server = Harness::new().await;
    let job = server.create(request(EditSpec { seed: None, ..spec("edit") })).await;
    let said = job.spec.unwrap();
    assert_eq!(said.text_guidance, Some(7.5));
    assert_eq!(said.localize_steps, Some(3));
    assert_eq!(said.mask_policy(), MaskPolicy::Auto);
    assert!(said.seed.is_some());
    assert!(matches!(said.image.unwrap().source, Some(Source::Artifact(_))));
    let info = server.client.clone().get_server_info(v1::GetServerInfoRequest {}).await.unwrap();
    assert_eq!(info.get_ref().defaults.as_ref().unwrap().steps, Some(100));
}

#[tokio::test(flavor = "multi_thread")]
async fn localizing_only_ends_with_a_mask() {
    let server = Harness::new().await;
    let only = EditSpec { mask_policy: MaskPolicy::LocalizeOnly as i32, ..spec("edit") };
    let job = server.client.clone().run_edit(request(only)).await.unwrap().into_inner();
    assert_eq!(job.state(), State::Succeeded);
    let result = job.result.unwrap();
    assert!(result.image.is_none() && result.mask.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_localization_saves_a_pass() {
    let server = Harness::new().await;
    let first = server.client.clone().run_edit(request(spec("edit"))).await.unwrap().into_inner();
    let before = server.localize_steps.load(Ordering::Relaxed);
    let again = EditSpec { reuse_localization_of: first.name.clone(), ..spec("another") };
    let second = server.client.clone().run_edit(request(again.clone())).await.unwrap().into_inner();
    assert_eq!(second.state(), State::Succeeded);
    let after = server.localize_steps.load(Ordering::Relaxed);
    assert_eq!(before, after, "no step of pass 1 was made");
    assert!(!kinds(&server.watch(&second.name, 0).await).contains(&"LOCALIZING".to_owned()));

    let other = Image { source: Some(Source::Data(picture(99))) };
    let refused = server.refused(request(EditSpec { image: Some(other), ..again })).await;
    assert_eq!(refused, (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_is_heard_within_a_step_and_frees_the_slot() {
    let server = Harness::new().await;
    let long =
        server.create(request(EditSpec { localize_steps: Some(1000), ..spec("edit") })).await;
    server.until(&long.name, State::Localizing).await;
    assert_eq!(server.cancel(&long.name).await.unwrap().state(), State::Cancelled);
    let before = server.localize_steps.load(Ordering::Relaxed);
    let next = server.client.clone().run_edit(request(spec("next"))).await.unwrap().into_inner();
    assert_eq!(next.state(), State::Succeeded);
    // The step that was under way, and the three of the next job.
    let made = server.localize_steps.load(Ordering::Relaxed) - before;
    assert!(made <= 1 + 3, "{made} steps were made after the cancel");
    assert_eq!(server.cancel(&long.name).await.unwrap().state(), State::Cancelled);
    let refused = server.cancel(&next.name).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::FailedPrecondition, "JOB_TERMINAL".to_owned()));
    let unknown = server.cancel("jobs/0190b3c5-0000-7000-8000-000000000000").await.unwrap_err();
    assert_eq!(reason(&unknown), (Code::NotFound, "JOB_NOT_FOUND".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_fails_one_job_with_its_reason() {
    let server = Harness::new().await;
    for (instruction, code, name) in [
        ("panic", Code::Internal, "INTERNAL"),
        ("no memory", Code::ResourceExhausted, "OUT_OF_MEMORY"),
    ] {
        let status = server.client.clone().run_edit(request(spec(instruction))).await.unwrap_err();
        assert_eq!(reason(&status), (code, name.to_owned()));
    }
    let fine = server.client.clone().run_edit(request(spec("edit"))).await.unwrap().into_inner();
    assert_eq!(fine.state(), State::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_device_sends_its_job_back_and_makes_the_server_not_ready() {
    let server = Harness::new().await;
    let job = server.create(request(spec("lose the device"))).await;
    let mut ready = server.store.ready();
    tokio::time::timeout(Duration::from_secs(10), ready.wait_for(Result::is_err))
        .await
        .unwrap()
        .unwrap();
    let job = server.until(&job.name, State::Queued).await;
    assert_eq!(job.attempt, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_id_makes_one_job() {
    let server = Harness::new().await;
    let asked = CreateEditJobRequest {
        request_id: "once".to_owned(),
        ..request(EditSpec { seed: None, ..spec("edit") })
    };
    let calls = (0..64).map(|_| {
        let (mut client, asked) = (server.client.clone(), asked.clone());
        tokio::spawn(async move { client.create_edit_job(asked).await.unwrap().into_inner().name })
    });
    let mut names = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        names.push(call.await.unwrap());
    }
    names.dedup();
    assert_eq!(names.len(), 1);

    let other = CreateEditJobRequest { spec: Some(spec("something else")), ..asked.clone() };
    assert_eq!(server.refused(other).await, (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));

    // The picture's bytes count, not how they came.
    let mut artifact = asked.clone();
    let uploaded = upload(&server, &picture(10)).await;
    artifact.spec.as_mut().unwrap().image =
        Some(Image { source: Some(Source::Artifact(uploaded)) });
    assert_eq!(server.create(artifact).await.name, names[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_and_says_when_to_come_back() {
    let limits = Limits { queue: QueueLimits { total: 2, tenant: 2 }, ..LIMITS };
    let server = Harness::with(limits).await;
    let slow = || request(EditSpec { localize_steps: Some(500), ..spec("edit") });
    let running = server.create(slow()).await;
    server.until(&running.name, State::Localizing).await;
    let first = server.create(slow()).await;
    let second = server.create(slow()).await;
    let status = server.client.clone().create_edit_job(slow()).await.unwrap_err();
    assert_eq!(reason(&status), (Code::ResourceExhausted, "QUEUE_FULL".to_owned()));
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    assert!(status.metadata().contains_key("grpc-retry-pushback-ms"));
    assert_eq!(server.get(&second.name).await.queue.unwrap().position, 2);
    server.cancel(&first.name).await.unwrap();
    assert_eq!(server.get(&second.name).await.queue.unwrap().position, 1);
    server.create(slow()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interactive_jobs_go_before_batch_jobs() {
    let server = Harness::new().await;
    let running =
        server.create(request(EditSpec { localize_steps: Some(30), ..spec("edit") })).await;
    server.until(&running.name, State::Localizing).await;
    let batch = EditSpec { priority: v1::Priority::Batch as i32, ..spec("later") };
    let later = server.create(request(batch)).await;
    let sooner = server.create(request(spec("sooner"))).await;
    let sooner = server.until(&sooner.name, State::Succeeded).await;
    let later = server.until(&later.name, State::Succeeded).await;
    let end = |job: &v1::EditJob| std::time::SystemTime::try_from(job.end_time.unwrap()).unwrap();
    assert!(end(&sooner) < end(&later));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_an_outcome_for_each() {
    let server = Harness::new().await;
    let requests = vec![request(spec("edit")), request(spec(" ")), request(spec("another"))];
    let answer = server
        .client
        .clone()
        .batch_create_edit_jobs(v1::BatchCreateEditJobsRequest { requests })
        .await
        .unwrap()
        .into_inner();
    let outcomes: Vec<Outcome> = answer.results.into_iter().filter_map(|it| it.outcome).collect();
    assert!(matches!(&outcomes[..], [Outcome::Job(_), Outcome::Error(error), Outcome::Job(_)]
        if error.code == Code::InvalidArgument as i32 && error.message.contains("instruction")));
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed_newest_first_in_pages_and_deleted() {
    let server = Harness::new().await;
    let mut names = Vec::new();
    for number in 0..5 {
        let mut spec = spec("edit");
        spec.labels.insert("number".to_owned(), number.to_string());
        names.push(server.client.clone().run_edit(request(spec)).await.unwrap().into_inner().name);
    }
    names.reverse();
    let mut found = Vec::new();
    let mut page = v1::ListEditJobsRequest { page_size: 2, ..Default::default() };
    loop {
        let answer = server.client.clone().list_edit_jobs(page.clone()).await.unwrap().into_inner();
        found.extend(answer.jobs.into_iter().map(|it| it.name));
        page.page_token = answer.next_page_token;
        if page.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, names);
    let by_label = v1::ListEditJobsRequest {
        labels: [("number".to_owned(), "3".to_owned())].into(),
        ..Default::default()
    };
    let answer = server.client.clone().list_edit_jobs(by_label).await.unwrap().into_inner();
    assert_eq!(answer.jobs.len(), 1);

    let image = answer.jobs[0].result.as_ref().unwrap().image.as_ref().unwrap().name.clone();
    let delete = v1::DeleteEditJobRequest { name: answer.jobs[0].name.clone() };
    server.client.clone().delete_edit_job(delete.clone()).await.unwrap();
    let gone = server.client.clone().delete_edit_job(delete).await.unwrap_err();
    assert_eq!(reason(&gone), (Code::NotFound, "JOB_NOT_FOUND".to_owned()));
    let download = v1::DownloadArtifactRequest { name: image, offset: 0 };
    let gone = server.client.clone().download_artifact(download).await.unwrap_err();
    assert_eq!(reason(&gone), (Code::NotFound, "ARTIFACT_NOT_FOUND".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_at_once_do_not_overfill_the_queue() {
    let limits = Limits { queue: QueueLimits { total: 3, tenant: 3 }, ..LIMITS };
    let server = Harness::with(limits).await;
    let slow = || request(EditSpec { localize_steps: Some(500), ..spec("edit") });
    let running = server.create(slow()).await;
    server.until(&running.name, State::Localizing).await;
    let calls: Vec<_> = (0..30)
        .map(|_| {
            let (mut client, asked) = (server.client.clone(), slow());
            tokio::spawn(async move { client.create_edit_job(asked).await.is_ok() })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(server.store.queue.len(), 3);
}
