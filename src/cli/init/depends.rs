//! Variables to dependencies: which of them say where something is that the system calls, what it
//! speaks, what may stand behind it in a rehearsal, and how the variable is written so that it
//! leads through Brownout.
//!
//! Values may be secrets. Of a URL only its scheme, host, port, and what can be no secret go on: a
//! plain user and database name, and paths of well-known words. A password becomes
//! `{env.NAME}`, which a run takes from its own environment.
//!
//! A rehearsal must not hurt anybody: a dependency that is not on this machine is replaced by an
//! embedded server, and where there is none by the same port on loopback. A variable that leads
//! elsewhere and cannot be made a dependency stays as it is, which is said: see [`Real`].

use super::{
    compose::Service,
    url::{Url, host_and_port, is_here},
};
use crate::scenario::HostPattern;
use std::fmt;

/// A variable with its value, and where that stands: ".env:3".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clue {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Where it stands.
    pub origin: String,
}

/// What a dependency is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// PostgreSQL.
    Postgres,
    /// MySQL or MariaDB.
    Mysql,
    /// S3, or what speaks like it.
    S3,
    /// Redis, or what speaks like it.
    Redis,
    /// An HTTP interface.
    Http,
    /// Pusher Channels.
    Pusher,
    /// Anything else over TCP.
    Tcp,
}

/// A kind with its words.
struct About {
    kind: Kind,
    protocol: &'static str,
    role: Option<&'static str>,
    name: &'static str,
    port: u16,
    images: &'static [&'static str],
    /// The variable by which it is found where only an image says that it is there.
    variable: &'static str,
}

const KINDS: &[About] = &[
    About {
        kind: Kind::Postgres,
        protocol: "postgres",
        role: Some("database"),
        name: "db",
        port: 5432,
        images: &[
            "postgres",
            "postgis",
            "timescaledb",
            "pgvector",
            "postgresql",
        ],
        variable: "DATABASE_URL",
    },
    About {
        kind: Kind::Mysql,
        protocol: "mysql",
        role: Some("database"),
        name: "mysql",
        port: 3306,
        images: &["mysql", "mariadb", "percona"],
        variable: "DATABASE_URL",
    },
    About {
        kind: Kind::S3,
        protocol: "s3",
        role: Some("object-store"),
        name: "s3",
        port: 9000,
        images: &["minio", "s3mock", "s3proxy"],
        variable: "AWS_ENDPOINT_URL_S3",
    },
    About {
        kind: Kind::Redis,
        protocol: "redis",
        role: Some("cache"),
        name: "redis",
        port: 6379,
        images: &["redis", "valkey", "keydb", "dragonfly", "redis-stack"],
        variable: "REDIS_URL",
    },
    About {
        kind: Kind::Http,
        protocol: "http",
        role: None,
        name: "api",
        port: 80,
        images: &[],
        variable: "API_URL",
    },
    About {
        kind: Kind::Pusher,
        protocol: "pusher",
        role: Some("realtime"),
        name: "pusher",
        port: 80,
        images: &[],
        variable: "PUSHER_HOST",
    },
    About {
        kind: Kind::Tcp,
        protocol: "tcp",
        role: None,
        name: "server",
        port: 0,
        images: &[],
        variable: "",
    },
];

impl Kind {
    fn about(self) -> &'static About {
        let found = KINDS.iter().find(|about| about.kind == self);
        found.expect("every kind is described")
    }

    /// The protocol's name in files.
    pub fn protocol(self) -> &'static str {
        self.about().protocol
    }

    /// The part that it plays.
    pub fn role(self) -> Option<&'static str> {
        self.about().role
    }
}

/// What the system calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Its name in files.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What stands behind it in a rehearsal.
    pub upstream: String,
    /// Why that, for the file's reader.
    pub because: String,
    /// Variables and what they are set to.
    pub env: Vec<(String, String)>,
    /// The hosts under which the system's libraries call it, where no variable says where it is.
    pub hosts: Vec<String>,
    /// Where Brownout always listens in its stead on loopback; any free port where nothing says so.
    pub listen: Option<u16>,
    /// Buckets of an embedded S3 server.
    pub buckets: Vec<String>,
    /// Passwords that were not copied.
    pub passwords: Vec<Password>,
    /// Where it was found.
    pub origin: String,
    /// What tells it from others: its kind and address.
    address: String,
}

/// A password that was not copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Password {
    /// The variable from which a run takes it.
    pub variable: String,
    /// The variable whose value holds it.
    pub within: String,
    /// Where that stands.
    pub origin: String,
}

/// A variable that is left as it is and leads to another host, where a rehearsal goes, therefore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Real {
    /// Its name.
    pub variable: String,
    /// Where it stands.
    pub origin: String,
    /// The host, where its value names a single one.
    host: Option<String>,
    /// Why it is left.
    why: &'static str,
}

impl Real {
    /// All of it in words: "SENTRY_DSN (.env:3) to sentry.example: …".
    pub fn said(&self) -> String {
        let host = self.host.as_deref();
        format!(
            "{} ({}) to {}: {}",
            self.variable,
            self.origin,
            host.unwrap_or("hosts that were not read"),
            self.why
        )
    }
}

impl fmt::Display for Real {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.as_deref().unwrap_or("wherever it leads");
        write!(
            f,
            "{} ({}) is left as it is, and a rehearsal goes to {host}: {}; brownout.toml says how it is \
             made a dependency",
            self.variable, self.origin, self.why
        )
    }
}

/// How much greater than a protocol's own port the one is on which Brownout always listens.
const LISTEN_ABOVE: u16 = 10_000;

/// Third parties that are called by their hosts. In a rehearsal nothing goes there.
pub fn by_hosts(hosts: &[String], others: &[Dependency]) -> Result<Vec<Dependency>, String> {
    let mut found: Vec<Dependency> = Vec::new();
    for host in hosts {
        let pattern = HostPattern::parse(host).map_err(|(message, _)| message)?;
        let mut known = found.iter().flat_map(|one| &one.hosts);
        let overlapping = known
            .find(|other| HostPattern::parse(other).is_ok_and(|other| other.overlaps(&pattern)));
        if let Some(other) = overlapping {
            return Err(format!("`{host}` and `{other}` overlap"));
        }
        // What stands before the top-level domain: "segment" of api.segment.io.
        let own = host.rsplit('.').nth(1).unwrap_or(host);
        let first = in_letters(own, Kind::Http.about().name);
        let more = (2..).map(|nth| format!("{first}-{nth}"));
        let is_role = |name: &str| KINDS.iter().any(|about| about.role == Some(name));
        let mut all = others.iter().chain(&found);
        let mut names = std::iter::once(first.clone()).chain(more);
        let is_free = |name: &String| !is_role(name) && all.all(|one| one.name != *name);
        found.push(Dependency {
            name: names.find(is_free).unwrap_or(first),
            kind: Kind::Http,
            upstream: "embedded:sink".to_owned(),
            because: "takes what it is sent and answers 200; nothing goes to the real one"
                .to_owned(),
            env: Vec::new(),
            hosts: vec![host.clone()],
            listen: None,
            buckets: Vec::new(),
            passwords: Vec::new(),
            origin: "--host".to_owned(),
            address: format!("http {host}"),
        });
    }
    Ok(found)
}

/// The id, key and secret of a Pusher app in a rehearsal, where the system must be told beforehand.
pub const APP: &str = "rehearsal";

impl Dependency {
    /// A value of the system's environment as whoever starts it must write it; what is secret is
    /// left to them. `None` where nobody knows where Brownout listens.
    pub fn written_out(&self, template: &str) -> Option<String> {
        let port = self.listen?;
        let mut text = template.to_owned();
        for (part, value) in [
            ("url", format!("http://127.0.0.1:{port}")),
            ("address", format!("127.0.0.1:{port}")),
            ("host", "127.0.0.1".to_owned()),
            ("port", port.to_string()),
            ("app_id", APP.to_owned()),
            ("app_key", APP.to_owned()),
            ("app_secret", APP.to_owned()),
        ] {
            text = text.replace(&format!("{{dependency.{}.{part}}}", self.name), &value);
        }
        Some(text.replace("{env.", "${"))
    }
}

/// Gives each an address on which Brownout always listens, for a system that somebody else starts.
pub fn fixed(dependencies: &mut [Dependency]) {
    let mut taken: Vec<u16> = Vec::new();
    for dependency in dependencies {
        let first = LISTEN_ABOVE + dependency.kind.about().port;
        let port = (first..).find(|port| !taken.contains(port));
        taken.extend(port);
        dependency.listen = port;
    }
}

/// What variables and services say.
#[derive(Debug, Default)]
pub struct Findings {
    /// What the system depends on.
    pub dependencies: Vec<Dependency>,
    /// What stays real.
    pub real: Vec<Real>,
    /// What else was left alone or assumed.
    pub notes: Vec<String>,
}

/// A variable that was left alone.
struct Left {
    variable: String,
    origin: String,
    why: &'static str,
}

/// Everything that these variables and services say the system depends on, and what was left alone.
pub fn find(clues: &[Clue], services: &[Service]) -> Findings {
    let mut finder = Finder {
        clues,
        services,
        found: Vec::new(),
        left: Vec::new(),
        notes: Vec::new(),
    };
    for clue in clues {
        finder.url(clue);
    }
    finder.hosts();
    finder.s3();
    finder.pusher();
    finder.images();
    finder.findings()
}

/// Schemes that lead to no host: files, and buckets of an S3 that is found by other variables.
const HOSTLESS: &[&str] = &["file", "s3", "sqlite", "sqlite3", "unix"];

/// Last words of variables that hold a host, with or without a port.
const HOST_SUFFIXES: &[&str] = &["_HOST", "_HOSTNAME", "_ENDPOINT", "_ADDRESS", "_ADDR"];

/// Words that databases' URLs may carry along.
const HARMLESS_PARAMETERS: &[&str] = &["schema", "charset", "encoding", "serverVersion"];

/// Words that the path of an HTTP interface may be made of.
const HARMLESS_STEPS: &[&str] = &[
    "api", "rest", "graphql", "rpc", "v0", "v1", "v2", "v3", "v4",
];

/// Where an S3 client finds its endpoint.
const S3_ENDPOINTS: &[&str] = &[
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT",
    "AWS_S3_ENDPOINT",
    "AWS_S3_ENDPOINT_URL",
    "S3_ENDPOINT",
    "S3_ENDPOINT_URL",
    "S3_URL",
    "MINIO_ENDPOINT",
    "MINIO_URL",
];

/// First words of variables that say where a database is by host and port.
const HOST_PREFIXES: &[(&str, Option<Kind>)] = &[
    ("PG", Some(Kind::Postgres)),
    ("POSTGRES_", Some(Kind::Postgres)),
    ("POSTGRESQL_", Some(Kind::Postgres)),
    ("MYSQL_", Some(Kind::Mysql)),
    ("MARIADB_", Some(Kind::Mysql)),
    ("REDIS_", Some(Kind::Redis)),
    ("DB_", None),
    ("DATABASE_", None),
];

struct Finder<'a> {
    clues: &'a [Clue],
    services: &'a [Service],
    found: Vec<Dependency>,
    left: Vec<Left>,
    notes: Vec<String>,
}

/// Something to be called, as a variable says it.
struct Seen {
    kind: Kind,
    host: String,
    port: u16,
    tls: bool,
    /// A name for it where its kind's own is taken.
    hint: String,
}

impl Finder<'_> {
    fn value(&self, name: &str) -> Option<&str> {
        let clue = self.clues.iter().find(|clue| clue.name == name)?;
        Some(clue.value.as_str())
    }

    fn leave(&mut self, clue: &Clue, why: &'static str) {
        self.left.push(Left {
            variable: clue.name.clone(),
            origin: clue.origin.clone(),
            why,
        });
    }

    fn findings(self) -> Findings {
        let mut real: Vec<Real> = Vec::new();
        for clue in self.clues {
            if !real.iter().any(|one| one.variable == clue.name) {
                real.extend(self.real(clue));
            }
        }
        let mut notes = self.notes;
        for left in &self.left {
            if !real.iter().any(|one| one.variable == left.variable) {
                notes.push(format!(
                    "{} ({}) is left alone: {}",
                    left.variable, left.origin, left.why
                ));
            }
        }
        Findings {
            dependencies: self.found,
            real,
            notes,
        }
    }

    /// What is said of a variable that leads to another host and is not led through Brownout.
    fn real(&self, clue: &Clue) -> Option<Real> {
        let mut env = self.found.iter().flat_map(|one| &one.env);
        if env.any(|(name, _)| *name == clue.name) {
            return None;
        }
        let (host, why) = elsewhere(clue)?;
        let is_service = |host: &str| {
            let mut services = self.services.iter();
            services.any(|one| one.name.eq_ignore_ascii_case(host))
        };
        if host.as_deref().is_some_and(is_service) {
            return None;
        }
        let left = self.left.iter().find(|left| left.variable == clue.name);
        Some(Real {
            variable: clue.name.clone(),
            origin: clue.origin.clone(),
            host,
            why: left.map_or(why, |left| left.why),
        })
    }

    /// A variable that holds a URL.
    fn url(&mut self, clue: &Clue) {
        let Some(url) = Url::parse(&clue.value) else {
            return;
        };
        let Some((kind, plain)) = kind_of(&url.scheme) else {
            return;
        };
        if kind == Kind::Http {
            self.http(clue, &url);
            return;
        }
        let default = match kind {
            Kind::Tcp => tcp_port(&plain),
            _ => Some(kind.about().port),
        };
        let Some(port) = url.port.or(default) else {
            self.leave(clue, "its URL names no port");
            return;
        };
        let hint = if kind == Kind::Tcp {
            plain.clone()
        } else {
            name_in(&clue.name)
        };
        let seen = Seen {
            kind,
            host: url.host.clone(),
            port,
            tls: false,
            hint,
        };
        let dependency = self.dependency(seen, &clue.origin);
        let embedded = self.found[dependency].upstream == "embedded";
        let mut password = None;
        let credentials = match (url.has_password, embedded) {
            (true, false) => {
                let variable = password_variable(&clue.name);
                let user = url.user.filter(|user| is_plain(user)).unwrap_or_default();
                let text = format!("{user}:{{env.{variable}}}@");
                password = Some(Password {
                    variable,
                    within: clue.name.clone(),
                    origin: clue.origin.clone(),
                });
                text
            }
            _ => url
                .user
                .filter(|user| is_plain(user) && matches!(kind, Kind::Postgres | Kind::Mysql))
                .map(|user| format!("{user}@"))
                .unwrap_or_default(),
        };
        let name = &self.found[dependency].name;
        let path = if is_plain(url.path.trim_start_matches('/')) {
            url.path
        } else {
            ""
        };
        let template = format!(
            "{plain}://{credentials}{{dependency.{name}.address}}{path}{}",
            parameters(url.query)
        );
        // Where nothing but the address is said, the shorter way says the same.
        let short = match kind {
            Kind::Tcp => None,
            _ => Some(format!(
                "{}://{{dependency.{name}.address}}",
                kind.protocol()
            )),
        };
        let template = match short {
            Some(short) if template == short => format!("{{dependency.{name}.url}}"),
            _ => template,
        };
        let dependency = &mut self.found[dependency];
        dependency.env.push((clue.name.clone(), template));
        dependency.passwords.extend(password);
    }

    /// A variable that holds the URL of an HTTP interface.
    fn http(&mut self, clue: &Clue, url: &Url<'_>) {
        if S3_ENDPOINTS.contains(&clue.name.as_str()) || is_own(&clue.name) {
            return;
        }
        if url.user.is_some() || url.has_password {
            self.leave(clue, "its URL carries credentials");
            return;
        }
        let tls = url.scheme == "https";
        let seen = Seen {
            kind: Kind::Http,
            host: url.host.clone(),
            port: url.port.unwrap_or(if tls { 443 } else { 80 }),
            tls,
            hint: name_in(&clue.name),
        };
        let dependency = self.dependency(seen, &clue.origin);
        let path = url.path.trim_end_matches('/');
        let steps = path.split('/').skip(1);
        let harmless = steps.into_iter().all(|step| HARMLESS_STEPS.contains(&step));
        if !harmless || !url.query.is_empty() {
            self.notes.push(format!(
                "{} ({}): what follows the host was not copied, as it may be a secret; complete it in brownout.toml",
                clue.name, clue.origin
            ));
        }
        let path = if harmless { path } else { "" };
        let dependency = &mut self.found[dependency];
        let template = format!("{{dependency.{}.url}}{path}", dependency.name);
        dependency.env.push((clue.name.clone(), template));
    }

    /// Databases by host and port.
    fn hosts(&mut self) {
        let clues = self.clues;
        for (prefix, kind) in HOST_PREFIXES {
            let Some(host) = clues
                .iter()
                .find(|clue| clue.name == format!("{prefix}HOST"))
            else {
                continue;
            };
            let port_name = format!("{prefix}PORT");
            let port: Option<u16> = self.value(&port_name).and_then(|port| port.parse().ok());
            let Some((named, within)) = host_and_port(&host.value) else {
                continue;
            };
            let Some(kind) = kind.or_else(|| self.kind_of_database(prefix, &named, port)) else {
                self.leave(host, "nothing says whether it is PostgreSQL or MySQL");
                continue;
            };
            let seen = Seen {
                kind,
                port: port.or(within).unwrap_or(kind.about().port),
                host: named,
                tls: false,
                hint: prefix.trim_end_matches('_').to_ascii_lowercase(),
            };
            let dependency = self.dependency(seen, &host.origin);
            let dependency = &mut self.found[dependency];
            let of = |part: &str| format!("{{dependency.{}.{part}}}", dependency.name);
            let (host_part, port_part) = (of("host"), of("port"));
            dependency.env.push((host.name.clone(), host_part));
            dependency.env.push((port_name, port_part));
        }
    }

    fn kind_of_database(&self, prefix: &str, host: &str, port: Option<u16>) -> Option<Kind> {
        let said = [
            "CONNECTION",
            "ENGINE",
            "DIALECT",
            "ADAPTER",
            "CLIENT",
            "DRIVER",
            "TYPE",
        ];
        let said = said
            .iter()
            .find_map(|word| self.value(&format!("{prefix}{word}")));
        let said = said.unwrap_or_default().to_ascii_lowercase();
        if ["pg", "postgres", "postgis"]
            .iter()
            .any(|word| said.contains(word))
        {
            return Some(Kind::Postgres);
        }
        if ["mysql", "maria"].iter().any(|word| said.contains(word)) {
            return Some(Kind::Mysql);
        }
        let service = self.services.iter().find(|service| service.name == host);
        let by_image = service.and_then(|service| kind_of_image(&service.image));
        by_image.or(match port {
            Some(5432) => Some(Kind::Postgres),
            Some(3306) => Some(Kind::Mysql),
            _ => None,
        })
    }

    /// S3 by its endpoint, or by nothing but a bucket.
    fn s3(&mut self) {
        let clues = self.clues;
        let is_bucket = |clue: &&Clue| {
            clue.name.split('_').any(|word| word == "BUCKET") && is_bucket(&clue.value)
        };
        let endpoint = clues
            .iter()
            .find(|clue| S3_ENDPOINTS.contains(&clue.name.as_str()));
        let Some(first) = endpoint.or_else(|| clues.iter().find(is_bucket)) else {
            return;
        };
        let (host, port, tls) = match endpoint.map(|clue| (Url::parse(&clue.value), clue)) {
            Some((Some(url), _)) => {
                let tls = url.scheme == "https";
                (
                    url.host,
                    url.port.unwrap_or(if tls { 443 } else { 80 }),
                    tls,
                )
            }
            Some((None, clue)) => match host_and_port(&clue.value) {
                Some((host, port)) => (host, port.unwrap_or(9000), false),
                None => ("s3.amazonaws.com".to_owned(), 443, true),
            },
            None => ("s3.amazonaws.com".to_owned(), 443, true),
        };
        let seen = Seen {
            kind: Kind::S3,
            host,
            port,
            tls,
            hint: "s3".to_owned(),
        };
        let dependency = self.dependency(seen, &first.origin);
        let dependency = &mut self.found[dependency];
        let name = dependency.name.clone();
        let endpoints = clues
            .iter()
            .filter(|clue| S3_ENDPOINTS.contains(&clue.name.as_str()));
        for clue in endpoints {
            let part = if clue.value.contains("://") {
                "url"
            } else {
                "address"
            };
            dependency
                .env
                .push((clue.name.clone(), format!("{{dependency.{name}.{part}}}")));
        }
        if dependency.env.is_empty() {
            let endpoint = "AWS_ENDPOINT_URL_S3".to_owned();
            dependency
                .env
                .push((endpoint, format!("{{dependency.{name}.url}}")));
        }
        if dependency.upstream == "embedded" {
            for bucket in clues.iter().filter(is_bucket) {
                if !dependency.buckets.contains(&bucket.value) {
                    dependency.buckets.push(bucket.value.clone());
                }
            }
        }
    }

    /// Pusher Channels by its variables. Its secret is not asked for: the embedded server has an app
    /// of its own.
    fn pusher(&mut self) {
        let clues = self.clues;
        let mut own = clues.iter().filter(|clue| clue.name.starts_with("PUSHER_"));
        let Some(first) = own.find(|clue| pusher_part(&clue.name).is_some()) else {
            return;
        };
        let seen = Seen {
            kind: Kind::Pusher,
            host: "api.pusherapp.com".to_owned(),
            port: 443,
            tls: true,
            hint: "pusher".to_owned(),
        };
        let dependency = self.dependency(seen, &first.origin);
        let dependency = &mut self.found[dependency];
        let name = dependency.name.clone();
        for clue in clues {
            let Some(part) = pusher_part(&clue.name) else {
                continue;
            };
            dependency
                .env
                .push((clue.name.clone(), format!("{{dependency.{name}.{part}}}")));
        }
        for (variable, part) in [("PUSHER_HOST", "host"), ("PUSHER_PORT", "port")] {
            if !dependency.env.iter().any(|(name, _)| name == variable) {
                let template = format!("{{dependency.{name}.{part}}}");
                dependency.env.push((variable.to_owned(), template));
            }
        }
        dependency
            .env
            .push(("PUSHER_SCHEME".to_owned(), "http".to_owned()));
    }

    /// Services of whose kind no variable speaks.
    fn images(&mut self) {
        for service in self.services {
            let Some(kind) = kind_of_image(&service.image).filter(|_| !service.built) else {
                continue;
            };
            let about = kind.about();
            if self.found.iter().any(|one| one.kind == kind)
                || self
                    .found
                    .iter()
                    .any(|one| one.env.iter().any(|(name, _)| name == about.variable))
            {
                continue;
            }
            let origin = format!("the compose file's service `{}`", service.name);
            let seen = Seen {
                kind,
                host: service.name.to_ascii_lowercase(),
                port: about.port,
                tls: false,
                hint: service.name.clone(),
            };
            let dependency = self.dependency(seen, &origin);
            let dependency = &mut self.found[dependency];
            let template = format!("{{dependency.{}.url}}", dependency.name);
            dependency.env.push((about.variable.to_owned(), template));
            self.notes.push(format!(
                "no variable says where `{}` is; assumed that the system takes it from {}",
                service.name, about.variable
            ));
        }
    }

    /// The place of this dependency in the list, where it is put if it is new.
    fn dependency(&mut self, seen: Seen, origin: &str) -> usize {
        let address = format!("{} {}:{}", seen.kind.protocol(), seen.host, seen.port);
        if let Some(known) = self.found.iter().position(|one| one.address == address) {
            return known;
        }
        let (upstream, because) = self.upstream(&seen);
        self.found.push(Dependency {
            name: self.free_name(&seen),
            kind: seen.kind,
            upstream,
            because,
            env: Vec::new(),
            hosts: Vec::new(),
            listen: None,
            buckets: Vec::new(),
            passwords: Vec::new(),
            origin: origin.to_owned(),
            address,
        });
        self.found.len() - 1
    }

    /// A name that is nobody's yet and no role.
    fn free_name(&self, seen: &Seen) -> String {
        let about = seen.kind.about();
        let first = match seen.kind {
            Kind::Http | Kind::Tcp => &seen.hint,
            kind if self.found.iter().any(|one| one.kind == kind) => &seen.hint,
            _ => about.name,
        };
        let first = in_letters(first, about.name);
        let is_role = KINDS.iter().any(|about| about.role == Some(first.as_str()));
        let first = if is_role {
            format!("{first}-server")
        } else {
            first
        };
        let taken = |name: &str| self.found.iter().any(|one| one.name == name);
        let more = (2..).map(|n| format!("{first}-{n}"));
        let mut names = std::iter::once(first.clone()).chain(more);
        names.find(|name| !taken(name)).unwrap_or(first)
    }

    /// What stands behind it in a rehearsal, and why.
    fn upstream(&self, seen: &Seen) -> (String, String) {
        let service = self
            .services
            .iter()
            .find(|one| one.name.eq_ignore_ascii_case(&seen.host));
        let published = service.and_then(|service| service.published(seen.port));
        let here = match (is_here(&seen.host), published) {
            (true, _) => Some(seen.port),
            (false, port) => port,
        };
        if let Some(port) = here.filter(|_| seen.kind != Kind::Pusher) {
            let scheme = match (seen.kind, seen.tls) {
                (Kind::Http | Kind::S3, true) => "https://",
                (Kind::Http | Kind::S3, false) => "http://",
                _ => "",
            };
            let upstream = format!("{scheme}127.0.0.1:{port}");
            return (
                upstream,
                "on this machine; it must run when Brownout does".to_owned(),
            );
        }
        let elsewhere = match service {
            Some(service) => format!(
                "the compose file's `{}` publishes no port {}",
                service.name, seen.port
            ),
            None => format!(
                "`{}` is not this machine, and what this dependency is sent does not go there",
                seen.host
            ),
        };
        match seen.kind {
            Kind::Postgres => (
                "embedded".to_owned(),
                format!("{elsewhere}: PostgreSQL's wire over SQLite, empty at first (`schema`)"),
            ),
            Kind::S3 => (
                "embedded".to_owned(),
                format!("{elsewhere}: a built-in S3 server"),
            ),
            Kind::Pusher => (
                "embedded".to_owned(),
                "a built-in server of Pusher Channels, with an app of its own".to_owned(),
            ),
            Kind::Http => (
                "embedded:sink".to_owned(),
                format!("{elsewhere}: a sink takes what is sent and answers 2xx (`answer`)"),
            ),
            Kind::Redis | Kind::Mysql | Kind::Tcp => (
                format!("127.0.0.1:{}", seen.port),
                format!("{elsewhere}: start one here, on this port"),
            ),
        }
    }
}

/// The host that a variable leads to, where that is not this machine, and why it may have been left
/// alone. Without a host where its value names none or several.
fn elsewhere(clue: &Clue) -> Option<(Option<String>, &'static str)> {
    if let Some((scheme, rest)) = clue.value.trim().split_once("://") {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | ':');
        let named = !rest.is_empty() && !rest.starts_with(['/', '?', '#']);
        if scheme.is_empty() || !scheme.chars().all(fits) || !named {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        if HOSTLESS.contains(&scheme.as_str()) {
            return None;
        }
        return match Url::parse(&clue.value) {
            None => Some((None, "its URL does not name a single host")),
            Some(url) if is_here(&url.host) => None,
            Some(url) if kind_of(&url.scheme).is_none() => {
                Some((Some(url.host), "nothing is known of its URL's scheme"))
            }
            Some(url) => Some((Some(url.host), "by its name it is no dependency")),
        };
    }
    let is_host = HOST_SUFFIXES
        .iter()
        .any(|suffix| clue.name.ends_with(suffix));
    if !is_host || is_own(&clue.name) {
        return None;
    }
    let (host, _) = host_and_port(clue.value.trim())?;
    let top = host.rsplit_once('.').map(|(_, top)| top)?;
    let is_name = top.len() >= 2 && top.chars().all(|c| c.is_ascii_alphabetic());
    (is_name && !is_here(&host)).then_some((Some(host), "nothing says what is spoken there"))
}

/// The kind that a scheme speaks of, and the scheme as it is written through us: without TLS.
fn kind_of(scheme: &str) -> Option<(Kind, String)> {
    let base = scheme.strip_prefix("jdbc:").unwrap_or(scheme);
    let base = base.split('+').next().unwrap_or_default();
    let kind = match base {
        "postgres" | "postgresql" | "postgis" | "psql" | "pgsql" => Kind::Postgres,
        "mysql" | "mysql2" | "mariadb" => Kind::Mysql,
        "redis" | "rediss" | "valkey" => Kind::Redis,
        "http" | "https" => Kind::Http,
        "amqp" | "amqps" | "mongodb" | "nats" | "kafka" | "smtp" | "memcached" | "tcp" => Kind::Tcp,
        _ => return None,
    };
    let plain = match scheme {
        "rediss" => "redis",
        "amqps" => "amqp",
        other => other,
    };
    Some((kind, plain.to_owned()))
}

fn tcp_port(scheme: &str) -> Option<u16> {
    let ports = [
        ("amqp", 5672),
        ("mongodb", 27017),
        ("nats", 4222),
        ("kafka", 9092),
        ("smtp", 25),
        ("memcached", 11211),
    ];
    let found = ports.iter().find(|(name, _)| *name == scheme)?;
    Some(found.1)
}

fn kind_of_image(image: &str) -> Option<Kind> {
    let found = KINDS.iter().find(|about| about.images.contains(&image))?;
    Some(found.kind)
}

/// The part of a Pusher app that a variable holds.
fn pusher_part(name: &str) -> Option<&'static str> {
    match name {
        "PUSHER_APP_ID" => Some("app_id"),
        "PUSHER_APP_KEY" | "PUSHER_KEY" => Some("app_key"),
        "PUSHER_APP_SECRET" | "PUSHER_SECRET" => Some("app_secret"),
        "PUSHER_HOST" => Some("host"),
        "PUSHER_PORT" => Some("port"),
        "PUSHER_URL" => Some("url"),
        _ => None,
    }
}

/// Whether a variable speaks of the system itself, of browsers, or of what needs credentials.
fn is_own(name: &str) -> bool {
    const OWN: &[&str] = &[
        "APP", "SITE", "PUBLIC", "FRONTEND", "CLIENT", "WEBSITE", "HOST", "SERVER", "BASE", "SELF",
        "NEXTAUTH", "AUTH", "WEB", "ROOT", "ASSET", "CDN", "PUSHER", "BACKEND", "SERVICE", "",
    ];
    const WITHIN: &[&str] = &[
        "CALLBACK", "REDIRECT", "ORIGIN", "ORIGINS", "PROXY", "SENTRY",
    ];
    const BROWSERS: &[&str] = &["NEXT_PUBLIC_", "VITE_", "REACT_APP_", "NUXT_PUBLIC_"];
    let stem = stem(name);
    OWN.contains(&stem)
        || name.split('_').any(|word| WITHIN.contains(&word))
        || BROWSERS.iter().any(|prefix| name.starts_with(prefix))
}

/// Last words of variables that say what kind of value they hold.
const SUFFIXES: &[&str] = &[
    "_API_BASE_URL",
    "_BASE_URL",
    "_API_URL",
    "_API_BASE",
    "_WEBHOOK_URL",
    "_URL",
    "_URI",
    "_DSN",
    "_ENDPOINT",
    "_API",
    "_HOST",
    "_ADDRESS",
];

/// A variable's name without the last words.
fn stem(name: &str) -> &str {
    let stem = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
    stem.unwrap_or(match name {
        "URL" | "URI" | "HOST" | "ENDPOINT" => "",
        name => name,
    })
}

/// The variable that a run takes the password within another one from: one that a shell can set.
fn password_variable(within: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric();
    let stem: String = stem(within)
        .chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect();
    let lead = if stem.starts_with(|c: char| c.is_ascii_digit()) {
        "_"
    } else {
        ""
    };
    format!("{lead}{stem}_PASSWORD")
}

fn name_in(variable: &str) -> String {
    stem(variable).to_ascii_lowercase().replace(['_', '.'], "-")
}

/// A text as a name of files, or another where nothing of it can stand there.
fn in_letters(text: &str, other: &str) -> String {
    let fits = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    let name: String = text.chars().filter(fits).take(40).collect();
    let name = name.trim_matches('-').to_ascii_lowercase();
    if name.is_empty() {
        other.to_owned()
    } else {
        name
    }
}

/// Whether a text is the plain name of a user or a database.
fn is_plain(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    text.len() <= 40 && text.chars().all(fits)
}

fn is_bucket(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    (3..=63).contains(&text.len()) && text.chars().all(fits)
}

/// The parameters of a database's URL that can be no secret.
fn parameters(query: &str) -> String {
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            HARMLESS_PARAMETERS.contains(&name) && is_plain(value)
        })
        .collect();
    if kept.is_empty() {
        String::new()
    } else {
        format!("?{}", kept.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clues(text: &str) -> Vec<Clue> {
        let (variables, _) = super::super::dotenv::read(text);
        let clue = |one: super::super::dotenv::Variable| Clue {
            origin: format!(".env:{}", one.line),
            name: one.name,
            value: one.value,
        };
        variables.into_iter().map(clue).collect()
    }

    /// `name protocol upstream VARIABLE=template …`, a line each.
    fn check(text: &str, expected: &[&str]) {
        let found = find(&clues(text), &[]).dependencies;
        let lines: Vec<String> = found
            .iter()
            .map(|one| {
                let env: Vec<String> = one
                    .env
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                format!(
                    "{} {} {} {}",
                    one.name,
                    one.kind.protocol(),
                    one.upstream,
                    env.join(" ")
                )
            })
            .collect();
        assert_eq!(lines, expected, "{text}");
    }

    #[test]
    fn databases_are_found_by_their_urls() {
        check(
            "DATABASE_URL=postgres://localhost:5433/shop?schema=public&sslmode=require",
            &[
                "db postgres 127.0.0.1:5433 DATABASE_URL=postgres://{dependency.db.address}/shop?schema=public",
            ],
        );
        check(
            "REDIS_URL=rediss://127.0.0.1",
            &["redis redis 127.0.0.1:6379 REDIS_URL={dependency.redis.url}"],
        );
        check(
            "MYSQL_URL=mysql+pymysql://root@localhost/x",
            &[
                "mysql mysql 127.0.0.1:3306 MYSQL_URL=mysql+pymysql://root@{dependency.mysql.address}/x",
            ],
        );
        check(
            "MQ=amqp://guest:guest@localhost",
            &[
                "amqp tcp 127.0.0.1:5672 MQ=amqp://guest:{env.MQ_PASSWORD}@{dependency.amqp.address}",
            ],
        );
    }

    #[test]
    fn the_variable_of_a_password_is_one_that_a_shell_can_set() {
        assert_eq!(password_variable("DATABASE_URL"), "DATABASE_PASSWORD");
        assert_eq!(password_variable("A.b-C_URL"), "A_b_C_PASSWORD");
        assert_eq!(password_variable("1_URL"), "_1_PASSWORD");
    }

    #[test]
    fn two_variables_for_one_server_are_one_dependency() {
        check(
            "A_URL=redis://localhost/0\nB_URL=redis://localhost:6379/1\nC_URL=redis://localhost:7000",
            &[
                "redis redis 127.0.0.1:6379 A_URL=redis://{dependency.redis.address}/0 B_URL=redis://{dependency.redis.address}/1",
                "c redis 127.0.0.1:7000 C_URL={dependency.c.url}",
            ],
        );
    }

    #[test]
    fn what_is_elsewhere_is_replaced() {
        check(
            "DATABASE_URL=postgres://u:p@prod.example.com/x\nREDIS_URL=redis://:pw@prod.example.com",
            &[
                "db postgres embedded DATABASE_URL=postgres://u@{dependency.db.address}/x",
                "redis redis 127.0.0.1:6379 REDIS_URL=redis://:{env.REDIS_PASSWORD}@{dependency.redis.address}",
            ],
        );
        check(
            "PAYMENTS_API_URL=https://api.pay.example/v1\nAPP_URL=https://me.example",
            &["payments http embedded:sink PAYMENTS_API_URL={dependency.payments.url}/v1"],
        );
    }

    /// `VARIABLE host: why`, a line each.
    fn real(text: &str) -> Vec<String> {
        let found = find(&clues(text), &[]);
        let said = found.real.iter().map(|one| {
            let host = one.host.as_deref().unwrap_or("?");
            format!("{} {host}: {}", one.variable, one.why)
        });
        said.collect()
    }

    #[test]
    fn what_stays_real_is_said() {
        let text = "SENTRY_DSN=https://key@o1.sentry.example/5\n\
                    API_URL=https://u:hunter2@api.pay.example/v1\n\
                    FEED=wss://feed.example/x\n\
                    KAFKA_URL=kafka://a.example:1,b.example:2\n\
                    TCP_URL=tcp://odd.example\n\
                    SMTP_HOST=mail.example:25\n\
                    DB_HOST=db.example\n";
        assert_eq!(
            real(text),
            [
                "SENTRY_DSN o1.sentry.example: by its name it is no dependency",
                "API_URL api.pay.example: its URL carries credentials",
                "FEED feed.example: nothing is known of its URL's scheme",
                "KAFKA_URL ?: its URL does not name a single host",
                "TCP_URL odd.example: its URL names no port",
                "SMTP_HOST mail.example: nothing says what is spoken there",
                "DB_HOST db.example: nothing says whether it is PostgreSQL or MySQL",
            ]
        );
        let text = format!("{:?}", find(&clues(text), &[]));
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn what_is_led_through_or_leads_nowhere_else_is_not_said() {
        let text = "PAYMENTS_API_URL=https://api.pay.example/v1\n\
                    DATABASE_URL=postgres://prod.example/x\n\
                    S3_ENDPOINT=https://s3.example\nS3_BUCKET=models\nMODELS=s3://models/x\n\
                    PUSHER_APP_ID=1\nPUSHER_URL=https://api.pusher.example\n\
                    APP_URL=http://localhost:3000\nAPP_HOST=shop.example\n\
                    A_URL=http://u:p@127.0.0.1:1\nFILES=file:///srv\nDB=sqlite:///x.db\n\
                    VERSION=1.2.3\nB_HOST=10.0.0.1x\n";
        assert_eq!(real(text), Vec::<String>::new());
        let notes = find(&clues(text), &[]).notes;
        assert_eq!(
            notes,
            ["A_URL (.env:10) is left alone: its URL carries credentials"]
        );
    }

    #[test]
    fn s3_is_found_by_endpoint_or_bucket() {
        check(
            "S3_BUCKET=models",
            &["s3 s3 embedded AWS_ENDPOINT_URL_S3={dependency.s3.url}"],
        );
        check(
            "AWS_ENDPOINT_URL=http://localhost:9000\nMINIO_ENDPOINT=localhost:9000",
            &[
                "s3 s3 http://127.0.0.1:9000 AWS_ENDPOINT_URL={dependency.s3.url} MINIO_ENDPOINT={dependency.s3.address}",
            ],
        );
        let found = find(&clues("S3_BUCKET=models\nA_BUCKET=x!"), &[]).dependencies;
        assert_eq!(found[0].buckets, ["models"]);
    }

    #[test]
    fn hosts_and_ports_are_led_apart() {
        check(
            "DB_CONNECTION=pgsql\nDB_HOST=127.0.0.1\nDB_PORT=5433",
            &[
                "db postgres 127.0.0.1:5433 DB_HOST={dependency.db.host} DB_PORT={dependency.db.port}",
            ],
        );
        check("DB_HOST=localhost", &[]);
    }

    #[test]
    fn pusher_has_an_app_of_its_own() {
        check(
            "PUSHER_APP_ID=1\nPUSHER_KEY=k\nPUSHER_SECRET=s\nPUSHER_CLUSTER=eu",
            &[
                "pusher pusher embedded PUSHER_APP_ID={dependency.pusher.app_id} PUSHER_KEY={dependency.pusher.app_key} PUSHER_SECRET={dependency.pusher.app_secret} PUSHER_HOST={dependency.pusher.host} PUSHER_PORT={dependency.pusher.port} PUSHER_SCHEME=http",
            ],
        );
    }

    #[test]
    fn a_role_is_nobodys_name() {
        check(
            "CACHE_URL=http://localhost:1\nDATABASE_API_URL=http://localhost:2",
            &[
                "cache-server http http://127.0.0.1:1 CACHE_URL={dependency.cache-server.url}",
                "database-server http http://127.0.0.1:2 DATABASE_API_URL={dependency.database-server.url}",
            ],
        );
    }

    #[test]
    fn secrets_go_nowhere() {
        let text = "A_URL=postgres://hunter2:hunter2@localhost/x?password=hunter2\n\
                    HOOK_URL=https://hooks.example/services/hunter2\n\
                    B_URL=https://hunter2@api.example/v1?key=hunter2\n\
                    C_URL=https://api.example/v1?key=hunter2\nD_URL=redis://:hunter2@h/hunter2!";
        let found = find(
            &clues(&text.replace("hunter2:hunter2@l", "app:hunter2@l")),
            &[],
        );
        assert_eq!(found.dependencies.len(), 4, "{found:?}");
        assert_eq!(found.real.len(), 1, "{found:?}");
        let mut said = format!("{found:?}");
        said.make_ascii_lowercase();
        assert!(!said.contains("hunter2"), "{said}");
    }
}
