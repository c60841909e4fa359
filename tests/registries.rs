//! The examples that `brownout list` prints can be pasted into files as they stand.

use brownout::{
    fault::{FAULTS, FaultDef, Group},
    input::{Problems, Source, render},
    protocol::{PROTOCOLS, Protocol, ProtocolDef},
    scenario::{from_texts, system_from_text},
};
use std::path::PathBuf;

/// A system with an object store of this protocol and an instance `primary`.
fn system(protocol: &ProtocolDef) -> String {
    format!(
        r#"[system]
url = "http://127.0.0.1:{{port.api}}"

[[system.instance]]
name    = "primary"
command = ["./bot-api", "--port", "{{port.api}}"]
url     = "http://127.0.0.1:{{port.api}}"

[dependency.store]
protocol = "{}"
role     = "object-store"
upstream = "127.0.0.1:9000"

[load.ask]
rate    = "40/s"
request = {{ method = "GET", path = "/" }}
timeout = "5s"
"#,
        protocol.name
    )
}

/// The same system, its dependency in the role that the fault's example is on.
fn system_of(fault: &FaultDef, protocol: &ProtocolDef) -> String {
    let named = ["realtime", "database"]
        .into_iter()
        .find(|role| fault.example.contains(&format!("\"{role}\"")));
    let role = named.unwrap_or("object-store");
    system(protocol).replace("object-store", role)
}

fn scenario(fault: &FaultDef) -> String {
    format!(
        r#"title = "an example"

[[phase]]
name   = "steady"
lasts  = "60s"
steady = true

[[phase]]
name  = "outage"
lasts = "60s"
{}
[[phase]]
name  = "recovery"
lasts = "60s"

[[expect]]
id       = "E-1"
that     = "answers come"
kind     = "success-rate"
load     = "ask"
at_least = "90%"
"#,
        fault.example
    )
}

/// The diagnostics of a scenario with this fault's example, on this protocol.
fn problems_of(fault: &FaultDef, protocol: Protocol) -> String {
    let mut problems = Problems::default();
    let read = from_texts(
        Source::new("example.toml", scenario(fault)),
        Source::new("brownout.toml", system_of(fault, protocol.def())),
        PathBuf::from("."),
        &mut problems,
    );
    assert_eq!(read.is_none(), problems.any_error());
    if let Some((scenario, _)) = read {
        let spec = &scenario.phases[1].faults[0];
        assert_eq!(spec.kind, fault.name);
        assert_eq!(spec.behaviours.len(), 1);
    }
    render(&problems.into_sorted(), false)
}

#[test]
fn every_faults_example_reads_in_a_scenario() {
    for fault in FAULTS {
        let problems = problems_of(fault, fault.example_protocol);
        assert_eq!(problems, "", "{}", fault.name);
    }
}

#[test]
fn a_fault_that_its_protocol_cannot_carry_is_a_problem_of_the_file() {
    for fault in FAULTS.iter().filter(|fault| fault.group == Group::Message) {
        let problems = problems_of(fault, Protocol::Tcp);
        let said = format!("`{}` cannot act on the protocol tcp", fault.name);
        assert!(problems.contains(&said), "{problems}");
    }
}

#[test]
fn every_protocols_example_reads_in_a_system() {
    for protocol in PROTOCOLS {
        assert!(protocol.summary.len() > 10, "{}", protocol.name);
        let text = format!(
            "[system]\nexternal = \"http://127.0.0.1:8080\"\n\n{}",
            protocol.example
        );
        let mut problems = Problems::default();
        let source = Source::new("brownout.toml", text);
        let read = system_from_text(source, PathBuf::from("."), &mut problems);
        assert_eq!(render(&problems.into_sorted(), false), "");
        let dependency = &read.expect("a system").dependencies[0];
        assert_eq!(dependency.protocol, protocol.protocol);
    }
}
