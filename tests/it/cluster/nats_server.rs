//! NATS servers of tests, built once by Go from its module proxy.

use std::{
    env, fs,
    io::{self, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// The version that is tested.
const VERSION: &str = "v2.15.3";

/// The server's program; `None`, and a line on standard error, where it can't be built.
pub(crate) fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM
        .get_or_init(|| {
            let found = env::var_os("NATS_SERVER").map(PathBuf::from).map_or_else(build, Ok);
            // Past the test's own output, which is shown of tests that fail alone.
            let say = |why: &String| {
                writeln!(io::stderr(), "NOT TESTED, for want of a NATS server: {why}")
            };
            found.inspect_err(|why| say(why).unwrap()).ok()
        })
        .as_deref()
}

/// Builds it into `target/tools`, unless it is there.
fn build() -> Result<PathBuf, String> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
    let program = tools.join(format!("nats-server-{VERSION}/nats-server"));
    if program.exists() {
        return Ok(program);
    }
    let part = tempfile::Builder::new().prefix("nats-server").tempdir_in({
        fs::create_dir_all(&tools).map_err(|error| error.to_string())?;
        &tools
    });
    let part = part.map_err(|error| error.to_string())?;
    let module = format!("github.com/nats-io/nats-server/v2@{VERSION}");
    let mut go = Command::new("go");
    go.args(["install", &module]).env("GOBIN", part.path()).env("CGO_ENABLED", "0");
    let output = go.output().map_err(|error| format!("`go` can't be run ({error})"))?;
    if !output.status.success() {
        return Err(format!("`go` says: {}", String::from_utf8_lossy(&output.stderr)));
    }
    // Whoever is first names it.
    let _ = fs::rename(part.keep(), program.parent().unwrap());
    Ok(program)
}

/// A running server, which syncs every write.
pub(crate) struct NatsServer {
    child: Child,
    port: u16,
    monitor: u16,
    more: String,
    folder: TempDir,
    /// Where it stores.
    store: PathBuf,
}

impl NatsServer {
    /// Starts a server; `None` where there is no program.
    pub(crate) fn start() -> Option<Self> {
        Self::configured("")
    }

    /// The same with more lines in its configuration.
    pub(crate) fn configured(more: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("data");
        Self::starting(folder, &store, more)
    }

    /// A server that stores in a folder, with more lines for that.
    pub(crate) fn on(store: &Path, more: &str) -> Option<Self> {
        Self::starting(tempfile::tempdir().unwrap(), store, more)
    }

    fn starting(folder: TempDir, store: &Path, more: &str) -> Option<Self> {
        let program = program()?;
        let (port, monitor) = (free_port(), free_port());
        let child = spawn(program, (folder.path(), store), port, monitor, more);
        let (more, store) = (more.to_owned(), store.to_owned());
        let server = Self { child, port, monitor, more, folder, store };
        server.wait();
        Some(server)
    }

    /// Three servers of a cluster.
    pub(crate) fn cluster() -> Option<Vec<Self>> {
        let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let routes: Vec<String> = ports.iter().map(|it| format!("nats://127.0.0.1:{it}")).collect();
        let routes = routes.join(", ");
        let start = |port: &u16| {
            let listen = format!("listen: 127.0.0.1:{port}, routes: [{routes}]");
            Self::configured(&format!("cluster {{ name: test, {listen} }}"))
        };
        ports.iter().map(start).collect()
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Stores elsewhere from its next start on.
    pub(crate) fn moved_to(&mut self, store: &Path) {
        store.clone_into(&mut self.store);
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    pub(crate) fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.monitor)
    }

    /// Kills it, as a crash does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was.
    pub(crate) fn again(&mut self) {
        let program = program().unwrap();
        let folders = (self.folder.path(), self.store.as_path());
        self.child = spawn(program, folders, self.port, self.monitor, &self.more);
        self.wait();
    }

    fn wait(&self) {
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(30), "the NATS server never listens");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(
    program: &Path,
    (folder, store): (&Path, &Path),
    port: u16,
    monitor: u16,
    more: &str,
) -> Child {
    // One that is said is JetStream's.
    let (sync, more) = match more {
        it if it.starts_with("sync_interval") => (it, ""),
        it if it.contains("sync_interval") => ("", it),
        it => ("sync_interval: always", it),
    };
    let text = format!(
        "listen: 127.0.0.1:{port}\nhttp: 127.0.0.1:{monitor}\nserver_name: test-{port}\n\
         jetstream {{ store_dir: \"{}\", max_mem: 64M, max_file: 4G\n{sync} }}\n{more}\n",
        store.display()
    );
    let config = folder.join("nats.conf");
    fs::write(&config, text).unwrap();
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut command = Command::new(program);
    command.arg("-c").arg(config).stdout(Stdio::null()).stderr(log);
    command.spawn().unwrap()
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
