//! *Remedied*: models go to the cache first and to S3 afterwards, here, in workers of their own.
//!
//! A model that could not be saved stays on the list until it is: once S3 is back, the stored
//! file catches up without anybody's doing. While S3 fails the workers try rarely, so an S3 that
//! answers errors at once is not called more often than one that hangs. Before a model is tried
//! again, the stored version is looked at, so that an older model never replaces a newer one.

use super::models::{Cache, key};
use crate::reference::s3::{CallError, Client};
use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, task::JoinSet, time};

/// How many models are saved at once.
const WORKERS: usize = 4;

/// How long a worker rests after a model could not be saved.
const REST: Duration = Duration::from_secs(2);

/// How often [`Saver::settled`] looks.
const GLANCE: Duration = Duration::from_millis(20);

/// The models that S3 does not have yet. Bounded by the number of bots.
#[derive(Debug)]
pub(super) struct Saver {
    cache: Arc<Cache>,
    s3: Arc<Client>,
    list: Mutex<List>,
    added: Notify,
    recovered: Notify,
    trouble: AtomicBool,
}

#[derive(Debug, Default)]
struct List {
    /// Bots whose model waits to be saved, longest first.
    waiting: VecDeque<u32>,
    /// Bots whose model is being saved: never two writers of one key.
    busy: BTreeSet<u32>,
    /// Bots of which it is unknown what S3 holds.
    doubtful: BTreeSet<u32>,
}

impl Saver {
    pub(super) fn start(cache: Arc<Cache>, s3: Arc<Client>, tasks: &mut JoinSet<()>) -> Arc<Self> {
        let saver = Arc::new(Self {
            cache,
            s3,
            list: Mutex::default(),
            added: Notify::new(),
            recovered: Notify::new(),
            trouble: AtomicBool::new(false),
        });
        for _ in 0..WORKERS {
            tasks.spawn(Arc::clone(&saver).work());
        }
        saver
    }

    /// A bot has a model that S3 does not have.
    pub(super) fn note(&self, bot: u32) {
        self.add(bot, false);
    }

    /// As [`Saver::note`], where somebody else may have written the key before.
    pub(super) fn note_doubtful(&self, bot: u32) {
        self.add(bot, true);
    }

    fn add(&self, bot: u32, doubtful: bool) {
        let mut list = self.list.lock();
        if doubtful {
            list.doubtful.insert(bot);
        }
        if !list.waiting.contains(&bot) {
            list.waiting.push_back(bot);
        }
        drop(list);
        self.added.notify_one();
    }

    /// Stops trying to save what waits: another instance is in service now.
    pub(super) fn forget(&self) {
        self.list.lock().waiting.clear();
    }

    /// Whether the last save failed.
    pub(super) fn in_trouble(&self) -> bool {
        self.trouble.load(Ordering::Relaxed)
    }

    /// Waits until everything is saved, or until there is trouble.
    pub(super) async fn settled(&self) {
        loop {
            let idle = {
                let list = self.list.lock();
                list.waiting.is_empty() && list.busy.is_empty()
            };
            if idle || self.in_trouble() {
                return;
            }
            time::sleep(GLANCE).await;
        }
    }

    fn take(&self) -> Option<(u32, bool)> {
        let mut list = self.list.lock();
        let place = list
            .waiting
            .iter()
            .position(|bot| !list.busy.contains(bot))?;
        let bot = list.waiting.remove(place)?;
        list.busy.insert(bot);
        Some((bot, list.doubtful.contains(&bot)))
    }

    async fn work(self: Arc<Self>) {
        loop {
            // Registered before looking, so that what is added in between is not missed.
            let added = self.added.notified();
            let Some((bot, doubtful)) = self.take() else {
                added.await;
                continue;
            };
            let saved = self.save(bot, doubtful).await;
            let more = {
                let mut list = self.list.lock();
                list.busy.remove(&bot);
                match saved {
                    Ok(()) => list.doubtful.remove(&bot),
                    Err(_) => list.doubtful.insert(bot),
                };
                !list.waiting.is_empty()
            };
            match saved {
                Ok(()) => {
                    if self.trouble.swap(false, Ordering::Relaxed) {
                        self.recovered.notify_waiters();
                    }
                    if more {
                        self.added.notify_one();
                    }
                }
                Err(error) => {
                    eprintln!("bot {bot}: model not saved, it will be: {error}");
                    self.trouble.store(true, Ordering::Relaxed);
                    self.add(bot, true);
                    tokio::select! {
                        () = time::sleep(REST) => {}
                        () = self.recovered.notified() => {}
                    }
                }
            }
        }
    }

    async fn save(&self, bot: u32, doubtful: bool) -> Result<(), CallError> {
        let Some(model) = self.cache.get(bot) else {
            return Ok(());
        };
        let key = key(bot);
        if doubtful {
            match self.s3.stored_version(&key).await {
                Ok(stored) if stored >= model.version => return Ok(()),
                Ok(_) | Err(CallError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        self.s3.put(&key, model.version, model.body).await
    }
}
