//! The planted systems of `brownout selftest`: small programs of which it is known beforehand whether
//! they bear an outage. Each comes as twins that differ in one flaw, chosen by one switch, and with a
//! scenario whose verdict must tell them apart. A third run of each measures nothing, and must be
//! inconclusive.
//!
//! A new one is a module with its `PLANTED`, two files in `files/`, and its line in [`ALL`].

mod breaker;
mod cache_first;
mod fallback;
mod herd;
mod lossy_queue;
pub mod noise;
mod pool;
mod retries;
mod time_out;

use super::{
    Options, Refusal,
    web::{Answer, Endpoint, Patience, json},
};
use crate::embedded::server::Server;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode, body::Incoming, service::service_fn};
use std::{convert::Infallible, io, net::SocketAddr, time::Duration};
use tokio::task::JoinSet;

/// Every planted system, in the order shown.
pub const ALL: &[Planted] = &[
    time_out::PLANTED,
    fallback::PLANTED,
    retries::PLANTED,
    cache_first::PLANTED,
    lossy_queue::PLANTED,
    pool::PLANTED,
    breaker::PLANTED,
    herd::PLANTED,
];

/// What stands before a planted system's name in the name of its program.
const PREFIX: &str = "planted-";

/// What the files say of the twin without the flaw, and what is put there for the other.
const GOOD: &str = "\"--twin\", \"good\"";
const BAD: &str = "\"--twin\", \"bad\"";

/// Long enough to be for ever in any run: an HTTP client without any time-out.
const FOR_EVER: Patience = patience(3_600_000);

/// For calls that are no part of what is planted.
const PATIENT: Patience = patience(5_000);

/// A planted system.
#[derive(Debug)]
pub struct Planted {
    /// Its name.
    pub name: &'static str,
    /// What the twin without the flaw does, in a few words.
    pub good: &'static str,
    /// What the twin with it does.
    pub bad: &'static str,
    /// The expectations that the twin with the flaw must fail; it keeps all others.
    pub fails: &'static [&'static str],
    /// The run that measures nothing.
    pub unmeasured: Unmeasured,
    system: &'static str,
    scenario: &'static str,
    start: fn(SocketAddr, &Options, bool) -> Result<Program, Refusal>,
}

/// How a run is kept from measuring anything.
#[derive(Debug)]
pub struct Unmeasured {
    /// What keeps it from it, in a few words.
    pub what: &'static str,
    /// Of what the verdict must say one.
    pub says: &'static [&'static str],
    /// With which of the twins.
    pub of: Twin,
    /// Where in which file.
    change: Change,
}

/// A passage of a file, which stands there once, and what is put in its place.
#[derive(Debug)]
enum Change {
    System(&'static str, &'static str),
    Scenario(&'static str, &'static str),
}

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twin {
    /// Without the flaw.
    Good,
    /// With it.
    Bad,
    /// One of these in a run that measures nothing.
    Unmeasured,
}

impl Twin {
    /// All three, in the order shown.
    pub const ALL: [Self; 3] = [Self::Good, Self::Bad, Self::Unmeasured];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Unmeasured => "unmeasured",
        }
    }
}

/// The two files of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The system's.
    pub system: String,
    /// The scenario's, which names the system's `system.toml`.
    pub scenario: String,
}

impl Planted {
    /// What a twin does, in a few words.
    pub const fn what(&self, twin: Twin) -> &'static str {
        match twin {
            Twin::Good => self.good,
            Twin::Bad => self.bad,
            Twin::Unmeasured => self.unmeasured.what,
        }
    }

    /// The files of a twin's run.
    pub fn files(&self, twin: Twin) -> Files {
        let mut files = Files {
            system: self.system.to_owned(),
            scenario: self.scenario.to_owned(),
        };
        let flawed = match twin {
            Twin::Unmeasured => self.unmeasured.of,
            twin => twin,
        };
        if flawed == Twin::Bad {
            files.system = files.system.replace(GOOD, BAD);
        }
        if twin == Twin::Unmeasured {
            match self.unmeasured.change {
                Change::System(from, to) => files.system = files.system.replace(from, to),
                Change::Scenario(from, to) => files.scenario = files.scenario.replace(from, to),
            }
        }
        files
    }
}

/// The names of the programs.
pub(super) fn programs() -> impl Iterator<Item = String> {
    ALL.iter().map(|one| format!("{PREFIX}{}", one.name))
}

/// The planted system that a program's name means.
pub(super) fn find(program: &str) -> Option<&'static Planted> {
    let name = program.strip_prefix(PREFIX)?;
    ALL.iter().find(|one| one.name == name)
}

impl Planted {
    /// Binds and begins, with the flaw where `--twin bad` says so.
    pub(super) fn start(&self, listen: SocketAddr, options: &Options) -> Result<Program, Refusal> {
        let flawed = match options.need("twin")? {
            "good" => false,
            "bad" => true,
            other => {
                let why = format!("unknown twin `{other}`; there are `good` and `bad`");
                return Err(Refusal::Usage(why));
            }
        };
        (self.start)(listen, options, flawed)
    }
}

/// A planted program that runs. Dropping it ends it at once.
#[derive(Debug)]
pub(super) struct Program {
    server: Server,
    /// What it does beside answering; never ends by itself.
    background: JoinSet<()>,
}

impl Program {
    /// Answers every request so.
    fn serve<F, A>(listen: SocketAddr, answer: F) -> io::Result<Self>
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        let service = service_fn(move |request| {
            let answered = answer(request);
            async move { Ok::<_, Infallible>(answered.await) }
        });
        Ok(Self {
            server: Server::start(listen, service)?,
            background: JoinSet::new(),
        })
    }

    /// Does this besides.
    fn beside(mut self, task: impl Future<Output = ()> + Send + 'static) -> Self {
        self.background.spawn(task);
        self
    }

    /// Stops serving, and whatever goes on besides.
    pub(super) async fn stop(mut self) {
        self.background.shutdown().await;
        self.server.stop().await;
    }
}

/// So long for the connection, and as long for the answer.
const fn patience(milliseconds: u64) -> Patience {
    Patience {
        connect: Duration::from_millis(milliseconds),
        answer: Duration::from_millis(milliseconds),
    }
}

/// The dependency.
fn dependency(options: &Options) -> Result<Endpoint, Refusal> {
    Endpoint::parse(options.need("dependency")?)
}

/// A request without a body.
fn get(path: &str) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = path.parse().unwrap_or_default();
    request
}

/// A request with a JSON body.
fn post(path: &str, value: &serde_json::Value) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(Bytes::from(value.to_string())));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path.parse().unwrap_or_default();
    request
}

/// An answer with a word in it.
fn said(status: StatusCode, word: &str) -> Answer {
    json(status, &serde_json::json!({ "said": word }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_lead_to_programs() {
        let names: BTreeSet<&str> = ALL.iter().map(|one| one.name).collect();
        assert_eq!(names.len(), ALL.len());
        for one in ALL {
            let program = format!("{PREFIX}{}", one.name);
            assert_eq!(find(&program).map(|found| found.name), Some(one.name));
            assert!(one.system.contains(&format!("\"{program}\"")), "{program}");
            assert!(one.scenario.contains("\"system.toml\""), "{program}");
        }
        assert!(find("planted-").is_none() && find("time-out").is_none());
    }

    #[test]
    fn twins_differ_in_their_switch_and_in_nothing_else() {
        for one in ALL {
            assert_eq!(one.system.matches(GOOD).count(), 1, "{}", one.name);
            let (good, bad) = (one.files(Twin::Good), one.files(Twin::Bad));
            assert_eq!(good.scenario, bad.scenario);
            assert_ne!(good.system, bad.system);
            assert_eq!(good.system.replace(GOOD, BAD), bad.system);
        }
    }

    #[test]
    fn what_measures_nothing_differs_in_one_passage() {
        for one in ALL {
            let (file, passage) = match one.unmeasured.change {
                Change::System(from, _) => (one.system, from),
                Change::Scenario(from, _) => (one.scenario, from),
            };
            assert_eq!(file.matches(passage).count(), 1, "{}", one.name);
            let (twin, third) = (one.files(one.unmeasured.of), one.files(Twin::Unmeasured));
            assert_ne!(twin, third, "{}", one.name);
            let system_is_kept = twin.system == third.system;
            assert_ne!(system_is_kept, twin.scenario == third.scenario);
        }
    }
}
