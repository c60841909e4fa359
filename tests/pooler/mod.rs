//! A PgBouncer of the test's own, from the distribution's package, before a server of the test's
//! own: one connection to that, shared transaction by transaction.

use crate::postgres_server::{PATIENCE, Server};
use brownout::{run::ports::ReservedPort, seed::Seed};
use std::{
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Instant,
};

/// A PgBouncer of the test's own.
pub struct Pooler {
    pub address: SocketAddr,
    _port: ReservedPort,
    child: Child,
}

impl Pooler {
    /// Starts it and waits until it answers.
    pub fn start(server: &Server) -> Self {
        let port = ReservedPort::take(&mut Seed(u64::from(std::process::id())).stream(&["ports"]))
            .expect("a port");
        let address = SocketAddr::from(([127, 0, 0, 1], port.port));
        let settings = [
            "[databases]".to_owned(),
            format!(
                "postgres = host=127.0.0.1 port={} dbname=postgres user=app password=secret-word",
                server.address.port()
            ),
            "[pgbouncer]".to_owned(),
            "listen_addr = 127.0.0.1".to_owned(),
            format!("listen_port = {}", port.port),
            "unix_socket_dir =".to_owned(),
            "auth_type = any".to_owned(),
            "pool_mode = transaction".to_owned(),
            "default_pool_size = 1".to_owned(),
            "max_client_conn = 4".to_owned(),
            "query_wait_timeout = 1".to_owned(),
            "server_login_retry = 1".to_owned(),
        ];
        let file = server.file("pgbouncer.ini", &settings.join("\n"));
        let child = Server::unprivileged(program())
            .arg("-q")
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pgbouncer runs: install the package pgbouncer");
        let pooler = Self {
            address,
            _port: port,
            child,
        };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < until, "the pooler never became ready");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        pooler
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the package puts it, which is not on everybody's path.
fn program() -> PathBuf {
    let packaged = Path::new("/usr/sbin/pgbouncer");
    if packaged.exists() {
        packaged.to_owned()
    } else {
        PathBuf::from("pgbouncer")
    }
}
