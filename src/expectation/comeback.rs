//! Which instances were started while the run went on, and did not come up.

use crate::{
    history::{History, ProcessEvent},
    units::Micros,
};
use std::collections::BTreeMap;

/// How every sentence of [`Missing::describe`] starts.
pub(super) const MISSING_STARTS: &str = "instance `";

/// An instance that was started during the phases and never became ready after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing<'a> {
    /// The instance.
    pub instance: &'a str,
    /// When it was started, or could not be.
    pub at: Micros,
    /// What became of it, in words.
    pub why: String,
    /// Whether it is known that it does not come up; otherwise its time was not over yet.
    pub is_known: bool,
}

impl Missing<'_> {
    /// The whole of it as a sentence.
    pub fn describe(&self) -> String {
        format!(
            "{MISSING_STARTS}{}`, which was started at {:.1}s, {}",
            self.instance,
            self.at.as_secs_f64(),
            self.why
        )
    }
}

/// The instances that were started during the phases, each by its last start, and were not ready
/// after it. Who was started before the first of them was ready by then, or it had not begun. One that we killed before it was ready is not meant: it had no time to be.
pub fn missing(history: &History) -> Vec<Missing<'_>> {
    let Some(began) = history.phases.first().map(|span| span.began) else {
        return Vec::new();
    };
    let mut last: BTreeMap<&str, Option<Missing<'_>>> = BTreeMap::new();
    for event in history.processes.iter().filter(|event| event.at > began) {
        let slot = last.entry(&event.instance).or_default();
        *slot = after(slot.take(), event);
    }
    last.into_values().flatten().collect()
}

/// What is missing of an instance after one more event.
fn after<'a>(before: Option<Missing<'a>>, event: &'a ProcessEvent) -> Option<Missing<'a>> {
    let detail = event.detail.as_deref().and_then(|text| text.lines().next());
    let because = |what: &str| match detail {
        Some(detail) => format!("{what}: {detail}"),
        None => what.to_owned(),
    };
    let is_awaited = before.as_ref().is_some_and(|one| !one.is_known);
    let failed = |at, what: &str| {
        Some(Missing {
            instance: &event.instance,
            at,
            why: because(what),
            is_known: true,
        })
    };
    let started = before.as_ref().map_or(event.at, |one| one.at);
    match &*event.event {
        "started" => Some(Missing {
            instance: &event.instance,
            at: event.at,
            why: "was not ready yet when the run ended".to_owned(),
            is_known: false,
        }),
        "ready" => None,
        "not-started" => failed(event.at, "did not come up"),
        "not-ready" => failed(started, "was not ready in time"),
        "exited" if is_awaited && !event.ours => failed(started, "ended before it was ready"),
        "killed" if is_awaited => None,
        _ => before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sample::Story;

    /// What is missing after these events of `primary`, which was ready before the first phase.
    fn told(events: &[(u64, &str, bool)]) -> Vec<(f64, String, bool)> {
        let story = Story::new().healthy(0..60);
        let story = events.iter().fold(story, |story, (millis, event, ours)| {
            story.process(*millis, "primary", event, *ours)
        });
        let history = story.history();
        let all = missing(&history).into_iter();
        all.map(|one| (one.at.as_secs_f64(), one.why, one.is_known))
            .collect()
    }

    #[test]
    fn who_is_ready_again_is_not_missing() {
        assert!(told(&[]).is_empty());
        assert!(
            told(&[(0, "started", true)]).is_empty(),
            "before the phases"
        );
        let killed = [(10_000, "killed", true), (10_010, "exited", true)];
        assert!(told(&killed).is_empty(), "nobody wanted it back");
        let again = [(20_000, "started", true), (21_000, "ready", true)];
        assert!(told(&[&killed[..], &again].concat()).is_empty());
        let later = [
            (20_000, "started", true),
            (21_000, "not-ready", false),
            (21_000, "killed", true),
            (21_010, "exited", true),
            (30_000, "started", true),
            (31_000, "ready", true),
        ];
        assert!(told(&later).is_empty(), "it came back in the end");
    }

    #[test]
    fn who_was_started_and_never_ready_is_missing_and_why() {
        let start = (20_000, "started", true);
        for (events, why, is_known) in [
            (&[start][..], "was not ready yet when the run ended", false),
            (
                &[
                    start,
                    (25_000, "not-ready", false),
                    (25_000, "killed", true),
                ],
                "was not ready in time",
                true,
            ),
            (
                &[start, (21_000, "exited", false)],
                "ended before it was ready",
                true,
            ),
            (&[(20_000, "not-started", false)], "did not come up", true),
        ] {
            assert_eq!(told(events), [(20.0, why.to_owned(), is_known)]);
        }
        // Killed by us before its time was over: nothing is known of it.
        assert!(told(&[start, (21_000, "killed", true)]).is_empty());
    }
}
