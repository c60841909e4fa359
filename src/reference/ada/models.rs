//! Learned models: how one is learned, and the cache that answers come from.

use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time;

/// How many bots there are, numbered from 1 by how much they are asked: the hottest first.
pub(super) const BOTS: u32 = 50;

/// How long a model takes to learn. Minutes in reality; the order of the steps is what matters.
const LEARNING: Duration = Duration::from_millis(5);

/// A learned model.
#[derive(Debug, Clone)]
pub(super) struct Model {
    /// The moment of the data it was learned from, in microseconds since 1970.
    pub version: u64,
    pub body: Bytes,
}

/// Learns the model of a bot from the data of this moment.
pub(super) async fn learn(bot: u32, version: u64) -> Model {
    time::sleep(LEARNING).await;
    let body = serde_json::json!({ "bot": bot, "version": version, "weights": vec![0.5; 16] });
    Model {
        version,
        body: Bytes::from(body.to_string()),
    }
}

/// The key of a bot's model in the bucket.
pub(super) fn key(bot: u32) -> String {
    format!("bots/{bot}.json")
}

/// Hands out versions: the time, made strictly rising.
#[derive(Debug, Default)]
pub(super) struct Versions {
    last: AtomicU64,
}

impl Versions {
    pub(super) fn next(&self) -> u64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(0));
        let following = |last: u64| now.max(last + 1);
        let step = |last| Some(following(last));
        let last = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step)
            .unwrap_or_default();
        following(last)
    }
}

/// The cache: at most one model for each of [`BOTS`].
#[derive(Debug, Default)]
pub(super) struct Cache {
    models: Mutex<BTreeMap<u32, Model>>,
}

impl Cache {
    pub(super) fn get(&self, bot: u32) -> Option<Model> {
        self.models.lock().get(&bot).cloned()
    }

    /// Keeps a model unless a newer one is there.
    pub(super) fn keep(&self, bot: u32, model: Model) {
        let mut models = self.models.lock();
        let newer = models
            .get(&bot)
            .is_some_and(|kept| kept.version >= model.version);
        if !newer {
            models.insert(bot, model);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.models.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_rise_and_an_older_model_never_replaces_a_newer_one() {
        let versions = Versions::default();
        let (older, newer) = (versions.next(), versions.next());
        assert!(older < newer);
        let model = |version| Model {
            version,
            body: Bytes::new(),
        };
        let cache = Cache::default();
        cache.keep(1, model(newer));
        cache.keep(1, model(older));
        assert_eq!(cache.get(1).unwrap().version, newer);
    }
}
