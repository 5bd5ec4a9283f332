//! Data folders: journals with missing files, files without a journal entry, and the layout of earlier versions.

use std::{
    fs,
    path::{Path, PathBuf},
};

use prost::Message;
use retouch::{
    jobs::{
        admission::Attachment,
        queue::QueueLimits,
        runner::Runner,
        store::{Limits, Store},
    },
    journal::{Journal, error::JournalError, space::Space},
    wire::v1::{self, EditSpec, Image, edit_job::State, image::Source},
};
use tonic::Code;

use super::{
    disk::Disk,
    harness::{Harness, LIMITS, SPACE, copied, files, open, reason, request, spec},
    requests::upload,
    script::Script,
};

/// A folder with a job that is done, and its name.
async fn with_a_job() -> (PathBuf, v1::EditJob) {
    let server = Harness::new().await;
    let done = server.client.clone().run_edit(request(spec("edit"))).await.unwrap().into_inner();
    (stopped(server).await, done)
}

/// The folder of a server once its store is closed.
async fn stopped(server: Harness) -> PathBuf {
    let folder = server.stop().await;
    drop(open(&folder, SPACE).await);
    folder
}

fn result(job: &v1::EditJob) -> v1::Artifact {
    job.result.as_ref().unwrap().image.clone().unwrap()
}

/// Where an artifact's file is.
fn file(folder: &Path, name: &str) -> PathBuf {
    let id = name.strip_prefix("artifacts/").unwrap();
    files(folder).into_iter().find(|it| it.ends_with(id)).unwrap()
}

async fn download(server: &Harness, name: &str) -> Result<Vec<u8>, tonic::Status> {
    let request = v1::DownloadArtifactRequest { name: name.to_owned(), offset: 0 };
    let mut chunks = server.client.clone().download_artifact(request).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.message().await? {
        bytes.extend_from_slice(&chunk.data);
    }
    Ok(bytes)
}

fn names(files: &[PathBuf]) -> Vec<String> {
    let mut names: Vec<String> =
        files.iter().map(|it| it.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_was_moved_away_costs_no_picture_and_finds_them_when_it_is_back() {
    let (folder, done) = with_a_job().await;
    let before = names(&files(&folder.join("artifacts")));
    assert!(before.len() > 5);
    let away = folder.join("kept.redb");
    fs::rename(folder.join("journal.redb"), &away).unwrap();

    // 1. A new journal knows none of them.
    let server = Harness::over(&folder).await;
    assert!(server.store.all().is_empty());
    assert_eq!(names(&files(&folder.join("set-aside"))), before);
    let new = server.client.clone().run_edit(request(spec("new"))).await.unwrap().into_inner();
    let folder = stopped(server).await;

    // 2. The old one is back: it has all of its own, and the new one's are aside.
    fs::remove_file(folder.join("journal.redb")).unwrap();
    fs::rename(&away, folder.join("journal.redb")).unwrap();
    let server = Harness::over(&folder).await;
    assert_eq!(download(&server, &result(&done).name).await.unwrap(), result(&done).inline);
    assert_eq!(names(&files(&folder.join("artifacts"))), before);
    let aside = names(&files(&folder.join("set-aside")));
    assert!(aside.iter().any(|it| result(&new).name.ends_with(it.as_str())), "{aside:?}");
    fs::remove_dir_all(server.stop().await).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_journal_leaves_what_came_after_it() {
    let server = Harness::new().await;
    let first = server.client.clone().run_edit(request(spec("first"))).await.unwrap().into_inner();
    let folder = stopped(server).await;
    let backup = fs::read(folder.join("journal.redb")).unwrap();
    let server = Harness::over(&folder).await;
    let later = server.client.clone().run_edit(request(spec("later"))).await.unwrap().into_inner();
    let folder = stopped(server).await;
    fs::write(folder.join("journal.redb"), backup).unwrap();

    let server = Harness::over(&folder).await;
    assert_eq!(download(&server, &result(&first).name).await.unwrap(), result(&first).inline);
    let aside = file(&folder.join("set-aside"), &result(&later).name);
    assert_eq!(fs::read(aside).unwrap(), result(&later).inline);
    fs::remove_dir_all(server.stop().await).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_journal_beside_pictures_is_refused_and_changes_nothing() {
    let (folder, _) = with_a_job().await;
    let before = files(&folder);
    fs::write(folder.join("journal.redb"), b"").unwrap();
    let error = Journal::open(&folder, SPACE).unwrap_err();
    assert!(matches!(error, JournalError::Emptied { .. }), "{error}");
    assert!(error.to_string().contains("journal.redb is empty"), "{error}");
    assert_eq!(files(&folder), before);
    assert_eq!(fs::metadata(folder.join("journal.redb")).unwrap().len(), 0);
    // Without pictures it is what a first start left that was cut off.
    fs::remove_dir_all(folder.join("artifacts")).unwrap();
    drop(open(&folder, SPACE).await);
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_lost_is_said_to_be_and_costs_its_artifact_alone() {
    let server = Harness::new().await;
    let done = server.client.clone().run_edit(request(spec("edit"))).await.unwrap().into_inner();
    let uploaded = upload(&server, &super::harness::picture(3)).await;
    let (image, mask) = (result(&done), done.mask.as_ref().unwrap().mask.clone().unwrap());
    let folder = stopped(server).await;
    fs::remove_file(file(&folder, &image.name)).unwrap();
    let cut = file(&folder, &mask.name);
    fs::write(&cut, &fs::read(&cut).unwrap()[..20]).unwrap();
    let changed = file(&folder, &uploaded);
    let mut bytes = fs::read(&changed).unwrap();
    bytes[30] ^= 1;
    fs::write(changed, bytes).unwrap();

    let server = Harness::over(&folder).await;
    for (name, why) in [
        (&image.name, "missing"),
        (&mask.name, "bytes"),
        (&uploaded, "has changed since it was stored"),
    ] {
        let status = download(&server, name).await.unwrap_err();
        assert_eq!(reason(&status), (Code::DataLoss, "ARTIFACT_LOST".to_owned()));
        assert!(status.message().contains(why), "{status}");
    }
    // The job is there, and tells its pictures by name.
    let job = server.get(&done.name).await;
    assert_eq!((result(&job).name, result(&job).inline.len()), (image.name, 0));
    assert_eq!(server.watch(&done.name, 0).await.len() as u64, done.last_sequence);
    // What needs a lost one says so.
    let source = Some(Source::Artifact(uploaded));
    let of_lost = EditSpec { image: Some(Image { source }), ..spec("edit") };
    assert_eq!(server.refused(request(of_lost)).await.1, "ARTIFACT_LOST");
    let delete = v1::DeleteEditJobRequest { name: done.name };
    server.client.clone().delete_edit_job(delete).await.unwrap();
    fs::remove_dir_all(server.stop().await).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_job_whose_picture_is_lost_fails_as_such() {
    let server = Harness::new().await;
    let slow = EditSpec { localize_steps: Some(1000), ..spec("edit") };
    let running = server.create(request(slow)).await;
    let waiting = server.create(request(spec("edit"))).await;
    server.until(&running.name, State::Localizing).await;
    let folder = stopped(server).await;
    fs::remove_dir_all(folder.join("artifacts")).unwrap();
    let server = Harness::over(&folder).await;
    let failed = server.until(&waiting.name, State::Failed).await;
    assert_eq!(failed.error.unwrap().reason, "ARTIFACT_LOST");
    fs::remove_dir_all(server.stop().await).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_people_put_there_stay_and_half_written_ones_go() {
    let (folder, _) = with_a_job().await;
    let artifacts = folder.join("artifacts");
    let notes = [artifacts.join("README.txt"), artifacts.join("mine").join("a.png")];
    fs::create_dir_all(artifacts.join("mine")).unwrap();
    for it in &notes {
        fs::write(it, b"mine").unwrap();
    }
    let half = artifacts.join(format!("{}.partial", uuid::Uuid::now_v7()));
    fs::write(&half, b"ha").unwrap();
    drop(open(&folder, SPACE).await);
    assert!(notes.iter().all(|it| it.exists()) && !half.exists());
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("artifacts"), b"no folder").unwrap();
    let error = Journal::open(folder.path(), SPACE).unwrap_err();
    assert!(error.to_string().contains("artifacts"), "{error}");
    let error = Journal::open(&folder.path().join("artifacts"), SPACE).unwrap_err();
    assert!(matches!(error, JournalError::Io { .. }), "{error}");
}

#[test]
fn jobs_count_against_the_quota_as_artifacts_do() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path(), Space { quota: 20_000, min_free: 0 }).unwrap();
    let queue = QueueLimits { total: 100, tenant: 100 };
    let store = Store::open(journal, Limits { queue, ..LIMITS }).unwrap();
    store.set_model(Script::new().model().clone());
    let mut made = 0;
    let fault = loop {
        let long = EditSpec { instruction: "x".repeat(1500), ..spec("edit") };
        match store.create("local", request(long), Attachment::Detached) {
            Ok(_) => made += 1,
            Err(fault) => break fault,
        }
        assert!(made < 100, "records are not counted");
    };
    // The pictures alone would not fill it in so few jobs.
    let pictures: u64 =
        files(&folder.path().join("artifacts")).iter().map(|it| it.metadata().unwrap().len()).sum();
    assert!(made > 2 && pictures < 10_000, "{made} {pictures}");
    assert_eq!(fault.reason.name(), "DISK_FULL", "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_waits_for_the_disk_once_and_many_that_expire_do_together() {
    let (disk, folder) = (Disk::default(), tempfile::tempdir().unwrap());
    let journal = Journal::open_backend(disk.clone(), folder.path(), SPACE).unwrap();
    let server = Harness::over_journal(journal, folder).await;
    let mut jobs = Vec::new();
    for number in 0..12 {
        let ttl = (number > 0).then_some(prost_types::Duration { seconds: 60, nanos: 0 });
        let asked = request(EditSpec { ttl, ..spec("edit") });
        jobs.push(server.client.clone().run_edit(asked).await.unwrap().into_inner());
    }
    let artifacts = server.folder().join("artifacts");
    let before = (disk.syncs(), files(&artifacts).len());
    let name = jobs[0].name.clone();
    server.client.clone().delete_edit_job(v1::DeleteEditJobRequest { name }).await.unwrap();
    let after = (disk.syncs(), files(&artifacts).len());
    assert!(after.0 - before.0 <= 2, "{before:?} {after:?}");
    assert!(before.1 - after.1 >= 6, "{before:?} {after:?}");

    retouch::jobs::timeouts::sweep(&server.store);
    assert_eq!(server.store.all().len(), 11, "none has had its time");
    let after = (disk.syncs(), files(&artifacts).len());
    server.store.clock.advance(std::time::Duration::from_secs(60));
    retouch::jobs::timeouts::sweep(&server.store);
    assert!(files(&artifacts).is_empty() && server.store.all().is_empty());
    assert!(disk.syncs() - after.0 <= 6, "{} for eleven jobs", disk.syncs() - after.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_stays_deleted_whenever_the_server_crashes() {
    let (disk, folder) = (Disk::default(), tempfile::tempdir().unwrap());
    let journal = Journal::open_backend(disk.clone(), folder.path(), SPACE).unwrap();
    let server = Harness::over_journal(journal, folder).await;
    let done = server.client.clone().run_edit(request(spec("edit"))).await.unwrap().into_inner();
    // The commit of the delete is durable, the removal of the files is not.
    let crashed = copied(server.folder());
    assert!(files(crashed.path()).len() > 5);
    let delete = v1::DeleteEditJobRequest { name: done.name };
    server.client.clone().delete_edit_job(delete).await.unwrap();
    drop(Journal::open_backend(disk.after_a_crash(), crashed.path(), SPACE).unwrap());
    assert!(files(crashed.path()).is_empty(), "a deleted picture is not kept");
}

/// A folder that version 1 of the layout left when it was killed: flat artifacts, jobs in every state.
fn version_1() -> tempfile::TempDir {
    copied(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data_folder_1"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_version_1_is_taken_over_with_all_its_jobs() {
    let folder = version_1();
    let flat = files(&folder.path().join("artifacts"));
    let known = names(&flat);
    // Some are moved already, as after a crash in the middle.
    for file in flat.iter().step_by(3) {
        let name = file.file_name().unwrap().to_str().unwrap();
        let own = folder.path().join("artifacts").join(&name[9..11]);
        fs::create_dir_all(&own).unwrap();
        fs::rename(file, own.join(name)).unwrap();
    }
    let store = Store::open(open(folder.path(), SPACE).await, LIMITS).unwrap();
    let mut states: Vec<(String, State)> =
        store.all().iter().map(|it| (store.view(it).unwrap().request_id, it.state())).collect();
    states.sort();
    let expected = [
        ("awaiting", State::AwaitingMask),
        ("cancelled", State::Cancelled),
        ("done", State::Succeeded),
        // It was in its second pass.
        ("editing", State::MaskReady),
        ("failed", State::Failed),
        ("mask-ready", State::MaskReady),
        ("queued", State::Queued),
    ];
    assert_eq!(states, expected.map(|(id, state)| (id.to_owned(), state)));
    for job in store.all() {
        let record = store.record(&job).unwrap();
        for name in &record.artifacts {
            assert!(!store.artifacts.read_all(name).unwrap().is_empty());
        }
        let events = store.events(job.id, 0).unwrap();
        assert_eq!(events.len() as u64, record.job.as_ref().unwrap().last_sequence);
    }
    let now = files(&folder.path().join("artifacts"));
    assert_eq!(names(&now), known, "none is lost, none is left over");
    for file in &now {
        let shard = file.parent().unwrap().file_name().unwrap().to_str().unwrap();
        assert_eq!(shard, &file.file_name().unwrap().to_str().unwrap()[9..11]);
    }
    assert!(!folder.path().join("set-aside").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_version_1_go_on_under_a_real_server() {
    let folder = version_1();
    let server = super::process::Server::start(folder.path());
    let list = v1::ListEditJobsRequest { page_size: 50, ..Default::default() };
    let jobs = server.client().await.list_edit_jobs(list).await.unwrap().into_inner().jobs;
    let named = |id: &str| jobs.iter().find(|it| it.request_id == id).unwrap();
    // A long one, in which the server was killed.
    let name = named("editing").name.clone();
    let cancel = v1::CancelEditJobRequest { name, ..Default::default() };
    server.client().await.cancel_edit_job(cancel).await.unwrap();
    for id in ["mask-ready", "queued"] {
        let job = named(id);
        let done = super::process::until(&server, &job.name, State::Succeeded).await;
        assert!(!result(&done).inline.is_empty());
    }
}

#[test]
fn records_of_the_journal_keep_their_fields() {
    // Numbers on the disk are those of the schema; another one for the same would lose what is there.
    let record = retouch::wire::journal::v1::JobRecord {
        tenant: "t".to_owned(),
        asked_digest: vec![1].into(),
        ..Default::default()
    };
    assert_eq!(record.encode_to_vec(), [0x12, 1, b't', 0x6a, 1, 1]);
}
