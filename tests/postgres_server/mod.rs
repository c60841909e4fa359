//! A PostgreSQL server of the test's own, from the distribution's package: on an ephemeral loopback
//! port, with a fresh data folder that goes with it.

use brownout::{run::ports::ReservedPort, seed::Seed};
use std::{
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long it may take to start or stop.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A PostgreSQL server of the test's own.
pub struct Server {
    folder: TempDir,
    pub address: SocketAddr,
    _port: ReservedPort,
    child: Option<Child>,
}

impl Server {
    /// Makes a fresh data folder and starts it; it may not be ready yet.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = ReservedPort::take(&mut Seed(u64::from(std::process::id())).stream(&["ports"]))
            .expect("a port");
        let mut server = Self {
            folder,
            address: SocketAddr::from(([127, 0, 0, 1], port.port)),
            _port: port,
            child: None,
        };
        server.initialise();
        server.run();
        server
    }

    /// PostgreSQL refuses to run as root: then it runs as the user that its package made.
    fn program(name: &str) -> Command {
        Self::unprivileged(program_path(name))
    }

    /// A program as that user, where this one is root.
    pub fn unprivileged(path: PathBuf) -> Command {
        if rustix::process::getuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
            command.arg(path);
            return command;
        }
        Command::new(path)
    }

    /// A file with this text, which goes with the server.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn initialise(&self) {
        if rustix::process::getuid().is_root() {
            let status = Command::new("chown")
                .arg("postgres")
                .arg(self.folder.path())
                .status()
                .expect("chown runs");
            assert!(status.success());
        }
        let words = self.file("password", "secret-word\n");
        let output = Self::program("initdb")
            .args(["--username=app", "--auth=scram-sha-256", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C.UTF-8"])
            .arg(format!("--pwfile={}", words.display()))
            .arg(self.data())
            .output()
            .expect("initdb runs: install the package postgresql");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Starts it on the data folder that it has.
    pub fn run(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).expect("a log");
        let settings = [
            format!("port={}", self.address.port()),
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "max_connections=12".to_owned(),
            "superuser_reserved_connections=3".to_owned(),
            "fsync=off".to_owned(),
        ];
        let child = Self::program("postgres")
            .arg("-D")
            .arg(self.data())
            .args(settings.iter().flat_map(|setting| ["-c", setting]))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("postgres runs");
        self.child = Some(child);
    }

    /// Waits until it is ready.
    pub fn wait(&self) {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_err() || !self.answers() {
            assert!(Instant::now() < until, "the server never became ready");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn answers(&self) -> bool {
        let port = self.address.port().to_string();
        let status = Command::new(program_path("pg_isready"))
            .args(["--quiet", "--host=127.0.0.1", "--port", &port])
            .status();
        status.expect("pg_isready runs").success()
    }

    /// Stops it as `pg_ctl stop -m fast` does, which ends every session.
    #[allow(dead_code, reason = "not everybody restarts it")]
    pub fn stop(&mut self) {
        self.signal(rustix::process::Signal::INT);
        let mut child = self.child.take().expect("it runs");
        child.wait().expect("it stopped");
    }

    /// Stops it as `pg_ctl stop -m immediate` does, so that it has to recover.
    #[allow(dead_code, reason = "not everybody restarts it")]
    pub fn stop_immediately(&mut self) {
        self.signal(rustix::process::Signal::QUIT);
        let mut child = self.child.take().expect("it runs");
        child.wait().expect("it stopped");
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let child = self.child.as_ref().expect("it runs");
        let id = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(id, signal).expect("signalled");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.signal(rustix::process::Signal::QUIT);
            let _ = self.child.take().expect("it runs").wait();
        }
    }
}

/// A program of the server, wherever the distribution puts it.
pub fn program_path(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut found: Vec<PathBuf> = versions
        .flatten()
        .map(|version| version.path().join("bin").join(name))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| PathBuf::from(name))
}
