//! The composed service: its port has the gate, the CORS rules and the certificates that the configuration names.

use std::sync::Arc;

use retouch::{
    jobs::store::Store,
    server::{
        config::{Auth, Config, Server, Tls},
        keys::Scope,
    },
    serving::service::Service,
    wire::v1::{GetServerInfoRequest, edit_job::State, edit_service_client::EditServiceClient},
};
use tempfile::TempDir;
use tonic::{
    Code, Request,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use super::{
    in_time, keys_file,
    raw::Raw,
    tls::{Authority, write},
    until,
};
use crate::service::{
    harness::{LIMITS, SPACE, open, request, serve, spec},
    script::Script,
};

/// A scripted service with the key `edit`, of the tenant `a`.
struct Composed {
    service: Service,
    store: Arc<Store>,
    _folder: TempDir,
}

impl Composed {
    async fn new(authority: Option<&Authority>, origins: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [keys, cert, key] =
            ["keys.toml", "cert.pem", "key.pem"].map(|name| folder.path().join(name));
        keys_file(&keys, &[("edit", "a", &[Scope::Edit])]);
        let mut config = Config {
            auth: Auth { keys_file: Some(keys), ..Auth::default() },
            server: Server {
                cors_origins: origins.iter().map(|&it| it.to_owned()).collect(),
                ..Server::default()
            },
            ..Config::default()
        };
        if let Some(authority) = authority {
            write(folder.path(), authority);
            config.tls = Tls { cert: Some(cert), key: Some(key), client_ca: None };
        }
        let journal = open(&folder.path().join("data"), SPACE).await;
        let store = Store::open(journal, LIMITS).unwrap();
        let service = serve(&store, config, || Box::new(Script::new())).await;
        let ready = store.ready();
        until("the model", || ready.borrow().is_ok()).await;
        Self { service, store, _folder: folder }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_passes_the_certificate_and_the_gate_into_its_tenants_store() {
    let authority = Authority::new();
    let composed = Composed::new(Some(&authority), &[]).await;
    let address = composed.service.address;
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority.pem()))
        .domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
    let channel = in_time("a handshake", endpoint.tls_config(tls).unwrap().connect()).await;
    let mut client = EditServiceClient::new(channel.unwrap());

    let refused = client.get_server_info(GetServerInfoRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut keyed = Request::new(request(spec("edit")));
    keyed.metadata_mut().insert("x-api-key", "edit".parse().unwrap());
    let name = client.create_edit_job(keyed).await.unwrap().into_inner().name;
    let job = composed.store.job("a", &name).unwrap();
    until("the job", || job.is_over()).await;
    assert_eq!(job.state(), State::Succeeded);

    let plain = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let plain = async {
        EditServiceClient::new(plain.connect().await?)
            .get_server_info(GetServerInfoRequest {})
            .await
            .map_err(Box::<dyn std::error::Error>::from)
    };
    assert!(in_time("a refusal", plain).await.is_err(), "plaintext is answered");
    assert!(composed.service.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_configured_origins_may_read_answers() {
    let composed = Composed::new(None, &["https://a.example"]).await;
    let raw = Raw::connect(composed.service.address).await;
    for (origin, is_allowed) in [("https://a.example", true), ("https://b.example", false)] {
        let headers = [("origin", origin), ("x-api-key", "edit")];
        let answer = raw.call("GetServerInfo", &headers, vec![0; 5]).await;
        let allowed = answer.headers.get("access-control-allow-origin");
        assert_eq!(allowed.is_some_and(|it| it == origin), is_allowed, "{origin}: {allowed:?}");
        let is_refused = answer.headers.get("grpc-status").is_some_and(|it| it == "7");
        assert_eq!(!is_refused, is_allowed, "{origin}: {answer:?}");
    }
    assert!(composed.service.stop().await);
}
