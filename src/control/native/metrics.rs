//! `/metrics` in Prometheus' text format. Values of labels are bounded in number: dependencies are,
//! and of each the operations that are counted apart.

use crate::{
    control::{
        bench::{Bench, figures::Totals, window::Flow},
        runs::{Runs, Stage},
    },
    expectation::Status,
};
use std::{fmt::Write, sync::Arc};

/// What the text is.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every metric of ours: name, type, help.
pub(crate) const METRICS: &[(&str, &str, &str)] = &[
    ("brownout_info", "gauge", "The version that runs."),
    (
        "brownout_uptime_seconds",
        "gauge",
        "Seconds since the server began.",
    ),
    (
        "brownout_attempts_total",
        "counter",
        "Requests to a dependency that are over, by what they asked and how they ended.",
    ),
    (
        "brownout_calls_total",
        "counter",
        "Logical calls to a dependency, of which retries are attempts.",
    ),
    (
        "brownout_attempt_duration_seconds",
        "histogram",
        "How long requests to a dependency took.",
    ),
    (
        "brownout_in_flight",
        "gauge",
        "Requests to a dependency that have no answer yet.",
    ),
    (
        "brownout_connections",
        "gauge",
        "Connections to a dependency that are open.",
    ),
    (
        "brownout_bytes_total",
        "counter",
        "Bytes from clients (in) and to clients (out).",
    ),
    (
        "brownout_faults_in_force",
        "gauge",
        "Faults in force, by kind.",
    ),
    (
        "brownout_faults_acted_total",
        "counter",
        "Events on which faults acted, by kind.",
    ),
    (
        "brownout_observations_dropped_total",
        "counter",
        "Observations that were lost because there was no room.",
    ),
    (
        "brownout_run_phase",
        "gauge",
        "1 for the phase that the run is in.",
    ),
    (
        "brownout_run_verdicts",
        "gauge",
        "Verdicts of the last run, so far, by verdict.",
    ),
    (
        "brownout_runs",
        "gauge",
        "Runs that are remembered, by state.",
    ),
];

/// The text of all of them.
pub(crate) fn text(bench: &Bench, runs: &Runs) -> String {
    let mut page = Page::default();
    page.head("brownout_info");
    page.line(
        "brownout_info",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1.0,
    );
    page.head("brownout_uptime_seconds");
    page.line("brownout_uptime_seconds", &[], bench.now().as_secs_f64());
    let lanes: Vec<(Arc<str>, Totals, Option<Flow>)> = bench.with_window(|window| {
        let lanes = window.totals();
        lanes
            .map(|(name, totals, flow)| (Arc::clone(name), totals.clone(), flow))
            .collect()
    });
    requests(&mut page, &lanes);
    flows(&mut page, &lanes);
    faults(&mut page, bench);
    let dropped = bench.with_window(|window| window.dropped);
    page.head("brownout_observations_dropped_total");
    page.line("brownout_observations_dropped_total", &[], dropped as f64);
    of_runs(&mut page, runs);
    page.text
}

fn requests(page: &mut Page, lanes: &[(Arc<str>, Totals, Option<Flow>)]) {
    page.head("brownout_attempts_total");
    for (dependency, totals, _) in lanes {
        for (operation, outcome, count) in totals.by_operation() {
            let labels = [
                ("dependency", &**dependency),
                ("operation", operation),
                ("outcome", outcome.name()),
            ];
            page.line("brownout_attempts_total", &labels, count as f64);
        }
    }
    page.head("brownout_calls_total");
    for (dependency, totals, _) in lanes {
        let labels = [("dependency", &**dependency)];
        page.line("brownout_calls_total", &labels, totals.calls as f64);
    }
    let name = "brownout_attempt_duration_seconds";
    page.head(name);
    for (dependency, totals, _) in lanes {
        let latency = &totals.latency;
        for (bound, count) in latency.cumulative() {
            let labels = [("dependency", &**dependency), ("le", &*bound.to_string())];
            page.line(&format!("{name}_bucket"), &labels, count as f64);
        }
        let all = latency.count() as f64;
        let labels = [("dependency", &**dependency), ("le", "+Inf")];
        page.line(&format!("{name}_bucket"), &labels, all);
        page.line(&format!("{name}_sum"), &labels[..1], latency.sum);
        page.line(&format!("{name}_count"), &labels[..1], all);
    }
}

fn flows(page: &mut Page, lanes: &[(Arc<str>, Totals, Option<Flow>)]) {
    page.head("brownout_in_flight");
    for (dependency, _, flow) in lanes {
        if let Some(count) = flow.and_then(|flow| flow.in_flight) {
            page.line(
                "brownout_in_flight",
                &[("dependency", dependency)],
                count as f64,
            );
        }
    }
    page.head("brownout_connections");
    for (dependency, _, flow) in lanes {
        let count = flow.unwrap_or_default().connections;
        page.line(
            "brownout_connections",
            &[("dependency", dependency)],
            count as f64,
        );
    }
    page.head("brownout_bytes_total");
    for (dependency, totals, _) in lanes {
        for (direction, count) in [("in", totals.bytes_in), ("out", totals.bytes_out)] {
            let labels = [("dependency", &**dependency), ("direction", direction)];
            page.line("brownout_bytes_total", &labels, count as f64);
        }
    }
}

fn faults(page: &mut Page, bench: &Bench) {
    let acted = bench.acted();
    page.head("brownout_faults_in_force");
    for ((kind, dependency), (_, in_force)) in &acted {
        let labels = [("fault", *kind), ("dependency", &**dependency)];
        page.line("brownout_faults_in_force", &labels, *in_force as f64);
    }
    page.head("brownout_faults_acted_total");
    for ((kind, dependency), (count, _)) in &acted {
        let labels = [("fault", *kind), ("dependency", &**dependency)];
        page.line("brownout_faults_acted_total", &labels, *count as f64);
    }
}

fn of_runs(page: &mut Page, runs: &Runs) {
    let all: Vec<_> = runs.all().iter().map(|run| run.stage()).collect();
    let last = runs.last().map(|run| run.shown());
    page.head("brownout_run_phase");
    if let Some(run) = &last {
        for phase in &run.phases {
            let is_now = run.phase.as_ref() == Some(&phase.name);
            let labels = [("scenario", &*run.scenario), ("phase", &*phase.name)];
            page.line("brownout_run_phase", &labels, f64::from(u8::from(is_now)));
        }
    }
    page.head("brownout_run_verdicts");
    if let Some(run) = &last {
        for status in [Status::Pass, Status::Fail, Status::Inconclusive] {
            let verdict = status.to_string();
            let count = run
                .verdicts
                .iter()
                .filter(|one| one.verdict == verdict)
                .count();
            let labels = [("scenario", &*run.scenario), ("verdict", &*verdict)];
            page.line("brownout_run_verdicts", &labels, count as f64);
        }
    }
    page.head("brownout_runs");
    for (stage, name) in [
        (Stage::Starting, "starting"),
        (Stage::Running, "running"),
        (Stage::Judging, "judging"),
        (Stage::Done, "done"),
        (Stage::Stopped, "stopped"),
        (Stage::Error, "error"),
    ] {
        let count = all.iter().filter(|one| **one == stage).count();
        page.line("brownout_runs", &[("state", name)], count as f64);
    }
}

/// The text in the making.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn head(&mut self, name: &str) {
        if let Some((_, kind, help)) = METRICS.iter().find(|metric| metric.0 == name) {
            // Writing into memory does not fail.
            let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        }
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        let labels = labels.join(",");
        let labels = if labels.is_empty() {
            labels
        } else {
            format!("{{{labels}}}")
        };
        let _ = writeln!(self.text, "{name}{labels} {value}");
    }
}

fn escaped(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::{collections::BTreeSet, path::Path};

    fn texts(value: &Value, key: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                for (name, value) in object {
                    match value {
                        Value::String(text) if name == key => found.push(text.clone()),
                        _ => texts(value, key, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| texts(item, key, found)),
            _ => {}
        }
    }

    /// The words of a query that are metrics' names: those of ours begin alike.
    fn names(query: &str) -> BTreeSet<String> {
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let words = query.split(|letter: char| !is_letter(letter));
        let ours = words.filter(|word| word.starts_with("brownout"));
        ours.map(str::to_owned).collect()
    }

    #[test]
    fn every_query_of_the_dashboard_names_metrics_that_there_are() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/grafana.json");
        let text = std::fs::read_to_string(path).expect("there is a dashboard");
        let dashboard: Value = serde_json::from_str(&text).expect("it is JSON");
        let mut queries = Vec::new();
        texts(&dashboard, "expr", &mut queries);
        texts(&dashboard, "query", &mut queries);
        assert!(queries.len() > 12, "{queries:?}");
        let mut named = BTreeSet::new();
        for query in queries.iter().filter(|query| *query != "prometheus") {
            let found = names(query);
            assert!(!found.is_empty(), "{query}");
            named.extend(found);
        }
        let known = |name: &str| {
            METRICS.iter().any(|(metric, kind, _)| {
                let rest = name.strip_prefix(metric);
                match *kind {
                    "histogram" => matches!(rest, Some("_bucket" | "_sum" | "_count")),
                    _ => rest == Some(""),
                }
            })
        };
        let unknown: Vec<&String> = named.iter().filter(|name| !known(name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        // The other way round: what is counted is shown, but for what says no more than that it is there.
        let shown = |metric: &str| named.iter().any(|name| name.starts_with(metric));
        let hidden = METRICS
            .iter()
            .map(|metric| metric.0)
            .filter(|metric| !shown(metric));
        assert_eq!(
            hidden.collect::<Vec<_>>(),
            ["brownout_info", "brownout_runs"]
        );
    }

    #[test]
    fn labels_may_hold_anything() {
        let mut page = Page::default();
        page.head("brownout_info");
        page.line("brownout_info", &[("version", "a\"b\\c\nd")], 1.0);
        assert_eq!(
            page.text,
            "# HELP brownout_info The version that runs.\n# TYPE brownout_info gauge\nbrownout_info{version=\"a\\\"b\\\\c\\nd\"} 1\n"
        );
    }
}
