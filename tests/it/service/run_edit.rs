//! The unary call `RunEdit`: response headers are sent early for a long edit, and with the result for a short one.

use std::{sync::Arc, time::Duration};

use retouch::{
    server::edit_service::{Edits, run_edit::EarlyHeaders},
    wire::v1::{
        AcceptMask, CreateEditJobRequest, EditJob, EditSpec, MaskDecision, MaskPolicy,
        edit_job::State, edit_service_client::EditServiceClient, mask_decision::Decision,
    },
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    IntoRequest, Request, Response, Status, Streaming,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint, Server},
};
use tonic_prost::ProstCodec;

use super::harness::{Harness, reason, request, spec, until};

/// The service of a server's store, whose headers go ahead after so long.
async fn serve(server: &Harness, after: Duration) -> Channel {
    let edits = Edits::new(Arc::clone(&server.store), 32 << 20);
    let early = EarlyHeaders::new(edits, 32 << 20, 4 << 20, after);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = Server::builder().add_service(early);
    tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    Endpoint::from_shared(url).unwrap().connect().await.unwrap()
}

/// `RunEdit` as its headers come, before its one message.
async fn headers(
    channel: &Channel,
    asked: impl IntoRequest<CreateEditJobRequest>,
) -> Result<Response<Streaming<EditJob>>, Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static("/retouch.v1.EditService/RunEdit");
    let codec = ProstCodec::<CreateEditJobRequest, EditJob>::default();
    grpc.server_streaming(asked.into_request(), path, codec).await
}

/// Passes of 10 ms a step.
fn long(instruction: &str, steps: u32) -> CreateEditJobRequest {
    request(EditSpec { localize_steps: Some(steps), ..spec(instruction) })
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_go_ahead_of_a_long_edit_and_its_job_follows() {
    let server = Harness::new().await;
    let channel = serve(&server, Duration::from_millis(50)).await;
    // It takes as long as its mask does.
    let review = EditSpec { mask_policy: MaskPolicy::Review as i32, ..spec("edit") };
    let mut answer = headers(&channel, request(review)).await.unwrap().into_inner();
    // On a busy machine they may even come before there is a job.
    until("the job is made", || !server.store.all().is_empty()).await;
    let job = server.store.all().remove(0).name();
    server.until(&job, State::AwaitingMask).await;
    let accept = Some(Decision::Accept(AcceptMask::default()));
    let accept = MaskDecision { decision: accept, ..MaskDecision::default() };
    server.decide(&job, accept).await.unwrap();
    let job = answer.message().await.unwrap().unwrap();
    assert_eq!(job.state(), State::Succeeded);
    assert!(!job.result.unwrap().image.unwrap().inline.is_empty());
    assert_eq!(answer.message().await.unwrap(), None);
    // Whoever calls it as what the schema says sees no difference.
    let whole = EditServiceClient::new(channel).run_edit(long("edit", 30)).await.unwrap();
    assert_eq!(whole.get_ref().state(), State::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_after_the_headers_is_told_behind_them_with_all_its_details() {
    let server = Harness::new().await;
    let channel = serve(&server, Duration::from_millis(50)).await;
    let mut answer = headers(&channel, long("panic", 200)).await.unwrap().into_inner();
    let status = answer.message().await.unwrap_err();
    assert_eq!(reason(&status), (tonic::Code::Internal, "INTERNAL".to_owned()));
    let status = EditServiceClient::new(channel).run_edit(long("no memory", 30)).await.unwrap_err();
    assert_eq!(reason(&status).1, "OUT_OF_MEMORY");
    assert!(status.metadata().contains_key("grpc-retry-pushback-ms"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_behind_the_headers_is_told_as_one() {
    let server = Harness::new().await;
    let channel = serve(&server, Duration::from_millis(50)).await;
    let mut asked = Request::new(long("edit", 1000));
    asked.set_timeout(Duration::from_secs(3));
    let mut answer = headers(&channel, asked).await.unwrap().into_inner();
    let status = answer.message().await.unwrap_err();
    assert_eq!(reason(&status), (tonic::Code::DeadlineExceeded, "CLIENT_DEADLINE".to_owned()));
}

/// A client's retry policy (gRFC A6) acts only on a call that got no headers yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_all_of_the_answer() {
    let server = Harness::new().await;
    let channel = serve(&server, Duration::from_secs(20)).await;
    for asked in [request(spec(" ")), request(spec("panic"))] {
        let status = headers(&channel, asked).await.map(drop).unwrap_err();
        assert!(["INVALID_ARGUMENT", "INTERNAL"].contains(&reason(&status).1.as_str()), "{status}");
    }
}
