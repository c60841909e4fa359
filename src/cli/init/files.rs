//! The two files as text, from what was found and answered. Pure: the same answers give the same
//! bytes.

use super::{
    depends::{APP, Dependency, Kind, Real},
    start::{PORT, Port, Started},
};
use crate::units::{Rate, format_duration};
use std::time::Duration;

/// Everything that the files say.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How the system comes to run.
    pub start: Start,
    /// Where it listens.
    pub port: Port,
    /// The path asked until it is ready.
    pub ready: Option<String>,
    /// What it depends on; at least one.
    pub dependencies: Vec<Dependency>,
    /// Variables that are left as they are and lead to other hosts.
    pub real: Vec<Real>,
    /// Which of them fails, by its place.
    pub failing: usize,
    /// The path that the load asks for.
    pub path: String,
    /// The load's rate.
    pub rate: Rate,
}

/// How the system comes to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// By a command.
    Command(Started),
    /// Somebody else starts it; this is its URL.
    External(String),
}

/// The name of the load.
const LOAD: &str = "visit";

/// How long a visitor waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// Within which time the dependency must be given up: before the visitor gives up.
const GIVE_UP: Duration = Duration::from_secs(4);

/// How a variable that leads to another host is made a dependency.
const TO_LEAD_ELSEWHERE: &str = "\
# To keep rehearsals from such a host, make it a dependency, below,
#   [dependency.NAME]
#   protocol = \"http\"
#   upstream = \"embedded:sink\"
# and lead the variable through it, here; what is secret stays in the environment:
#   VARIABLE = \"http://USER:{env.PASSWORD}@{dependency.NAME.address}/PATH\"
# Where something else than HTTP is spoken, that protocol, or \"tcp\", with a server here as upstream.
";

/// The shortest phase of the outage.
const PHASE_MIN: Duration = Duration::from_secs(15);

/// So many operations each phase has at least, however thin the load.
const OPERATIONS_MIN: f64 = 30.0;

impl Setup {
    /// The dependency that fails.
    fn failing(&self) -> &Dependency {
        &self.dependencies[self.failing]
    }

    /// How long a phase of the outage lasts.
    fn phase(&self) -> Duration {
        let needed = (OPERATIONS_MIN / self.rate.as_per_second()).ceil();
        PHASE_MIN.max(Duration::from_secs_f64(needed))
    }

    /// `brownout.toml`.
    pub fn system(&self) -> String {
        let mut out = match &self.start {
            Start::Command(started) => self.started(started),
            Start::External(url) => self.external(url),
        };
        for dependency in &self.dependencies {
            out.push_str(&section(dependency));
        }
        out.push_str(&self.load());
        out
    }

    /// The table of a system that somebody else starts.
    fn external(&self, url: &str) -> String {
        let mut out = format!(
            "\
# The system under test: where it is, what it depends on, and the load.
# Written by `brownout init`; it is yours now. `brownout check brownout.toml` finds mistakes,
# `brownout explain NAME` explains any word in it.

[system]
# Somebody else starts it, and its processes are not seen: nothing can be said of crashes and memory.
external = {}

# It must find its dependencies where Brownout listens in their stead while a run lasts. Start it with
",
            quoted(url)
        );
        for (name, value) in self.to_be_set() {
            out.push_str(&format!("#   {name}={}\n", comment(&value)));
        }
        out.push_str("# Nothing secret was copied: ${NAME} stands for it.\n");
        out.push_str(&self.left_real());
        out
    }

    /// What an external system must be started with: variables and their values.
    pub fn to_be_set(&self) -> Vec<(&str, String)> {
        let mut set: Vec<(&str, String)> = Vec::new();
        for dependency in &self.dependencies {
            for (name, template) in &dependency.env {
                let value = dependency.written_out(template);
                if let Some(value) = value.filter(|_| set.iter().all(|(known, _)| known != name)) {
                    set.push((name, value));
                }
            }
        }
        set
    }

    /// The tables of a system that Brownout starts.
    fn started(&self, started: &Started) -> String {
        let url = match &self.port {
            Port::Fixed(port) => format!("http://127.0.0.1:{port}"),
            Port::InCommand | Port::Variable(_) => format!("http://127.0.0.1:{PORT}"),
        };
        format!(
            "\
# The system under test: how it is started, what it depends on, and the load.
# Written by `brownout init`; it is yours now. `brownout check brownout.toml` finds mistakes,
# `brownout explain NAME` explains any word in it.

[system]
# {}. An array, never a shell{}.
command = {}
url     = {}
{}
{}
[system.env]
# The system's own variables, led through Brownout. Whatever else is in the environment of
# `brownout run` reaches the system too. Nothing secret was copied: {{env.NAME}} is taken from that
# environment when a run begins.
{}",
            comment(&format!("From {}", started.origin)),
            self.port_said(),
            array(&started.words),
            quoted(&url),
            self.port_note(),
            self.ready(),
            self.environment(),
        )
    }

    /// What the comment of the command goes on with. A fixed port has a comment of its own.
    fn port_said(&self) -> String {
        match self.port {
            Port::Fixed(_) => String::new(),
            Port::InCommand | Port::Variable(_) => format!("; {PORT} is a free port of each run"),
        }
    }

    fn port_note(&self) -> &'static str {
        match self.port {
            Port::Fixed(_) => {
                "# Always the same port: two runs cannot go side by side. Where the program can be told its port,\n# write {port.app} here and there, which is a free one of each run.\n"
            }
            Port::InCommand | Port::Variable(_) => "",
        }
    }

    fn ready(&self) -> String {
        match &self.ready {
            Some(path) => format!(
                "# It counts as ready when this path answers 2xx.\nready   = {{ path = {}, within = \"60s\" }}\n",
                quoted(&escaped(path))
            ),
            None => "# It counts as ready when its port accepts; { path = \"/healthz\", within = \"60s\" } is surer.\nready   = { within = \"60s\" }\n".to_owned(),
        }
    }

    fn environment(&self) -> String {
        let mut lines: Vec<(String, String)> = Vec::new();
        if let Port::Variable(name) = &self.port {
            lines.push((name.clone(), PORT.to_owned()));
        }
        let env = self.dependencies.iter().flat_map(|one| &one.env);
        for (name, template) in env {
            if !lines.iter().any(|(known, _)| known == name) {
                lines.push((name.clone(), template.clone()));
            }
        }
        let lines = lines.iter();
        lines
            .map(|(name, value)| format!("{} = {}\n", key(name), quoted(value)))
            .chain(std::iter::once(self.left_real()))
            .collect()
    }

    /// What is said of variables that lead to other hosts: a comment, or nothing.
    fn left_real(&self) -> String {
        if self.real.is_empty() {
            return String::new();
        }
        let mut out =
            "# Left as they are, so that a rehearsal goes where they lead, unless it is led elsewhere:\n"
                .to_owned();
        for one in &self.real {
            out.push_str(&format!("# - {}.\n", comment(&one.said())));
        }
        out.push_str(TO_LEAD_ELSEWHERE);
        out
    }

    fn load(&self) -> String {
        format!(
            "
[load.{LOAD}]
# Begun at random at this rate, however slowly they are answered. A variable part of a path is
# written {{var}}: `vars = {{ id = {{ uniform = 200 }} }}`.
rate     = {}
request  = {{ method = \"GET\", path = {} }}
# Longer than this nobody waits: then the visit counts as unanswered.
timeout  = \"{}\"
ok       = {{ status = \"2xx,3xx\" }}
# The honest answer of a system that cannot serve now; it counts as an answer, but as a lesser one.
# Any other status, 500 for one, says that the failure was not foreseen. While all is well at most
# one in ten may be answered so: else the rehearsal shows nothing, and is inconclusive. Where the page
# needs what an embedded database is without, say its tables (`schema`) or lead to a server of your own
# (`upstream`), or ask for another `path`.
degraded = {{ status = 503 }}
",
            quoted(&self.rate.to_string()),
            quoted(&escaped(&self.path)),
            format_duration(PATIENCE),
        )
    }

    /// `scenarios/first-outage.toml`.
    pub fn scenario(&self) -> String {
        let failing = self.failing();
        let name = &failing.name;
        let Second {
            title,
            story,
            fault,
            phase,
        } = second(failing);
        let lasts = format_duration(self.phase());
        let mut out = format!(
            "\
# The first rehearsal: {name} hangs, then {title}, then all is well again.
# Written by `brownout init`; it is yours now.
#
#   brownout run scenarios/first-outage.toml
#
# Where the verdict is inconclusive because a fault acted on nothing, the path of the load asks
# nothing of {name}: give it another one in brownout.toml.

title  = \"{name} hangs, then {title}\"
story  = \"\"\"
{name} accepts what it is asked and never answers, as in many an outage: this is what time-outs are
for. Then {story}.
Visitors must hear something in time all the while, and everything must be as before once {name} is
back.\"\"\"
system = \"../brownout.toml\"
tags   = [\"first\"]

# The baseline that all is held against. It must be healthy, else nothing can be said.
[[phase]]
name   = \"steady\"
lasts  = \"10s\"
steady = true

[[phase]]
name  = \"{name} hangs\"
lasts = \"{lasts}\"
  [[phase.fault]]
  kind = \"hang\"
  on   = \"{name}\"

[[phase]]
name  = \"{phase}\"
lasts = \"{lasts}\"
  [[phase.fault]]
{fault}
# Without faults: it shows whether the system finds back by itself.
[[phase]]
name  = \"recovery\"
lasts = \"until steady, at most 60s\"

# Also the honest \"503, come back later\" is an answer; waiting for ever is none, and 500 is none.
# A system with a fallback can promise more: `count_degraded = false` asks for real answers.
[[expect]]
id       = \"FIRST-1\"
that     = \"visitors are answered in time while {name} fails\"
kind     = \"success-rate\"
load     = \"{LOAD}\"
at_least = \"95%\"
"
        );
        if failing.kind != Kind::Tcp {
            out.push_str(&format!(
                "
# Seen on the wire: each attempt at {name} ends before the visitor's patience does. Without a time-out
# it lasts as long as the outage. `within` bounds whole calls, retries and all, where the client
# sends an id of its own that tells its attempts from other requests, as AWS's do.
[[expect]]
id             = \"FIRST-2\"
that           = \"{name} is given up before the visitor gives up\"
kind           = \"gives-up\"
on             = \"{name}\"
attempt_within = \"{}\"

# Retries that multiply with each other keep a dependency down that wants to come back.
[[expect]]
id      = \"FIRST-3\"
that    = \"trouble does not multiply what is asked of {name}\"
kind    = \"amplification\"
on      = \"{name}\"
at_most = \"3x\"
",
                format_duration(GIVE_UP)
            ));
        }
        out.push_str(
            "
# The commonest real damage: the dependency is back and the system is not.
[[expect]]
id     = \"FIRST-4\"
that   = \"everything is as before soon after the outage, by itself\"
kind   = \"recovery\"
within = \"20s\"
",
        );
        if matches!(self.start, Start::Command(_)) {
            out.push_str(
                "
[[expect]]
id   = \"FIRST-5\"
that = \"nothing crashes\"
kind = \"alive\"
",
            );
        }
        out
    }
}

/// What comes after the hang.
struct Second {
    /// In the title: "answers errors".
    title: &'static str,
    /// In the story.
    story: String,
    /// The phase's name.
    phase: String,
    /// The rest of the fault's table.
    fault: String,
}

fn second(dependency: &Dependency) -> Second {
    let name = &dependency.name;
    let (title, story, keys): (_, &str, &[(&str, &str)]) = match dependency.kind {
        Kind::Postgres => (
            "restarts",
            "is restarted: sessions end, nobody listens for a while, then it starts up",
            &[
                ("kind", "\"restart\""),
                ("down", "\"4s\""),
                ("starting", "\"2s\""),
            ],
        ),
        Kind::Mysql => (
            "restarts",
            "is restarted: sessions end, and nobody listens for a while",
            &[("kind", "\"restart\""), ("down", "\"6s\"")],
        ),
        Kind::Redis => (
            "loads its data set",
            "answers every command that it is loading its data set",
            &[("kind", "\"error\""), ("error", "\"LOADING\"")],
        ),
        Kind::S3 => (
            "answers errors",
            "answers every request at once with 500 InternalError",
            &[("kind", "\"error\""), ("error", "\"InternalError\"")],
        ),
        Kind::Http => (
            "answers errors",
            "answers every request at once with the 503 page of a load balancer",
            &[("kind", "\"error\""), ("error", "\"nginx-503\"")],
        ),
        Kind::Pusher => (
            "answers errors",
            "answers every request at once with status 503",
            &[("kind", "\"error\""), ("status", "503")],
        ),
        Kind::Tcp => (
            "refuses",
            "refuses connections, as a host does on which nothing runs",
            &[("kind", "\"refuse\"")],
        ),
    };
    let mut fault = String::new();
    let width = keys
        .iter()
        .map(|(key, _)| key.len())
        .max()
        .unwrap_or_default();
    for (index, (key, value)) in keys.iter().enumerate() {
        fault.push_str(&format!("  {key:width$} = {value}\n"));
        if index == 0 {
            fault.push_str(&format!("  {:width$} = {}\n", "on", quoted(name)));
        }
    }
    Second {
        title,
        story: format!("it {story}"),
        phase: format!("{name} {title}"),
        fault,
    }
}

fn section(dependency: &Dependency) -> String {
    let mut out = format!(
        "
# From {}.
[dependency.{}]
protocol = {}
",
        comment(&dependency.origin),
        dependency.name,
        quoted(dependency.kind.protocol()),
    );
    if let Some(role) = dependency.kind.role() {
        out.push_str(&format!("role     = {}\n", quoted(role)));
    }
    out.push_str(&format!(
        "# {}.\nupstream = {}\n",
        comment(&capital(&dependency.because)),
        quoted(&dependency.upstream)
    ));
    if !dependency.hosts.is_empty() {
        out.push_str(&format!(
            "# Called by name: the system finds a forward proxy in its environment (HTTP_PROXY and its kin).\nhosts    = {}\n",
            array(&dependency.hosts)
        ));
    }
    if let Some(port) = dependency.listen {
        let listen = quoted(&format!("127.0.0.1:{port}"));
        out.push_str(&format!("listen   = {listen}\n"));
        if dependency.kind == Kind::Pusher {
            let app = quoted(APP);
            out.push_str(&format!(
                "app      = {{ id = {app}, key = {app}, secret = {app} }}\n"
            ));
        }
    }
    if !dependency.buckets.is_empty() {
        out.push_str(&format!("buckets  = {}\n", array(&dependency.buckets)));
    }
    out
}

/// A text as a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Texts as a TOML array on one line.
fn array(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

/// A name as a TOML key.
fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// A text as part of a comment.
fn comment(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// A fragment with a capital, unless it begins with what is written as it is, in backticks.
fn capital(fragment: &str) -> String {
    let mut letters = fragment.chars();
    let first = letters.next().map(char::to_uppercase);
    let first: String = first.into_iter().flatten().collect();
    format!("{first}{}", letters.as_str())
}

/// A text whose braces are meant as such.
fn escaped(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}
