//! *Remedied*: the pager hears when the ledger's database is at its limit, before end users could.
//!
//! It is told once, and again only after all was well for [`CALM`].

use super::outbox::{Outbox, WRITERS};
use crate::reference::web::{Endpoint, tell};
use serde_json::json;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::{self, Instant, MissedTickBehavior};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(100);

/// The looks over which utilisation is a mean: two seconds.
const LOOKS: usize = 20;

/// The highest utilisation of the writers that is well.
const UTILISATION_MAX: f64 = 0.8;

/// The longest wait of a record that is well.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// How long all must be well before the pager is told again.
const CALM: Duration = Duration::from_secs(5);

/// Watches for ever.
pub(super) async fn watch(outbox: Arc<Outbox>, pager: Endpoint) {
    let mut ticks = time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut watch = Watch::default();
    loop {
        ticks.tick().await;
        let why = watch.look(Instant::now(), outbox.writing(), outbox.oldest());
        if let Some(summary) = why {
            let alert = json!({ "dependency": "logs-db", "summary": summary });
            tell(pager.clone(), "/alerts", alert).await;
        }
    }
}

/// What the looks have shown so far.
#[derive(Debug, Default)]
struct Watch {
    /// How many writers were at work, the latest last.
    writing: VecDeque<usize>,
    /// Until when a trouble that was told is the same one.
    told_until: Option<Instant>,
}

impl Watch {
    /// What the pager must be told now, if anything.
    fn look(&mut self, now: Instant, writing: usize, oldest: Duration) -> Option<String> {
        self.writing.push_back(writing);
        if self.writing.len() > LOOKS {
            self.writing.pop_front();
        }
        let busy: usize = self.writing.iter().sum();
        let utilisation = busy as f64 / (LOOKS * WRITERS) as f64;
        if utilisation <= UTILISATION_MAX && oldest <= WAIT_MAX {
            return None;
        }
        let is_known = self.told_until.is_some_and(|until| now < until);
        self.told_until = Some(now + CALM);
        (!is_known).then(|| {
            format!(
                "records wait up to {:.1} s, {:.0} % of the writers are busy",
                oldest.as_secs_f64(),
                utilisation * 100.0
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When the pager was told, in tenths of a second, of a course of looks `(writers at work,
    /// milliseconds of the oldest wait, tenths of a second that it lasts)`.
    fn told(course: &[(usize, u64, u32)]) -> Vec<u32> {
        let (mut watch, start, mut tick) = (Watch::default(), Instant::now(), 0);
        let mut told = Vec::new();
        for (writing, oldest, lasts) in course {
            for _ in 0..*lasts {
                tick += 1;
                let oldest = Duration::from_millis(*oldest);
                if watch.look(start + EVERY * tick, *writing, oldest).is_some() {
                    told.push(tick);
                }
            }
        }
        told
    }

    #[test]
    fn a_long_wait_is_told_at_once_and_once_only() {
        assert_eq!(told(&[(1, 0, 10), (1, 1_001, 100)]), [11]);
    }

    #[test]
    fn busy_writers_are_told_when_they_are_busy_for_long() {
        assert_eq!(told(&[(WRITERS, 0, 40)]), [17]);
        assert!(told(&[(WRITERS, 0, 10), (0, 0, 100)]).is_empty());
    }

    #[test]
    fn it_is_told_again_after_a_calm() {
        assert_eq!(told(&[(0, 2_000, 1), (0, 0, 40), (0, 2_000, 1)]), [1]);
        assert_eq!(told(&[(0, 2_000, 1), (0, 0, 60), (0, 2_000, 1)]), [1, 62]);
    }
}
