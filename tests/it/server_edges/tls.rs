//! TLS: client certificates, certificate rotation, clients that never finish the handshake.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use retouch::server::{
    config::TlsFiles,
    serving::{self, HEADER_TIMEOUT},
    tls::{Listener, TlsError},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::{
    service::Routes,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{MANY, in_time, terms, until};

/// A root, and what it signs.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate of `localhost` and its key, PEM.
    fn sign(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

/// A server of health, on files in a folder.
struct Served {
    addr: SocketAddr,
    folder: TempDir,
}

impl Served {
    async fn new(authority: &Authority, clients: Option<&Authority>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), authority);
        let client_ca = clients.map(|it| {
            let path = folder.path().join("clients.pem");
            fs::write(&path, it.pem()).unwrap();
            path
        });
        let listener = Listener::bind(any(), Some(files(folder.path(), client_ca))).await.unwrap();
        Self { addr: serve(listener), folder }
    }

    async fn call(
        &self,
        authority: &Authority,
        identity: Option<&Authority>,
    ) -> Result<(), String> {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(authority.pem()))
            .domain_name("localhost");
        if let Some(signer) = identity {
            let (cert, key) = signer.sign();
            tls = tls.identity(Identity::from_pem(cert, key));
        }
        let endpoint = Endpoint::from_shared(format!("https://{}", self.addr)).unwrap();
        check(endpoint.tls_config(tls).unwrap()).await
    }
}

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn files(folder: &Path, client_ca: Option<PathBuf>) -> TlsFiles {
    TlsFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem"), client_ca }
}

pub(super) fn write(folder: &Path, authority: &Authority) {
    let (cert, key) = authority.sign();
    fs::write(folder.join("cert.pem"), cert).unwrap();
    fs::write(folder.join("key.pem"), key).unwrap();
}

fn serve(listener: Listener) -> SocketAddr {
    let addr = listener.local_addr().unwrap();
    let (_, health) = tonic_health::server::health_reporter();
    let routes = Routes::new(health).prepare();
    let terms = terms(HEADER_TIMEOUT, MANY);
    tokio::spawn(serving::serve(listener, routes, terms, std::future::pending()));
    addr
}

async fn check(endpoint: Endpoint) -> Result<(), String> {
    let call = async {
        let channel: Channel = endpoint.connect().await.map_err(|it| format!("{it:?}"))?;
        let request = HealthCheckRequest { service: String::new() };
        let answer = HealthClient::new(channel).check(request).await;
        answer.map(drop).map_err(|it| format!("{it:?}"))
    };
    in_time("a call", call).await
}

#[tokio::test]
async fn a_listener_without_files_is_plaintext() {
    let addr = serve(Listener::bind(any(), None).await.unwrap());
    check(Endpoint::from_shared(format!("http://{addr}")).unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_trusts_the_root_is_served() {
    let authority = Authority::new();
    let served = Served::new(&authority, None).await;
    served.call(&authority, None).await.unwrap();
    served.call(&Authority::new(), None).await.unwrap_err();
    check(Endpoint::from_shared(format!("http://{}", served.addr)).unwrap()).await.unwrap_err();
}

#[tokio::test]
async fn with_client_roots_only_their_peers_are_served() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let served = Served::new(&authority, Some(&clients)).await;
    served.call(&authority, Some(&clients)).await.unwrap();
    served.call(&authority, None).await.unwrap_err();
    served.call(&authority, Some(&Authority::new())).await.unwrap_err();
}

#[tokio::test]
async fn changed_certificates_count_from_the_next_connection_and_bad_ones_do_not() {
    let (old, new) = (Authority::new(), Authority::new());
    let served = Served::new(&old, None).await;
    served.call(&old, None).await.unwrap();
    let cert = served.folder.path().join("cert.pem");
    fs::write(&cert, "no certificate").unwrap();
    served.call(&old, None).await.unwrap();
    // The certificate and a key that is not its own, as it is in the middle of a change.
    fs::write(&cert, new.sign().0).unwrap();
    served.call(&old, None).await.unwrap();
    write(served.folder.path(), &new);
    served.call(&new, None).await.unwrap();
    served.call(&old, None).await.unwrap_err();
}

#[tokio::test]
async fn silent_peers_hold_up_nobody() {
    let authority = Authority::new();
    let served = Served::new(&authority, None).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(served.addr).await.unwrap());
    }
    served.call(&authority, None).await.unwrap();
}

#[tokio::test]
async fn http_1_1_is_offered_beside_h2() {
    let authority = Authority::new();
    let served = Served::new(&authority, None).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    for protocol in ["h2", "http/1.1"] {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let tcp = TcpStream::connect(served.addr).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
    }
}

#[tokio::test]
async fn files_that_can_not_be_used_are_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let bind = |files| async { Listener::bind(any(), Some(files)).await.unwrap_err() };
    let error = bind(files(folder.path(), None)).await;
    assert!(error.to_string().contains("key.pem"), "{error}");
    write(folder.path(), &Authority::new());
    fs::write(folder.path().join("cert.pem"), "").unwrap();
    let error = bind(files(folder.path(), None)).await;
    assert!(matches!(error, TlsError::Empty { .. }), "{error:?}");
}

#[tokio::test]
async fn the_port_closes_when_it_is_told_to_stop() {
    let listener = Listener::bind(any(), None).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let routes = Routes::default().prepare();
    let served =
        tokio::spawn(serving::serve(listener, routes, terms(HEADER_TIMEOUT, MANY), async {
            let _ = stopped.await;
        }));
    drop(stop);
    in_time("the end", served).await.unwrap();
    until("a closed port", || std::net::TcpStream::connect(addr).is_err()).await;
}

/// What a log says, as lines.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_refused_certificate_of_a_client_is_in_the_log_and_a_passing_scanner_is_not() {
    let log = Log::default();
    let lines = {
        let log = log.clone();
        move || log.clone()
    };
    // All of the server runs on this thread.
    let subscriber = tracing_subscriber::fmt().with_writer(lines).with_ansi(false).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let (authority, clients) = (Authority::new(), Authority::new());
    let served = Served::new(&authority, Some(&clients)).await;
    let text = || String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    served.call(&authority, Some(&clients)).await.unwrap();
    check(Endpoint::from_shared(format!("http://{}", served.addr)).unwrap()).await.unwrap_err();
    assert!(!text().contains("certificate"), "{}", text());
    for identity in [Some(&Authority::new()), None] {
        log.0.lock().unwrap().clear();
        served.call(&authority, identity).await.unwrap_err();
        until("a line", || text().contains("WARN") && text().contains("certificate")).await;
        assert!(text().contains("socket=127.0.0.1:"), "{}", text());
    }
}
