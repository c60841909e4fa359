//! What is measured: the programs, each a process of its own between our client and our server.

use super::{
    client, floor,
    process::{Process, find},
    server,
    table::Role,
};
use std::{
    fs, io,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// How often each row is taken.
    pub rounds: usize,
    /// Of 100 parts of the work, how many are done.
    percent: usize,
}

impl Scale {
    /// What measures.
    pub const FULL: Self = Self {
        rounds: 5,
        percent: 100,
    };

    /// What shows that it can be carried out.
    pub const SMOKE: Self = Self {
        rounds: 1,
        percent: 1,
    };

    /// So much of the whole work.
    pub fn of(self, whole: usize) -> usize {
        (whole * self.percent / 100).max(1)
    }
}

/// A program that can stand in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The floor that reads and writes.
    FloorCopy,
    /// The floor that splices.
    FloorSplice,
    /// `brownout run`: the history is written to disk as it happens.
    BrownoutRun,
    /// `brownout serve`: dependencies of a system's file; what was seen lately is kept in memory.
    BrownoutServe,
    /// `brownout serve`: a proxy made by Toxiproxy's API.
    BrownoutToxi,
    /// `brownout run` of another build, whose binary the variable `PEERS_BEFORE` names.
    BrownoutBefore,
    /// HAProxy.
    Haproxy,
    /// nginx.
    Nginx,
    /// Toxiproxy.
    Toxiproxy,
}

impl Program {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::FloorCopy,
        Self::FloorSplice,
        Self::BrownoutRun,
        Self::BrownoutServe,
        Self::BrownoutToxi,
        Self::BrownoutBefore,
        Self::Haproxy,
        Self::Nginx,
        Self::Toxiproxy,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FloorCopy => "floor (copy)",
            Self::FloorSplice => "floor (splice)",
            Self::BrownoutRun => "Brownout",
            Self::BrownoutServe => "Brownout serve",
            Self::BrownoutToxi => "Brownout serve, Toxiproxy's API",
            Self::BrownoutBefore => "Brownout before",
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx",
            Self::Toxiproxy => "Toxiproxy",
        }
    }

    /// What it is in a table.
    pub const fn role(self) -> Role {
        match self {
            Self::FloorCopy | Self::FloorSplice => Role::Floor,
            Self::BrownoutRun | Self::BrownoutServe | Self::BrownoutToxi | Self::BrownoutBefore => {
                Role::Ours
            }
            Self::Haproxy | Self::Nginx | Self::Toxiproxy => Role::Peer,
        }
    }

    /// Whether it can also speak HTTP, rather than pass bytes.
    pub const fn speaks_http(self) -> bool {
        matches!(
            self,
            Self::BrownoutRun
                | Self::BrownoutServe
                | Self::BrownoutBefore
                | Self::Haproxy
                | Self::Nginx
        )
    }

    /// Where it is; `None`: it is not on this machine.
    fn place(self) -> Option<PathBuf> {
        match self {
            Self::FloorCopy | Self::FloorSplice => std::env::current_exe().ok(),
            Self::BrownoutRun | Self::BrownoutServe | Self::BrownoutToxi => {
                Some(PathBuf::from(env!("CARGO_BIN_EXE_brownout")))
            }
            Self::BrownoutBefore => std::env::var_os("PEERS_BEFORE").map(PathBuf::from),
            Self::Haproxy => find("haproxy"),
            Self::Nginx => find("nginx"),
            Self::Toxiproxy => find("toxiproxy-server"),
        }
    }

    /// The option that has it say its version, where it is not ours.
    const fn version_option(self) -> Option<&'static str> {
        match self {
            Self::Haproxy | Self::Nginx => Some("-v"),
            Self::Toxiproxy => Some("--version"),
            _ => None,
        }
    }

    /// Its arguments; files that it needs are written into the folder.
    fn arguments(self, folder: &Path, ports: &Ports) -> io::Result<Vec<String>> {
        let write = |name: &str, text: String| -> io::Result<String> {
            let path = folder.join(name);
            fs::write(&path, text)?;
            Ok(path.display().to_string())
        };
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let (server, bytes) = (ports.server.to_string(), ports.bytes.to_string());
        Ok(match self {
            Self::FloorCopy => words(&[floor::COPY, &bytes, &server]),
            Self::FloorSplice => words(&[floor::SPLICE, &bytes, &server]),
            Self::BrownoutRun | Self::BrownoutBefore => {
                let system = write("system.toml", ports.system())?;
                let scenario = write("scenario.toml", SCENARIO.to_owned())?;
                words(&["run", &scenario, "--system", &system, "--quiet"])
            }
            Self::BrownoutServe => {
                let system = write("system.toml", ports.system())?;
                words(&[
                    "serve",
                    "--host",
                    "127.0.0.1",
                    "--port",
                    "0",
                    "--system",
                    &system,
                ])
            }
            Self::BrownoutToxi => {
                let config = write("toxiproxy.json", ports.toxiproxy())?;
                words(&[
                    "serve",
                    "--host",
                    "127.0.0.1",
                    "--port",
                    "0",
                    "--config",
                    &config,
                ])
            }
            Self::Toxiproxy => {
                let config = write("toxiproxy.json", ports.toxiproxy())?;
                let port = free_port()?.to_string();
                words(&["-host", "127.0.0.1", "-port", &port, "-config", &config])
            }
            Self::Haproxy => {
                let config = write("haproxy.cfg", ports.haproxy())?;
                words(&["-db", "-q", "-f", &config])
            }
            Self::Nginx => {
                let text = ports.nginx(folder, nginx_stream().unwrap_or_default());
                let config = write("nginx.conf", text)?;
                words(&["-p", &folder.display().to_string(), "-c", &config])
            }
        })
    }

    /// Starts it in a folder of its own, up and ready for bytes.
    pub fn start(self, folder: &Path, server: u16) -> io::Result<Option<Running>> {
        let Some(place) = self.place() else {
            return Ok(None);
        };
        fs::create_dir_all(folder)?;
        let ports = Ports {
            server,
            bytes: free_port()?,
            calls: free_port()?,
        };
        let arguments = self.arguments(folder, &ports)?;
        let mut process = Process::start(&place, &arguments, folder)
            .map_err(|error| io::Error::other(format!("{}: {error}", self.name())))?;
        process
            .until(|| client::ask(&mut client::connect(self.first_port(&ports))?))
            .map_err(|error| self.did_not_start(folder, &error))?;
        let up_after = (super::process::clock() - process.began()) as f64 / 1e6;
        if self.speaks_http() {
            process
                .until(|| client::ask(&mut client::connect(ports.calls)?))
                .map_err(|error| self.did_not_start(folder, &error))?;
        }
        Ok(Some(Running {
            program: self,
            up_after,
            process,
            ports,
        }))
    }

    fn did_not_start(self, folder: &Path, error: &io::Error) -> io::Error {
        let said = fs::read_to_string(folder.join("errors.txt")).unwrap_or_default();
        io::Error::other(format!("{} does not come up: {error}\n{said}", self.name()))
    }

    /// The port on which it is first asked. nginx passes bytes only with a module of its own.
    fn first_port(self, ports: &Ports) -> u16 {
        if self == Self::Nginx && nginx_stream().is_none() {
            ports.calls
        } else {
            ports.bytes
        }
    }
}

/// A scenario in which nothing happens for as long as anybody measures.
const SCENARIO: &str = r#"title = "Nothing happens"

[[phase]]
name = "steady"
lasts = "1h"
steady = true

[[phase]]
name = "cut"
lasts = "10s"
[[phase.fault]]
kind = "refuse"
on = "calls"

[[phase]]
name = "recovery"
lasts = "10s"

[[expect]]
id = "A"
that = "it answers"
kind = "success-rate"
load = "ask"
during = "cut"
at_least = "90%"
"#;

/// Where a program listens and what it leads to.
#[derive(Debug, Clone)]
struct Ports {
    server: u16,
    bytes: u16,
    calls: u16,
}

impl Ports {
    fn system(&self) -> String {
        let Self {
            server,
            bytes,
            calls,
        } = self;
        format!(
            r#"[system]
external = "http://127.0.0.1:{server}"

[dependency.bytes]
protocol = "tcp"
upstream = "127.0.0.1:{server}"
listen = "127.0.0.1:{bytes}"

[dependency.calls]
protocol = "http"
upstream = "127.0.0.1:{server}"
listen = "127.0.0.1:{calls}"

[load.ask]
rate = "2/s"
request = {{ method = "GET", path = "/" }}
"#
        )
    }

    fn toxiproxy(&self) -> String {
        let Self { server, bytes, .. } = self;
        format!(
            r#"[{{"name": "bytes", "listen": "127.0.0.1:{bytes}", "upstream": "127.0.0.1:{server}", "enabled": true}}]"#
        )
    }

    fn haproxy(&self) -> String {
        let Self {
            server,
            bytes,
            calls,
        } = self;
        format!(
            "global
  nbthread 1
  maxconn 4000
defaults
  timeout connect 5s
  timeout client 10m
  timeout server 10m
listen bytes
  bind 127.0.0.1:{bytes}
  mode tcp
  option splice-auto
  server server 127.0.0.1:{server}
listen calls
  bind 127.0.0.1:{calls}
  mode http
  server server 127.0.0.1:{server}
"
        )
    }

    /// One process, as the master has nothing to do with requests.
    fn nginx(&self, folder: &Path, load: &str) -> String {
        let Self {
            server,
            bytes,
            calls,
        } = self;
        let folder = folder.display();
        let stream = match nginx_stream() {
            Some(_) => format!(
                "stream {{ server {{ listen 127.0.0.1:{bytes}; proxy_pass 127.0.0.1:{server}; }} }}"
            ),
            None => String::new(),
        };
        format!(
            "{load}
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 8000; }}
{stream}
http {{
  access_log off;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  upstream server {{ server 127.0.0.1:{server}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{calls};
    keepalive_requests 1000000000;
    location / {{
      proxy_pass http://server;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
    }}
  }}
}}
"
        )
    }
}

/// What loads nginx's module for streams of bytes, if it has one.
fn nginx_stream() -> Option<&'static str> {
    const MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
    let built_in = || {
        let said = Command::new(find("nginx")?).arg("-V").output().ok()?;
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        let mut words = said.split_whitespace();
        words.any(|word| word == "--with-stream").then_some("")
    };
    if Path::new(MODULE).is_file() {
        return Some("load_module /usr/lib/nginx/modules/ngx_stream_module.so;");
    }
    built_in()
}

/// A port that nobody has.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A program that is up.
pub struct Running {
    /// Which.
    pub program: Program,
    /// Its process.
    pub process: Process,
    /// Milliseconds from its start to the first answer through it.
    pub up_after: f64,
    ports: Ports,
}

impl Running {
    /// Where it passes bytes; `None` where it cannot.
    pub fn bytes(&self) -> Option<u16> {
        let can = self.program != Program::Nginx || nginx_stream().is_some();
        can.then_some(self.ports.bytes)
    }

    /// Where it speaks HTTP; `None` where it cannot.
    pub fn calls(&self) -> Option<u16> {
        self.program.speaks_http().then_some(self.ports.calls)
    }
}

/// Everything that is measured, up and idle.
pub struct Stand {
    /// How much is done.
    pub scale: Scale,
    /// The port of the server.
    pub direct: u16,
    /// What stands before it.
    pub running: Vec<Running>,
    /// The names of those that are not on this machine.
    pub missing: Vec<String>,
    _server: Process,
    folder: TempDir,
    started: usize,
}

impl Stand {
    /// Starts server and programs.
    pub fn new(scale: Scale) -> io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("peers-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        remove_on_interrupt(folder.path().to_owned());
        // Each leads to a port of its own, so that the ends of short connections do not run out.
        let ports = Program::ALL.iter().map(|_| free_port());
        let ports = ports.collect::<io::Result<Vec<u16>>>()?;
        let direct = free_port()?;
        let mut words = vec![server::ROLE.to_owned(), direct.to_string()];
        words.extend(ports.iter().map(ToString::to_string));
        let mut server = Process::start_self(&words, folder.path())?;
        server.until(|| client::ask(&mut client::connect(direct)?))?;
        let mut stand = Self {
            scale,
            direct,
            running: Vec::new(),
            missing: Vec::new(),
            _server: server,
            folder,
            started: 0,
        };
        for (program, port) in Program::ALL.into_iter().zip(ports) {
            match stand.start(program, port)? {
                Some(running) => stand.running.push(running),
                None if program.role() == Role::Ours => {}
                None => stand.missing.push(program.name().to_owned()),
            }
        }
        if find("nginx").is_some() && nginx_stream().is_none() {
            stand.missing.push("nginx's stream module".to_owned());
        }
        Ok(stand)
    }

    fn start(&mut self, program: Program, server: u16) -> io::Result<Option<Running>> {
        self.started += 1;
        let folder = self.folder.path().join(self.started.to_string());
        program.start(&folder, server)
    }

    /// Starts another of the same, which leads to the server too.
    pub fn start_fresh(&mut self, program: Program) -> io::Result<Option<Running>> {
        self.start(program, self.direct)
    }

    /// A file in a folder that goes with the stand.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Says what takes part.
    pub fn print_head(&self) {
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        println!("Linux {}, {cores} cores", kernel.trim());
        for running in &self.running {
            let Some(option) = running.program.version_option() else {
                continue;
            };
            let Some(place) = running.program.place() else {
                continue;
            };
            let Ok(said) = Command::new(place).arg(option).output() else {
                continue;
            };
            let all = [said.stdout, said.stderr].concat();
            let line = String::from_utf8_lossy(&all);
            println!("{}", line.lines().next().unwrap_or_default());
        }
    }

    /// Says what was not there.
    pub fn print_missing(&self) {
        for name in &self.missing {
            println!("missing: {name}");
        }
    }

    /// Ends everything.
    pub fn end(self) -> io::Result<()> {
        drop(self.running);
        self.folder.close()
    }
}

/// Ctrl-C ends this process and so all that it started; the folder goes first.
fn remove_on_interrupt(folder: PathBuf) {
    let waiting = async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            // What is left is left.
            let _ = fs::remove_dir_all(&folder);
            std::process::exit(130);
        }
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        if let Ok(runtime) = runtime {
            runtime.block_on(waiting);
        }
    });
}
