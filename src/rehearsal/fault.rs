//! What may go wrong, in the words of `[[phase.fault]]`.
//!
//! However a fault is made, it becomes the TOML of a scenario's fault and is read by the same parser:
//! with the same rules, and the same words for what is wrong.

use super::Error;
use crate::{
    fault::{Behaviour, FAULTS, FaultDef, Gate, Group, find, gate},
    input::{Fields, Problems, Source, hint_among, render},
    protocol::Protocol,
    scenario::fault_label,
};
use std::{sync::Arc, time::Duration};
use toml::{Table, Value, de::DeTable};

/// What may go wrong with a dependency: a kind with its parameters, and which requests or connections
/// it concerns. [`Dependency::inject`](super::Dependency::inject) puts it in force.
///
/// The common kinds have functions of their own. [`Fault::toml`] takes whatever a scenario's
/// `[[phase.fault]]` may say, and [`Fault::of`] with [`Fault::set`] whatever kind with its keys; see
/// `brownout list faults`, `brownout explain KIND`, and the documentation of the files.
///
/// Nothing is checked before it is put in force; then all that is wrong is said at once.
///
/// ```
/// use brownout::rehearsal::Fault;
/// use std::time::Duration;
///
/// // Every second GET below /items is answered with 503.
/// Fault::error(503).method("GET").path("/items*").every(2);
/// // A third of the keys, always the same ones.
/// Fault::code("SlowDown").share(0.33).by("key");
/// // The answer that was applied and never came.
/// Fault::of("lost-reply").operation("PutObject");
/// Fault::toml("kind = 'quota'\ncounts = 'requests'\nlimit = 100\nwindow = '1m'\nrefusal = '429'");
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing goes wrong before it is injected"]
pub struct Fault {
    keys: Table,
    when: Table,
    text: String,
}

impl Fault {
    /// A fault of this kind, as `brownout list faults` names it.
    pub fn of(kind: &str) -> Self {
        let mut keys = Table::new();
        keys.insert("kind".to_owned(), kind.into());
        Self {
            keys,
            when: Table::new(),
            text: String::new(),
        }
    }

    /// A fault as a scenario says it: the keys of a `[[phase.fault]]`, with its header or without. `on`
    /// may be left out.
    pub fn toml(text: impl Into<String>) -> Self {
        Self {
            keys: Table::new(),
            when: Table::new(),
            text: text.into(),
        }
    }

    /// HTTP, S3 and Channels: an answer with this status, at once, and nothing forwarded.
    pub fn error(status: u16) -> Self {
        Self::of("error").set("status", i64::from(status))
    }

    /// An error by the protocol's own code, at once, and nothing forwarded: `SlowDown` of S3, a
    /// SQLSTATE, `LOADING` of Redis, `1213` of MySQL, `4004` of Channels, `heroku` for the page of a
    /// platform.
    pub fn code(code: &str) -> Self {
        Self::of("error").set("error", code)
    }

    /// Accepted and read, and never answered; what it held goes on when it is lifted.
    pub fn hang() -> Self {
        Self::of("hang")
    }

    /// The listener is closed: connects are refused.
    pub fn refuse() -> Self {
        Self::of("refuse")
    }

    /// Connects are not answered (on Linux; elsewhere see the documentation).
    pub fn no_accept() -> Self {
        Self::of("no-accept")
    }

    /// Connections are reset.
    pub fn reset() -> Self {
        Self::of("reset")
    }

    /// All that is sent comes so much later. With [`Fault::share`], [`Fault::operation`] and the like
    /// it is single requests.
    pub fn latency(delay: Duration) -> Self {
        Self::of("latency").set("delay", in_text(delay))
    }

    /// Forwarded, and done; the answer never comes.
    pub fn lost_reply() -> Self {
        Self::of("lost-reply")
    }

    /// A key of its kind, as files say it: `.set("retry_after", "2s")`, `.set("close", true)`. What is
    /// an array or a table there is one of [`Fault::toml`].
    pub fn set(mut self, key: &str, value: impl Into<Setting>) -> Self {
        self.keys.insert(key.to_owned(), value.into().0);
        self
    }

    /// The probability with which it hits, 0 to 1.
    pub fn share(self, share: f64) -> Self {
        // Percents are no binary fractions.
        let percent = (share * 1e8).round() / 1e6;
        self.set("share", format!("{percent}%"))
    }

    /// What the share is drawn for: `request`, `call`, `connection`, `key` (always the same keys), or
    /// `header:NAME`.
    pub fn by(self, what: &str) -> Self {
        self.set("by", what)
    }

    /// It hits the first so many that match, and no more.
    pub fn first(self, count: u32) -> Self {
        self.set("first", i64::from(count))
    }

    /// It hits every n-th that matches.
    pub fn every(self, nth: u32) -> Self {
        self.set("every", i64::from(nth))
    }

    /// It spares the first so many that match.
    pub fn after(self, count: u32) -> Self {
        self.set("after", i64::from(count))
    }

    /// On how many events it has to act, or it shows nothing: 1 unless said otherwise; with 0 it may
    /// be idle.
    pub fn min_hits(self, count: u32) -> Self {
        self.set("min_hits", i64::from(count))
    }

    /// Only this operation: `PutObject`, the method of plain HTTP, `INSERT`, `GET` of Redis.
    pub fn operation(self, name: &str) -> Self {
        self.when("operation", name)
    }

    /// Only requests with this method of HTTP.
    pub fn method(self, method: &str) -> Self {
        self.when("method", method)
    }

    /// Only requests for paths like this, `*` for any characters.
    pub fn path(self, pattern: &str) -> Self {
        self.when("path", pattern)
    }

    /// Only requests for keys like this, `*` for any characters.
    pub fn key(self, pattern: &str) -> Self {
        self.when("key", pattern)
    }

    /// Only this attempt of each call, from 1.
    pub fn attempt(self, number: u32) -> Self {
        self.when("attempt", i64::from(number))
    }

    fn when(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.when.insert(key.to_owned(), value.into());
        self
    }

    /// Reads it for this dependency.
    pub(super) fn read(&self, place: &Place<'_>) -> Result<Read, Error> {
        let source = Source::new("the fault", self.as_toml(place.dependency));
        let mut problems = Problems::default();
        let read = match DeTable::parse(&source.text) {
            Ok(table) => {
                // A fault names no header of its own here: what is missing is said without a place.
                let fields =
                    Fields::unchecked(table.get_ref(), 0..0, &source, "the fault", gate::KEYS);
                read(&fields, table.get_ref(), place, &mut problems)
            }
            Err(error) => {
                let said = error.message().lines().collect::<Vec<_>>().join(", ");
                problems.error(&source, error.span(), format!("no TOML: {said}"), None);
                None
            }
        };
        if let Some(read) = read.filter(|_| !problems.any_error()) {
            return Ok(read);
        }
        Err(Error::Fault {
            dependency: place.dependency.into(),
            problems: render(&problems.into_sorted(), false),
        })
    }

    /// The keys of a `[[phase.fault]]`. What was set stands before a text, which may end in tables.
    fn as_toml(&self, dependency: &str) -> String {
        let text = self.text.replacen("[[phase.fault]]", "", 1);
        let mut lines = Vec::new();
        // What is no TOML is said later.
        let says_on =
            DeTable::parse(&text).map_or(true, |table| table.get_ref().contains_key("on"));
        if !says_on {
            lines.push(format!("on = {}", Value::from(dependency)));
        }
        for (key, value) in &self.keys {
            lines.push(format!("{key} = {value}"));
        }
        if !self.when.is_empty() {
            lines.push(format!("when = {}", Value::from(self.when.clone())));
        }
        if !text.is_empty() {
            lines.push(text);
        }
        lines.join("\n")
    }
}

/// What a fault is put on.
pub(super) struct Place<'a> {
    pub(super) dependency: &'a str,
    pub(super) role: Option<&'a str>,
    pub(super) protocol: Protocol,
    /// Whether something in force says already what it can carry.
    pub(super) has_capacity: bool,
}

/// A fault that was read.
pub(super) struct Read {
    pub(super) label: String,
    pub(super) gate: Gate,
    pub(super) behaviour: Arc<dyn Behaviour>,
}

fn read(
    fields: &Fields<'_>,
    table: &DeTable<'_>,
    place: &Place<'_>,
    problems: &mut Problems,
) -> Option<Read> {
    let def = kind(fields, problems)?;
    let fields = fields.named(format!("fault `{}`", def.name));
    fields.check_keys(&[def.keys], problems);
    let on = fields.text("on", problems).map(|on| on.value);
    if let Some(on) = on.filter(|on| on != place.dependency && Some(&**on) != place.role) {
        let message = format!("this is `{}`, and the fault is on `{on}`", place.dependency);
        let hint = format!("leave `on` out, or say that it plays this role: `.role(\"{on}\")`");
        fields.problem(problems, "on", message, hint);
    }
    for key in ["ramp", "one_of"] {
        if fields.has(key) {
            let message = format!("`{key}` needs a phase of a scenario");
            fields.problem(
                problems,
                key,
                message,
                "run one: `Scenario::file`".to_owned(),
            );
        }
    }
    if def.group == Group::Process {
        let message = format!(
            "`{}` acts on a process, and a dependency has none",
            def.name
        );
        let hint = "end the test's own process itself, or run a scenario: `Scenario::file`";
        fields.problem(problems, "kind", message, hint.to_owned());
        return None;
    }
    let gate = Gate::parse(&fields, problems);
    // What is wrong with the rest is said all the same.
    let open = Gate::default();
    let read = gate.as_ref().unwrap_or(&open);
    let behaviour = def.read(&fields, place.protocol, read, problems)?;
    if place.has_capacity && behaviour.capacity().is_some() {
        let message = format!("`{}` has an overload already", place.dependency);
        let hint = "lift that one first: a dependency has one queue".to_owned();
        fields.problem(problems, "kind", message, hint);
    }
    Some(Read {
        label: fault_label(def, place.dependency, table, gate.as_ref()?),
        gate: gate?,
        behaviour,
    })
}

fn kind(fields: &Fields<'_>, problems: &mut Problems) -> Option<&'static FaultDef> {
    let Some(kind) = fields.text("kind", problems) else {
        if !fields.has("kind") {
            let hint = "`brownout list faults` shows all kinds".to_owned();
            fields.problem(problems, "kind", "the fault has no `kind`", hint);
        }
        return None;
    };
    let found = find(&kind.value);
    if found.is_none() {
        let message = format!("unknown fault kind `{}`", kind.value);
        let known = FAULTS.iter().map(|def| def.name);
        fields.problem(problems, "kind", message, hint_among(&kind.value, known));
    }
    found
}

/// A value of [`Fault::set`]: a text, a whole number, a number, or yes and no.
#[derive(Debug, Clone)]
pub struct Setting(Value);

impl From<&str> for Setting {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Setting {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<i64> for Setting {
    fn from(number: i64) -> Self {
        Self(number.into())
    }
}

impl From<f64> for Setting {
    fn from(number: f64) -> Self {
        Self(number.into())
    }
}

impl From<bool> for Setting {
    fn from(is: bool) -> Self {
        Self(is.into())
    }
}

impl From<Duration> for Setting {
    fn from(duration: Duration) -> Self {
        Self(in_text(duration).into())
    }
}

/// As files write it, to the microsecond.
fn in_text(duration: Duration) -> String {
    format!("{}us", duration.as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_on(fault: &Fault, protocol: Protocol) -> Result<String, String> {
        let place = Place {
            dependency: "stock",
            role: Some("object-store"),
            protocol,
            has_capacity: false,
        };
        let read = fault.read(&place).map(|read| read.label);
        read.map_err(|error| error.to_string())
    }

    #[test]
    fn faults_of_functions_are_faults_of_files() {
        for (fault, label) in [
            (
                Fault::error(503).method("GET").path("/items*").every(2),
                "error on stock, status 503, GET, /items*, one in 2",
            ),
            (
                Fault::error(500).share(0.3),
                "error on stock, status 500, 30%",
            ),
            (
                Fault::latency(Duration::from_millis(250)).first(3),
                "latency on stock, delay 250000us, first 3",
            ),
            (Fault::hang().key("/a"), "hang on stock, /a"),
            (Fault::refuse(), "refuse on stock"),
            (Fault::lost_reply(), "lost-reply on stock"),
            (
                Fault::toml("[[phase.fault]]\nkind = 'error'\non = 'object-store'\nstatus = 429"),
                "error on stock, status 429",
            ),
            (
                Fault::toml("kind = 'error'\nstatus = 429\n[when]\nmethod = 'PUT'").share(0.5),
                "error on stock, status 429, PUT, 50%",
            ),
        ] {
            assert_eq!(read_on(&fault, Protocol::Http).as_deref(), Ok(label));
        }
    }

    #[test]
    fn every_kind_that_acts_on_a_wire_is_read_from_its_own_example() {
        for def in FAULTS {
            let place = Place {
                dependency: "stock",
                role: None,
                protocol: def.example_protocol,
                has_capacity: false,
            };
            let lines = def.example.lines();
            let text: Vec<&str> = lines.filter(|line| !line.starts_with("on ")).collect();
            let read = Fault::toml(text.join("\n")).read(&place);
            let is_refused = def.group == Group::Process || def.example.contains("\nramp");
            assert_eq!(read.is_err(), is_refused, "{}: {:?}", def.name, read.err());
        }
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once_with_hints() {
        let wrong = Fault::error(99)
            .set("retry_afer", "2s")
            .by("kye")
            .share(1.5);
        let said = read_on(&wrong, Protocol::Http).expect_err("it is wrong");
        for part in [
            "this fault cannot be put on `stock`",
            "`status` must be a whole number from 200 to 599",
            "unknown key `retry_afer`",
            "did you mean `retry_after`?",
            "unknown by `kye`",
            "did you mean `key`?",
            "from \"0%\" to \"100%\"",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        for (wrong, part) in [
            (Fault::of("latancy"), "did you mean `latency`?"),
            (Fault::toml("status = 500"), "the fault has no `kind`"),
            (Fault::toml("kind ="), "no TOML"),
            (Fault::toml("kind = 'hang'\non = 'db'"), ".role(\"db\")"),
            (
                Fault::toml("kind = 'hang'\none_of = 'x'"),
                "`one_of` needs a phase of a scenario",
            ),
            (Fault::of("kill"), "acts on a process"),
            (Fault::code("SlowDown"), "SlowDown"),
        ] {
            let said = read_on(&wrong, Protocol::Http).expect_err("it is wrong");
            assert!(said.contains(part), "{part}: {said}");
        }
        let said = read_on(&Fault::error(500), Protocol::Tcp).expect_err("there are no messages");
        assert!(said.contains("cannot act on the protocol tcp"), "{said}");
    }
}
