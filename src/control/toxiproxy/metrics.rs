//! `/metrics` in Prometheus' text format, under the names that dashboards of Toxiproxy know.
//!
//! The names that begin with `go_` are not there: they tell of a runtime that this is not.

use super::{api::Metrics, proxies::Flow};
use std::fmt::Write;

/// Clock ticks of `/proc` a second, on every architecture that Linux runs on today.
#[cfg(target_os = "linux")]
const TICKS: f64 = 100.0;

/// The metrics that are asked for.
pub(super) fn text(flows: &[Flow], wanted: Metrics) -> String {
    let mut text = String::new();
    if wanted.proxies {
        flow(&mut text, flows);
    }
    if wanted.runtime {
        process(&mut text);
    }
    text
}

fn flow(text: &mut String, flows: &[Flow]) {
    for (way, help) in [
        ("received", "Bytes that arrived at the proxy."),
        ("sent", "Bytes that the proxy sent on."),
    ] {
        let name = format!("toxiproxy_proxy_{way}_bytes_total");
        head(text, &name, help, "counter");
        for flow in flows {
            for (direction, counter) in [
                ("downstream", &flow.counters.downstream),
                ("upstream", &flow.counters.upstream),
            ] {
                let (received, sent) = counter.so_far();
                let count = if way == "received" { received } else { sent };
                // Writing into memory does not fail.
                let _ = writeln!(
                    text,
                    "{name}{{direction=\"{direction}\",listener=\"{}\",proxy=\"{}\",upstream=\"{}\"}} {count}",
                    escaped(&flow.listener),
                    escaped(&flow.proxy),
                    escaped(&flow.upstream),
                );
            }
        }
    }
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn escaped(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(not(target_os = "linux"))]
fn process(_text: &mut String) {}

/// What the kernel tells of this process. What it does not tell is left out.
#[cfg(target_os = "linux")]
fn process(text: &mut String) {
    let mut put = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            head(text, name, help, kind);
            let _ = writeln!(text, "{name} {value}");
        }
    };
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program may hold anything, so counting begins behind it.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default();
    let field = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    let cpu = field(11).zip(field(12));
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let count = line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()?;
        Some(count * 1024.0)
    };
    put(
        "process_cpu_seconds_total",
        "counter",
        "Total user and system CPU time spent in seconds.",
        cpu.map(|(user, system)| (user + system) / TICKS),
    );
    put(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory size in bytes.",
        kilobytes("VmRSS:"),
    );
    put(
        "process_virtual_memory_bytes",
        "gauge",
        "Virtual memory size in bytes.",
        kilobytes("VmSize:"),
    );
    let open = std::fs::read_dir("/proc/self/fd").map(|entries| entries.count() as f64);
    put(
        "process_open_fds",
        "gauge",
        "Number of open file descriptors.",
        open.ok(),
    );
    let booted = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let booted = booted
        .lines()
        .find_map(|line| line.strip_prefix("btime "))
        .and_then(|seconds| seconds.trim().parse::<f64>().ok());
    put(
        "process_start_time_seconds",
        "gauge",
        "Start time of the process since unix epoch in seconds.",
        booted
            .zip(field(19))
            .map(|(booted, ticks)| booted + ticks / TICKS),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::toxiproxy::Counters;
    use std::sync::Arc;

    #[test]
    fn bytes_have_the_names_that_dashboards_know() {
        let counters = Arc::new(Counters::default());
        counters.upstream.received(5);
        counters.upstream.sent(3);
        let flow = Flow {
            proxy: "a\"b".to_owned(),
            listener: "127.0.0.1:1".to_owned(),
            upstream: "db:2".to_owned(),
            counters,
        };
        let wanted = Metrics {
            proxies: true,
            runtime: false,
        };
        let text = text(&[flow], wanted);
        let labels = r#"direction="upstream",listener="127.0.0.1:1",proxy="a\"b",upstream="db:2""#;
        for line in [
            "# TYPE toxiproxy_proxy_received_bytes_total counter".to_owned(),
            format!("toxiproxy_proxy_received_bytes_total{{{labels}}} 5"),
            format!("toxiproxy_proxy_sent_bytes_total{{{labels}}} 3"),
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_tells_what_it_takes() {
        let wanted = Metrics {
            proxies: false,
            runtime: true,
        };
        let text = text(&[], wanted);
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse::<f64>().ok())
        };
        assert!(
            value("process_resident_memory_bytes ") > Some(1_000_000.0),
            "{text}"
        );
        assert!(value("process_open_fds ") >= Some(3.0), "{text}");
        let now = std::time::UNIX_EPOCH
            .elapsed()
            .expect("it is later")
            .as_secs_f64();
        let started = value("process_start_time_seconds ").expect("it began");
        assert!((now - started).abs() < 24.0 * 3600.0, "{started} {now}");
    }
}
