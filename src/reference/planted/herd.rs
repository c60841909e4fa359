//! Thirty clients of one database: after an outage each comes back after a time of its own, or all
//! in the same moment.

use super::{Change, Planted, Program, Twin, Unmeasured, said};
use crate::{
    reference::{Options, Refusal},
    seed::Seed,
};
use hyper::StatusCode;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time;
use tokio_postgres::{Config, NoTls};

pub(super) const PLANTED: Planted = Planted {
    name: "herd",
    good: "waits at random",
    bad: "waits alike",
    fails: &["NO-HERD"],
    unmeasured: Unmeasured {
        what: "nobody is cut off",
        says: &["no connection was closed since the first fault"],
        of: Twin::Bad,
        change: Change::Scenario(
            "kind = \"refuse\"",
            "kind = \"latency\"\n  delay = \"10ms\"",
        ),
    },
    system: include_str!("files/herd.system.toml"),
    scenario: include_str!("files/herd.scenario.toml"),
    start,
};

/// How many clients there are.
const CLIENTS: usize = 30;

/// The time to the next try: with the flaw always this.
const ALIKE: Duration = Duration::from_secs(1);

/// Without it between these two, all equally likely.
const AT_RANDOM: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(4_500));

/// How long a client waits for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

fn start(listen: SocketAddr, options: &Options, flawed: bool) -> Result<Program, Refusal> {
    let url = options.need("dependency")?;
    let config: Config = url
        .parse()
        .map_err(|error| Refusal::Usage(format!("`{url}`: {error}")))?;
    let connected = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&connected);
    let mut program = Program::serve(listen, move |request| {
        let is_ready = seen.load(Ordering::Relaxed) == CLIENTS;
        let asks_whether = request.uri().path() == "/readyz";
        async move {
            match asks_whether && !is_ready {
                true => said(StatusCode::SERVICE_UNAVAILABLE, "not all are connected"),
                false => said(StatusCode::OK, "hello"),
            }
        }
    })?;
    let seed = Seed::fresh();
    for nth in 0..CLIENTS {
        let client = Client {
            config: config.clone(),
            connected: Arc::clone(&connected),
            random: (!flawed).then(|| seed.stream(&["herd", &nth.to_string()])),
        };
        program = program.beside(client.stay());
    }
    Ok(program)
}

struct Client {
    config: Config,
    connected: Arc<AtomicUsize>,
    /// What the time to the next try is drawn from, unless it is always the same.
    random: Option<ChaCha8Rng>,
}

impl Client {
    /// Connects, stays, and comes back.
    async fn stay(mut self) {
        loop {
            let connecting = time::timeout(CONNECT_WITHIN, self.config.connect(NoTls));
            if let Ok(Ok((_client, connection))) = connecting.await {
                self.connected.fetch_add(1, Ordering::Relaxed);
                // Ends when the database, or what is between, ends it.
                let _ = connection.await;
                self.connected.fetch_sub(1, Ordering::Relaxed);
            }
            time::sleep(self.pause()).await;
        }
    }

    fn pause(&mut self) -> Duration {
        let Some(random) = &mut self.random else {
            return ALIKE;
        };
        let dice = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let (least, most) = AT_RANDOM;
        least + (most - least).mul_f64(dice)
    }
}
