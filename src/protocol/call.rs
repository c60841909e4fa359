//! One request on the wire, and the logical call it is an attempt of.

use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// Whether the dependency carried a request out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Applied {
    /// It never saw the whole request.
    No,
    /// It answered that it had (2xx or 3xx), whatever the client was told.
    Yes,
    /// It saw the request, and no answer says what became of it.
    Unknown,
}

/// One request on the wire as faults see it: an attempt of a logical call.
#[derive(Debug, Clone)]
pub struct Call {
    /// What is asked: `PutObject`, or the method for plain HTTP.
    pub operation: Arc<str>,
    /// What it is asked of: `bucket/key` for S3, the path without its query for plain HTTP.
    pub key: Arc<str>,
    /// The HTTP method.
    pub method: Arc<str>,
    /// The path and query exactly as on the wire.
    pub target: Arc<str>,
    /// The `Host` (or `:authority`).
    pub host: Arc<str>,
    /// Header names (lower case) and values, at most as many as the proxy's head limit allows.
    pub headers: Arc<[(Arc<str>, Arc<str>)]>,
    /// The logical call's name: unique within the run and dependency, the same for its attempts.
    pub id: Arc<str>,
    /// The client's own id (`amz-sdk-invocation-id`) where it sent one: attempts are then grouped
    /// by fact, elsewhere every request is its own call.
    pub sdk_id: Option<Arc<str>>,
    /// Which call with this operation and key it is, from 1, counting calls and not attempts.
    pub occurrence: u64,
    /// Which attempt of its call, from 1.
    pub attempt: u32,
    /// The most attempts the client says it will make (`amz-sdk-request: max=…`).
    pub declared_max: Option<u32>,
    /// The proxy's number of the connection that carries it.
    pub connection: u64,
}

/// Numbers the calls of one dependency: which occurrence of (operation, key) a request is, and
/// which attempt of it.
///
/// An SDK's id is random, so it cannot take part in decisions that the same seed must repeat; it
/// only says which requests are attempts of one call. The call's portable name is
/// `operation key #n`.
///
/// Bounded: the oldest of [`CallTracker::LIMIT`] ids and names are forgotten. A forgotten name
/// starts again at a number that was not used before only in so far as its count is kept; both
/// maps hold far more than a scenario's load makes.
#[derive(Debug, Default)]
pub struct CallTracker {
    occurrences: HashMap<(Arc<str>, Arc<str>), u64>,
    by_sdk_id: HashMap<Arc<str>, (u64, u32)>,
    order: VecDeque<Arc<str>>,
}

impl CallTracker {
    /// The most names and ids remembered.
    pub const LIMIT: usize = 200_000;

    /// The occurrence and attempt number of a request. `declared` is the attempt number that the
    /// client itself sent, which wins over our count.
    pub fn number(
        &mut self,
        operation: &Arc<str>,
        key: &Arc<str>,
        sdk_id: Option<&Arc<str>>,
        declared: Option<u32>,
    ) -> (u64, u32) {
        if let Some(id) = sdk_id
            && let Some((occurrence, attempts)) = self.by_sdk_id.get_mut(id)
        {
            *attempts = declared.unwrap_or(*attempts + 1);
            return (*occurrence, *attempts);
        }
        if self.occurrences.len() >= Self::LIMIT {
            self.occurrences.clear();
        }
        let count = self
            .occurrences
            .entry((Arc::clone(operation), Arc::clone(key)))
            .or_default();
        *count += 1;
        let (occurrence, attempt) = (*count, declared.unwrap_or(1));
        if let Some(id) = sdk_id {
            if self.order.len() >= Self::LIMIT
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_sdk_id.remove(&oldest);
            }
            self.order.push_back(Arc::clone(id));
            self.by_sdk_id.insert(Arc::clone(id), (occurrence, attempt));
        }
        (occurrence, attempt)
    }
}
