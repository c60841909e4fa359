//! Built-in servers that stand behind a proxy where nothing else does: S3, PostgreSQL, Pusher
//! Channels, and a sink for alerts.
//!
//! They make one command work on a fresh machine, and they never fail by themselves: faults are
//! the proxies' business. Nothing outlives [`Embedded::stop`]; PostgreSQL's rows are meanwhile in
//! a temporary folder.

mod postgres;
mod pusher;
mod s3;
pub(crate) mod server;
mod sink;

pub use pusher::App;
pub use sink::Answer;

use crate::history::Recorder;
use s3::Credentials;
use server::Server;
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

/// The access key that the embedded S3 server knows unless told otherwise.
pub const ACCESS_KEY: &str = "brownout";

/// The secret that belongs to [`ACCESS_KEY`]. It guards nothing but a loopback test double.
pub const SECRET_KEY: &str = "brownout-secret";

/// How many bytes of a message's body a sink keeps, unless told otherwise.
pub const KEPT_MAX: usize = 4 * 1024;

/// What an embedded server needs to know. Built from [`Options::default`] by naming what differs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The dependency whose upstream it is; the name under which a sink records messages.
    pub dependency: Arc<str>,
    /// Where it listens; by default an ephemeral loopback port.
    pub listen: SocketAddr,
    /// Sink: how many bytes of a message's body are kept; the rest is read and forgotten.
    pub kept_max: usize,
    /// Sink: whether what a message calls after a secret is kept as well; by default it is not.
    pub keeps_secrets: bool,
    /// Sink: what it answers; by default 204, and 200 to GET and HEAD.
    pub answer: Option<Answer>,
    /// S3: the only access key it knows.
    pub access_key: String,
    /// S3: the secret that belongs to it.
    pub secret_key: String,
    /// S3: the buckets that exist from the start.
    pub buckets: Vec<String>,
    /// S3: the host name suffix in front of which the bucket stands, where clients name buckets
    /// by host. Path-style requests are understood as well.
    pub virtual_host: Option<String>,
    /// PostgreSQL: what is run before the first client is let in.
    pub schema: Option<String>,
    /// Pusher: the app it serves.
    pub app: App,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dependency: Arc::from("embedded"),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            kept_max: KEPT_MAX,
            keeps_secrets: false,
            answer: None,
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
            buckets: Vec::new(),
            virtual_host: None,
            schema: None,
            app: App::default(),
        }
    }
}

/// An embedded server that runs. Dropping it ends it at once; [`Embedded::stop`] waits.
#[derive(Debug)]
pub struct Embedded {
    server: Running,
}

#[derive(Debug)]
enum Running {
    Http(Server),
    /// With the WebSockets that run beside the listener.
    Channels(Server, pusher::Sessions),
    Postgres(postgres::Server),
}

impl Embedded {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        match &self.server {
            Running::Http(server) | Running::Channels(server, _) => server.address(),
            Running::Postgres(server) => server.address(),
        }
    }

    /// Stops accepting, lets the requests under way finish for at most two seconds, and frees the
    /// port.
    pub async fn stop(self) {
        match self.server {
            Running::Http(server) => server.stop().await,
            Running::Channels(server, sessions) => {
                sessions.stop().await;
                server.stop().await;
            }
            Running::Postgres(server) => server.stop().await,
        }
    }
}

/// Starts the embedded server of this kind: `s3`, `postgres`, `pusher` or `sink`. Must be called
/// within a tokio runtime.
///
/// # Errors
/// An unknown kind, an address that cannot be bound, a bucket name that S3 would refuse, a
/// schema that the PostgreSQL server refuses.
pub fn start(kind: &str, options: Options, recorder: Recorder) -> io::Result<Embedded> {
    let listen = options.listen;
    let server = match kind {
        "s3" => {
            let credentials = Credentials {
                access_key: options.access_key,
                secret_key: options.secret_key,
            };
            let service = s3::service(credentials, &options.buckets, options.virtual_host)?;
            Running::Http(Server::start(listen, service)?)
        }
        "postgres" => {
            Running::Postgres(postgres::Server::start(listen, options.schema.as_deref())?)
        }
        "pusher" => {
            let (server, sessions) = pusher::Channels::new(options.app);
            Running::Channels(Server::start(listen, server)?, sessions)
        }
        "sink" => {
            let sink = sink::Sink::new(
                options.dependency,
                (options.kept_max, options.keeps_secrets),
                options.answer,
                recorder,
            );
            Running::Http(Server::start(listen, sink)?)
        }
        other => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "no embedded server is called `{other}`; there are `s3`, `postgres`, `pusher` \
                     and `sink`"
                ),
            ));
        }
    };
    Ok(Embedded { server })
}

#[cfg(test)]
mod tests;
