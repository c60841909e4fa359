//! All proxies, and what can be done with them.
//!
//! One request at a time changes them. None of its steps waits for a client or a server: a
//! connection that is told to end does so at once, and a change of toxics is put where every
//! connection looks before it passes on what arrives after it.

use super::{
    Counters, address,
    engine::Engine,
    failure::{Failure, bounded},
    faults::{self, Fault, Texts},
    json::{self, Node},
    placed::{Line, Placed, Stream},
    toxics,
};
use crate::{
    control::{
        Tell,
        link::{Door, Lines, Memory, Permits, Shared, Way},
    },
    fault,
    history::Recorder,
    protocol::{PROTOCOLS, Protocol},
    proxy::UnderWay,
    seed::Seed,
};
use futures_util::{FutureExt, future::join_all};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::AtomicU64},
};
use tokio::sync::{Mutex, MutexGuard, watch};

/// The most proxies there may be.
const PROXIES_MAX: usize = 1_000;

/// The most toxics that a proxy may have.
const TOXICS_MAX: usize = 100;

/// The most connections through all proxies, where the system gives what they need. Further ones
/// wait.
const CONNECTIONS_MAX: usize = 10_000;

/// File descriptors for all else than connections through proxies.
const DESCRIPTORS_KEPT: usize = 512;

/// What all proxies have in common.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    /// What decides by chance.
    pub(crate) seed: Seed,
    /// Where a proxy listens that names no address.
    pub(crate) unnamed: IpAddr,
    /// Whether a request may have a proxy listen where others than this machine reach it.
    is_open: bool,
    /// Who hears of what happens.
    pub(crate) tell: Tell,
    memory: Memory,
    permits: Permits,
    /// The clock of toxics that know a protocol, and who hears of what is said through them.
    recorder: Recorder,
    /// What those toxics say takes its part of this.
    texts: Texts,
}

impl Common {
    /// `api`: where the API listens; `is_open`: whether requests may open proxies to others.
    pub(crate) fn new(
        seed: Seed,
        (api, is_open): (IpAddr, bool),
        tell: Tell,
        recorder: Recorder,
    ) -> Self {
        Self {
            seed,
            is_open,
            unnamed: address::unnamed(api),
            memory: Memory::default(),
            permits: Permits::new(connections_max(), tell.clone()),
            tell,
            recorder,
            texts: Texts::default(),
        }
    }
}

/// The most connections that leave the API what it needs: each may take four file descriptors, two
/// of them for an engine. As many are asked for as the system gives.
fn connections_max() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // On some systems the most that is said is more than is given.
    let is_given = setrlimit(Resource::Nofile, most).is_ok();
    let given = if is_given {
        limit.maximum
    } else {
        limit.current
    };
    let given = given.and_then(|given| usize::try_from(given).ok());
    let left = given.map_or(usize::MAX, |given| given.saturating_sub(DESCRIPTORS_KEPT));
    (left / 4).clamp(1, CONNECTIONS_MAX)
}

/// The addresses that `listen` texts mean, looked up while nobody else had to wait for it.
type Addresses = HashMap<String, Result<SocketAddr, String>>;

/// How many names are looked up at once.
const LOOKUPS: usize = 16;

/// All proxies, by name.
#[derive(Debug)]
pub(crate) struct Proxies {
    common: Common,
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    proxies: BTreeMap<String, Proxy>,
    /// Toxics so far, for their numbers.
    toxics: u64,
    /// What toxics that know a protocol remember, until the next reset: a quota of one name is one,
    /// whatever proxies it is put on.
    remembered: fault::Memory,
}

/// One proxy. It is enabled while it has a door.
#[derive(Debug)]
struct Proxy {
    name: String,
    /// As it was asked for; the address that it got, once it was open.
    listen: String,
    upstream: String,
    door: Option<Door>,
    streams: [watch::Sender<Arc<Line>>; 2],
    /// What it is said to speak, if anybody said it.
    protocol: Option<Protocol>,
    engine: Option<Engine>,
    /// The way to the engine, while nothing needs it and new connections lead past it.
    rested: Option<Way>,
    /// The toxics that the engine carries out, in the order in which they are asked.
    faults: Vec<Arc<Fault>>,
    counters: Arc<Counters>,
    links: Arc<AtomicU64>,
    /// Whoever started the server asked for it, and for where it listens.
    is_of_file: bool,
}

/// A proxy as it is wanted.
#[derive(Debug)]
struct Wanted {
    name: String,
    listen: String,
    upstream: String,
    enabled: bool,
    protocol: Option<Protocol>,
    /// What it begins with.
    toxics: Vec<Node>,
    /// It is of the server's configuration file.
    is_of_file: bool,
}

/// A toxic, as clients see it.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
enum Listed {
    Toxic(Arc<Placed>),
    Fault(Arc<Fault>),
}

impl Listed {
    fn name(&self) -> &str {
        match self {
            Self::Toxic(toxic) => &toxic.name,
            Self::Fault(fault) => &fault.name,
        }
    }
}

/// What went through a proxy, for the metrics.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) proxy: String,
    pub(crate) listener: String,
    pub(crate) upstream: String,
    pub(crate) counters: Arc<Counters>,
}

/// A proxy as somebody sees it who knows no toxics.
#[derive(Debug)]
pub(crate) struct Seen {
    /// What its observations are of.
    pub(crate) name: Arc<str>,
    /// Where it listens, while it is enabled.
    pub(crate) listen: Option<String>,
    pub(crate) upstream: String,
    /// What its engine speaks, if it has one.
    pub(crate) protocol: Option<Protocol>,
    /// Its toxics, as JSON; none where nobody asked for them.
    pub(crate) toxics: Vec<serde_json::Value>,
    /// Connections open.
    pub(crate) connections: u64,
    /// Requests without an answer, where an engine sees them.
    pub(crate) in_flight: Option<u64>,
    pub(crate) counters: Arc<Counters>,
}

/// What `populate` comes to: the proxies so far, and what stopped it.
#[derive(Debug)]
pub(crate) struct Populated {
    /// Each as JSON; `None` where there was nothing to do.
    pub(crate) proxies: Option<Vec<String>>,
    pub(crate) failure: Option<Failure>,
}

impl Wanted {
    /// What a request says; `place` is put behind the name of a field that is missing.
    fn read(node: &Node, place: &str) -> Result<Self, Failure> {
        let wanted = Self {
            name: bounded(node, "name")?.unwrap_or_default(),
            listen: bounded(node, "listen")?.unwrap_or_default(),
            upstream: bounded(node, "upstream")?.unwrap_or_default(),
            enabled: node.bool_at("enabled")?.unwrap_or(true),
            protocol: protocol(node)?,
            toxics: match node.get("toxics")? {
                Some(toxics) => toxics
                    .list()
                    .map_err(|mismatch| mismatch.at("toxics"))?
                    .unwrap_or_default()
                    .to_vec(),
                None => Vec::new(),
            },
            is_of_file: false,
        };
        for (field, text) in [("name", &wanted.name), ("upstream", &wanted.upstream)] {
            if text.is_empty() {
                return Err(Failure::missing(format_args!("{field}{place}")));
            }
        }
        Ok(wanted)
    }
}

/// The protocol that a request names.
fn protocol(node: &Node) -> Result<Option<Protocol>, Failure> {
    let Some(said) = node.text_at("protocol")?.filter(|said| !said.is_empty()) else {
        return Ok(None);
    };
    let def = PROTOCOLS.iter().find(|def| def.name == said);
    let names = || PROTOCOLS.iter().map(|def| def.name).collect::<Vec<_>>();
    let unknown = || {
        Failure::bad(format!(
            "no protocol `{said}`: take one of {}",
            names().join(", ")
        ))
    };
    def.map(|def| Some(def.protocol)).ok_or_else(unknown)
}

/// Reads a body as every request that asks for proxies does, and says how many it asks for.
///
/// # Panics
/// A proxy is asked for that has no name or leads nowhere.
#[cfg(any(test, fuzzing))]
pub(super) fn feed(body: &[u8]) -> usize {
    let one = Node::read(body).map_err(Failure::bad_body);
    let one = one.and_then(|node| Wanted::read(&node, ""));
    let many = Proxies::read_all(body).unwrap_or_default();
    for wanted in one.iter().chain(&many) {
        assert!(!wanted.name.is_empty() && !wanted.upstream.is_empty());
        for toxic in &wanted.toxics {
            super::read_toxic(json::written(toxic).as_bytes());
        }
    }
    many.len() + usize::from(one.is_ok())
}

impl Proxies {
    pub(crate) fn new(common: Common) -> Self {
        Self {
            common,
            all: Mutex::default(),
        }
    }

    /// Nobody else can look at the proxies, or change them, until this is dropped.
    #[cfg(test)]
    pub(crate) async fn held(&self) -> impl Drop + '_ {
        self.all.lock().await
    }

    /// All of them, by name.
    pub(crate) async fn list(&self) -> String {
        json::written(&self.all.lock().await.proxies)
    }

    /// One of them.
    pub(crate) async fn show(&self, name: &str) -> Result<String, Failure> {
        let mut all = self.all.lock().await;
        Ok(json::written(all.get(name)?))
    }

    /// Makes a proxy, and opens it unless it is asked not to.
    pub(crate) async fn create(&self, body: &[u8]) -> Result<String, Failure> {
        let node = Node::read(body).map_err(Failure::bad_body)?;
        let wanted = Wanted::read(&node, "")?;
        let addresses = self.looked_up(vec![wanted.listen.clone()]).await;
        let mut all = self.all.lock().await;
        if all.proxies.contains_key(&wanted.name) {
            return Err(Failure::proxy_exists());
        }
        let proxy = self.make(&mut all, wanted, &addresses).await?;
        Ok(json::written(proxy))
    }

    /// What these mean. Names may take long, so nothing is locked meanwhile.
    async fn looked_up(&self, listens: Vec<String>) -> Addresses {
        let unnamed = self.common.unnamed;
        let one = |listen: &String| {
            let listen = listen.clone();
            let looking = async move {
                let found = address::resolved(&listen, unnamed).await;
                (listen, found)
            };
            looking.boxed()
        };
        let mut all = Addresses::new();
        for some in listens.chunks(LOOKUPS) {
            let looking: Vec<_> = some.iter().map(one).collect();
            all.extend(join_all(looking).await);
        }
        all
    }

    /// What the proxies of these names, or all, were asked to listen on.
    async fn listens(&self, names: Option<&[String]>) -> Vec<String> {
        let all = self.all.lock().await;
        let each = all.proxies.values();
        let wanted = each.filter(|proxy| names.is_none_or(|names| names.contains(&proxy.name)));
        wanted.map(|proxy| proxy.listen.clone()).collect()
    }

    async fn make<'a>(
        &self,
        all: &'a mut All,
        wanted: Wanted,
        addresses: &Addresses,
    ) -> Result<&'a Proxy, Failure> {
        if all.proxies.len() >= PROXIES_MAX {
            return Err(Failure::bad(format!(
                "too many proxies: at most {PROXIES_MAX}"
            )));
        }
        let mut proxy = Proxy::made(
            &wanted,
            (&mut all.toxics, &mut all.remembered),
            &self.common,
        )?;
        if wanted.enabled {
            proxy.open(&self.common, addresses).await?;
        }
        let name = proxy.name.clone();
        Ok(all.proxies.entry(name).insert_entry(proxy).into_mut())
    }

    /// Changes where a proxy listens, where it leads, or whether it is open.
    pub(crate) async fn update(&self, name: &str, body: &[u8]) -> Result<String, Failure> {
        self.all.lock().await.get(name)?;
        let node = Node::read(body).map_err(Failure::bad_body)?;
        let listen = bounded(&node, "listen")?;
        let upstream = bounded(&node, "upstream")?;
        let mut listens = self.listens(Some(&[name.to_owned()])).await;
        listens.extend(listen.clone());
        let addresses = self.looked_up(listens).await;
        let mut all = self.all.lock().await;
        let proxy = all.get(name)?;
        let enabled = node.bool_at("enabled")?.unwrap_or(proxy.door.is_some());
        let listen = listen.unwrap_or_else(|| proxy.listen.clone());
        let upstream = upstream.unwrap_or_else(|| proxy.upstream.clone());
        if proxy
            .differs(&listen, &upstream, (&self.common, &addresses))
            .await?
        {
            if proxy.rested.take().is_some() {
                proxy.engine = None;
            } else if let Some(engine) = &proxy.engine {
                let moved = proxy.start_engine(engine.protocol, &upstream, &self.common)?;
                proxy.engine = Some(moved);
            }
            proxy.shut(&self.common).await;
            proxy.is_of_file &= proxy.listen == listen;
            proxy.listen = listen;
            proxy.upstream = upstream;
            proxy.arm();
        }
        if enabled && proxy.door.is_none() {
            proxy.open(&self.common, &addresses).await?;
        } else if !enabled {
            proxy.shut(&self.common).await;
        }
        Ok(json::written(proxy))
    }

    /// Removes a proxy with all its connections.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), Failure> {
        let mut all = self.all.lock().await;
        let mut proxy = all.proxies.remove(name).ok_or_else(Failure::no_proxy)?;
        proxy.shut(&self.common).await;
        if let Some(engine) = proxy.engine.take() {
            engine.stop().await;
        }
        Ok(())
    }

    /// Has these proxies be there. One that is there as it is asked for stays untouched.
    /// `is_file`: it is the server's configuration file that asks.
    pub(crate) async fn populate(&self, body: &[u8], is_file: bool) -> Populated {
        let mut done = Populated {
            proxies: None,
            failure: None,
        };
        match Self::read_all(body) {
            Ok(wanted) => {
                let names: Vec<String> = wanted.iter().map(|one| one.name.clone()).collect();
                let mut listens = self.listens(Some(&names)).await;
                listens.extend(wanted.iter().map(|one| one.listen.clone()));
                let addresses = self.looked_up(listens).await;
                let mut all = self.all.lock().await;
                for mut wanted in wanted {
                    wanted.is_of_file = is_file;
                    match self.put(&mut all, wanted, &addresses).await {
                        Ok(json) => done.proxies.get_or_insert_default().push(json),
                        Err(failure) => {
                            done.failure = Some(failure);
                            break;
                        }
                    }
                }
            }
            Err(failure) => done.failure = Some(failure),
        }
        done
    }

    fn read_all(body: &[u8]) -> Result<Vec<Wanted>, Failure> {
        let node = Node::read(body).map_err(Failure::bad_body)?;
        let members = node.list()?.unwrap_or_default();
        let read = |(at, member)| Wanted::read(member, &format!(" at proxy {at}"));
        (1..).zip(members).map(read).collect()
    }

    async fn put(
        &self,
        all: &mut All,
        wanted: Wanted,
        addresses: &Addresses,
    ) -> Result<String, Failure> {
        let as_json = |proxy: &Proxy| json::written(proxy);
        if let Some(old) = all.proxies.get_mut(&wanted.name) {
            if !old
                .differs(&wanted.listen, &wanted.upstream, (&self.common, addresses))
                .await?
            {
                return Ok(as_json(old));
            }
            let memory = (&mut all.toxics, &mut all.remembered);
            let mut new = Proxy::made(&wanted, memory, &self.common)?;
            old.shut(&self.common).await;
            if wanted.enabled {
                new.open(&self.common, addresses).await?;
            }
            *old = new;
            return Ok(as_json(old));
        }
        Ok(as_json(self.make(all, wanted, addresses).await?))
    }

    /// Opens every proxy and removes every toxic.
    pub(crate) async fn reset(&self) -> Result<(), Failure> {
        let addresses = self.looked_up(self.listens(None).await).await;
        let mut all = self.all.lock().await;
        all.remembered = fault::Memory::default();
        for proxy in all.proxies.values_mut() {
            if proxy.door.is_none() {
                proxy.open(&self.common, &addresses).await?;
            }
            for stream in &proxy.streams {
                stream.send_replace(Arc::default());
            }
            proxy.faults.clear();
            proxy.arm();
            proxy.rest();
        }
        Ok(())
    }

    /// The toxics of a proxy.
    pub(crate) async fn toxics(&self, proxy: &str) -> Result<String, Failure> {
        let mut all = self.all.lock().await;
        Ok(json::written(&all.get(proxy)?.toxics()))
    }

    /// One toxic of a proxy.
    pub(crate) async fn toxic(&self, proxy: &str, name: &str) -> Result<String, Failure> {
        let mut all = self.all.lock().await;
        Ok(json::written(&all.get(proxy)?.toxic(name)?))
    }

    /// Adds a toxic behind those of its direction.
    pub(crate) async fn add_toxic(&self, proxy: &str, body: &[u8]) -> Result<String, Failure> {
        let mut all = self.all.lock().await;
        all.toxics += 1;
        let id = all.toxics;
        let (proxy, remembered) = all.get_both(proxy)?;
        let node = Node::read(body).map_err(Failure::bad_body)?;
        proxy.add(&node, (id, remembered), &self.common)
    }

    /// Changes a toxic's attributes or its toxicity.
    pub(crate) async fn update_toxic(
        &self,
        proxy: &str,
        name: &str,
        body: &[u8],
    ) -> Result<String, Failure> {
        let mut all = self.all.lock().await;
        let (proxy, remembered) = all.get_both(proxy)?;
        let old = proxy.toxic(name)?;
        let node = Node::read(body).map_err(Failure::bad_body)?;
        match old {
            Listed::Toxic(old) => {
                let new = Arc::new(old.updated(&node)?);
                proxy.change(old.stream, |toxics| {
                    for toxic in toxics.iter_mut().filter(|toxic| toxic.id == new.id) {
                        *toxic = Arc::clone(&new);
                    }
                });
                Ok(json::written(&*new))
            }
            Listed::Fault(old) => proxy.update_fault(&old, &node, remembered, &self.common),
        }
    }

    /// Removes a toxic.
    pub(crate) async fn delete_toxic(&self, proxy: &str, name: &str) -> Result<(), Failure> {
        let mut all = self.all.lock().await;
        let proxy = all.get(proxy)?;
        match proxy.toxic(name)? {
            Listed::Toxic(old) => {
                proxy.change(old.stream, |toxics| {
                    toxics.retain(|toxic| toxic.id != old.id)
                });
            }
            Listed::Fault(old) => {
                proxy.faults.retain(|fault| fault.name != old.name);
                proxy.arm();
                proxy.rest();
            }
        }
        Ok(())
    }

    /// What went through each.
    pub(crate) async fn flows(&self) -> Vec<Flow> {
        let all = self.all.lock().await;
        let flow = |proxy: &Proxy| Flow {
            proxy: proxy.name.clone(),
            listener: proxy.listen.clone(),
            upstream: proxy.upstream.clone(),
            counters: Arc::clone(&proxy.counters),
        };
        all.proxies.values().map(flow).collect()
    }

    /// All of them, for somebody who knows no toxics. Toxics may be many and long: they are put into JSON
    /// for who looks at them.
    pub(crate) async fn seen(&self, with_toxics: bool) -> Vec<Seen> {
        let all = self.all.lock().await;
        let seen = |proxy: &Proxy| Seen {
            name: observed_as(&proxy.name),
            listen: proxy.door.is_some().then(|| proxy.listen.clone()),
            upstream: proxy.upstream.clone(),
            protocol: proxy.engine.as_ref().map(|engine| engine.protocol),
            toxics: match with_toxics {
                true => proxy.shown(),
                false => Vec::new(),
            },
            connections: proxy.door.as_ref().map_or(0, Door::connections),
            in_flight: proxy.engine.as_ref().and_then(Engine::in_flight),
            counters: Arc::clone(&proxy.counters),
        };
        all.proxies.values().map(seen).collect()
    }

    /// The requests without an answer that engines see, each with what its observations are of: of each
    /// proxy the oldest, at most so many.
    pub(crate) async fn under_way(&self, most: usize) -> Vec<(Arc<str>, UnderWay)> {
        let all = self.all.lock().await;
        let of = |proxy: &Proxy| {
            let name = observed_as(&proxy.name);
            let engine = proxy.engine.as_ref();
            let open = engine.map_or_else(Vec::new, |engine| engine.under_way(most));
            open.into_iter().map(move |one| (Arc::clone(&name), one))
        };
        all.proxies.values().flat_map(of).collect()
    }

    /// Closes everything.
    pub(crate) async fn shut(&self) {
        let mut all: MutexGuard<'_, All> = self.all.lock().await;
        for proxy in all.proxies.values_mut() {
            proxy.shut(&self.common).await;
        }
    }
}

impl All {
    fn get(&mut self, name: &str) -> Result<&mut Proxy, Failure> {
        self.proxies.get_mut(name).ok_or_else(Failure::no_proxy)
    }

    /// A proxy, with what the toxics of all remember.
    fn get_both(&mut self, name: &str) -> Result<(&mut Proxy, &mut fault::Memory), Failure> {
        let proxy = self.proxies.get_mut(name).ok_or_else(Failure::no_proxy)?;
        Ok((proxy, &mut self.remembered))
    }
}

impl Proxy {
    fn new(wanted: &Wanted) -> Self {
        Self {
            name: wanted.name.clone(),
            listen: wanted.listen.clone(),
            upstream: wanted.upstream.clone(),
            door: None,
            streams: [
                watch::channel(Arc::default()).0,
                watch::channel(Arc::default()).0,
            ],
            counters: Arc::default(),
            links: Arc::default(),
            protocol: wanted.protocol,
            engine: None,
            rested: None,
            faults: Vec::new(),
            is_of_file: wanted.is_of_file,
        }
    }

    /// Whether it would listen or lead elsewhere. An address that differs from its own in its words
    /// alone is the same.
    async fn differs(
        &self,
        listen: &str,
        upstream: &str,
        (common, addresses): (&Common, &Addresses),
    ) -> Result<bool, Failure> {
        let listens_elsewhere = if listen == self.listen {
            false
        } else {
            let address = found(listen, common, addresses).await;
            // One that was never open has the words still that it was asked for with.
            let own = found(&self.listen, common, addresses).await;
            Ok(address.map_err(Failure::machine)?) != own
        };
        Ok(listens_elsewhere || upstream != self.upstream)
    }

    async fn open(&mut self, common: &Common, addresses: &Addresses) -> Result<(), Failure> {
        let address = found(&self.listen, common, addresses)
            .await
            .map_err(|why| Failure::machine(format!("listen tcp: {why}")))?;
        let is_for_others = !address.ip().to_canonical().is_loopback();
        if is_for_others && !common.is_open && !self.is_of_file {
            return Err(Failure::bad(address::refused(address)));
        }
        let door = self
            .door(address, common)
            .map_err(|error| Failure::machine(address::unbound(address, &error)))?;
        self.listen = door.address().to_string();
        self.door = Some(door);
        common.tell.info(format_args!("started {self}"));
        if is_for_others {
            let name = &self.name;
            common.tell.info(format_args!(
                "{name} can be reached by others than this machine, who need no token"
            ));
        }
        Ok(())
    }

    fn door(&self, address: SocketAddr, common: &Common) -> std::io::Result<Door> {
        let [upstream, downstream] = &self.streams;
        let shared = Shared {
            way: Way::to(match &self.engine {
                Some(engine) => engine.address().to_string(),
                None => self.upstream.clone(),
            }),
            lines: Lines {
                upstream: upstream.subscribe(),
                downstream: downstream.subscribe(),
            },
            counters: Arc::clone(&self.counters),
            memory: common.memory.clone(),
            permits: common.permits.clone(),
            links: Arc::clone(&self.links),
        };
        Door::open(address, shared)
    }

    async fn shut(&mut self, common: &Common) {
        if let Some(door) = self.door.take() {
            door.shut().await;
            if self.rested.take().is_some() {
                self.engine = None;
            }
            common.tell.info(format_args!("stopped {self}"));
        }
    }

    /// All toxics: those towards the server, then those towards the client; of each, those that
    /// know the protocol last, as they are nearest to it.
    fn toxics(&self) -> Vec<Listed> {
        let mut all = Vec::new();
        for (stream, line) in [Stream::Upstream, Stream::Downstream]
            .into_iter()
            .zip(&self.streams)
        {
            all.extend(line.borrow().toxics.iter().cloned().map(Listed::Toxic));
            let faults = self.faults.iter().filter(|fault| fault.stream == stream);
            all.extend(faults.cloned().map(Listed::Fault));
        }
        all
    }

    /// The same as JSON.
    fn shown(&self) -> Vec<serde_json::Value> {
        let toxics = self.toxics();
        let each = toxics.iter();
        each.map(|toxic| serde_json::to_value(toxic).unwrap_or_default())
            .collect()
    }

    fn toxic(&self, name: &str) -> Result<Listed, Failure> {
        let mut toxics = self.toxics().into_iter();
        toxics
            .find(|toxic| toxic.name() == name)
            .ok_or_else(Failure::no_toxic)
    }

    /// Adds a toxic that a request asks for, and gives it as JSON.
    fn add(
        &mut self,
        node: &Node,
        (id, remembered): (u64, &mut fault::Memory),
        common: &Common,
    ) -> Result<String, Failure> {
        if self.toxics().len() >= TOXICS_MAX {
            return Err(Failure::bad(format!(
                "too many toxics: at most {TOXICS_MAX}"
            )));
        }
        let said = node.text_at("type")?.unwrap_or_default();
        if let (None, Some(kind)) = (toxics::Kind::named(&said), faults::Kind::named(&said)) {
            return self.add_fault(node, (kind, id), remembered, common);
        }
        let is_taken = |name: &str| self.toxic(name).is_ok();
        let placed = Placed::asked(node, (&self.name, id, common.seed), is_taken)?;
        let json = json::written(&placed);
        let stream = placed.stream;
        self.change(stream, |toxics| toxics.push(Arc::new(placed)));
        Ok(json)
    }

    /// Adds a toxic that knows the protocol. The first of them puts an engine in the way of the
    /// connections, unless the proxy was made with its protocol; those that are open are closed.
    fn add_fault(
        &mut self,
        node: &Node,
        (kind, id): (faults::Kind, u64),
        remembered: &mut fault::Memory,
        common: &Common,
    ) -> Result<String, Failure> {
        let stream = node.stream_said()?;
        let stream = stream.unwrap_or_else(|| "downstream".to_owned());
        Stream::said(&stream)?;
        let said = node.text_at("type")?.unwrap_or_default();
        let name = bounded(node, "name")?.filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| format!("{said}_{stream}"));
        if self.toxic(&name).is_ok() {
            return Err(Failure::toxic_exists());
        }
        let protocol = self.spoken(kind, &said)?;
        let place = faults::Place {
            proxy: &self.name,
            protocol,
            seed: common.seed,
            recorder: &common.recorder,
        };
        let fault = Fault::asked(node, (kind, id, name), &place, remembered)?;
        let fault = fault.kept(&common.texts)?;
        let json = json::written(&fault);
        self.speak(protocol, common)?;
        self.faults.push(Arc::new(fault));
        self.arm();
        Ok(json)
    }

    fn update_fault(
        &mut self,
        old: &Fault,
        node: &Node,
        remembered: &mut fault::Memory,
        common: &Common,
    ) -> Result<String, Failure> {
        let place = faults::Place {
            proxy: &self.name,
            protocol: self
                .engine
                .as_ref()
                .map_or(Protocol::Tcp, |engine| engine.protocol),
            seed: common.seed,
            recorder: &common.recorder,
        };
        let new = old.updated(node, &place, remembered)?;
        let new = Arc::new(new.kept(&common.texts)?);
        let json = json::written(&*new);
        for fault in self
            .faults
            .iter_mut()
            .filter(|fault| fault.name == new.name)
        {
            *fault = Arc::clone(&new);
        }
        self.arm();
        Ok(json)
    }

    /// The protocol that a fault of this kind acts on here.
    fn spoken(&self, kind: faults::Kind, said: &str) -> Result<Protocol, Failure> {
        let engine = self.engine.as_ref().map(|engine| engine.protocol);
        match (kind.protocol, self.protocol.or(engine)) {
            // Nothing holds it to what it spoke before.
            (Some(wanted), _) if self.rested.is_some() => Ok(wanted),
            // What was taken for a mere stream may turn out to be more.
            (Some(wanted), None | Some(Protocol::Tcp)) => Ok(wanted),
            (Some(wanted), Some(spoken)) if wanted == spoken => Ok(spoken),
            (Some(Protocol::Tcp) | None, Some(spoken)) => Ok(spoken),
            (Some(_), Some(spoken)) => Err(Failure::bad(format!(
                "`{said}` cannot act on this proxy, which speaks {spoken}"
            ))),
            (None, None) if kind.is_of_any_stream() => Ok(Protocol::Tcp),
            (None, None) => Err(Failure::bad(format!(
                "`{said}` must know the protocol: name it before, as in http_{said}, or make the proxy with \"protocol\": \"http\""
            ))),
        }
    }

    /// A proxy as it is wanted, with its engine and its toxics, and not open yet.
    fn made(
        wanted: &Wanted,
        (ids, remembered): (&mut u64, &mut fault::Memory),
        common: &Common,
    ) -> Result<Self, Failure> {
        let mut proxy = Self::new(wanted);
        if let Some(protocol) = wanted.protocol {
            proxy.speak(protocol, common)?;
        }
        for toxic in &wanted.toxics {
            *ids += 1;
            proxy.add(toxic, (*ids, &mut *remembered), common)?;
        }
        Ok(proxy)
    }

    /// Has an engine of this protocol in the way.
    fn speak(&mut self, protocol: Protocol, common: &Common) -> Result<(), Failure> {
        if matches!(&self.engine, Some(engine) if engine.protocol == protocol) {
            if let (Some(way), Some(door)) = (self.rested.take(), &self.door) {
                door.lead_back(way);
            }
            return Ok(());
        }
        let engine = self.start_engine(protocol, &self.upstream, common)?;
        if let Some(door) = &self.door {
            door.lead(engine.address().to_string());
        }
        self.engine = Some(engine);
        self.rested = None;
        Ok(())
    }

    /// Leads new connections past the engine if nothing needs it any more; those that go through it
    /// stay.
    fn rest(&mut self) {
        if self.protocol.is_some() || !self.faults.is_empty() || self.rested.is_some() {
            return;
        }
        match &self.door {
            Some(door) if self.engine.is_some() => {
                self.rested = Some(door.lead_new(self.upstream.clone()));
            }
            Some(_) => {}
            None => self.engine = None,
        }
    }

    fn start_engine(
        &self,
        protocol: Protocol,
        upstream: &str,
        common: &Common,
    ) -> Result<Engine, Failure> {
        let chance = (common.seed, &common.recorder);
        Engine::start(observed_as(&self.name), protocol, upstream, chance)
    }

    /// Puts the faults in force that there are now.
    fn arm(&self) {
        if let Some(engine) = &self.engine {
            let active = self.faults.iter().filter_map(|fault| fault.active.clone());
            engine.set(active.collect());
        }
    }

    fn change(&self, stream: Stream, change: impl FnOnce(&mut Vec<Arc<Placed>>)) {
        let sender = match stream {
            Stream::Upstream => &self.streams[0],
            Stream::Downstream => &self.streams[1],
        };
        let mut toxics = sender.borrow().toxics.clone();
        change(&mut toxics);
        sender.send_replace(Arc::new(Line { toxics }));
    }
}

/// The address that a text means: looked up before, unless it has changed since.
async fn found(listen: &str, common: &Common, addresses: &Addresses) -> Result<SocketAddr, String> {
    match addresses.get(listen) {
        Some(found) => found.clone(),
        None => address::resolved(listen, common.unnamed).await,
    }
}

/// What observations call a proxy: another name than that of any dependency.
fn observed_as(name: &str) -> Arc<str> {
    format!("toxiproxy:{name}").into()
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            listen,
            upstream,
            ..
        } = self;
        write!(f, "{name}: {listen} to {upstream}")
    }
}

impl Serialize for Proxy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Nothing {}
        let named = usize::from(self.protocol.is_some());
        let mut fields = serializer.serialize_struct("Proxy", 6 + named)?;
        fields.serialize_field("name", &self.name)?;
        fields.serialize_field("listen", &self.listen)?;
        fields.serialize_field("upstream", &self.upstream)?;
        fields.serialize_field("enabled", &self.door.is_some())?;
        // Clients have always been sent it.
        fields.serialize_field("Logger", &Nothing {})?;
        fields.serialize_field("toxics", &self.toxics())?;
        if let Some(protocol) = self.protocol {
            fields.serialize_field("protocol", &protocol.to_string())?;
        }
        fields.end()
    }
}
