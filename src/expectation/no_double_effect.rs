//! `no-double-effect`: what the caller asked for once has its effect on the store once.
//!
//! Judged on the wire. The *operation* is what the caller means: all writes of one dependency that
//! bear the same value of a capture (an order's number), of the same kind and to the same place
//! (path, table, object), are attempts at one, however many requests, connections and calls of a
//! client library they are. Another table is another operation. Another path or object may be one,
//! or a retry under another name: after a write whose caller was not told, nobody knows, unless the
//! file says by `path` which are meant. Where the system file names a `key` of the dependency's own,
//! the key is no place, for a retry may come with a new one. Those writes (to one table, where it is
//! a database whose table was recorded) are of one place if each operation whose caller was told, of
//! which there must be one, had but one key. An *effect* is a write that the dependency carried out
//! and that changed something:
//!
//! - only operations that add count ([`Protocol::adds`]), unless the file names others: a `PUT`, a
//!   `SET`, an `UPDATE` to a value replaces what is there, and carried out twice has one effect;
//! - a statement that changed no row (`ON CONFLICT DO NOTHING`, a condition that no longer holds)
//!   has none;
//! - writes with the same value of `deduplicated_by`, the key by which the store itself knows a
//!   repetition again, have one effect together. That the store keeps this promise is taken from
//!   the file: two answers of 200 do not tell it.
//!
//! A pass needs ambiguity: writes that were carried out and whose caller was not told.

use super::{
    Evidence, Expectation, ExpectationDef, Judgement, Name, Names, Scope, names,
    samples::SAMPLES_MIN,
};
use crate::{
    fault::wildcard,
    history::{Attempt, AttemptEnd, View, Window},
    input::{About, Fields, Key, Problems, Shape},
    protocol::{Applied, Protocol},
    units::{Micros, format_duration},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "no-double-effect",
    summary: "what was asked for once has its effect on the store once, however often it was tried",
    about: About {
        text: "\
            What the caller asked for once has its effect on the store once: no card is charged \
            twice because an answer was lost and the request was sent again. Writes to `on` that \
            bear the same `id_of`, of the same kind and to the same path, table or object, are one \
            operation. An effect is a write that was carried out and \
            changed something; only operations that add count (POST, INSERT, INCR …) unless \
            `operation` names others, as a PUT or SET that is repeated has the effect of one. `path` \
            and `table` say to which places the writes go that are meant, where the same `id_of` has \
            business at others too: a receipt, a line in a journal.",
        evidence: "\
            The attempts that the dependency carried out, the rows they changed, and how often a \
            fault repeated them. Writes with the same value of `deduplicated_by` have one effect. \
            Whoever was not told how a transaction ended was told of nothing in it.",
        doubt: "\
            Fewer than three writes were carried out whose caller was not told; nobody knows \
            whether a second one, or a copy that a fault sent, was carried out; one with the same `id_of` went to another path or \
            key after an ambiguous one; a write bears no `id_of`, and others of its kind and place \
            do; one names no table where `table` is asked for; or the run ended within `settle` of the last ambiguous write, so that a retry may \
            have come unseen.",
        mistakes: &[
            "\
                `deduplicated_by` promises that the store knows a repetition again by that value. \
                It is the store's promise, not the client's: a key that is sent and ignored \
                doubles the effect.",
            "A client that makes a new key for each attempt is not de-duplicated; it is found here.",
            "\
                Tables of one name in two schemas count as one: no statement need say which it means.",
            "\
                What `path` and `table` leave out is not looked at: a retry at another place is then \
                not found.",
        ],
        related: &[
            "ambiguous-write",
            "lost-reply",
            "no-duplicates",
            "nothing-lost",
        ],
    },
    example: "[[expect]]\nid        = \"PAY-1\"\nthat      = \"no version is uploaded twice\"\nkind      = \"no-double-effect\"\non        = \"object-store\"\nid_of     = \"version\"\noperation = \"CreateMultipartUpload\"\n",
    keys: &[
        Key::required(
            "on",
            Shape::Text,
            "the role or dependency that is written to",
        ),
        Key::required(
            "id_of",
            Shape::Text,
            "the dependency's capture that names the caller's operation",
        ),
        Key::optional(
            "operation",
            Shape::TextOrTexts,
            "the operations that have an effect each time (those that add)",
        ),
        Key::optional(
            "path",
            Shape::TextOrTexts,
            "only writes to this path, object or key, with `*` for any characters",
        ),
        Key::optional(
            "table",
            Shape::TextOrTexts,
            "only statements about this table, in whatever schema, with `*`",
        ),
        Key::optional(
            "deduplicated_by",
            Shape::Text,
            "the dependency's capture by which the store itself knows a repetition again (none)",
        ),
        Key::optional(
            "settle",
            Shape::Duration,
            "how long after the last ambiguous write the run must go on (5s)",
        ),
        Key::optional(
            "at_most",
            Shape::Integer(0, 1_000_000),
            "so many effects too many are tolerated (0)",
        ),
    ],
    parse,
};

/// Where the file does not say, how long a retry may be awaited.
const SETTLE: Duration = Duration::from_secs(5);

/// See [`DEF`].
#[derive(Debug)]
struct NoDoubleEffect {
    on: Name,
    id: String,
    operations: Vec<String>,
    /// Patterns of the keys that are meant; none: all.
    paths: Vec<String>,
    /// Patterns of the tables that are meant; none: all.
    tables: Vec<String>,
    deduplicated_by: Option<String>,
    settle: Duration,
    at_most: u64,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let on = names::dependency_with_requests(fields, "on", names, problems);
    let of = on.as_deref().unwrap_or_default();
    let id = names::capture(fields, "id_of", of, names, problems);
    let deduplicated_by = names::capture(fields, "deduplicated_by", of, names, problems);
    let operations = names::operations(fields, "operation", problems);
    let paths = patterns(fields, "path", problems);
    let tables = patterns(fields, "table", problems);
    let tables = tables.filter(|_| has_tables(fields, of, names, problems));
    let tables = tables.filter(|tables| have_no_schema(fields, tables, problems));
    let settle = fields.duration("settle", problems).unwrap_or(SETTLE);
    let at_most = fields.integer("at_most", problems).unwrap_or(0);
    Some(Box::new(NoDoubleEffect {
        on: on?,
        id: id?,
        operations,
        paths: paths?,
        tables: tables?,
        deduplicated_by,
        settle,
        at_most: at_most.unsigned_abs(),
    }))
}

/// The patterns of a key; `None` where it names none.
fn patterns(
    fields: &Fields<'_>,
    key: &'static str,
    problems: &mut Problems,
) -> Option<Vec<String>> {
    if !fields.has(key) {
        return Some(Vec::new());
    }
    let texts = fields.texts(key, problems)?;
    if texts.is_empty() {
        let hint = format!("name one, or leave `{key}` out");
        fields.problem(problems, key, format!("`{key}` names nothing"), hint);
        return None;
    }
    Some(texts.into_iter().map(|text| text.value).collect())
}

/// Whether statements of all that `on` names may name a table, where the file asks for one; a
/// problem if not.
fn has_tables(fields: &Fields<'_>, on: &str, names: &Names<'_>, problems: &mut Problems) -> bool {
    let mut own = names.dependencies.iter();
    let other = own
        .find(|(name, role, protocol)| (*name == on || *role == Some(on)) && !has_table(*protocol));
    let Some((name, _, protocol)) = other.filter(|_| fields.has("table")) else {
        return true;
    };
    let message = format!("`{name}` speaks {protocol}, whose requests name no table");
    let hint = "say by `path` which are meant".to_owned();
    fields.problem(problems, "table", message, hint);
    false
}

/// Whether no pattern of a table names its schema, which is not recorded of statements; a problem if
/// one does, as it would match nothing.
fn have_no_schema(fields: &Fields<'_>, tables: &[String], problems: &mut Problems) -> bool {
    let mut all = tables.iter();
    let Some((pattern, (schema, table))) = all.find_map(|one| Some((one, one.rsplit_once('.')?)))
    else {
        return true;
    };
    let message =
        format!("`{pattern}` matches no table: of a statement its table is known, no schema");
    let hint = match table {
        "" | "*" => format!("name the tables of `{schema}`"),
        table => format!("write \"{table}\", which means it in every schema"),
    };
    fields.problem(problems, "table", message, hint);
    false
}

/// Whether requests of a protocol are statements about tables.
fn has_table(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Mysql | Protocol::Postgres)
}

/// The writes for one operation of the caller's.
#[derive(Default)]
struct Writes<'a> {
    attempts: Vec<&'a Attempt>,
}

/// What a place is to a write.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// A table, its key: writes to another are another operation.
    Table(&'a str),
    /// Its key, a path or an object: writes to another may be the same operation.
    Path(&'a str),
    /// Not its key, which the file chose; the table, where it is known.
    Chosen(Option<&'a str>),
}

impl<'a> Place<'a> {
    fn of(view: &View<'_>, attempt: &'a Attempt) -> Self {
        let mut all = view.system.dependencies.iter();
        match all.find(|one| one.name == attempt.dependency) {
            Some(one) if one.key.is_some() => Self::Chosen(attempt.table.as_deref()),
            Some(one) if has_table(one.protocol) => Self::Table(&attempt.key),
            _ => Self::Path(&attempt.key),
        }
    }

    /// What of it tells operations apart.
    fn table(self) -> &'a str {
        match self {
            Self::Table(table) => table,
            Self::Chosen(table) => table.unwrap_or_default(),
            Self::Path(_) => "",
        }
    }

    /// As far as it is known.
    fn known(self) -> &'a str {
        match self {
            Self::Path(path) => path,
            other => other.table(),
        }
    }
}

/// How often they had their effect.
struct Effects {
    certain: u64,
    /// Those of which nobody knows.
    maybe: u64,
}

impl Effects {
    /// Those beyond the first, and so many more that may be.
    fn beyond(&self) -> (u64, u64) {
        let most = (self.certain + self.maybe).saturating_sub(1);
        let certain = self.certain.saturating_sub(1);
        (certain, most - certain)
    }
}

/// Whether an attempt changed something; `None` where nobody knows.
fn has_effect(attempt: &Attempt) -> Option<bool> {
    match attempt.applied {
        Applied::No => Some(false),
        _ if attempt.rows == Some(0) => Some(false),
        Applied::Yes => Some(true),
        Applied::Unknown => None,
    }
}

/// Whether the caller cannot know what became of a write that was, or may have been, carried out.
fn is_ambiguous(attempt: &Attempt) -> bool {
    let is_repeated = attempt.repeated > 0 || attempt.repeated_unknown > 0;
    has_effect(attempt) != Some(false) && (!attempt.acknowledged() || is_repeated)
}

/// Whether a write belongs to the judged phases: it began there, or waited there for the end of its
/// transaction, of which its caller was not told.
fn is_within(view: &View<'_>, attempt: &Attempt) -> bool {
    let waited = |until: Micros| {
        let windows = view.windows();
        let mut windows = windows.iter();
        windows.any(|one| attempt.began < one.to && one.from <= until)
    };
    view.contains(attempt.began) || attempt.untold.is_some_and(waited)
}

impl<'a> Writes<'a> {
    /// Whether they belong to the judged phases: where one was ambiguous there, or, where none was
    /// anywhere, where one began there.
    fn are_judged(&self, view: &View<'_>) -> bool {
        let is_one = self.attempts.iter().any(|one| is_ambiguous(one));
        let mut own = self.attempts.iter();
        own.any(|one| is_within(view, one) && (!is_one || is_ambiguous(one)))
    }

    /// Whether the callers of all of them were told, and one was carried out.
    fn are_told(&self) -> bool {
        !self.attempts.iter().any(|one| is_ambiguous(one))
            && (self.attempts.iter()).any(|one| has_effect(one) == Some(true))
    }

    /// The keys at which they may have had an effect.
    fn keys(&self) -> BTreeSet<&'a str> {
        let done = self.attempts.iter();
        let done = done.filter(|one| has_effect(one) != Some(false));
        done.map(|one| &*one.key).collect()
    }

    /// The same writes, those of each key by themselves.
    fn by_key(&self) -> Vec<Self> {
        let mut parts: BTreeMap<&str, Self> = BTreeMap::new();
        for attempt in &self.attempts {
            let part = parts.entry(&attempt.key).or_default();
            part.attempts.push(attempt);
        }
        parts.into_values().collect()
    }

    /// At how many keys something may have been done again that was done at another, to a caller
    /// who was not told.
    fn elsewhere(&self, deduplicated_by: Option<&str>) -> u64 {
        let key = |one: &'a Attempt| deduplicated_by.and_then(|name| one.captured.get(name));
        let untold = |one: &&&'a Attempt| has_effect(one) != Some(false) && !one.acknowledged();
        let again = self.attempts.iter().filter(|one| {
            has_effect(one) != Some(false)
                && self.attempts.iter().filter(untold).any(|first| {
                    let is_known = key(one).is_some() && key(one) == key(first);
                    first.key != one.key && first.began < one.began && !is_known
                })
        });
        let keys: BTreeSet<&str> = again.map(|one| &*one.key).collect();
        keys.len() as u64
    }

    fn effects(&self, deduplicated_by: Option<&str>) -> Effects {
        let mut effects = Effects {
            certain: 0,
            maybe: 0,
        };
        let mut keyed: BTreeMap<&str, bool> = BTreeMap::new();
        for attempt in &self.attempts {
            let Some(is_certain) =
                has_effect(attempt).map_or(Some(false), |has| has.then_some(true))
            else {
                continue;
            };
            let key = deduplicated_by.and_then(|name| attempt.captured.get(name));
            match key {
                Some(key) => *keyed.entry(key).or_default() |= is_certain,
                None => {
                    let itself = 1 + u64::from(attempt.repeated);
                    match is_certain {
                        true => effects.certain += itself,
                        false => effects.maybe += itself,
                    }
                    effects.maybe += u64::from(attempt.repeated_unknown);
                }
            }
        }
        for is_certain in keyed.values() {
            match is_certain {
                true => effects.certain += 1,
                false => effects.maybe += 1,
            }
        }
        effects
    }

    fn shown(&self, view: &View<'_>, id: &str, effects: &Effects) -> Option<Evidence> {
        let first = self.attempts.first()?;
        let done = self.attempts.iter();
        let done = done.filter(|one| has_effect(one) == Some(true));
        let moments: Vec<String> = done.take(4).map(|one| moment(view, one)).collect();
        let id: String = id.chars().take(100).collect();
        let what = format!(
            "{id} ({} {}): had its effect {} times: {}",
            first.operation,
            first.key,
            effects.certain,
            moments.join(", then ")
        );
        Some(Evidence::of_call(first, what))
    }
}

/// When a write was carried out, and what its caller saw of that.
fn moment(view: &View<'_>, attempt: &Attempt) -> String {
    let mut text = format!("at {:.3}s", attempt.began.as_secs_f64());
    if attempt.repeated > 0 {
        text.push_str(&format!(" {} times", u64::from(attempt.repeated) + 1));
    }
    if attempt.repeated_unknown > 0 {
        text.push_str(&format!(", perhaps {} more", attempt.repeated_unknown));
    }
    text.push_str(match (attempt.end, attempt.acknowledged()) {
        (AttemptEnd::Answered, true) => " (answered)",
        _ if attempt.untold.is_some() => " (answered, and the end of its transaction not)",
        (AttemptEnd::Answered, false) => " (answered with an error)",
        _ => " (not answered)",
    });
    let label = attempt.faults.iter().find_map(|id| {
        let spans = view.history.faults.iter();
        let mut own = spans.filter(|span| span.fault == *id);
        own.find_map(|span| view.fault(span))
    });
    if let Some((_, fault)) = label {
        text.push_str(&format!(" under `{}`", fault.label));
    }
    text
}

/// What was found at a dependency, or at all of a role.
#[derive(Default)]
struct Found<'a> {
    /// By dependency, kind, table and id.
    operations: BTreeMap<[&'a str; 4], Writes<'a>>,
    /// The dependencies, kinds and tables of which each operation is at one place, whatever its
    /// keys.
    of_one_place: BTreeSet<[&'a str; 3]>,
    /// Writes of the judged phases that may have had an effect, on which table nobody knows, where
    /// the file asks for one.
    tableless: u64,
    /// Writes of the judged phases that bear no id, though others of their kind and place do, and
    /// may have had an effect.
    nameless: u64,
    /// Writes of the judged phases whose callers were not told.
    ambiguous: u64,
    last_ambiguous: Micros,
}

impl NoDoubleEffect {
    fn is_meant(&self, view: &View<'_>, attempt: &Attempt) -> bool {
        self.means_operation(view, attempt)
            && (self.paths.is_empty() || self.paths.iter().any(|one| wildcard(one, &attempt.key)))
    }

    /// Whether a write is about a table that is meant; `None` where nobody knows.
    fn means_table(&self, place: Place<'_>) -> Option<bool> {
        if self.tables.is_empty() {
            return Some(true);
        }
        let table = Some(place.table()).filter(|table| !table.is_empty())?;
        Some(self.tables.iter().any(|one| wildcard(one, table)))
    }

    fn means_operation(&self, view: &View<'_>, attempt: &Attempt) -> bool {
        if !self.operations.is_empty() {
            return self
                .operations
                .iter()
                .any(|one| **one == *attempt.operation);
        }
        let mut all = view.system.dependencies.iter();
        let protocol = all.find(|one| one.name == attempt.dependency);
        let protocol = protocol.map_or(Protocol::Tcp, |one| one.protocol);
        protocol.adds(&attempt.operation)
    }

    fn found<'a>(&self, view: &View<'a>) -> Found<'a> {
        let whole = Window::new(Micros::default(), Micros(u64::MAX));
        let mut found = Found::default();
        let mut nameless = Vec::new();
        let mut named = BTreeSet::new();
        let mut is_one_place: BTreeMap<[&str; 3], bool> = BTreeMap::new();
        for attempt in view.attempts_in(&self.on, whole) {
            if !self.is_meant(view, attempt) {
                continue;
            }
            let may_count = is_within(view, attempt) && has_effect(attempt) != Some(false);
            let place = Place::of(view, attempt);
            match self.means_table(place) {
                Some(true) => {}
                Some(false) => continue,
                None => {
                    found.tableless += u64::from(may_count);
                    continue;
                }
            }
            let kind = [&*attempt.dependency, &*attempt.operation];
            let Some(id) = attempt.captured.get(&self.id) else {
                if may_count {
                    nameless.push((kind, place.known()));
                }
                continue;
            };
            named.insert((kind, place.known()));
            let operation = [kind[0], kind[1], place.table(), id];
            let writes = found.operations.entry(operation).or_default();
            writes.attempts.push(attempt);
        }
        nameless.retain(|one| named.contains(one));
        found.nameless = nameless.len() as u64;
        for ([dependency, operation, table, _], writes) in &found.operations {
            let mut own = writes.attempts.iter();
            let is_chosen = own.any(|one| matches!(Place::of(view, one), Place::Chosen(_)));
            if is_chosen && writes.are_told() {
                let kind = [*dependency, *operation, *table];
                let is_one = is_one_place.entry(kind).or_insert(true);
                *is_one &= writes.keys().len() == 1;
            }
        }
        let of_one_place = is_one_place.into_iter().filter(|(_, is_one)| *is_one);
        found.of_one_place = of_one_place.map(|(kind, _)| kind).collect();
        found.operations.retain(|_, writes| writes.are_judged(view));
        let attempts = found.operations.values().flat_map(|one| &one.attempts);
        for attempt in attempts.filter(|one| is_within(view, one) && is_ambiguous(one)) {
            found.ambiguous += 1;
            found.last_ambiguous = found.last_ambiguous.max(attempt.waited_for_until());
        }
        found
    }

    fn weigh(&self, view: &View<'_>, found: &Found<'_>, doubled: u64, maybe: u64) -> Judgement {
        let count = found.operations.len() as u64;
        let measured = format!(
            "{doubled} effects too many of {count} operations, {} ambiguous writes",
            found.ambiguous
        );
        let judgement = Judgement::new(view.window(), count, measured);
        if doubled > self.at_most {
            return judgement.fail(format!("{doubled} effects were too many"));
        }
        if found.ambiguous < SAMPLES_MIN {
            return judgement.inconclusive(format!(
                "{} writes were carried out whose caller was not told, at least {SAMPLES_MIN} are needed",
                found.ambiguous
            ));
        }
        if doubled + maybe > self.at_most {
            return judgement.inconclusive(format!(
                "{maybe} more may have been, for nobody knows whether they were carried out, or did the same at another path or key"
            ));
        }
        if found.nameless > 0 {
            return judgement.inconclusive(format!(
                "{} writes have no `{}` by which they could be told to be the same",
                found.nameless, self.id
            ));
        }
        if found.tableless > 0 {
            return judgement.inconclusive(format!(
                "{} writes name no table by which they could be told from others",
                found.tableless
            ));
        }
        let watched = view.history.over().since(found.last_ambiguous);
        if watched < self.settle {
            return judgement.inconclusive(format!(
                "a retry may have come unseen: the run ended {} after the last ambiguous write; `settle` is {}",
                format_duration(watched),
                format_duration(self.settle)
            ));
        }
        judgement
    }
}

impl Expectation for NoDoubleEffect {
    fn judge(&self, view: &View<'_>) -> Judgement {
        let found = self.found(view);
        let (mut doubled, mut maybe) = (0, 0);
        let mut evidence = Vec::new();
        let known_again = self.deduplicated_by.as_deref();
        for ([dependency, operation, table, id], writes) in &found.operations {
            let mut judge = |writes: &Writes<'_>| {
                let effects = writes.effects(known_again);
                let beyond = effects.beyond();
                doubled += beyond.0;
                maybe += beyond.1;
                if beyond.0 > 0 {
                    let began = writes.attempts.first().map(|one| one.began);
                    evidence.extend(began.zip(writes.shown(view, id, &effects)));
                }
            };
            if found
                .of_one_place
                .contains(&[*dependency, *operation, *table])
            {
                judge(writes);
            } else {
                writes.by_key().iter().for_each(judge);
                maybe += writes.elsewhere(known_again);
            }
        }
        evidence.sort_by_key(|(began, _)| *began);
        let judgement = self.weigh(view, &found, doubled, maybe);
        judgement.with(evidence.into_iter().map(|(_, evidence)| evidence))
    }

    fn needs_the_end(&self) -> bool {
        true
    }

    fn hangs_on_time(&self) -> bool {
        false
    }

    fn required(&self) -> String {
        let mut text = format!("one effect on `{}` for each `{}`", self.on, self.id);
        if !self.operations.is_empty() {
            text.push_str(&format!(" of {}", self.operations.join("/")));
        }
        for (to, patterns) in [(" to", &self.paths), (" on table", &self.tables)] {
            if !patterns.is_empty() {
                text.push_str(&format!("{to} {}", patterns.join("/")));
            }
        }
        match self.at_most {
            0 => text,
            most => format!("{text}, but for {most} times"),
        }
    }

    fn scope(&self) -> Scope {
        Scope::Faulted
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, check, check_of, problems};
    use crate::{
        expectation::Status,
        history::sample::{self, AttemptBuilder, Story, attempt},
        protocol::{Applied, Protocol},
        scenario::{KeyFrom, System},
    };

    const CHARGES: &str = "kind = \"no-double-effect\"\non = \"alerts\"\nid_of = \"order\"";

    fn keyed() -> String {
        format!("{CHARGES}\ndeduplicated_by = \"key\"")
    }

    /// A POST for an order, carried out and answered.
    fn charge(began: u64, order: &str) -> AttemptBuilder {
        let charge = attempt("pager", began, began + 100);
        charge
            .operation("POST")
            .key("/charges")
            .captured("order", order)
    }

    /// A POST for an order, carried out and never answered.
    fn lost(began: u64, order: &str) -> AttemptBuilder {
        charge(began, order).gave_up().applied(Applied::Yes).hit()
    }

    /// Orders 0 to 29, one a second; from 10 on the answer is lost, and nobody asks again.
    fn story() -> Story {
        let order = |story: Story, nth: u64| {
            let charge = if nth < 10 { charge } else { lost };
            story.attempt(charge(nth * 1_000, &nth.to_string()))
        };
        (0..30).fold(Story::new().healthy(0..60), order)
    }

    #[test]
    fn once_each_passes_and_says_what_was_ambiguous() {
        let verdict = check(CHARGES, &story());
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(
            verdict.measured,
            "0 effects too many of 20 operations, 20 ambiguous writes"
        );
    }

    #[test]
    fn a_second_charge_fails_and_is_shown() {
        let twice = story().attempt(charge(26_500, "25"));
        let verdict = check(CHARGES, &twice);
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        assert_eq!(
            verdict.evidence[0].what,
            "25 (POST /charges): had its effect 2 times: at 25.000s (not answered) under `hang on object-store`, then at 26.500s (answered)"
        );
        // After the outage, for an operation of the outage.
        let later = story().attempt(charge(50_000, "25"));
        assert_eq!(check(CHARGES, &later).status, Status::Fail);
        let tolerated = format!("{CHARGES}\nat_most = 1");
        assert_eq!(check(&tolerated, &twice).status, Status::Pass);
    }

    #[test]
    fn an_operation_belongs_to_the_phases_in_which_it_was_ambiguous() {
        let before = story()
            .attempt(lost(5_500, "y"))
            .attempt(charge(15_500, "y"));
        assert_eq!(check(CHARGES, &before).status, Status::Pass);
        let redelivered = story()
            .attempt(charge(5_500, "z"))
            .attempt(lost(15_500, "z"));
        assert_eq!(check(CHARGES, &redelivered).status, Status::Fail);
    }

    #[test]
    fn what_the_proxy_repeated_counts_as_often_as_it_was_carried_out() {
        let repeated = story().attempt(lost(28_200, "x").repeated(2));
        let verdict = check(CHARGES, &repeated);
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        assert!(verdict.evidence[0].what.contains("had its effect 3 times"));
        let known = story().attempt(lost(28_200, "x").repeated(2).captured("key", "k"));
        assert_eq!(check(&keyed(), &known).status, Status::Pass);
    }

    #[test]
    fn a_repetition_of_which_nobody_knows_proves_nothing() {
        let sent = |order: AttemptBuilder| story().attempt(order);
        let first = || lost(28_200, "x");
        let unknown = |one: AttemptBuilder| one.applied(Applied::Unknown);
        for (order, status, more) in [
            (first().repeated_unknown(2), Status::Inconclusive, 2),
            (
                unknown(first()).repeated_unknown(2),
                Status::Inconclusive,
                2,
            ),
            (unknown(first()).repeated_unknown(0), Status::Pass, 0),
            (first().repeated(1).repeated_unknown(1), Status::Fail, 0),
            (
                charge(28_200, "x").repeated_unknown(1),
                Status::Inconclusive,
                1,
            ),
        ] {
            let verdict = check(CHARGES, &sent(order));
            assert_eq!(verdict.status, status, "{verdict:?}");
            if status == Status::Inconclusive {
                let reason = verdict.reason.expect("there is one");
                assert!(reason.contains(&format!("{more} more may")), "{reason}");
            }
        }
        // The store knows them again, however many there were.
        let known = sent(first().repeated_unknown(2).captured("key", "k"));
        assert_eq!(check(&keyed(), &known).status, Status::Pass);
    }

    #[test]
    fn a_key_that_the_store_knows_again_makes_one_effect_and_a_new_key_another() {
        let again = |key: &str| {
            let first = lost(28_200, "x").captured("key", "k");
            story()
                .attempt(first)
                .attempt(charge(28_900, "x").captured("key", key))
        };
        assert_eq!(check(&keyed(), &again("k")).status, Status::Pass);
        assert_eq!(check(&keyed(), &again("l")).status, Status::Fail);
        assert_eq!(check(CHARGES, &again("k")).status, Status::Fail);
    }

    #[test]
    fn what_changes_nothing_or_replaces_has_no_second_effect() {
        let again = |second: AttemptBuilder| story().attempt(second.captured("order", "25"));
        let unchanged = charge(26_500, "25").rows(0);
        assert_eq!(check(CHARGES, &again(unchanged)).status, Status::Pass);
        let refused = charge(26_500, "25").status(409);
        assert_eq!(check(CHARGES, &again(refused)).status, Status::Pass);
        let put = |charge: AttemptBuilder| charge.operation("PUT");
        let replaced = story()
            .attempt(put(lost(28_200, "x")))
            .attempt(put(charge(28_900, "x")));
        assert_eq!(check(CHARGES, &replaced).status, Status::Pass);
        let named = format!("{CHARGES}\noperation = [\"POST\", \"PUT\"]");
        assert_eq!(check(&named, &replaced).status, Status::Fail);
    }

    #[test]
    fn a_second_write_of_which_nobody_knows_proves_nothing() {
        let maybe = story().attempt(lost(26_500, "25").applied(Applied::Unknown));
        let verdict = check(CHARGES, &maybe);
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let reason = verdict.reason.expect("there is one");
        assert!(reason.contains("1 more may have been"), "{reason}");
    }

    #[test]
    fn a_write_at_another_path_after_one_that_was_not_answered_may_be_a_retry() {
        let verdict = check(
            CHARGES,
            &story().attempt(charge(26_500, "25").key("/charges/retry-25")),
        );
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let reason = verdict.reason.expect("there is one");
        assert!(reason.contains("1 more may have been"), "{reason}");
        // Before it, after one that was answered, refused, or known again by the store.
        for other in [
            charge(24_500, "25").key("/carts"),
            charge(8_500, "8").key("/receipts"),
            charge(26_500, "25").key("/receipts").status(409),
        ] {
            let verdict = check(CHARGES, &story().attempt(other));
            assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        }
        let known = story()
            .attempt(lost(28_200, "x").captured("key", "k"))
            .attempt(charge(28_900, "x").captured("key", "k").key("/again"));
        assert_eq!(check(&keyed(), &known).status, Status::Pass);
    }

    #[test]
    fn what_a_lost_commit_did_is_ambiguous_until_it_was_given_up() {
        // Answered each, and committed; from 10 on nobody said so for two seconds.
        let system = database(None);
        let committed = |story: Story, nth: u64| {
            let row = row(nth * 1_000, &nth.to_string(), "orders");
            story.attempt(if nth < 10 {
                row
            } else {
                row.untold(nth * 1_000 + 2_000)
            })
        };
        let orders = || (0..30).fold(Story::new().healthy(0..60), committed);
        let verdict = check_of(CHARGES, &orders(), &system);
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert!(
            verdict.measured.ends_with("20 ambiguous writes"),
            "{verdict:?}"
        );
        let again = orders().attempt(row(28_500, "25", "orders"));
        let verdict = check_of(CHARGES, &again, &system);
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        let said = &verdict.evidence[0].what;
        assert!(
            said.contains("(answered, and the end of its transaction not)"),
            "{said}"
        );
        let unknown = row(27_500, "x", "orders")
            .applied(Applied::Unknown)
            .untold(28_000);
        let twice = orders()
            .attempt(unknown)
            .attempt(row(28_500, "x", "orders"));
        let verdict = check_of(CHARGES, &twice, &system);
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        // Begun before the outage, given up within it, and done again after it.
        let across = row(19_500, "y", "orders").untold(22_000);
        let later = orders().attempt(across).attempt(row(41_000, "y", "orders"));
        assert_eq!(check_of(CHARGES, &later, &system).status, Status::Fail);
        // Given up so late that a retry may yet come.
        let late = orders().attempt(row(29_500, "z", "orders").untold(58_000));
        let verdict = check_of(CHARGES, &late, &system);
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let reason = verdict.reason.expect("there is one");
        assert!(reason.contains("a retry may have come unseen"), "{reason}");
    }

    /// The system with a database in the pager's place, whose keys the file chooses or not.
    fn database(key: Option<KeyFrom>) -> System {
        let mut system = sample::system();
        let mut all = system.dependencies.iter_mut();
        let pager = all.find(|one| &*one.name == "pager").expect("the pager");
        pager.protocol = Protocol::Postgres;
        pager.key = key;
        system
    }

    /// Orders 0 to 29 as rows; from 10 on the answer is lost. Each has this key.
    fn rows(key: impl Fn(u64) -> String) -> Story {
        let order = |story: Story, nth: u64| {
            let row = if nth < 10 { charge } else { lost }(nth * 1_000, &nth.to_string());
            story.attempt(row.operation("INSERT").key(&key(nth)))
        };
        (0..30).fold(Story::new().healthy(0..60), order)
    }

    fn row(began: u64, order: &str, key: &str) -> AttemptBuilder {
        charge(began, order).operation("INSERT").key(key)
    }

    #[test]
    fn a_retry_under_a_new_primary_key_is_a_second_effect() {
        let system = database(Some(KeyFrom::Parameter(1)));
        let once = || rows(|nth| format!("a{nth}"));
        assert_eq!(check_of(CHARGES, &once(), &system).status, Status::Pass);
        let twice = once().attempt(row(26_500, "25", "b25"));
        let verdict = check_of(CHARGES, &twice, &system);
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        // Where an order has several rows anyway, nobody knows of which table they are.
        let lines = twice.attempt(row(5_500, "5", "c5"));
        let verdict = check_of(CHARGES, &lines, &system);
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
    }

    #[test]
    fn a_path_that_the_file_names_leaves_the_others_alone() {
        let receipts = |story: Story| story.attempt(charge(26_500, "25").key("/receipts/25"));
        let narrow = format!("{CHARGES}\npath = \"/charges*\"");
        assert_eq!(
            check(CHARGES, &receipts(story())).status,
            Status::Inconclusive
        );
        let verdict = check(&narrow, &receipts(story()));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert!(verdict.required.contains("to /charges*"), "{verdict:?}");
        let twice = receipts(story()).attempt(charge(26_700, "25"));
        assert_eq!(check(&narrow, &twice).status, Status::Fail);
        // Another path that is meant may be a retry still.
        let other = story().attempt(charge(26_500, "25").key("/charges/again"));
        assert_eq!(check(&narrow, &other).status, Status::Inconclusive);
        // Where nothing is meant nothing is shown.
        let none = format!("{CHARGES}\npath = [\"/refunds\", \"/orders\"]");
        assert_eq!(check(&none, &story()).status, Status::Inconclusive);
    }

    #[test]
    fn a_table_that_the_file_names_leaves_the_others_alone_whatever_the_key() {
        let system = database(Some(KeyFrom::Parameter(1)));
        let charges = |table: Option<&'static str>| {
            let order = |story: Story, nth: u64| {
                let row = if nth < 10 { charge } else { lost }(nth * 1_000, &nth.to_string());
                let row = row.operation("INSERT").key(&format!("a{nth}"));
                story.attempt(match table {
                    Some(table) => row.table(table),
                    None => row,
                })
            };
            (0..30).fold(Story::new().healthy(0..60), order)
        };
        let journal = |story: Story| {
            let line = |nth: u64| row(nth * 1_000 + 300, &nth.to_string(), &format!("j{nth}"));
            (0..30).fold(story, |story, nth| {
                story.attempt(line(nth).table("journal"))
            })
        };
        let narrow = format!("{CHARGES}\ntable = \"charges\"");
        let both = || journal(charges(Some("charges")));
        assert_eq!(check_of(&narrow, &both(), &system).status, Status::Pass);
        // Tables that are known are told apart without being named.
        assert_eq!(check_of(CHARGES, &both(), &system).status, Status::Pass);
        let twice = || both().attempt(row(26_500, "25", "b25").table("charges"));
        assert_eq!(check_of(&narrow, &twice(), &system).status, Status::Fail);
        assert_eq!(check_of(CHARGES, &twice(), &system).status, Status::Fail);
        let lines = both().attempt(row(5_500, "5", "k5").table("journal"));
        let lines = lines.attempt(row(26_500, "25", "k25").table("journal"));
        assert_eq!(check_of(&narrow, &lines, &system).status, Status::Pass);
        // Of a history that does not say which table it was nobody knows.
        let verdict = check_of(&narrow, &charges(None), &system);
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let unsure = both().attempt(row(26_500, "25", "b25"));
        let verdict = check_of(&narrow, &unsure, &system);
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let reason = verdict.reason.expect("there is one");
        assert!(reason.contains("1 writes name no table"), "{reason}");
    }

    #[test]
    fn a_row_of_another_table_is_another_operation() {
        let system = database(None);
        let orders = || rows(|_| "orders".to_owned());
        let other = orders().attempt(row(26_500, "25", "lines"));
        assert_eq!(check_of(CHARGES, &other, &system).status, Status::Pass);
        let twice = orders().attempt(row(26_500, "25", "orders"));
        assert_eq!(check_of(CHARGES, &twice, &system).status, Status::Fail);
    }

    #[test]
    fn requests_that_waited_for_us_do_not_undo_a_second_effect() {
        let twice = story().attempt(charge(26_500, "25")).waited(25, 90);
        assert_eq!(check(CHARGES, &twice).status, Status::Fail);
    }

    #[test]
    fn without_ambiguity_a_pass_says_nothing_and_a_second_effect_still_fails() {
        let told = || {
            let order = |story: Story, nth: u64| {
                let charge = charge(nth * 1_000, &nth.to_string());
                story.attempt(if nth < 10 { charge } else { charge.hit() })
            };
            (0..30).fold(Story::new().healthy(0..60), order)
        };
        let verdict = check(CHARGES, &told());
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let reason = verdict.reason.expect("there is one");
        assert!(
            reason.contains("0 writes were carried out whose"),
            "{reason}"
        );
        let twice = told().attempt(charge(26_500, "25"));
        assert_eq!(check(CHARGES, &twice).status, Status::Fail);
        // What was never carried out cannot have been doubled.
        let unseen = (0..5).fold(told(), |story, nth| {
            story.attempt(lost(28_000 + nth, "x").applied(Applied::No))
        });
        assert_eq!(check(CHARGES, &unseen).status, Status::Inconclusive);
    }

    #[test]
    fn a_write_without_an_id_and_a_run_that_ends_early_leave_it_open() {
        let nameless = |path: &str| {
            let nameless = attempt("pager", 25_500, 25_600).operation("POST");
            check(CHARGES, &story().attempt(nameless.key(path)))
        };
        let verdict = nameless("/charges");
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let reason = verdict.reason.expect("there is one");
        assert!(reason.contains("have no `order`"), "{reason}");
        // Where nothing bears an id, none is missed.
        assert_eq!(nameless("/token").status, Status::Pass);
        let patient = format!("{CHARGES}\nsettle = \"40s\"");
        let verdict = check(&patient, &story());
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let reason = verdict.reason.expect("there is one");
        assert!(reason.contains("a retry may have come unseen"), "{reason}");
    }

    #[test]
    fn a_dependency_without_requests_or_with_no_such_capture_is_a_problem() {
        let queue = CHARGES.replace("alerts", "queue");
        assert!(problems(&queue)[0].contains("single requests are not seen"));
        let other = CHARGES.replace("alerts", "s3");
        assert!(problems(&other)[0].contains("captures no `order`"));
        let table = format!("{CHARGES}\ntable = \"charges\"");
        assert!(problems(&table)[0].contains("whose requests name no table"));
        let mut names = testing::names();
        for (_, _, protocol) in &mut names.dependencies {
            *protocol = Protocol::Postgres;
        }
        for (named, hint) in [
            ("\"public.charges\"", "write \"charges\""),
            ("[\"receipts\", \"audit.*\"]", "name the tables of `audit`"),
        ] {
            let mut found = crate::input::Problems::default();
            testing::parse_with(&format!("{CHARGES}\ntable = {named}"), &names, &mut found);
            let found = format!("{found:?}");
            assert!(found.contains("matches no table"), "{found}");
            assert!(found.contains(&hint.replace('"', "\\\"")), "{found}");
        }
        let nothing = format!("{CHARGES}\npath = []");
        assert!(problems(&nothing)[0].contains("`path` names nothing"));
    }
}
