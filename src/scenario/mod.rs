//! TOML to a valid scenario and its timeline. No I/O but reading the files named; nothing starts.
//!
//! A [`Scenario`] and a [`System`] exist only if they are valid: everything downstream may rely on
//! every name referring to something and every fault being one that its protocol can carry.

mod dependency;
mod expects;
mod faults;
mod hosts;
mod keys;
mod label;
mod ledger;
mod likeness;
mod model;
mod outage;
mod outcome;
mod pace;
mod plan;
mod read;
mod requests;
mod schema;
mod scope;
mod status;
mod system;
mod template;

pub use dependency::parse_upstream;
pub use expects::EXPECTS_MAX;
pub use hosts::HostPattern;
pub use keys::{EXPECT as EXPECT_KEYS, RULE, SCENARIO_FILE, SYSTEM_FILE};
pub use label::label as fault_label;
pub use ledger::{Delivered, Dropped, GaugeSpec, IdPath, Ledger, ReadSpec};
pub use likeness::likeness as fault_likeness;
pub use model::{
    Again, Arrivals, Capture, Dependency, Expect, FaultSpec, Follow, Incident, Ingress, Instance,
    KeyFrom, Lasts, Load, Outcomes, Phase, PusherApp, Ready, RequestTemplate, Rule, Scenario,
    Start, StatusSet, Stop, System, Target, TlsFront, UnlistedHosts, Upstream, ValueMatch, Var,
};
pub use outage::{FAULTS_MAX, PHASES_MAX};
pub use outcome::{Answer, BODY_BYTES_MAX};
pub use pace::Pace;
pub use plan::{PlannedExpect, PlannedLoad, PlannedPhase, Timeline, plan};
pub use read::{FILE_BYTES_MAX, from_texts, load_scenario, load_system, system_from_text};
pub use requests::read_plain_rule;
pub use schema::schema;
pub use status::parse_statuses;
pub use template::Template;
