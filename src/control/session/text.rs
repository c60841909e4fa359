//! The files as text.

use super::{
    Stood,
    stretches::{self, Placed, Stretch},
};
use crate::{
    protocol::Protocol,
    scenario::{Dependency, Start, System},
    units::format_duration,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The most dependencies and loads of which something is required: the rest is for its owner to say.
const REQUIRED_MAX: usize = 8;

/// Within which time an attempt must be given up, where no load says how patient its users are.
const GIVE_UP: Duration = Duration::from_secs(4);

/// The load of a system file that is made up.
const LOAD: &str = "visit";

/// What the scenario tells.
pub(super) struct Story<'a> {
    /// One line.
    pub title: &'a str,
    /// The system's file.
    pub system: &'a str,
    /// How long the baseline is.
    pub steady: Duration,
    /// What was in force.
    pub faults: &'a [Placed],
    /// When.
    pub stretches: &'a [Stretch],
}

/// What is required, as far as it can be made up.
pub(super) struct Requirements {
    loads: Vec<String>,
    /// Each with whether its single requests are seen.
    dependencies: Vec<(String, bool)>,
    give_up: Duration,
    /// Whether its processes are watched.
    started: bool,
}

impl Requirements {
    /// For a system whose file is known.
    pub(super) fn of(system: &System, hit: &[String]) -> Self {
        let ingress = system.ingress.as_ref().map(|ingress| &ingress.name);
        let driven = system.loads.iter().map(|load| &load.name);
        let loads = driven.chain(ingress).map(|name| name.to_string());
        let patience = system.loads.iter().map(|load| load.timeout).min();
        let protocol = |name: &String| {
            let is_meant = |one: &&Dependency| {
                *one.name == **name || one.role.as_deref() == Some(name.as_str())
            };
            let mut meant = system.dependencies.iter().filter(is_meant).peekable();
            meant.peek()?;
            Some((name.clone(), meant.all(|one| one.protocol.has_messages())))
        };
        Self {
            loads: loads.take(REQUIRED_MAX).collect(),
            dependencies: hit.iter().filter_map(protocol).take(REQUIRED_MAX).collect(),
            give_up: patience.map_or(GIVE_UP, before),
            started: matches!(system.start, Start::Instances(_)),
        }
    }

    /// For the system that is made up beside it.
    pub(super) fn made(dependencies: &[Stood], hit: &[String]) -> Self {
        let protocol = |name: &String| {
            let found = dependencies.iter().find(|one| one.name == *name)?;
            Some((name.clone(), found.protocol.has_messages()))
        };
        Self {
            loads: vec![LOAD.to_owned()],
            dependencies: hit.iter().filter_map(protocol).take(REQUIRED_MAX).collect(),
            give_up: GIVE_UP,
            started: false,
        }
    }
}

/// Somewhat before somebody's patience is over.
fn before(patience: Duration) -> Duration {
    let tenths = patience.as_millis() * 8 / 1_000;
    Duration::from_millis(u64::try_from(tenths * 100).unwrap_or(u64::MAX))
        .max(Duration::from_millis(100))
}

/// The scenario.
pub(super) fn scenario(story: &Story<'_>, requirements: &Requirements) -> String {
    let mut out = format!(
        "\
# What was done by hand with `brownout serve`, as a scenario.
# The phases are as long as they were, in whole seconds. What is required is a first guess: sharpen it.
#
#   brownout check THIS-FILE --system {system}
#   brownout run THIS-FILE --system {system}

title  = {title}
system = {quoted_system}
tags   = [\"by-hand\"]

# The baseline that all is held against. It must be healthy, else nothing can be said.
[[phase]]
name   = \"steady\"
lasts  = \"{steady}\"
steady = true
",
        system = comment(story.system),
        title = quoted(story.title),
        quoted_system = quoted(story.system),
        steady = format_duration(story.steady),
    );
    let mut names = Names::default();
    let mut told = BTreeSet::new();
    for stretch in story.stretches {
        let name = names.take(&stretches::in_words(story.faults, stretch));
        out.push_str(&format!(
            "\n[[phase]]\nname  = {}\nlasts = \"{}\"\n",
            quoted(&name),
            format_duration(stretch.lasts)
        ));
        for fault in &stretch.faults {
            let goes_on = !told.insert(*fault);
            let fault = &story.faults[*fault];
            if let Some(key) = fault.forgets.filter(|_| goes_on) {
                out.push_str(&format!(
                    "  # By hand `{key}` counted on from the phase before; here it begins anew.\n"
                ));
            }
            if fault.redraws && goes_on {
                out.push_str(
                    "  # By hand its share fell on the same connections as in the phase before; here it is drawn anew.\n",
                );
            }
            if fault.is_rest {
                out.push_str(
                    "  # By hand it was one restart with that of the phase before: what was left of it.\n",
                );
            }
            out.push_str(&table(fault));
        }
    }
    out.push_str(
        "
# Without faults: it shows whether the system finds back by itself.
[[phase]]
name  = \"recovery\"
lasts = \"until steady, at most 60s\"
",
    );
    out.push_str(&expectations(requirements));
    out
}

/// Gives each phase a name of its own.
#[derive(Default)]
struct Names(BTreeMap<String, usize>);

impl Names {
    fn take(&mut self, name: &str) -> String {
        let count = self.0.entry(name.to_owned()).or_default();
        *count += 1;
        match *count {
            1 => name.to_owned(),
            nth => format!("{name} ({nth})"),
        }
    }
}

/// A fault's table.
fn table(fault: &Placed) -> String {
    let width = fault
        .keys
        .keys()
        .map(|key| bare(key).len())
        .fold(4, usize::max);
    let mut out = "  [[phase.fault]]\n".to_owned();
    let mut line = |key: &str, value: &str| out.push_str(&format!("  {key:width$} = {value}\n"));
    line("kind", &quoted(&fault.kind));
    line("on", &quoted(&fault.on));
    for (key, value) in &fault.keys {
        line(&bare(key), &inline(value));
    }
    out
}

fn expectations(required: &Requirements) -> String {
    let mut out = String::new();
    let mut count = 0;
    let mut add = |why: &str, lines: &[(&str, String)]| {
        count += 1;
        out.push('\n');
        out.push_str(why);
        out.push_str("[[expect]]\n");
        let width = lines.iter().map(|(key, _)| key.len()).fold(4, usize::max);
        out.push_str(&format!("{:width$} = \"HAND-{count}\"\n", "id"));
        for (key, value) in lines {
            out.push_str(&format!("{key:width$} = {value}\n"));
        }
    };
    for (nth, load) in required.loads.iter().enumerate() {
        let why = "\
# Also the honest \"503, come back later\" is an answer; waiting for ever is none, and 500 is none.
# A system with a fallback can promise more: `count_degraded = false` asks for real answers.
";
        add(
            if nth == 0 { why } else { "" },
            &[
                (
                    "that",
                    quoted(&format!("{load} is answered in time all the while")),
                ),
                ("kind", quoted("success-rate")),
                ("load", quoted(load)),
                ("at_least", quoted("95%")),
            ],
        );
    }
    let seen = required.dependencies.iter().filter(|(_, seen)| *seen);
    for (nth, (name, _)) in seen.enumerate() {
        add(
            if nth == 0 {
                "# Seen on the wire: each attempt ends before the patience of those who wait for the answer does.\n"
            } else {
                ""
            },
            &[
                ("that", quoted(&format!("{name} is given up in time"))),
                ("kind", quoted("gives-up")),
                ("on", quoted(name)),
                ("attempt_within", quoted(&format_duration(required.give_up))),
            ],
        );
        add(
            if nth == 0 {
                "# Retries that multiply with each other keep a dependency down that wants to come back.\n"
            } else {
                ""
            },
            &[
                (
                    "that",
                    quoted(&format!(
                        "trouble does not multiply what is asked of {name}"
                    )),
                ),
                ("kind", quoted("amplification")),
                ("on", quoted(name)),
                ("at_most", quoted("3x")),
            ],
        );
    }
    add(
        "# The commonest real damage: the dependency is back and the system is not.\n",
        &[
            (
                "that",
                quoted("everything is as before soon after, by itself"),
            ),
            ("kind", quoted("recovery")),
            ("within", quoted("20s")),
        ],
    );
    if required.started {
        add(
            "",
            &[
                ("that", quoted("nothing crashes")),
                ("kind", quoted("alive")),
            ],
        );
    }
    out
}

/// The system file that goes with a scenario where `serve` was given none.
pub(super) fn system<'a>(dependencies: impl Iterator<Item = &'a Stood>) -> String {
    let mut out = format!(
        "\
# The system under test, as far as `brownout serve` could know it: what stood between it and its
# dependencies. Say where it is, and what is asked of it; `brownout check brownout.toml` finds mistakes.
#
# `brownout serve` holds these ports as long as it runs: end it before `brownout run`.

[system]
# Somebody else starts it; with `command = [\"./server\"]` and `url` in its place Brownout does. It must
# find its dependencies at the addresses below while a run lasts.
external = \"http://127.0.0.1:8080\"

[load.{LOAD}]
# Begun at random at this rate, however slowly they are answered.
rate     = \"20/s\"
request  = {{ method = \"GET\", path = \"/\" }}
# Longer than this nobody waits: then the visit counts as unanswered.
timeout  = \"5s\"
ok       = {{ status = \"2xx,3xx\" }}
degraded = {{ status = 503 }}
"
    );
    for one in dependencies {
        out.push_str(&format!(
            "\n[dependency.{}]\nprotocol = {}\nupstream = {}\nlisten   = {}\n",
            bare(&one.name),
            quoted(name_of(one.protocol)),
            quoted(&one.upstream),
            quoted(&one.listen),
        ));
    }
    out
}

fn name_of(protocol: Protocol) -> &'static str {
    protocol.def().name
}

/// A value on one line.
fn inline(value: &toml::Value) -> String {
    match value {
        toml::Value::Table(table) => {
            let pairs = table.iter();
            let pairs: Vec<String> = pairs
                .map(|(key, value)| format!("{} = {}", bare(key), inline(value)))
                .collect();
            if pairs.is_empty() {
                "{}".to_owned()
            } else {
                format!("{{ {} }}", pairs.join(", "))
            }
        }
        toml::Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        toml::Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

/// A text as a TOML string on one line.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A name as a TOML key.
fn bare(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.chars().all(fits) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// A text as part of a comment.
fn comment(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.collect()
}
