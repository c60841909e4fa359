//! Faults that are switched by hand: asked for in the words of a scenario's `[[phase.fault]]`, with an
//! end of their own.

use super::problem::{Body, Failure, Why};
use crate::{
    control::{
        said::{self, Table},
        toxiproxy::json::Node,
    },
    fault::{self, Active, By, FAULTS, FaultDef, FaultId, Group, Memory, default_by},
    input::{Problems, Source, hint_among},
    protocol::Protocol,
    seed::Seed,
    units::Micros,
};
use std::{sync::Arc, time::Duration};

/// The longest that a fault stays without being renewed.
pub(crate) const TTL_MAX: Duration = Duration::from_secs(3_600);

/// The shortest.
const TTL_MIN: Duration = Duration::from_millis(1);

/// The most names that a fault is put on.
const NAMES_MAX: usize = 20;

/// The longest name, in characters.
const NAME_MAX: usize = 128;

/// The longest label, in characters.
const LABEL_MAX: usize = 200;

/// The most keys of one fault; no kind has nearly as many.
const KEYS_MAX: usize = 64;

/// The most bytes of a fault as text, of all dependencies that it is put on.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Keys of a request that are no keys of a scenario.
const OWN: &[&str] = &["ttl", "lease", "label", "kind", "on"];

/// Kinds that can be put in force by hand: those that act on no process.
pub(crate) fn kinds() -> impl Iterator<Item = &'static FaultDef> {
    FAULTS.iter().filter(|def| def.group != Group::Process)
}

/// What a fault can be put on.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) name: Arc<str>,
    pub(crate) role: Option<Arc<str>>,
    pub(crate) protocol: Protocol,
    /// Whether something limits what it can carry already.
    pub(crate) has_capacity: bool,
}

/// A fault that may come into force.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) kind: &'static str,
    /// The dependencies concerned, each with the fault as its protocol carries it.
    pub(crate) on: Vec<(Arc<str>, Protocol, said::Read)>,
    pub(crate) label: String,
    pub(crate) keys: Vec<(String, Node)>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) lease: Option<Duration>,
    pub(crate) toml: Arc<str>,
}

/// A fault in force.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) id: u64,
    /// Its number in observations.
    pub(crate) number: FaultId,
    pub(crate) kind: &'static str,
    pub(crate) on: Vec<Arc<str>>,
    pub(crate) label: String,
    pub(crate) keys: Vec<(String, Node)>,
    pub(crate) since: Micros,
    ttl: Option<Duration>,
    pub(crate) lease: Option<Duration>,
    ends: Option<Micros>,
    leased: Option<Micros>,
    pub(crate) toml: Arc<str>,
    /// What acts, of each dependency.
    pub(crate) active: Vec<(Arc<str>, Arc<Active>)>,
    /// How many events it acted on at dependencies that are gone.
    acted_before: u64,
}

impl Asked {
    /// Reads what a request asks for.
    pub(crate) fn read(node: &Node, targets: &[Target]) -> Result<Self, Failure> {
        let mut body = Body::open(node)?;
        let def = kind(&mut body);
        let names = names(&mut body);
        let ttl = body.duration("ttl", (TTL_MIN, TTL_MAX));
        let lease = body.duration("lease", (TTL_MIN, TTL_MAX));
        if body.get("ttl").is_none() && body.get("lease").is_none() {
            let hint = "\"ttl\": \"30s\"; or a `lease` that you renew";
            body.problem("ttl", "the fault has no end", hint.to_owned());
        }
        let label = body.text("label", LABEL_MAX).map(str::to_owned);
        let keys: Vec<(String, Node)> = body
            .said()
            .filter(|(key, _)| !OWN.contains(key))
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect();
        if keys.len() > KEYS_MAX {
            body.problem("", format!("more than {KEYS_MAX} keys"), None);
        }
        let found = found(&names, targets, &mut body);
        let Some(def) = def.filter(|_| keys.len() <= KEYS_MAX) else {
            body.finish(Why::Bad)?;
            return Err(Failure::unknown("no kind"));
        };
        let mut on = Vec::new();
        for target in &found {
            on.extend(read(def, target, &keys, &mut body).map(|read| {
                let name = Arc::clone(&target.name);
                (name, target.protocol, read)
            }));
        }
        if found.is_empty() && !names.is_empty() {
            // The rest is read for its problems alone.
            let stranger = Target {
                name: "x".into(),
                role: None,
                protocol: def.example_protocol,
                has_capacity: false,
            };
            let _ = read(def, &stranger, &keys, &mut body);
        }
        body.finish(Why::Bad)?;
        one_capacity(&on, &found)?;
        let tables = names.iter().map(|(name, _)| table(def, name, &keys));
        let tables: Vec<String> = tables
            .map(|table| format!("[[phase.fault]]\n{}", table.text()))
            .collect();
        let said: Vec<&str> = names.iter().map(|(name, _)| &**name).collect();
        Ok(Self {
            kind: def.name,
            label: label.unwrap_or_else(|| described(def, &said, &keys)),
            on,
            ttl,
            lease,
            toml: bounded(tables.join("\n"), &keys)?.into(),
            keys,
        })
    }

    /// Puts it in force: what acts from now on, and until when.
    pub(crate) fn place(
        self,
        (id, number): (u64, FaultId),
        now: Micros,
        seed: Seed,
        memory: &mut Memory,
    ) -> Placed {
        let mut active = Vec::new();
        for (name, protocol, read) in self.on {
            let said::Read {
                behaviour,
                gate,
                likeness,
            } = read;
            let behaviour = behaviour.armed(memory, &name, now).unwrap_or(behaviour);
            let by = gate.by.clone().unwrap_or_else(|| default_by(protocol));
            // The rows that cannot be read now cannot be read when the same is switched on again.
            let draw = match by {
                By::Key | By::Header(_) => likeness,
                _ => id.to_string(),
            };
            let names = ["fault by hand", &*draw, &*name];
            let one = Active::new(
                number,
                gate,
                behaviour,
                seed,
                &names,
                now,
                Duration::ZERO,
                by,
            );
            active.push((name, Arc::new(one)));
        }
        Placed {
            id,
            number,
            kind: self.kind,
            on: active.iter().map(|(name, _)| Arc::clone(name)).collect(),
            label: self.label,
            keys: self.keys,
            since: now,
            ttl: self.ttl,
            lease: self.lease,
            ends: self.ttl.map(|ttl| now + ttl),
            leased: self.lease.map(|lease| now + lease),
            toml: self.toml,
            active,
            acted_before: 0,
        }
    }
}

impl Placed {
    /// When it ends, unless it is renewed.
    pub(crate) fn ends(&self) -> Micros {
        let last = Micros(u64::MAX);
        self.ends.unwrap_or(last).min(self.leased.unwrap_or(last))
    }

    /// How many events it acted on.
    pub(crate) fn acted(&self) -> u64 {
        let acting = self.active.iter().map(|(_, active)| active.hits());
        self.acted_before + acting.sum::<u64>()
    }

    /// Gives it more time, from now: this long, or as long as it was given at first.
    pub(crate) fn renew(&mut self, node: &Node, now: Micros) -> Result<(), Failure> {
        let mut body = Body::open(node)?;
        body.only(&["ttl"]);
        let ttl = body.duration("ttl", (TTL_MIN, TTL_MAX));
        body.finish(Why::Bad)?;
        if let Some(ttl) = ttl.or(self.ttl) {
            self.ends = Some(now + ttl);
        }
        self.leased = self.lease.map(|lease| now + lease);
        Ok(())
    }

    /// Takes it off a dependency; whether it is on any still.
    pub(crate) fn leave(&mut self, dependency: &str) -> bool {
        self.on.retain(|name| **name != *dependency);
        let gone = self
            .active
            .extract_if(.., |(name, _)| **name == *dependency);
        self.acted_before += gone.map(|(_, active)| active.hits()).sum::<u64>();
        !self.on.is_empty()
    }
}

fn kind(body: &mut Body<'_>) -> Option<&'static FaultDef> {
    let hint = "one of those at /api/v1/kinds";
    let name = body.required("kind", NAME_MAX, hint)?;
    let found = kinds().find(|def| def.name == name);
    if found.is_none() {
        let (what, hint) = match fault::find(name) {
            Some(_) => (
                format!("`{name}` acts on a process, and none is started by hand"),
                "run a scenario for that".to_owned(),
            ),
            None => (
                format!("unknown fault kind `{name}`"),
                hint_among(name, kinds().map(|def| def.name).collect::<Vec<_>>()),
            ),
        };
        body.problem("kind", what, hint);
    }
    found
}

/// The names that a fault is to be put on, each with its place.
fn names(body: &mut Body<'_>) -> Vec<(String, String)> {
    let one = |node: &Node, place: String, body: &mut Body<'_>| match node {
        Node::Text(name) if !name.is_empty() && name.chars().count() <= NAME_MAX => {
            Some((name.clone(), place))
        }
        _ => {
            body.problem(&place, "this is no name of a dependency", None);
            None
        }
    };
    let mut names: Vec<(String, String)> = Vec::new();
    match body.get("on") {
        Some(Node::List(members)) if !members.is_empty() && members.len() <= NAMES_MAX => {
            for (at, member) in members.iter().enumerate() {
                names.extend(one(member, format!("on[{at}]"), body));
            }
        }
        Some(Node::List(_)) => {
            body.problem(
                "on",
                format!("`on` must name 1 to {NAMES_MAX} dependencies"),
                None,
            );
        }
        Some(node) => names.extend(one(node, "on".to_owned(), body)),
        None => body.problem(
            "on",
            "`on` is missing",
            "a dependency's name or role, or several in a list".to_owned(),
        ),
    }
    for at in (1..names.len()).rev() {
        if names[..at].iter().any(|(name, _)| *name == names[at].0) {
            names.remove(at);
        }
    }
    names
}

/// The dependencies of these names and roles, each once.
fn found<'a>(
    names: &[(String, String)],
    targets: &'a [Target],
    body: &mut Body<'_>,
) -> Vec<&'a Target> {
    let mut found: Vec<&Target> = Vec::new();
    for (name, place) in names {
        let plays = |one: &&Target| *one.name == **name || one.role.as_deref() == Some(name);
        let of_name: Vec<&Target> = targets.iter().filter(plays).collect();
        if of_name.is_empty() {
            let known = targets.iter().map(|target| &*target.name);
            let hint = hint_among(name, known.collect::<Vec<_>>());
            body.problem(
                place,
                format!("no dependency has the name or role `{name}`"),
                hint,
            );
        }
        for target in of_name {
            if !found.iter().any(|known| known.name == target.name) {
                found.push(target);
            }
        }
    }
    found
}

fn table(def: &FaultDef, on: &str, keys: &[(String, Node)]) -> Table {
    let mut table = Table::default();
    table.put("kind", "kind", &Node::Text(def.name.to_owned()));
    table.put("on", "on", &Node::Text(on.to_owned()));
    for (key, value) in keys {
        table.put(key, key, value);
    }
    table
}

fn read(
    def: &'static FaultDef,
    target: &Target,
    keys: &[(String, Node)],
    body: &mut Body<'_>,
) -> Option<said::Read> {
    let table = table(def, &target.name, keys);
    let source = Source::new("the request", table.text());
    let name = format!("fault `{}`", def.name);
    let mut problems = Problems::default();
    let read = said::fault(def, &name, &source, target.protocol, &mut problems);
    body.found(problems, &table);
    read
}

/// The text of a fault, which the session keeps.
fn bounded(toml: String, keys: &[(String, Node)]) -> Result<String, Failure> {
    if toml.len() <= TEXT_BYTES_MAX {
        return Ok(toml);
    }
    let length = |(_, value): &&(String, Node)| said::shown(value).to_string().len();
    let longest = keys.iter().max_by_key(length);
    let place = longest.map_or("", |(key, _)| key);
    let what = format!(
        "as text the fault has {} bytes; the most are {TEXT_BYTES_MAX}",
        toml.len()
    );
    let hint = "say less, or name fewer dependencies at once".to_owned();
    Err(Failure::new(Why::Impossible, place, what, hint))
}

/// A dependency can carry one thing at a time.
fn one_capacity(on: &[(Arc<str>, Protocol, said::Read)], found: &[&Target]) -> Result<(), Failure> {
    let limits = |read: &said::Read| read.behaviour.capacity().is_some();
    let limited = on.iter().filter(|(_, _, read)| limits(read));
    for (name, _, _) in limited {
        if found
            .iter()
            .any(|target| target.name == *name && target.has_capacity)
        {
            return Err(Failure::new(
                Why::Taken,
                "on",
                format!("`{name}` is overloaded already: a dependency has one queue"),
                "lift that fault first".to_owned(),
            ));
        }
    }
    Ok(())
}

/// One line for people: `error on s3, status 503, share 30%`.
fn described(def: &FaultDef, on: &[&str], keys: &[(String, Node)]) -> String {
    let mut label = format!("{} on {}", def.name, on.join(" and "));
    for (key, value) in keys {
        let said = match value {
            Node::Text(text) => text.clone(),
            other => said::shown(other).to_string(),
        };
        let said: String = said
            .chars()
            .filter(|letter| !letter.is_control())
            .take(60)
            .collect();
        label.push_str(&format!(", {key} {said}"));
    }
    label.chars().take(LABEL_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{FaultSet, sample};

    fn targets() -> Vec<Target> {
        let target = |name: &str, role: Option<&str>, protocol| Target {
            name: name.into(),
            role: role.map(Into::into),
            protocol,
            has_capacity: false,
        };
        vec![
            target("s3", Some("object-store"), Protocol::S3),
            target("db", Some("database"), Protocol::Postgres),
            target("queue", None, Protocol::Tcp),
        ]
    }

    fn read(said: &str) -> Result<Asked, Vec<(String, String)>> {
        let node = Node::read(said.as_bytes()).expect("it is JSON");
        let problems = |failure: Failure| {
            let each = failure.problems.into_iter();
            each.map(|one| (one.place, one.what)).collect()
        };
        Asked::read(&node, &targets()).map_err(problems)
    }

    #[test]
    fn a_fault_is_asked_for_in_the_words_of_a_scenario() {
        let said = r#"{"on":"object-store","kind":"error","ttl":"30s","error":"SlowDown","share":"30%","when":{"operation":["GetObject"]}}"#;
        let asked = read(said).expect("it is right");
        assert_eq!(
            (asked.kind, asked.ttl),
            ("error", Some(Duration::from_secs(30)))
        );
        assert_eq!(&*asked.on[0].0, "s3");
        assert_eq!(
            &*asked.toml,
            "[[phase.fault]]\nkind = \"error\"\non = \"object-store\"\nerror = \"SlowDown\"\nshare = \"30%\"\nwhen = { operation = [\"GetObject\"] }\n"
        );
        assert!(
            asked
                .label
                .starts_with("error on object-store, error SlowDown"),
            "{}",
            asked.label
        );
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once_each_in_its_place() {
        let said = r#"{"on":["s3","bd"],"kind":"error","ttl":"2h","stauts":503,"when":{"path":7}}"#;
        let problems = read(said).map(|_| ()).unwrap_err();
        let places: Vec<&str> = problems.iter().map(|(place, _)| &**place).collect();
        for place in ["ttl", "on[1]", "stauts", "when.path"] {
            assert!(places.contains(&place), "{place}: {problems:?}");
        }
    }

    #[test]
    fn a_fault_must_have_an_end_and_a_protocol_that_carries_it() {
        let wrong = |said: &str| read(said).map(|_| ()).unwrap_err();
        let endless = wrong(r#"{"on":"s3","kind":"hang"}"#);
        assert_eq!(endless[0].1, "the fault has no end");
        let carried = wrong(r#"{"on":"queue","kind":"lost-reply","ttl":"1s"}"#);
        assert_eq!(carried[0].0, "kind");
        let process = wrong(r#"{"on":"s3","kind":"kill","ttl":"1s"}"#);
        assert!(process[0].1.contains("acts on a process"), "{process:?}");
        let phase = wrong(
            r#"{"on":"s3","kind":"hang","ttl":"1s","share":"5%","ramp":{"share":["0%","5%"]}}"#,
        );
        assert!(
            phase
                .iter()
                .any(|(place, what)| place.starts_with("ramp") && what.contains("phase")),
            "{phase:?}"
        );
        assert_eq!(wrong("{}").len(), 3);
    }

    #[test]
    fn a_fault_has_a_bounded_text() {
        let said = |bytes: usize| {
            let body = "x".repeat(bytes);
            format!(r#"{{"on":"s3","kind":"error","ttl":"1s","status":503,"body":"{body}"}}"#)
        };
        assert!(read(&said(60 << 10)).is_ok());
        let node = Node::read(said(64 << 10).as_bytes()).expect("it is JSON");
        let failure = Asked::read(&node, &targets()).expect_err("it is too long");
        assert_eq!(failure.why, Why::Impossible);
        assert_eq!(failure.problems[0].place, "body");
        assert!(failure.problems[0].hint.is_some());
    }

    fn placed(said: &str) -> Placed {
        let asked = read(said).expect("it is right");
        let now = Micros::from_secs(100);
        asked.place((1, FaultId(1)), now, Seed(1), &mut Memory::default())
    }

    #[test]
    fn who_is_hit_at_a_share_is_hit_at_a_greater_one_too() {
        let hit = |share: &str| -> Vec<bool> {
            let said = format!(
                r#"{{"on":"s3","kind":"error","ttl":"1s","error":"SlowDown","by":"key","share":"{share}"}}"#
            );
            let active = placed(&said).active.into_iter().map(|(_, active)| active);
            let set = FaultSet::new(active.collect());
            let keys = (0..200).map(|nth| format!("/bucket/{nth}"));
            let calls = keys.map(|key| sample::call(Protocol::S3, "GET", &key));
            calls
                .map(|call| !set.request(&call, Micros(0)).is_pass())
                .collect()
        };
        let (half, most) = (hit("50%"), hit("80%"));
        let count = |hit: &[bool]| hit.iter().filter(|hit| **hit).count();
        assert!((60..140).contains(&count(&half)), "{half:?}");
        assert!(count(&most) > count(&half), "{most:?}");
        let spared = half
            .iter()
            .zip(&most)
            .filter(|(half, most)| **half && !**most);
        assert_eq!(spared.count(), 0);
    }

    #[test]
    fn it_ends_with_its_time_or_with_a_lease_that_nobody_renews() {
        let renew = |placed: &mut Placed, said: &str, at| {
            let node = Node::read(said.as_bytes()).expect("it is JSON");
            placed
                .renew(&node, Micros::from_secs(at))
                .expect("it is right");
            placed.ends()
        };
        let mut timed = placed(r#"{"on":"s3","kind":"hang","ttl":"30s"}"#);
        assert_eq!(timed.ends(), Micros::from_secs(130));
        assert_eq!(renew(&mut timed, "{}", 120), Micros::from_secs(150));
        assert_eq!(
            renew(&mut timed, r#"{"ttl":"5s"}"#, 121),
            Micros::from_secs(126)
        );
        let mut leased = placed(r#"{"on":"s3","kind":"hang","lease":"10s"}"#);
        assert_eq!(leased.ends(), Micros::from_secs(110));
        assert_eq!(renew(&mut leased, "{}", 109), Micros::from_secs(119));
        let mut both = placed(r#"{"on":"s3","kind":"hang","ttl":"1m","lease":"10s"}"#);
        assert_eq!(both.ends(), Micros::from_secs(110));
        assert_eq!(renew(&mut both, "{}", 109), Micros::from_secs(119));
    }
}
