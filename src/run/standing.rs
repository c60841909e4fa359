//! One dependency that stands by itself, for as long as somebody wants it: its proxy, and the
//! embedded server behind it. No process of the system's is started.

use super::{RunError, stage};
use crate::{
    fault::Switch,
    history::Recorder,
    proxy::{
        self, Counts, Proxy, UnderWay, UpstreamAddress,
        tls::{Authority, client_config_if},
    },
    scenario::{Dependency, Start, System, Template, Upstream},
    seed::Seed,
};
use std::{net::SocketAddr, sync::Arc};

/// The most connections of one of them; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1_000;

/// Bytes of answers that one of them remembers, for the fault that gives them again.
const ANSWERS_BYTES: usize = 4 * 1024 * 1024;

/// What all that stand by themselves have in common.
#[derive(Debug, Clone)]
pub struct Ground {
    /// What decides by chance.
    pub seed: Seed,
    /// The history that they are observed in, and its clock.
    pub recorder: Recorder,
    /// What signs the certificates of those that speak TLS towards the system.
    pub authority: Option<Arc<Authority>>,
}

/// A dependency that stands. Dropping it closes everything without waiting.
#[derive(Debug)]
pub struct Standing {
    proxy: Proxy,
    #[cfg(feature = "demo")]
    embedded: Option<crate::embedded::Embedded>,
}

impl Standing {
    /// Starts a dependency of a system; what is in force on it is what the switch says. Must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    /// Its address or that of its embedded server cannot be bound, or its upstream is an instance
    /// whose address is known in a run alone.
    pub fn start(
        dependency: &Dependency,
        system: &System,
        switch: Switch,
        ground: &Ground,
    ) -> Result<Self, RunError> {
        let mut behind = Behind::default();
        let upstream = behind.upstream(dependency, system, ground)?;
        let what = format!("dependency `{}`", dependency.name);
        let upstream_tls = client_config_if(upstream.tls)
            .map_err(|error| stage::listening("TLS towards dependencies", error))?;
        let authority = ground.authority.as_ref();
        let config = proxy::Config {
            dependency: Arc::clone(&dependency.name),
            protocol: dependency.protocol,
            listen: dependency.listen,
            tls: authority.and_then(|authority| stage::front(dependency, authority)),
            upstream,
            upstream_tls,
            virtual_host: dependency.virtual_host.clone(),
            capture: dependency.capture.clone(),
            key: dependency.key,
            limits: limits(),
            seed: ground.seed,
        };
        let proxy = Proxy::start(config, switch, ground.recorder.clone())
            .map_err(|error| stage::listening(&what, error))?;
        if !dependency.hosts.is_empty() && dependency.upstream == Upstream::Embedded("sink") {
            proxy.offer_http2();
        }
        Ok(Self {
            proxy,
            #[cfg(feature = "demo")]
            embedded: behind.embedded,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.proxy.address()
    }

    /// What the system is given: see [`Proxy::url`].
    pub fn url(&self) -> String {
        self.proxy.url()
    }

    /// What went through so far.
    pub fn counters(&self) -> Counts {
        self.proxy.counters()
    }

    /// The requests that have no answer yet, the oldest first, at most so many.
    pub fn under_way(&self, most: usize) -> Vec<UnderWay> {
        self.proxy.under_way(most)
    }

    /// Closes every connection, waits until their observations are recorded, and frees the ports.
    pub async fn stop(self) {
        self.proxy.stop().await;
        #[cfg(feature = "demo")]
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

/// The bounds of one of many proxies that may get any fault at any time.
fn limits() -> proxy::Limits {
    proxy::Limits {
        connections: CONNECTIONS_MAX,
        answers_bytes: ANSWERS_BYTES,
        ..proxy::Limits::default()
    }
}

/// What stands behind the proxy.
#[derive(Default)]
struct Behind {
    #[cfg(feature = "demo")]
    embedded: Option<crate::embedded::Embedded>,
}

impl Behind {
    fn upstream(
        &mut self,
        dependency: &Dependency,
        system: &System,
        ground: &Ground,
    ) -> Result<UpstreamAddress, RunError> {
        match &dependency.upstream {
            Upstream::Address { host, port, tls } => Ok(UpstreamAddress {
                host: host.clone(),
                port: *port,
                tls: *tls,
            }),
            Upstream::Instance(name) => address_of(name, dependency, system),
            Upstream::Embedded(kind) => self.embed(kind, dependency, system, ground),
        }
    }

    #[cfg(feature = "demo")]
    fn embed(
        &mut self,
        kind: &'static str,
        dependency: &Dependency,
        system: &System,
        ground: &Ground,
    ) -> Result<UpstreamAddress, RunError> {
        let mut places = super::places::Places::default();
        // What is not set is wanted by processes, of which none is started here.
        let _ = places.set_environment(system, &|name| std::env::var(name).ok());
        let server = stage::embedded(kind, dependency, system, &places, &ground.recorder)?;
        let address = server.address();
        self.embedded = Some(server);
        Ok(stage::on_loopback(address))
    }

    #[cfg(not(feature = "demo"))]
    fn embed(
        &mut self,
        kind: &'static str,
        dependency: &Dependency,
        _system: &System,
        _ground: &Ground,
    ) -> Result<UpstreamAddress, RunError> {
        Err(stage::left_out(kind, dependency))
    }
}

/// The address of an instance that somebody else starts: it is known where its URL is fixed.
fn address_of(
    name: &str,
    dependency: &Dependency,
    system: &System,
) -> Result<UpstreamAddress, RunError> {
    let url = match &system.start {
        Start::Instances(instances) => instances
            .iter()
            .find(|instance| *instance.name == *name)
            .and_then(|instance| instance.url.as_ref()),
        Start::External => None,
    };
    url.and_then(fixed).ok_or_else(|| RunError::Upstream {
        dependency: dependency.name.to_string(),
        reason: format!("is the instance `{name}`, whose address is known in a run alone"),
    })
}

fn fixed(url: &Template) -> Option<UpstreamAddress> {
    if !url.placeholders().is_empty() {
        return None;
    }
    UpstreamAddress::of_url(&url.fill(&|_| None))
}
