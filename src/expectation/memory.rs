//! `memory`: the system's memory stays bounded while a dependency fails.
//!
//! Measured each second from the operating system's process table: the resident memory of all
//! processes of an instance's group, pages that they share counted in each. Between two looks more
//! may have been used. What nobody measures – a system that somebody else started, or a platform
//! that does not tell – is inconclusive, and so is an instance that was running and not measured for
//! more than three seconds.

use super::{Expectation, ExpectationDef, Judgement, Name, Names, names, samples::SAMPLES_MIN};
use crate::{
    history::{Gauge, Measure, View, Window},
    input::{About, Fields, Key, Problems, Shape},
    units::{Bytes, Micros, format_duration},
};
use std::{sync::Arc, time::Duration};

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "memory",
    summary: "the memory of the system's processes stays below a bound, or near the steady state's",
    about: About {
        text: "\
            The memory of the system's processes stays below a bound, or near the steady \
            state's: what is buffered for a dependency that fails must have an end.",
        evidence: "\
            The resident memory of all processes of an instance, each second, from the operating \
            system.",
        doubt: "\
            Nobody can measure it: a system that somebody else started, a platform that does not \
            tell, or an instance that was not measured for more than three seconds.",
        mistakes: &[
            "Pages that processes share are counted in each.",
            "\
                Growth needs time and load: a short phase with few requests fills no buffer.",
        ],
        related: &["in-flight", "alive", "hang"],
    },
    example: "[[expect]]\nid          = \"MEY21-3\"\nthat        = \"buffered log writes are bounded\"\nkind        = \"memory\"\nat_most     = \"512MiB\"\ngrowth      = \"64MiB\"\n",
    keys: &[
        Key::optional(
            "instance",
            Shape::Text,
            "only this instance (each for itself)",
        ),
        Key::optional("at_most", Shape::Bytes, "the most it may be"),
        Key::optional(
            "growth",
            Shape::Bytes,
            "the most it may be above its greatest in the steady phases",
        ),
    ],
    parse,
};

/// The longest time without a measurement: three times as long as from one to the next.
const UNMEASURED_MAX: Duration = Duration::from_secs(3);

/// See [`DEF`].
#[derive(Debug)]
struct Memory {
    instance: Option<Name>,
    at_most: Option<u64>,
    growth: Option<u64>,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let instance = names::instance(fields, "instance", names, problems);
    if fields.has("instance") && instance.is_none() {
        return None;
    }
    let at_most = fields.bytes("at_most", problems);
    let growth = fields.bytes("growth", problems);
    if !fields.has("at_most") && !fields.has("growth") {
        problems.error(
            fields.source,
            fields.span.clone(),
            format!("{} has neither `at_most` nor `growth`", fields.name()),
            "say `at_most = \"512MiB\"`, or `growth = \"64MiB\"`".to_owned(),
        );
        return None;
    }
    let count = |bytes: Bytes| bytes.0;
    Some(Box::new(Memory {
        instance,
        at_most: at_most.map(count),
        growth: growth.map(count),
    }))
}

impl Memory {
    fn instances(&self, view: &View<'_>) -> Vec<Arc<str>> {
        if let Some(instance) = &self.instance {
            return vec![Arc::clone(instance)];
        }
        let own = view.history.gauges.iter();
        let mut all: Vec<Arc<str>> = own
            .filter(|gauge| gauge.measure == Measure::Memory && gauge.value.is_some())
            .map(|gauge| Arc::clone(&gauge.of))
            .collect();
        let windows = view.windows();
        let has_run = |name: &str| {
            let spans = windows.iter().map(|window| view.running(name, *window));
            let mut spans = spans.flatten();
            spans.any(|span| span.length() > UNMEASURED_MAX)
        };
        let events = view.history.processes.iter();
        let started = events.filter(|event| event.event == "started");
        let ran = started.filter(|event| has_run(&event.instance));
        all.extend(ran.map(|event| Arc::clone(&event.instance)));
        all.sort();
        all.dedup();
        all
    }

    fn one(&self, view: &View<'_>, instance: &str) -> Judgement {
        let samples = samples(view, instance, &view.windows());
        let count = samples.len() as u64;
        let Some(worst) = samples.iter().max_by_key(|gauge| bytes(gauge)) else {
            return Judgement::new(view.window(), 0, format!("`{instance}` unmeasured"))
                .inconclusive(format!("the memory of `{instance}` was not measured"));
        };
        let most = bytes(worst);
        let before = samples_in_steady(view, instance);
        let base = before.iter().map(|gauge| bytes(gauge)).max();
        let mut measured = format!("`{instance}` at most {}", shown(most));
        if let Some(base) = base {
            measured.push_str(&format!(", {} in steady state", shown(base)));
        }
        let judgement = Judgement::new(view.window(), count, measured);
        let evidence = [(worst.at, format!("`{instance}` had {}", shown(most)))];
        if let Some(bound) = self.at_most
            && most > bound
        {
            return judgement
                .fail(format!("{} is more than {}", shown(most), shown(bound)))
                .with(evidence);
        }
        if let Some(growth) = self.growth {
            if (before.len() as u64) < SAMPLES_MIN {
                return judgement.inconclusive(format!(
                    "{} measurements in the steady phases are no baseline, {SAMPLES_MIN} would be",
                    before.len()
                ));
            }
            let grown = most.saturating_sub(base.unwrap_or(0));
            if grown > growth {
                return judgement
                    .fail(format!(
                        "it grew by {}, more than {}",
                        shown(grown),
                        shown(growth)
                    ))
                    .with(evidence);
            }
        }
        if count < SAMPLES_MIN {
            return judgement.inconclusive(format!(
                "{count} measurements show nothing, at least {SAMPLES_MIN} are needed"
            ));
        }
        match longest_unmeasured(view, instance, &samples) {
            (from, length) if length > UNMEASURED_MAX => judgement.inconclusive(format!(
                "the memory of `{instance}` was not measured for {} from {:.1}s on",
                format_duration(length),
                from.as_secs_f64()
            )),
            _ => judgement,
        }
    }
}

/// The longest time in the judged phases in which an instance ran and was not measured, and when it
/// began.
fn longest_unmeasured(view: &View<'_>, instance: &str, samples: &[&Gauge]) -> (Micros, Duration) {
    let mut longest = (Micros::default(), Duration::ZERO);
    for window in view.windows() {
        for running in view.running(instance, window) {
            let own = samples.iter().map(|gauge| gauge.at);
            let mut last = running.from;
            for at in own.filter(|at| running.contains(*at)).chain([running.to]) {
                if at.since(last) > longest.1 {
                    longest = (last, at.since(last));
                }
                last = at;
            }
        }
    }
    longest
}

fn samples<'a>(view: &View<'a>, instance: &str, windows: &[Window]) -> Vec<&'a Gauge> {
    let gauges = view.history.gauges.iter();
    gauges
        .filter(|gauge| gauge.measure == Measure::Memory && *gauge.of == *instance)
        .filter(|gauge| gauge.value.is_some())
        .filter(|gauge| windows.iter().any(|window| window.contains(gauge.at)))
        .collect()
}

fn samples_in_steady<'a>(view: &View<'a>, instance: &str) -> Vec<&'a Gauge> {
    samples(view, instance, &view.steady())
}

fn bytes(gauge: &Gauge) -> u64 {
    gauge.value.map_or(0, |value| value.max(0.0) as u64)
}

fn shown(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

impl Expectation for Memory {
    fn judge(&self, view: &View<'_>) -> Judgement {
        let mut count = 0;
        let instances = self.instances(view);
        let mut whole = instances
            .iter()
            .map(|instance| self.one(view, instance))
            .inspect(|one| count += one.count)
            .reduce(Judgement::and)
            .unwrap_or_else(|| {
                Judgement::new(view.window(), 0, "nothing")
                    .inconclusive("the memory of no instance could be measured")
            });
        whole.count = count;
        whole
    }

    fn hangs_on_time(&self) -> bool {
        false
    }

    fn required(&self) -> String {
        let of = match &self.instance {
            Some(instance) => format!("`{instance}`"),
            None => "every instance".to_owned(),
        };
        let mut bounds = Vec::new();
        bounds.extend(
            self.at_most
                .map(|bytes| format!("at most {}", shown(bytes))),
        );
        bounds.extend(
            self.growth
                .map(|bytes| format!("at most {} above steady state", shown(bytes))),
        );
        format!("{of} {}", bounds.join(" and "))
    }

    fn needs_running(&self, instance: &str) -> bool {
        let own = self.instance.as_deref();
        own.is_none_or(|own| own == instance)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, problems};
    use crate::{
        expectation::Status,
        history::{Measure, sample::Story},
    };

    const MIB: f64 = 1_048_576.0;
    const AT_MOST: &str = "kind = \"memory\"\nat_most = \"100MiB\"";
    const GROWTH: &str = "kind = \"memory\"\ngrowth = \"20MiB\"";

    /// 50 MiB in steady state, then so much more each second of the outage.
    fn growing(mib: f64) -> Story {
        (0..30).fold(Story::new().healthy(0..60), |story, second| {
            let more = mib * f64::from(second - 10_i32).max(0.0);
            let value = Some((50.0 + more) * MIB);
            let at = u64::from(second.unsigned_abs()) * 1_000 + 500;
            story.gauge(at, Measure::Memory, "primary", value)
        })
    }

    #[test]
    fn bounded_memory_passes_and_growing_memory_fails() {
        let verdict = check(AT_MOST, &growing(1.0));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(
            verdict.measured,
            "`primary` at most 69.0 MiB, 50.0 MiB in steady state"
        );
        assert_eq!(check(AT_MOST, &growing(3.0)).status, Status::Fail);
        assert_eq!(check(GROWTH, &growing(1.0)).status, Status::Pass);
        let verdict = check(GROWTH, &growing(1.2));
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(verdict.evidence[0].at.0, 29_500_000);
    }

    #[test]
    fn memory_that_nobody_measured_shows_nothing() {
        let unmeasured =
            Story::new()
                .healthy(0..60)
                .gauge(12_000, Measure::Memory, "primary", None);
        for text in [AT_MOST, GROWTH] {
            assert_eq!(check(text, &unmeasured).status, Status::Inconclusive);
            assert_eq!(
                check(text, &Story::new().healthy(0..60)).status,
                Status::Inconclusive
            );
        }
        let standby = format!("{AT_MOST}\ninstance = \"standby\"");
        assert_eq!(check(&standby, &growing(1.0)).status, Status::Inconclusive);
    }

    #[test]
    fn an_instance_that_ran_and_was_never_measured_shows_no_bound_of_every_one() {
        let both = |started: u64| {
            let story = growing(1.0).process(0, "primary", "started", true);
            story.process(started, "standby", "started", true)
        };
        let verdict = check(AT_MOST, &both(0));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let reason = verdict.reason.expect("a reason");
        assert!(reason.contains("`standby` was not measured"), "{reason}");
        let measured = (0..30).fold(both(0), |story, second| {
            story.gauge(second * 1_000 + 400, Measure::Memory, "standby", Some(MIB))
        });
        assert_eq!(check(AT_MOST, &measured).status, Status::Pass);
        let primary = format!("{AT_MOST}\ninstance = \"primary\"");
        assert_eq!(check(&primary, &both(0)).status, Status::Pass);
        // One that is started only later takes nothing now.
        assert_eq!(check(AT_MOST, &both(40_000)).status, Status::Pass);
    }

    #[test]
    fn growth_needs_a_baseline() {
        let late = (10..30).fold(Story::new().healthy(0..60), |story, second| {
            story.gauge(second * 1_000, Measure::Memory, "primary", Some(50.0 * MIB))
        });
        assert_eq!(check(GROWTH, &late).status, Status::Inconclusive);
        assert_eq!(check(AT_MOST, &late).status, Status::Pass);
    }

    #[test]
    fn memory_that_was_not_measured_all_the_time_shows_no_bound() {
        // Every second, but for these.
        let without = |gap: std::ops::Range<u64>| {
            let seconds = (0..30).filter(move |second| !gap.contains(second));
            seconds.fold(Story::new().healthy(0..60), |story, second| {
                story.gauge(second * 1_000, Measure::Memory, "primary", Some(MIB))
            })
        };
        assert_eq!(check(AT_MOST, &without(15..17)).status, Status::Pass);
        let verdict = check(AT_MOST, &without(15..20));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let reason = verdict.reason.expect("a reason");
        assert!(
            reason.contains("not measured for 6s from 14.0s on"),
            "{reason}"
        );
        assert_eq!(
            check(AT_MOST, &without(11..20)).status,
            Status::Inconclusive
        );
        assert_eq!(
            check(AT_MOST, &without(25..30)).status,
            Status::Inconclusive
        );
        // Nobody who was ended by us can be measured.
        let killed = |story: Story, again| {
            let story = story.process(0, "primary", "started", true);
            let story = story.process(14_500, "primary", "exited", true);
            story.process(again, "primary", "started", true)
        };
        assert_eq!(
            check(AT_MOST, &killed(without(15..20), 19_000)).status,
            Status::Pass
        );
        let late = check(AT_MOST, &killed(without(15..24), 19_000));
        assert_eq!(late.status, Status::Inconclusive, "{late:?}");
        let bloated = without(15..20).gauge(21_500, Measure::Memory, "primary", Some(900.0 * MIB));
        assert_eq!(check(AT_MOST, &bloated).status, Status::Fail);
    }

    #[test]
    fn a_bound_is_needed() {
        assert_eq!(
            problems("kind = \"memory\""),
            ["expectation has neither `at_most` nor `growth`"]
        );
    }
}
