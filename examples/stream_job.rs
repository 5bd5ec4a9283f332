//! Asks a server for an edit, prints its events as they come, and saves the result.
//!
//! ```text
//! retouch serve &
//! cargo run --release --example stream_job -- assets/example.png "change the black tree to blue" edited.png
//! ```
//!
//! `RETOUCH_SERVER` is the server's address, `RETOUCH_API_KEY` the caller's key where it wants one.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{env, error::Error, fs};

use retouch::wire::v1::{
    Artifact, CreateEditJobRequest, DownloadArtifactRequest, EditSpec, Image, edit_event::Event,
    edit_service_client::EditServiceClient, image::Source,
};
use tonic::{Request, transport::Channel};
use uuid::Uuid;

const USAGE: &str = "usage: stream_job IMAGE INSTRUCTION OUTPUT";

/// The service over one connection.
type Client = EditServiceClient<Channel>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [image, instruction, output] = args.as_slice() else { return Err(USAGE.into()) };
    let server = env::var("RETOUCH_SERVER").unwrap_or("http://localhost:50051".to_owned());

    // 1. What is asked; all that is left out is the model's recommendation, and the job says what it became.
    let spec = EditSpec {
        image: Some(Image { source: Some(Source::Data(fs::read(image)?.into())) }),
        instruction: instruction.clone(),
        seed: Some(7),
        ..EditSpec::default()
    };
    // The same id after a broken connection attaches to the same job, and never makes a second one.
    let request_id = Uuid::now_v7().to_string();
    let request =
        CreateEditJobRequest { request_id, spec: Some(spec), ..CreateEditJobRequest::default() };

    // 2. The events, up to the terminal state. Where the job fails, so does the stream, with the job's own status.
    let mut client = EditServiceClient::connect(server).await?;
    let mut events = client.stream_edit(with_key(request)?).await?.into_inner();
    while let Some(event) = events.message().await? {
        let Some(said) = event.event else { continue };
        tell(event.sequence, &said);
        if let Event::Result(result) = said
            && let Some(picture) = result.image
        {
            fs::write(output, bytes_of(&mut client, picture).await?)?;
            println!("edited: {output}");
        }
    }
    Ok(())
}

/// A call with the caller's key, if there is one.
fn with_key<T>(message: T) -> Result<Request<T>, Box<dyn Error>> {
    let mut request = Request::new(message);
    if let Ok(key) = env::var("RETOUCH_API_KEY") {
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse()?);
    }
    Ok(request)
}

/// An artifact's bytes: small ones travel in the event, large ones are fetched in chunks.
async fn bytes_of(client: &mut Client, artifact: Artifact) -> Result<Vec<u8>, Box<dyn Error>> {
    if !artifact.inline.is_empty() {
        return Ok(artifact.inline.to_vec());
    }
    let request = DownloadArtifactRequest { name: artifact.name, offset: 0 };
    let mut chunks = client.download_artifact(with_key(request)?).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.message().await? {
        bytes.extend_from_slice(&chunk.data);
    }
    Ok(bytes)
}

/// What happens, a line for each event, with the number of the last control event.
fn tell(sequence: u64, event: &Event) {
    let said = match event {
        Event::State(it) => format!("{} {}", it.state().as_str_name(), it.detail),
        Event::Part(it) => format!("edit {} of {}: {}", it.number, it.of, it.instruction),
        Event::Instruction(it) => format!("{} {}", it.action().as_str_name(), it.object),
        Event::Warning(it) => format!("{}: {}", it.reason, it.message),
        Event::ClusterMap(it) => format!("{} clusters", it.clusters.len()),
        Event::Heatmap(it) => format!("a heat map of `{}`", it.word),
        Event::MaskProposed(it) => {
            let selected: Vec<u32> =
                it.clusters.iter().filter(|it| it.selected).map(|it| it.id).collect();
            format!("mask of clusters {selected:?}, {:.1} %", 100.0 * it.area)
        }
        Event::MaskSettled(it) => format!("mask settled, {:.1} %", 100.0 * it.area),
        Event::Drift(it) => format!("drift {:.1}, {:.1} pixels", it.right, it.down),
        Event::Result(it) => {
            format!("the result, {} mask", if it.mask.is_some() { "a" } else { "no" })
        }
        Event::Error(it) => format!("{}: {}", it.reason, it.message),
        Event::Queue(it) => format!("place {} of {} in the queue", it.position, it.length),
        Event::Step(it) => format!("{} {} of {}", it.pass().as_str_name(), it.step, it.total),
        Event::Preview(it) => format!("a preview of step {}", it.step),
        Event::Heartbeat(_) => "still there".to_owned(),
    };
    println!("{sequence:>3} {said}");
}
