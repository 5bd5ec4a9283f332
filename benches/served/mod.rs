//! A server in a process of its own, with the demo model.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use retouch::wire::v1::edit_service_client::EditServiceClient;
use tonic::transport::{Channel, Endpoint};

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    _data: Arc<tempfile::TempDir>,
}

impl Server {
    pub(crate) fn start(options: &[(&str, &str)]) -> Self {
        Self::over(Arc::new(tempfile::tempdir().unwrap()), options)
    }

    /// A server over a data folder.
    pub(crate) fn over(data: Arc<tempfile::TempDir>, options: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_retouch"));
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"])
            .args(["--threads", "1", "--dtype", "fp32", "--log-level", "info", "--data-dir"])
            .arg(data.path())
            .envs(options.iter().copied())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut url = String::new();
        for line in lines.by_ref().map(Result::unwrap) {
            if let Some((_, rest)) = line.split_once("listening on ") {
                rest.split([',', ' ']).next().unwrap().clone_into(&mut url);
            }
            if line.contains("the model is loaded and warmed up") {
                break;
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url, _data: data }
    }

    pub(crate) async fn client(&self) -> EditServiceClient<Channel> {
        let channel = Endpoint::from_shared(self.url.clone()).unwrap().connect().await.unwrap();
        EditServiceClient::new(channel)
    }

    /// What the system tells of its process.
    pub(crate) fn proc(&self) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string())
    }

    /// Resident memory now and at its highest, in MiB.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(self.proc().join("status")).unwrap();
        let mib = |key: &str| {
            let line = status.lines().find(|it| it.starts_with(key)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
        };
        (mib("VmRSS:"), mib("VmHWM:"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
