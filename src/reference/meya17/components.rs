//! Customers' own code: a component's package is fetched from S3 for each conversation and run in
//! a sandbox, of which there are a few.
//!
//! *As it was*: the fetch has no time-out, and the sandbox is held while it waits, so that the
//! components of all customers stand still with one; a component whose package could not be
//! fetched is taken offline until the next sweep over all deployments, long after S3 is well.
//!
//! *Remedied*: the fetch has a second, a component that cannot run gives the reply that its bot
//! defined for that case, and the next conversation tries again.

use super::health::Health;
use crate::reference::{
    Refusal, Variant,
    breaker::Breaker,
    s3::{CallError, Client},
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time};

/// Sandboxes in which components run.
const SANDBOXES: usize = 8;

/// How long a component runs.
const RUNNING: Duration = Duration::from_millis(10);

/// How often all deployments are looked through, as it was.
const SWEEP: Duration = Duration::from_secs(600);

/// How long S3 is left alone once five fetches in a row have failed, remedied.
const REST: Duration = Duration::from_secs(1);

/// A bot's component.
pub(super) fn key(bot: u32) -> String {
    format!("bots/{bot}.zip")
}

/// What a conversation gets from a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ran {
    /// What the component says.
    Well,
    /// What the bot says in its stead.
    Fallback,
    /// Nothing.
    Offline,
}

/// The runtime of all components.
#[derive(Debug)]
pub(super) struct Components {
    variant: Variant,
    packages: Client,
    sandboxes: Semaphore,
    breaker: Breaker,
    offline: Mutex<BTreeSet<u32>>,
    health: Arc<Health>,
}

impl Components {
    pub(super) fn new(variant: Variant, packages: Client, health: Arc<Health>) -> Self {
        Self {
            variant,
            packages,
            sandboxes: Semaphore::new(SANDBOXES),
            breaker: Breaker::new(5, REST),
            offline: Mutex::default(),
            health,
        }
    }

    /// Puts the packages of these bots where they will be fetched.
    ///
    /// # Errors
    /// A store that does not take them.
    pub(super) async fn deploy(&self, bots: impl Iterator<Item = u32>) -> Result<(), Refusal> {
        for bot in bots {
            let body = Bytes::from(vec![bot as u8; 2048]);
            let put = self.packages.put(&key(bot), 1, body).await;
            put.map_err(|error| {
                Refusal::Usage(format!("the package of bot {bot} is not taken: {error}"))
            })?;
        }
        Ok(())
    }

    /// Runs a bot's component.
    pub(super) async fn run(&self, bot: u32) -> Ran {
        match self.variant {
            Variant::AsItWas => self.run_as_it_was(bot).await,
            Variant::Remedied => self.run_bounded(bot).await,
        }
    }

    async fn run_as_it_was(&self, bot: u32) -> Ran {
        if self.offline.lock().contains(&bot) {
            return Ran::Offline;
        }
        // Closed never, so there is always a sandbox in the end.
        let _sandbox = self.sandboxes.acquire().await;
        let fetched = self.fetch(bot).await;
        if fetched.is_err() {
            self.offline.lock().insert(bot);
            return Ran::Offline;
        }
        time::sleep(RUNNING).await;
        Ran::Well
    }

    async fn run_bounded(&self, bot: u32) -> Ran {
        if !self.breaker.lets_through() {
            return Ran::Fallback;
        }
        let fetched = self.fetch(bot).await;
        self.breaker.ended(fetched.is_ok());
        if fetched.is_err() {
            return Ran::Fallback;
        }
        let _sandbox = self.sandboxes.acquire().await;
        time::sleep(RUNNING).await;
        Ran::Well
    }

    async fn fetch(&self, bot: u32) -> Result<(), CallError> {
        let got = self.packages.get(&key(bot)).await;
        self.health.ended("s3", got.is_ok());
        got.map(drop)
    }

    /// *As it was*: brings what is offline back, every ten minutes.
    pub(super) async fn sweep(&self) {
        loop {
            time::sleep(SWEEP).await;
            self.offline.lock().clear();
        }
    }
}
