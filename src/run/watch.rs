//! Looks each second at what the system itself shows, while the run goes on: the listings and
//! counts of ledgers, and the memory of its processes.
//!
//! A look that fails is recorded too, with its reason. When the load has ended everything is looked
//! at once more, so that the history holds how it all ended. Nothing is judged here.

use super::probes::{NoAnswer, fetch, shortened};
use crate::{
    history::{Gauge, Listing, Measure, Observation, Reading, Recorder},
    process::Meter,
    scenario::{Delivered, Dropped, GaugeSpec, Ledger, ReadSpec, Start, System},
};
use serde_json::Value;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{task::JoinHandle, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// How often everything is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// How long one look may take.
const WITHIN: Duration = Duration::from_secs(5);

/// The most bytes of an answer.
const BODY_MAX: usize = 16 << 20;

/// The most ids of a listing, repeats included.
const IDS_MAX: usize = 200_000;

/// The most ids of one entry of the history.
const IDS_PER_ENTRY: usize = 2_000;

/// The looks of a run. Dropping them ends them.
pub struct Watch {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Watch {
    /// Starts looking. `url` is where the system's paths begin.
    pub fn start(system: &System, url: &str, meter: &Meter, recorder: &Recorder) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = Vec::new();
        let mut start = |look: Look| {
            tasks.push(tokio::spawn(look.repeat(recorder.clone(), stop.clone())));
        };
        for ledger in &system.ledgers {
            for look in looks(ledger, url) {
                start(look);
            }
        }
        if let Start::Instances(instances) = &system.start {
            start(Look::Memory {
                instances: instances.iter().map(|one| Arc::clone(&one.name)).collect(),
                meter: meter.clone(),
            });
        }
        Self { stop, tasks }
    }

    /// Looks at everything once more and ends.
    pub async fn close(mut self) {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// What is looked at.
enum Look {
    /// A listing of ids, with how often each was there at the last look.
    Listing {
        ledger: Arc<str>,
        listing: Listing,
        spec: ReadSpec,
        url: String,
        known: HashMap<String, u32>,
    },
    /// A number.
    Gauge {
        measure: Measure,
        of: Arc<str>,
        spec: GaugeSpec,
        url: String,
    },
    /// The memory of instances.
    Memory {
        instances: Vec<Arc<str>>,
        meter: Meter,
    },
}

/// All that a ledger asks of the system itself.
fn looks(ledger: &Ledger, url: &str) -> Vec<Look> {
    let listing = |listing, spec: &ReadSpec| Look::Listing {
        ledger: Arc::clone(&ledger.name),
        listing,
        url: format!("{url}{}", spec.path),
        spec: spec.clone(),
        known: HashMap::new(),
    };
    let gauge = |measure, spec: &GaugeSpec| Look::Gauge {
        measure,
        of: Arc::clone(&ledger.name),
        url: format!("{url}{}", spec.path),
        spec: spec.clone(),
    };
    let mut all = Vec::new();
    for (index, place) in (0..).zip(&ledger.delivered) {
        if let Delivered::Read(spec) = place {
            all.push(listing(Listing::Delivered(index), spec));
        }
    }
    match &ledger.dropped {
        Some(Dropped::Read(spec)) => all.push(listing(Listing::Dropped, spec)),
        Some(Dropped::Count(spec)) => all.push(gauge(Measure::Dropped, spec)),
        None => {}
    }
    all.extend(
        ledger
            .backlog
            .iter()
            .map(|spec| gauge(Measure::Backlog, spec)),
    );
    all
}

impl Look {
    async fn repeat(mut self, recorder: Recorder, stop: CancellationToken) {
        let mut pace = tokio::time::interval(EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let last = tokio::select! {
                biased;
                () = stop.cancelled() => true,
                _ = pace.tick() => false,
            };
            self.once(&recorder).await;
            if last {
                return;
            }
        }
    }

    async fn once(&mut self, recorder: &Recorder) {
        match self {
            Self::Listing {
                ledger,
                listing,
                spec,
                url,
                known,
            } => {
                let at = recorder.now();
                let found = ids(url, spec).await;
                let ended = recorder.now();
                let entry = |added, gone, why| {
                    recorder.record(Observation::Reading(Reading {
                        at,
                        ended,
                        ledger: Arc::clone(ledger),
                        listing: *listing,
                        added,
                        gone,
                        why,
                    }));
                };
                match found {
                    Ok(ids) => {
                        let (added, gone) = news(known, ids);
                        for (added, gone) in portions(added, gone) {
                            entry(added, gone, None);
                        }
                    }
                    Err(why) => entry(Vec::new(), Vec::new(), Some(why)),
                }
            }
            Self::Gauge {
                measure,
                of,
                spec,
                url,
            } => {
                let found = number(url, spec).await;
                recorder.record(Observation::Gauge(Gauge {
                    at: recorder.now(),
                    measure: *measure,
                    of: Arc::clone(of),
                    value: found.as_ref().ok().copied(),
                    why: found.err(),
                }));
            }
            Self::Memory { instances, meter } => {
                for instance in instances {
                    record_memory(meter, instance, recorder).await;
                }
            }
        }
    }
}

async fn record_memory(meter: &Meter, instance: &Arc<str>, recorder: &Recorder) {
    let (measured, name) = (meter.clone(), Arc::clone(instance));
    let bytes = tokio::task::spawn_blocking(move || measured.memory(&name)).await;
    let bytes = bytes.ok().flatten();
    recorder.record(Observation::Gauge(Gauge {
        at: recorder.now(),
        measure: Measure::Memory,
        of: Arc::clone(instance),
        value: bytes.map(|bytes| bytes as f64),
        why: bytes
            .is_none()
            .then(|| "it does not run, or this system does not tell".to_owned()),
    }));
}

/// The document at a URL, or why it cannot be had.
async fn document(url: &str) -> Result<Value, String> {
    let uri: http::Uri = url.parse().map_err(|_| format!("{url:?} is no URL"))?;
    let fetched = tokio::time::timeout(WITHIN, fetch(&uri, BODY_MAX))
        .await
        .unwrap_or_else(|_| Err(NoAnswer::Theirs("no answer in time".to_owned())));
    let page = fetched.map_err(|error| shortened(&error.into_words()))?;
    if !(200..300).contains(&page.status) {
        return Err(format!("status {}", page.status));
    }
    if !page.is_whole {
        return Err(format!("the answer is longer than {BODY_MAX} bytes"));
    }
    serde_json::from_slice(&page.body).map_err(|error| shortened(&format!("no JSON: {error}")))
}

async fn ids(url: &str, spec: &ReadSpec) -> Result<Vec<String>, String> {
    let document = document(url).await?;
    // One more than the limit, so that a longer listing shows.
    let found = spec.id.texts(&document, IDS_MAX + 1);
    let ids = found.ok_or_else(|| format!("nothing at {}", spec.id))?;
    if ids.len() > IDS_MAX {
        return Err(format!("more than {IDS_MAX} ids"));
    }
    Ok(ids)
}

async fn number(url: &str, spec: &GaugeSpec) -> Result<f64, String> {
    let document = document(url).await?;
    let found = spec.value.number(&document);
    found.ok_or_else(|| format!("no number at {}", spec.value))
}

/// What has come and gone since the last look, each id as often as it did; the new listing becomes
/// the known one.
fn news(known: &mut HashMap<String, u32>, ids: Vec<String>) -> (Vec<String>, Vec<String>) {
    let mut now: HashMap<String, u32> = HashMap::with_capacity(ids.len());
    for id in ids {
        *now.entry(id).or_default() += 1;
    }
    let mut added = Vec::new();
    for (id, count) in &now {
        let before = known.get(id).copied().unwrap_or(0);
        added.extend((before..*count).map(|_| id.clone()));
    }
    let mut gone = Vec::new();
    for (id, before) in known.iter() {
        let count = now.get(id).copied().unwrap_or(0);
        gone.extend((count..*before).map(|_| id.clone()));
    }
    added.sort_unstable();
    gone.sort_unstable();
    *known = now;
    (added, gone)
}

/// The news in entries of a bearable size; at least one, which says that there was a look.
fn portions(added: Vec<String>, gone: Vec<String>) -> Vec<(Vec<String>, Vec<String>)> {
    let chunks = |ids: &[String]| -> Vec<Vec<String>> {
        ids.chunks(IDS_PER_ENTRY).map(<[String]>::to_vec).collect()
    };
    let (mut added, mut gone) = (chunks(&added).into_iter(), chunks(&gone).into_iter());
    let mut portions = vec![(
        added.next().unwrap_or_default(),
        gone.next().unwrap_or_default(),
    )];
    loop {
        match (added.next(), gone.next()) {
            (None, None) => return portions,
            (added, gone) => portions.push((added.unwrap_or_default(), gone.unwrap_or_default())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn a_look_tells_what_has_come_and_gone_since_the_last_one() {
        let mut known = HashMap::new();
        let all = |ids: &[&str]| texts(ids);
        assert_eq!(
            news(&mut known, all(&["b", "a"])),
            (all(&["a", "b"]), all(&[]))
        );
        assert_eq!(news(&mut known, all(&["a", "b"])), (all(&[]), all(&[])));
        assert_eq!(
            news(&mut known, all(&["a", "a", "c"])),
            (all(&["a", "c"]), all(&["b"]))
        );
        assert_eq!(news(&mut known, all(&["c"])), (all(&[]), all(&["a", "a"])));
    }

    #[test]
    fn much_news_is_several_entries_and_no_news_is_one() {
        let many: Vec<String> = (0..IDS_PER_ENTRY + 1).map(|id| id.to_string()).collect();
        let portions = portions(many.clone(), texts(&["x"]));
        assert_eq!(portions.len(), 2);
        let added: Vec<String> = portions
            .iter()
            .flat_map(|(added, _)| added.clone())
            .collect();
        assert_eq!(added, many);
        assert_eq!(super::portions(Vec::new(), Vec::new()).len(), 1);
    }
}
