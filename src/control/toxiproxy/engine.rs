//! The engine that speaks a proxy's protocol: it stands between the proxy's connections and its
//! server while a toxic needs to know what is said. Connections that came meanwhile stay with it.

use super::failure::Failure;
use crate::{
    fault::{Active, FaultSet, Switch},
    history::Recorder,
    protocol::Protocol,
    proxy::{Config, Limits, Proxy, UnderWay, UpstreamAddress, tls::client_config_if},
    seed::Seed,
};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

/// A running engine.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) protocol: Protocol,
    proxy: Proxy,
    switch: Switch,
}

impl Engine {
    /// Starts in front of a server.
    pub(super) fn start(
        name: Arc<str>,
        protocol: Protocol,
        upstream: &str,
        (seed, recorder): (Seed, &Recorder),
    ) -> Result<Self, Failure> {
        let upstream = address(upstream).ok_or_else(|| {
            Failure::bad(format!("the upstream `{upstream}` is no host with a port"))
        })?;
        let failed = |error| Failure::machine(format!("cannot speak {protocol}: {error}"));
        let config = Config {
            dependency: name,
            protocol,
            listen: None,
            tls: None,
            upstream,
            upstream_tls: client_config_if(false).map_err(failed)?,
            virtual_host: None,
            capture: BTreeMap::new(),
            key: None,
            limits: Limits::default(),
            seed,
        };
        let switch = Switch::new();
        let proxy = Proxy::start(config, switch.clone(), recorder.clone()).map_err(failed)?;
        Ok(Self {
            protocol,
            proxy,
            switch,
        })
    }

    /// Requests without an answer, where the protocol shows requests.
    pub(super) fn in_flight(&self) -> Option<u64> {
        let counts = self.proxy.counters();
        self.protocol.has_messages().then_some(counts.under_way)
    }

    /// These requests, the oldest first, at most so many.
    pub(super) fn under_way(&self, most: usize) -> Vec<UnderWay> {
        self.proxy.under_way(most)
    }

    /// Where the proxy's connections lead now.
    pub(super) fn address(&self) -> SocketAddr {
        self.proxy.address()
    }

    /// Puts these faults in force, at once on every connection.
    pub(super) fn set(&self, faults: Vec<Arc<Active>>) {
        self.switch.set(FaultSet::new(faults));
    }

    /// Closes what goes through it.
    pub(super) async fn stop(self) {
        self.proxy.stop().await;
    }
}

fn address(upstream: &str) -> Option<UpstreamAddress> {
    let (host, port) = upstream.rsplit_once(':')?;
    let host = host
        .strip_prefix('[')
        .map_or(Some(host), |host| host.strip_suffix(']'))?;
    Some(UpstreamAddress {
        host: host.to_owned(),
        port: port.parse().ok()?,
        tls: false,
    })
    .filter(|address| !address.host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_hosts_with_ports() {
        let text = |upstream| address(upstream).map(|address| address.to_string());
        assert_eq!(text("db:5432").as_deref(), Some("db:5432"));
        assert_eq!(text("[::1]:80").as_deref(), Some("[::1]:80"));
        for wrong in ["db", "db:", ":80", "db:99999", "[::1", ""] {
            assert_eq!(text(wrong), None, "{wrong}");
        }
    }
}
