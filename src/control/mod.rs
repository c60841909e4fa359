//! `brownout serve`: proxies without a scenario, whose faults are switched by hand or by somebody's
//! tests.
//!
//! `toxiproxy` answers the API of Toxiproxy; `link` holds the connections and what its toxics do to
//! them; `guard` says who may drive an API; `http` listens for those who do. Nothing that an API
//! takes can start a program or name a file.

mod guard;
mod http;
mod link;
mod session;
mod tell;
mod toxiproxy;

pub use http::Server;
pub use tell::{Level, Tell};
pub use toxiproxy::{Metrics, PORT, VERSION as TOXIPROXY_VERSION};

#[cfg(any(test, fuzzing))]
pub(crate) use toxiproxy::read_toxic;

use crate::seed::Seed;
use guard::Guard;
use std::{io, net::SocketAddr, sync::Arc};
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
    /// Which metrics there are.
    pub metrics: Metrics,
    /// Proxies to begin with: the JSON of a configuration file.
    pub config: Option<Vec<u8>>,
}

/// Begins to serve. Must be called within a tokio runtime.
///
/// # Errors
/// The API's address cannot be bound.
pub async fn serve(options: Options, tell: Tell) -> io::Result<Server> {
    let Some(first) = options.listen.first() else {
        return Err(io::Error::other("no address to listen on"));
    };
    let common = Common::new(options.seed, first.ip(), tell.clone());
    let api = Arc::new(Api::new(Proxies::new(common), options.metrics));
    let guard = Guard::new(&options.listen, options.token);
    let server = Server::start(&options.listen, Arc::clone(&api), guard)?;
    if let Some(config) = &options.config {
        match api.populate(config).await {
            Ok(count) => tell.info(format_args!("{count} proxies from the configuration file")),
            Err(why) => tell.error(format_args!("the configuration file: {why}")),
        }
    }
    Ok(server)
}
