//! Real servers from the distribution's packages, each with a fresh folder on a port of its own,
//! and proxies in front of them. A server that cannot be had is a failure and not a skip.

#![allow(dead_code, reason = "not every test file uses everything")]

use brownout::{
    fault::{Active, FaultSet, Switch, default_by},
    history::{Attempt, Observation, Recorder},
    input::{Problems, Source, render},
    protocol::Protocol,
    proxy::{
        Config, Limits, Proxy, UpstreamAddress,
        tls::{Front, client_config},
    },
    run::ports::ReservedPort,
    scenario::from_texts,
    seed::Seed,
    units::Micros,
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Output},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// How long a server may take to come up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A port for a server, free as long as the test's process lives.
pub fn free_port() -> u16 {
    let reserved = ReservedPort::take(&mut Seed(u64::from(std::process::id())).stream(&["ports"]))
        .expect("a port");
    let port = reserved.port;
    std::mem::forget(reserved);
    port
}

/// Asks again and again until the answer is there.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A process that ends with its owner.
pub struct Ended(pub Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a program printed; its failure is the test's.
pub fn printed(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(status.success(), "{command:?}: {}", text(&stderr));
    text(&stdout)
}

/// What was printed directly and through the proxy is the same, byte for byte; where it is not, the
/// first line that differs is shown with those around it.
pub fn assert_same(direct: &str, proxied: &str) {
    if direct == proxied {
        return;
    }
    let pairs = direct.lines().zip(proxied.lines());
    let same = pairs.take_while(|(one, other)| one == other).count();
    let around = |text: &str| {
        let lines = text.lines().skip(same.saturating_sub(20)).take(40);
        lines.collect::<Vec<_>>().join("\n")
    };
    panic!(
        "line {same}: directly\n{}\n\nthrough the proxy\n{}",
        around(direct),
        around(proxied)
    );
}

/// A proxy in front of a server, with what it observes.
pub struct Fronted {
    pub proxy: Proxy,
    protocol: Protocol,
    switch: Switch,
    observed: mpsc::Receiver<Observation>,
}

impl Fronted {
    /// Starts it; must be called within a tokio runtime.
    pub fn start(protocol: Protocol, upstream: SocketAddr, front: Option<Arc<Front>>) -> Self {
        Self::with(protocol, upstream, |config| config.tls = front)
    }

    /// As [`Fronted::start`], with changes to its configuration.
    pub fn with(
        protocol: Protocol,
        upstream: SocketAddr,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let (recorder, observed) = Recorder::channel(100_000);
        let switch = Switch::new();
        let mut config = Config {
            dependency: "store".into(),
            protocol,
            listen: None,
            tls: None,
            upstream: UpstreamAddress {
                host: upstream.ip().to_string(),
                port: upstream.port(),
                tls: false,
            },
            upstream_tls: client_config(&[]).expect("roots"),
            virtual_host: None,
            capture: BTreeMap::new(),
            key: None,
            limits: Limits::default(),
            seed: Seed(1),
        };
        change(&mut config);
        let proxy = Proxy::start(config, switch.clone(), recorder).expect("the proxy starts");
        Self {
            proxy,
            protocol,
            switch,
            observed,
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.proxy.address().port()
    }

    /// Puts a fault in force, written as in a scenario without `on`.
    pub fn arm(&self, fault: &str) {
        let (gate, behaviour) = read(self.protocol, fault);
        let by = gate.by.clone().unwrap_or_else(|| default_by(self.protocol));
        let lasts = Duration::from_secs(60);
        self.switch.set(FaultSet::new(vec![Arc::new(Active::new(
            brownout::fault::FaultId(0),
            gate,
            behaviour,
            Seed(1),
            &["test"],
            Micros(0),
            lasts,
            by,
        ))]));
    }

    /// Lifts what is in force.
    pub fn lift(&self) {
        self.switch.set(FaultSet::default());
    }

    /// Stops it; the statements that it saw.
    pub async fn stop(mut self) -> Vec<Attempt> {
        self.proxy.stop().await;
        let mut attempts = Vec::new();
        while let Some(observation) = self.observed.recv().await {
            if let Observation::Attempt(attempt) = observation {
                attempts.push(attempt);
            }
        }
        attempts
    }
}

/// A fault as a scenario would have it.
fn read(
    protocol: Protocol,
    fault: &str,
) -> (brownout::fault::Gate, Arc<dyn brownout::fault::Behaviour>) {
    let system = format!(
        "[system]\nexternal = \"http://127.0.0.1:1\"\n\n[dependency.store]\nprotocol = \"{protocol}\"\n\
         upstream = \"127.0.0.1:1\"\n\n[load.ask]\nrate = \"40/s\"\ntimeout = \"5s\"\n\
         request = {{ method = \"GET\", path = \"/\" }}\n"
    );
    let scenario = format!(
        "title = \"t\"\n[[phase]]\nname = \"steady\"\nlasts = \"60s\"\nsteady = true\n\
         [[phase]]\nname = \"outage\"\nlasts = \"60s\"\n[[phase.fault]]\non = \"store\"\n{fault}\n\
         [[phase]]\nname = \"recovery\"\nlasts = \"60s\"\n\
         [[expect]]\nid = \"E\"\nthat = \"t\"\nkind = \"success-rate\"\nload = \"ask\"\nat_least = \"90%\"\n"
    );
    let mut problems = Problems::default();
    let read = from_texts(
        Source::new("scenario.toml", scenario),
        Source::new("brownout.toml", system),
        PathBuf::from("."),
        &mut problems,
    );
    let Some((scenario, _)) = read else {
        panic!("{}", render(&problems.into_sorted(), false));
    };
    let spec = &scenario.phases[1].faults[0];
    (spec.gate.clone(), Arc::clone(&spec.behaviours[0]))
}
