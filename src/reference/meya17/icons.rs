//! Icons that customers upload for their bots, kept in S3 beside the assets.
//!
//! *As it was*: an accepted icon is written once, by a client that does not try again.
//!
//! *Remedied*: an accepted icon waits until it is stored, however long S3 takes none.

use super::health::Health;
use crate::reference::{Variant, s3::Client};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, task::JoinSet, time};

/// The most icons that wait; a further one is refused.
const WAITING_MAX: usize = 1_000;

/// The pause after an icon was not stored.
const PAUSE: Duration = Duration::from_millis(500);

/// Where icons go in.
#[derive(Debug)]
pub(super) struct Icons {
    waiting: mpsc::Sender<u64>,
}

impl Icons {
    pub(super) fn open(
        variant: Variant,
        store: Arc<Client>,
        health: Arc<Health>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (waiting, accepted) = mpsc::channel(WAITING_MAX);
        match variant {
            Variant::AsItWas => tasks.spawn(store_once(store, health, accepted)),
            Variant::Remedied => tasks.spawn(store_all(store, health, accepted)),
        };
        Self { waiting }
    }

    /// Accepts an icon of this number; false when too many wait.
    pub(super) fn accept(&self, number: u64) -> bool {
        self.waiting.try_send(number).is_ok()
    }
}

async fn store_once(store: Arc<Client>, health: Arc<Health>, mut accepted: mpsc::Receiver<u64>) {
    let mut writes = JoinSet::new();
    loop {
        tokio::select! {
            number = accepted.recv() => {
                let Some(number) = number else { break };
                let (store, health) = (Arc::clone(&store), Arc::clone(&health));
                writes.spawn(async move {
                    let stored = put(&store, number).await;
                    health.ended("s3", stored);
                    if !stored {
                        eprintln!("icon {number} is lost");
                    }
                });
            }
            Some(_) = writes.join_next() => {}
        }
    }
}

async fn store_all(store: Arc<Client>, health: Arc<Health>, mut accepted: mpsc::Receiver<u64>) {
    while let Some(number) = accepted.recv().await {
        loop {
            let stored = put(&store, number).await;
            health.ended("s3", stored);
            if stored {
                break;
            }
            time::sleep(PAUSE).await;
        }
    }
}

async fn put(store: &Client, number: u64) -> bool {
    let key = format!("icons/{number}.svg");
    let body = Bytes::from_static(b"<svg xmlns='http://www.w3.org/2000/svg'/>");
    store.put(&key, number, body).await.is_ok()
}
