//! `brownout serve`: proxies without a scenario, whose faults are switched by hand or by somebody's
//! tests.
//!
//! `toxiproxy` answers the API of Toxiproxy; `link` holds the connections and what its toxics do to
//! them. `bench` holds dependencies with the faults that are put on them and what was seen of them;
//! `native` answers the API of our own over it, `page` are the files of a page that uses it, `session`
//! makes a scenario of what was done, `runs` carries scenarios through. `guard` says who may drive an
//! API; `http` listens for those who do. Nothing that an API takes can name a file but a scenario of
//! the folder that the server was given, and no program is started but those of the system's file.

mod bench;
mod guard;
mod http;
mod link;
mod native;
mod page;
mod runs;
mod said;
mod session;
mod tell;
mod toxiproxy;

pub use http::Server;
pub use tell::{Level, Tell};
pub use toxiproxy::{Metrics, PORT, VERSION as TOXIPROXY_VERSION};

#[cfg(any(test, fuzzing))]
pub(crate) use {
    native::feed as read_request,
    toxiproxy::{read_proxies, read_toxic},
};

use crate::{
    history::Recorder,
    input::{Problems, render},
    proxy::tls::Authority,
    scenario::{System, load_system},
    seed::Seed,
};
use bench::Bench;
use guard::Guard;
use runs::Runs;
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};
use toxiproxy::{Api, Common, Proxies};

/// How to serve.
#[derive(Debug)]
pub struct Options {
    /// Where the API listens. The first must be free; of the others, those that are.
    pub listen: Vec<SocketAddr>,
    /// What a client must know to be let in. Without one, none but this machine's are.
    pub token: Option<String>,
    /// What decides by chance.
    pub seed: Seed,
    /// What runs decide by that do not say it; each by a fresh one where there is none.
    pub run_seed: Option<Seed>,
    /// Which metrics there are.
    pub metrics: Metrics,
    /// Proxies to begin with: the JSON of a configuration file.
    pub config: Option<Vec<u8>>,
    /// The system's file: its dependencies stand from the beginning.
    pub system: Option<PathBuf>,
    /// The folder whose scenarios may be run.
    pub scenarios: Option<PathBuf>,
    /// The folder that runs are written to.
    pub runs: PathBuf,
}

/// Begins to serve. Must be called within a tokio runtime.
///
/// # Errors
/// The API's address cannot be bound, the system's file is wrong, or a dependency cannot stand.
pub async fn serve(options: Options, tell: Tell) -> io::Result<Server> {
    let Some(first) = options.listen.first() else {
        return Err(io::Error::other("no address to listen on"));
    };
    let system = options
        .system
        .as_deref()
        .map(read)
        .transpose()?
        .map(Arc::new);
    let authority = authority(system.as_deref(), &options.runs, &tell)?;
    let (recorder, observations) = Recorder::channel(Recorder::QUEUE);
    // Who asks for a proxy that others reach must have shown that he may; a token is what shows it.
    let is_open = options.token.is_some() || !first.ip().is_loopback();
    let common = Common::new(
        options.seed,
        (first.ip(), is_open),
        tell.clone(),
        recorder.clone(),
    );
    let proxies = Arc::new(Api::new(Proxies::new(common), options.metrics));
    let setup = bench::Setup {
        system,
        seed: options.seed,
        is_open: !first.ip().is_loopback(),
        recorder,
        observations,
        authority,
    };
    let bench = Bench::start(setup, &tell)?;
    let places = runs::Places {
        scenarios: options.scenarios,
        system: options.system,
        runs: options.runs,
        seed: options.run_seed,
    };
    let runs = Runs::new(places, Arc::clone(&bench), tell.clone());
    let native = native::Api::start(bench, runs, Arc::clone(&proxies));
    let guard = Guard::new(&options.listen, options.token);
    let server = Server::start(&options.listen, (Arc::clone(&proxies), native), guard)?;
    if let Some(config) = &options.config {
        match proxies.populate(config).await {
            Ok(count) => tell.info(format_args!("{count} proxies from the configuration file")),
            Err(why) => tell.error(format_args!("the configuration file: {why}")),
        }
    }
    Ok(server)
}

/// Reads the system's file.
fn read(path: &Path) -> io::Result<System> {
    let mut problems = Problems::default();
    let system = load_system(path, &mut problems);
    let failed = problems.any_error();
    system.filter(|_| !failed).ok_or_else(|| {
        let words = render(&problems.into_sorted(), false);
        io::Error::new(io::ErrorKind::InvalidInput, words)
    })
}

/// What signs the certificates of dependencies that speak TLS towards the system, in a file that the
/// system can be told to trust.
fn authority(
    system: Option<&System>,
    runs: &Path,
    tell: &Tell,
) -> io::Result<Option<Arc<Authority>>> {
    let speaks_tls = |system: &System| {
        let mut dependencies = system.dependencies.iter();
        dependencies.any(|one| one.tls.is_some() || !one.hosts.is_empty())
    };
    if !system.is_some_and(speaks_tls) {
        return Ok(None);
    }
    let authority = Authority::new()?;
    std::fs::create_dir_all(runs)?;
    let path = runs.join("ca.pem");
    std::fs::write(&path, authority.bundle_pem())?;
    tell.info(format_args!(
        "certificates are signed by {}",
        path.display()
    ));
    Ok(Some(authority))
}
