//! The reference systems of the shipped scenarios: small honest programs modelled on the
//! incidents, each *as it was* and *remedied*, behind the hidden subcommand `reference`.
//!
//! They know nothing of Brownout. They speak real protocols to whatever their options and
//! environment name, so that what is rehearsed on them is what a newcomer's own system would see.

pub mod ada;
pub mod batch;
pub mod meya17;
pub mod meya21;
pub mod planted;
pub mod snap;

mod breaker;
mod database;
mod options;
mod s3;
mod variant;
mod web;

pub use variant::Variant;

use options::Options;
use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
};
use tokio::signal::unix::{SignalKind, signal};

/// Why a reference program cannot run.
#[derive(Debug)]
pub enum Refusal {
    /// Its arguments or environment are wrong.
    Usage(String),
    /// It could not bind its port.
    Io(io::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) => f.write_str(message),
            Self::Io(error) => write!(f, "cannot listen: {error}"),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Runs the reference program that `args` names (`ada-api`, `bot-cloud` …) with the rest of them as
/// its options, until SIGTERM or SIGINT. Returns its exit status: 0, 64 for wrong arguments, 69
/// where it could not listen.
pub fn main(args: &[String]) -> i32 {
    if args
        .first()
        .is_some_and(|name| name == planted::noise::PROGRAM)
    {
        planted::noise::burn();
        return 0;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(args)),
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(()) => 0,
        Err(refusal) => {
            eprintln!("error: {refusal}");
            match refusal {
                Refusal::Usage(_) => 64,
                Refusal::Io(_) => 69,
            }
        }
    }
}

async fn run(args: &[String]) -> Result<(), Refusal> {
    let name = args.first().map_or("", String::as_str);
    let options = Options::parse(args.get(1..).unwrap_or_default())?;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port()?));
    if let Some(planted) = planted::find(name) {
        let program = planted.start(listen, &options)?;
        told_to_stop().await?;
        program.stop().await;
        return Ok(());
    }
    match name {
        "ada-api" => {
            let api = ada::Api::start(listen, ada::ApiSetup::from_options(&options)?)?;
            told_to_stop().await?;
            api.stop().await;
        }
        "ada-router" => {
            let router = ada::Router::start(listen, ada::RouterSetup::from_options(&options)?)?;
            told_to_stop().await?;
            router.stop().await;
        }
        "bot-cloud" => {
            let setup = meya21::CloudSetup::from_options(&options)?;
            let cloud = meya21::Cloud::start(listen, &setup)?;
            told_to_stop().await?;
            cloud.stop().await;
        }
        "messaging-api" => {
            let setup = batch::ApiSetup::from_options(&options)?;
            let api = batch::Api::start(listen, &setup)?;
            told_to_stop().await?;
            api.stop().await;
        }
        "messaging-worker" => {
            let setup = batch::WorkerSetup::from_options(&options)?;
            let worker = batch::Worker::start(listen, &setup)?;
            told_to_stop().await?;
            worker.stop().await;
        }
        "live-chat-server" => {
            let server = snap::Server::start(listen, snap::ServerSetup::from_options(&options)?)?;
            told_to_stop().await?;
            server.stop().await;
        }
        "live-chat-portals" => {
            let portals = snap::Portals::open(snap::PortalsSetup::from_options(&options)?)?;
            told_to_stop().await?;
            drop(portals);
        }
        "chat-platform" => {
            let setup = meya17::PlatformSetup::from_options(&options)?;
            let platform = meya17::Platform::start(listen, setup)?;
            told_to_stop().await?;
            platform.stop().await;
        }
        other => {
            return Err(Refusal::Usage(format!(
                "no reference program is called `{other}`; there are {}",
                known_programs()
            )));
        }
    }
    Ok(())
}

/// The programs that there are.
const PROGRAMS: &[&str] = &[
    "ada-api",
    "ada-router",
    "bot-cloud",
    "chat-platform",
    "live-chat-portals",
    "live-chat-server",
    "messaging-api",
    "messaging-worker",
];

fn known_programs() -> String {
    let names = PROGRAMS.iter().map(|name| (*name).to_owned());
    let names = names.chain(planted::programs());
    let quoted: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

async fn told_to_stop() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
