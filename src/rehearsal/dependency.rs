//! A dependency with the proxy in front of it.

use super::{
    Error, Fault, Injected, Pending, Seen,
    backstage::{Backstage, Record},
    fault::Place,
};
use crate::{
    fault::{Active, FaultId, FaultSet, Memory, Switch, default_by},
    history::Recorder,
    protocol::Protocol,
    proxy::{Config, Limits, UpstreamAddress, tls::client_config_if},
    scenario::{Upstream, parse_upstream},
    seed::Seed,
    units::Micros,
};
use parking_lot::Mutex;
use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

/// How many attempts, and how many connections, are kept where nobody says otherwise.
const KEEP: usize = 100_000;

/// How a dependency is to be stood in front of; [`Builder::start`] does.
#[derive(Debug, Clone)]
#[must_use = "nothing stands there before `start`"]
pub struct Builder {
    name: Arc<str>,
    protocol: Protocol,
    upstream: String,
    role: Option<String>,
    listen: Option<SocketAddr>,
    seed: Seed,
    keep: usize,
}

/// A dependency with the proxy in front of it. Dropping it closes every connection and frees the
/// port, unless a fault is still in force on it: then it goes with the last of those.
///
/// `upstream` is what stands behind, `"127.0.0.1:5432"` or, for HTTP and S3, `"https://host"`; an
/// address of the standard library will do as well.
#[derive(Debug)]
pub struct Dependency {
    house: Arc<House>,
}

impl Dependency {
    /// A stream of bytes about which nothing else is known: connections, and no requests.
    pub fn tcp(name: &str, upstream: impl ToString) -> Builder {
        Builder::new(name, Protocol::Tcp, upstream)
    }

    /// HTTP/1.1 and HTTP/2.
    pub fn http(name: &str, upstream: impl ToString) -> Builder {
        Builder::new(name, Protocol::Http, upstream)
    }

    /// HTTP whose requests are S3's operations.
    pub fn s3(name: &str, upstream: impl ToString) -> Builder {
        Builder::new(name, Protocol::S3, upstream)
    }

    /// Pusher Channels: its HTTP interface and its WebSockets.
    pub fn pusher(name: &str, upstream: impl ToString) -> Builder {
        Builder::new(name, Protocol::Pusher, upstream)
    }

    /// Redis.
    pub fn redis(name: &str, upstream: impl ToString) -> Builder {
        Builder::new(name, Protocol::Redis, upstream)
    }

    /// MySQL and MariaDB.
    pub fn mysql(name: &str, upstream: impl ToString) -> Builder {
        Builder::new(name, Protocol::Mysql, upstream)
    }

    /// PostgreSQL.
    pub fn postgres(name: &str, upstream: impl ToString) -> Builder {
        Builder::new(name, Protocol::Postgres, upstream)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.house.name
    }

    /// Where the proxy listens: what the code under test is given in place of the dependency's own.
    pub fn address(&self) -> SocketAddr {
        self.house.address
    }

    /// The same as a URL: `http://127.0.0.1:1234`, `redis://…`, `postgres://…`, `tcp://…`.
    pub fn url(&self) -> &str {
        &self.house.url
    }

    /// Puts a fault in force, on connections that are open too. It stays until what is returned is
    /// dropped or [lifted](Injected::lift).
    ///
    /// # Errors
    /// [`Error::Fault`]: it is none, or this protocol cannot carry it.
    pub fn inject(&self, fault: Fault) -> Pending<'_, Result<Injected, Error>> {
        Pending::new(async move {
            let mut injected = Injected::new(Arc::clone(&self.house), &fault)?;
            self.house.backstage.follow().await?;
            injected.is_handed_out();
            Ok(injected)
        })
    }

    /// What was asked of it so far, without what is not over yet.
    ///
    /// # Errors
    /// [`Error::TooMuch`], [`Error::Restless`]: it would not be complete.
    pub fn seen(&self) -> Pending<'_, Result<Seen, Error>> {
        Pending::new(self.house.seen())
    }

    /// Forgets what was seen so far: the next [`Dependency::seen`] begins here.
    ///
    /// # Errors
    /// As [`Dependency::seen`].
    pub fn forget(&self) -> Pending<'_, Result<(), Error>> {
        Pending::new(async move { self.house.backstage.forget().await })
    }
}

impl Builder {
    fn new(name: &str, protocol: Protocol, upstream: impl ToString) -> Self {
        Self {
            name: name.into(),
            protocol,
            upstream: upstream.to_string(),
            role: None,
            listen: None,
            seed: Seed(1),
            keep: KEEP,
        }
    }

    /// The role that it plays, by which a fault taken from a scenario may name it.
    pub fn role(mut self, role: &str) -> Self {
        self.role = Some(role.to_owned());
        self
    }

    /// Where to listen; else on a free port of 127.0.0.1.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// What decides by chance; 1 unless said otherwise, so that a test decides alike each time.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Seed(seed);
        self
    }

    /// How many attempts, and how many connections, are kept: 100,000 of each unless said otherwise.
    /// An attempt takes about half a kilobyte.
    pub fn keep(mut self, most: usize) -> Self {
        self.keep = most;
        self
    }

    /// Stands in front of the dependency. Nothing is connected to it before somebody asks for it.
    ///
    /// # Errors
    /// [`Error::Upstream`], or [`Error::Start`] where it cannot listen.
    pub fn start(self) -> Pending<'static, Result<Dependency, Error>> {
        Pending::new(async move {
            let house = House::build(self)?;
            let house = Arc::new(house);
            house.backstage.follow().await?;
            Ok(Dependency { house })
        })
    }

    fn upstream(&self) -> Result<UpstreamAddress, Error> {
        let wrong = |what: String, hint: &str| Error::Upstream {
            dependency: Arc::clone(&self.name),
            what,
            hint: hint.to_owned(),
        };
        match parse_upstream(&self.upstream, Some(self.protocol)) {
            Ok(Upstream::Address { host, port, tls }) => Ok(UpstreamAddress { host, port, tls }),
            Ok(Upstream::Embedded(_) | Upstream::Instance(_)) => Err(wrong(
                format!("`{}` is started by scenarios alone", self.upstream),
                "the address of a server that runs",
            )),
            Err((what, hint)) => Err(wrong(what, hint)),
        }
    }
}

/// What a dependency and its faults share.
#[derive(Debug)]
pub(super) struct House {
    pub(super) name: Arc<str>,
    protocol: Protocol,
    role: Option<String>,
    address: SocketAddr,
    url: String,
    seed: Seed,
    switch: Switch,
    recorder: Recorder,
    pub(super) record: Arc<Mutex<Record>>,
    board: Mutex<Board>,
    pub(super) backstage: Backstage,
}

/// What is in force, in the order in which it came.
#[derive(Debug, Default)]
struct Board {
    actives: Vec<Arc<Active>>,
    memory: Memory,
    count: u64,
}

impl House {
    fn build(builder: Builder) -> Result<Self, Error> {
        let upstream = builder.upstream()?;
        let is_tls = upstream.tls;
        let failed = |error: io::Error| Error::Start {
            dependency: Arc::clone(&builder.name),
            error,
        };
        let config = Config {
            dependency: Arc::clone(&builder.name),
            protocol: builder.protocol,
            listen: builder.listen,
            tls: None,
            upstream,
            upstream_tls: client_config_if(is_tls).map_err(failed)?,
            virtual_host: None,
            capture: BTreeMap::new(),
            key: None,
            limits: Limits::default(),
            seed: builder.seed,
        };
        let switch = Switch::new();
        let record = Arc::new(Mutex::new(Record::new(builder.keep)));
        let started = Backstage::start(config, switch.clone(), Arc::clone(&record));
        let (backstage, at, recorder) = started.map_err(failed)?;
        Ok(Self {
            name: builder.name,
            protocol: builder.protocol,
            role: builder.role,
            address: at.address,
            url: at.url,
            seed: builder.seed,
            switch,
            recorder,
            record,
            board: Mutex::default(),
            backstage,
        })
    }

    /// The run's clock.
    pub(super) fn now(&self) -> Micros {
        self.recorder.now()
    }

    /// What was seen, once it is complete.
    pub(super) async fn seen(&self) -> Result<Seen, Error> {
        let in_flight = self.backstage.settle().await?;
        let record = self.record.lock();
        let forgotten = record.forgotten + record.dropped;
        if forgotten > 0 {
            return Err(Error::TooMuch {
                dependency: Arc::clone(&self.name),
                forgotten,
            });
        }
        Ok(Seen::new(
            Arc::clone(&self.name),
            self.recorder.instant(Micros(0)).into_std(),
            record.attempts.clone(),
            record.connections.clone(),
            in_flight,
        ))
    }

    /// Puts a fault in force, and says how it is called.
    pub(super) fn arm(&self, fault: &Fault) -> Result<(Arc<Active>, String), Error> {
        let mut board = self.board.lock();
        let place = Place {
            dependency: &self.name,
            role: self.role.as_deref(),
            protocol: self.protocol,
            has_capacity: board
                .actives
                .iter()
                .any(|active| active.behaviour.capacity().is_some()),
        };
        let read = fault.read(&place)?;
        let nth = board.count;
        let Ok(number) = u16::try_from(nth) else {
            return Err(Error::Fault {
                dependency: Arc::clone(&self.name),
                problems: "it had 65536 faults before: start another proxy".to_owned(),
            });
        };
        board.count += 1;
        let at = self.now();
        let armed = read.behaviour.armed(&mut board.memory, &self.name, at);
        let by = read.gate.by.clone();
        let active = Arc::new(Active::new(
            FaultId(number),
            read.gate,
            armed.unwrap_or(read.behaviour),
            self.seed,
            &["rehearsal", &self.name, &nth.to_string()],
            at,
            Duration::ZERO,
            by.unwrap_or_else(|| default_by(self.protocol)),
        ));
        self.recorder.names(active.id, &read.label);
        board.actives.push(Arc::clone(&active));
        self.switch.set(FaultSet::new(board.actives.clone()));
        Ok((active, read.label))
    }

    /// Lifts a fault; all others stay.
    pub(super) fn lift(&self, fault: &Arc<Active>) {
        let mut board = self.board.lock();
        board.actives.retain(|active| !Arc::ptr_eq(active, fault));
        self.switch.set(FaultSet::new(board.actives.clone()));
    }
}
