//! `quota`: so much may be used, and what goes beyond is refused as the provider refuses it.
//!
//! Counting begins when the fault comes into force. A quota with a `name` remembers its use for
//! the whole run: in a later phase, and on whatever other dependency it is put. One without begins
//! anew each time. When no phase has it any more nothing is refused.
//!
//! What is refused is not counted. Bytes are known only when a request is over, so a quota of bytes
//! lets the last one exceed it, as providers do.

mod dialect;
mod meter;

pub use meter::Meter;

use super::{
    Acts, Behaviour, By, ConnectionEvent, Context, Decision, End, FaultDef, Group,
    refusal::{self, REFUSAL},
};
use crate::{
    input::{About, Fields, Key, Problems, Shape, did_you_mean},
    protocol::{Call, Protocol},
    seed::name_hash,
    units::{Bytes, Micros, Share},
};
use dialect::{DIALECTS, Refusal};
use meter::{Limit, Refill};
use parking_lot::Mutex;
use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};
use toml::de::DeValue;

const KEYS: &[Key] = &[
    Key::required(
        "counts",
        Shape::OneOf(&["requests", "messages", "bytes", "connections"]),
        "what is counted; messages: requests that hand something over (over HTTP all but GET, HEAD and OPTIONS); bytes: of bodies, both ways; connections: those open at the same time, on pusher the WebSockets",
    ),
    Key::optional(
        "limit",
        Shape::AnyOf(&[Shape::Integer(0, LIMIT_MAX), Shape::Bytes]),
        "so much may be used; of bytes a size, \"10MB\"",
    ),
    Key::optional(
        "window",
        Shape::Duration,
        "what was used is given back at the end of each window of this length",
    ),
    Key::optional("total", Shape::Bool, "nothing is given back"),
    Key::optional(
        "rate",
        Shape::Rate,
        "a token bucket: so much a second is given back, and `burst` is the limit",
    ),
    Key::optional(
        "burst",
        Shape::Integer(1, LIMIT_MAX),
        "the depth of the token bucket (what comes back in a second)",
    ),
    Key::optional(
        "used",
        Shape::AnyOf(&[Shape::Integer(0, LIMIT_MAX), Shape::Bytes]),
        "what is used already when the counting begins (0)",
    ),
    Key::optional(
        "per",
        Shape::Text,
        "who has an account of its own: \"all\" share one, \"key\", \"connection\", or \"header:NAME\" (all)",
    ),
    Key::optional(
        "name",
        Shape::Text,
        "quotas of one name that count the same share their use, on all dependencies and in all phases",
    ),
    Key::optional(
        "existing",
        Shape::OneOf(&["kept", "cut"]),
        "connections that are open already and beyond the limit (kept)",
    ),
    Key::optional(
        "warn",
        Shape::Share,
        "the share of the limit at which the provider warns, once",
    ),
    Key::optional(
        "warnings",
        Shape::OneOf(&["sent", "withheld"]),
        "whether the warning goes out; either is noted in the history (sent)",
    ),
    REFUSAL,
];

const LIMIT_MAX: i64 = 1_000_000_000_000;

/// The longest name, in characters.
const NAME_MAX: usize = 200;

/// The most names whose use is remembered while no fault in force has them; more than a scenario can
/// have. Beyond it the one is forgotten that was used longest ago, and begins anew.
const REMEMBERED_MAX: usize = 1_000;

/// The most accounts of such names together.
const ACCOUNTS_REMEMBERED_MAX: usize = 1_000_000;

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "quota",
    group: Group::Capacity,
    summary: "so much may be used; what goes beyond is refused as a provider does",
    about: About {
        text: "\
            So much may be used; what goes beyond is refused as the provider does it. It counts \
            requests, messages, bytes or connections, by a window, in total or by a token \
            bucket, for everybody together or for each key, connection or header. When it is \
            lifted the account is whole again.\n\n\
            Providers warn, or, as in the outage that this kind was made for, do not: `warnings \
            = \"withheld\"`.",
        evidence: "\
            Each request or connection that was refused is an act; use below the limit is none.",
        doubt: "",
        mistakes: &[
            "\
                `used` begins the account part-used, so that a short phase reaches the limit.",
            "Quotas of one `name` share their use over dependencies and phases.",
        ],
        related: &["max-connections", "error", "obeys-codes", "back-off"],
    },
    example: "[[phase.fault]]\nkind    = \"quota\"\non      = \"object-store\"\ncounts  = \"requests\"\nlimit   = 100\nwindow  = \"1m\"\nused    = 90\nrefusal = \"429\"\n",
    example_protocol: Protocol::Http,
    keys: KEYS,
    refuses: &[],
    ramps: &[],
    carried_by: super::keys::any_protocol,
    parse: |fields, protocol, gate, problems| {
        let before = problems.as_slice().len();
        let counts = counts(fields, protocol, problems);
        if counts == Some(Counts::Connections) {
            if !gate.when.is_empty() {
                let hint = "leave `when` out, or count requests".to_owned();
                let message = "connections are counted before any request is seen";
                fields.problem(problems, "when", message, hint);
            }
            super::keys::by_connection(fields, gate, problems);
        }
        if counts == Some(Counts::Sockets) && fields.has("name") {
            let message = "WebSockets are counted by the age that each has at its dependency";
            let hint = "leave `name` out: the quota covers one dependency".to_owned();
            fields.problem(problems, "name", message, hint);
        }
        let limit = limit(fields, counts, problems);
        let used = amount(fields, "used", counts, problems).unwrap_or(0.0);
        let per = per(fields, counts, protocol, problems);
        let refusal = how(fields, protocol, problems);
        let warning = warning(fields, problems);
        let existing = fields.word("existing", problems).map(|word| word.value);
        if existing.is_some() && counts.is_some_and(|counts| !counts.are_open()) {
            let hint = "leave it out, or write counts = \"connections\"".to_owned();
            let message = "`existing` says what becomes of connections, which are not counted";
            fields.problem(problems, "existing", message, hint);
        }
        let name = fields.text("name", problems).map(|name| name.value);
        if name
            .as_ref()
            .is_some_and(|name| name.chars().count() > NAME_MAX)
        {
            let message = format!("`name` is longer than {NAME_MAX} characters");
            fields.problem(problems, "name", message, None);
        }
        let clean = problems.as_slice().len() == before;
        Some(Box::new(Quota {
            counts: counts?,
            limit: limit.filter(|_| clean)?,
            used,
            per,
            refusal: refusal?,
            keeps: existing != Some("cut"),
            name,
            warning,
        }))
    },
};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Counts {
    Requests,
    Messages,
    Bytes,
    Connections,
    /// The connections of Pusher: its HTTP API has none that count.
    Sockets,
}

impl Counts {
    /// Whether it counts what is open, and not what was done.
    fn are_open(self) -> bool {
        matches!(self, Self::Connections | Self::Sockets)
    }
}

fn counts(fields: &Fields<'_>, protocol: Protocol, problems: &mut Problems) -> Option<Counts> {
    let counts = match fields.word("counts", problems)?.value {
        "requests" => Counts::Requests,
        "messages" => Counts::Messages,
        "bytes" => Counts::Bytes,
        _ if protocol == Protocol::Pusher => Counts::Sockets,
        _ => Counts::Connections,
    };
    if !counts.are_open() && !protocol.has_messages() {
        let message = format!("the protocol {protocol} shows no single requests to count");
        let hint = "write counts = \"connections\", or give the dependency a protocol".to_owned();
        fields.problem(problems, "counts", message, hint);
    }
    Some(counts)
}

/// An amount of what is counted: a number, of bytes a size.
fn amount(
    fields: &Fields<'_>,
    key: &'static str,
    counts: Option<Counts>,
    problems: &mut Problems,
) -> Option<f64> {
    let value = fields.raw(key)?;
    let amount = match (value.get_ref(), counts) {
        (_, None) => return None,
        (DeValue::String(text), Some(Counts::Bytes)) => {
            Bytes::from_str(text).ok().map(|bytes| bytes.0)
        }
        (
            DeValue::Integer(number),
            Some(Counts::Requests | Counts::Messages | Counts::Connections | Counts::Sockets),
        ) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    };
    let amount = amount.filter(|amount| i64::try_from(*amount).is_ok_and(|a| a <= LIMIT_MAX));
    if amount.is_none() {
        let (what, hint) = match counts {
            Some(Counts::Bytes) => ("a size", format!("{key} = \"10MB\"")),
            _ => ("a whole number from 0", format!("{key} = 100")),
        };
        fields.problem(problems, key, format!("`{key}` must be {what}"), hint);
    }
    amount.map(|amount| amount as f64)
}

fn limit(fields: &Fields<'_>, counts: Option<Counts>, problems: &mut Problems) -> Option<Limit> {
    let laws: Vec<&str> = ["window", "total", "rate"]
        .into_iter()
        .filter(|key| fields.has(key))
        .collect();
    let is_open = counts.is_some_and(Counts::are_open);
    if let (true, Some(law)) = (is_open, laws.first()) {
        let message = format!("connections count while they are open, and so `{law}` says nothing");
        fields.problem(problems, law, message, format!("leave `{law}` out"));
        return None;
    }
    if laws.len() > 1 {
        let message = format!(
            "what comes back is said {} times: {}",
            laws.len(),
            laws.join(", ")
        );
        fields.problem(problems, laws[1], message, "keep one of them".to_owned());
        return None;
    }
    if laws.is_empty() && !is_open {
        let message = format!("{} does not say what is given back", fields.name());
        let hint = "write window = \"1m\", total = true, or rate = \"100/s\"".to_owned();
        problems.error(fields.source, fields.span.clone(), message, hint);
        return None;
    }
    if fields.has("rate") {
        return bucket(fields, problems);
    }
    if fields.has("burst") {
        let hint = "write `limit`, or a `rate` for a token bucket".to_owned();
        fields.problem(problems, "burst", "`burst` belongs to a `rate`", hint);
    }
    let refill = match fields.duration("window", problems) {
        Some(length) if length.is_zero() => {
            fields.problem(problems, "window", "`window` must be above zero", None);
            return None;
        }
        Some(length) => Refill::Window(length),
        None if fields.has("window") => return None,
        None => Refill::Total,
    };
    if fields.bool("total", problems) == Some(false) {
        let hint = "write window = \"1m\", total = true, or rate = \"100/s\"".to_owned();
        let message = "`total = false` does not say what is given back";
        fields.problem(problems, "total", message, hint);
    }
    if !fields.has("limit") {
        let message = format!("{} has no `limit`", fields.name());
        let hint = "say how much may be used: limit = 100".to_owned();
        problems.error(fields.source, fields.span.clone(), message, hint);
    }
    let most = amount(fields, "limit", counts, problems)?;
    Some(Limit { most, refill })
}

fn bucket(fields: &Fields<'_>, problems: &mut Problems) -> Option<Limit> {
    if fields.has("limit") {
        let hint = "write it as `burst`".to_owned();
        fields.problem(
            problems,
            "limit",
            "the limit of a token bucket is its depth",
            hint,
        );
    }
    let rate = fields.rate("rate", problems)?.as_per_second();
    let burst = fields.integer("burst", problems).map(|burst| burst as f64);
    Some(Limit {
        most: burst.unwrap_or(rate.ceil().max(1.0)),
        refill: Refill::Bucket(rate),
    })
}

/// Who has an account.
fn per(
    fields: &Fields<'_>,
    counts: Option<Counts>,
    protocol: Protocol,
    problems: &mut Problems,
) -> Option<By> {
    let per = fields.text("per", problems)?.value;
    let by = match (per.as_str(), per.strip_prefix("header:")) {
        ("all", _) => return None,
        ("key", _) => Some(By::Key),
        ("connection", _) => Some(By::Connection),
        (_, Some(name)) if !name.is_empty() && protocol.is_http() => {
            Some(By::Header(name.to_lowercase().into()))
        }
        _ => None,
    };
    let are_open = counts.is_some_and(Counts::are_open);
    if by.is_none() || are_open {
        let message = match are_open {
            true => "connections have one account".to_owned(),
            false => format!("unknown per `{per}`"),
        };
        let hint = match are_open {
            true => "leave `per` out".to_owned(),
            false => "one of: all, key, connection; over HTTP also header:NAME".to_owned(),
        };
        fields.problem(problems, "per", message, hint);
    }
    by
}

/// How it refuses. A quota that does not say so is a problem: it would be guessed.
fn how(fields: &Fields<'_>, protocol: Protocol, problems: &mut Problems) -> Option<Refusal> {
    let example = match protocol.def().name {
        "http" => "refusal = \"429\", or as a provider does: \"pusher-403\", \"stripe-429\" …",
        "s3" => "refusal = \"SlowDown\"",
        "postgres" => "refusal = \"53300\"",
        "mysql" => "refusal = \"1040\"",
        "pusher" => "refusal = \"4004\", or for the HTTP API \"403\"",
        "redis" => "refusal = \"max-clients\"",
        _ => "refusal = \"close\" or \"reset\"",
    };
    let Some(value) = fields.raw("refusal") else {
        let message = format!("{} has no `refusal`", fields.name());
        let hint = format!("say what goes beyond the limit gets: {example}");
        problems.error(fields.source, fields.span.clone(), message, hint);
        return None;
    };
    if let DeValue::String(name) = value.get_ref() {
        if **name == *"hang" {
            return Some(Refusal::Fixed(End::Hang));
        }
        if protocol.is_http() {
            if let Some(dialect) = dialect::find(name) {
                return Some(Refusal::Dialect(dialect));
            }
            let known = DIALECTS.iter().map(|dialect| dialect.name);
            if refusal::named(name, protocol).is_err()
                && let Some(near) = did_you_mean(name, known)
            {
                let message = format!("no refusal `{name}` is known");
                fields.problem(
                    problems,
                    "refusal",
                    message,
                    format!("did you mean `{near}`?"),
                );
                return None;
            }
        }
    }
    refusal::parse(fields, protocol, problems).map(Refusal::Fixed)
}

/// When the provider warns, and whether that goes out.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Warning {
    at: Share,
    is_sent: bool,
}

fn warning(fields: &Fields<'_>, problems: &mut Problems) -> Option<Warning> {
    let sent = fields.word("warnings", problems).map(|word| word.value);
    let at = fields.share("warn", problems);
    if sent.is_some() && !fields.has("warn") {
        let hint = "say when: warn = \"80%\"".to_owned();
        fields.problem(problems, "warnings", "`warnings` without `warn`", hint);
    }
    Some(Warning {
        at: at?,
        is_sent: sent != Some("withheld"),
    })
}

/// A quota as a file describes it. What it counts is a [`Counting`].
#[derive(Debug, Clone)]
struct Quota {
    counts: Counts,
    limit: Limit,
    used: f64,
    per: Option<By>,
    refusal: Refusal,
    keeps: bool,
    name: Option<String>,
    warning: Option<Warning>,
}

/// What faults remember across the phases of a run: of at most 1,000 names that no fault in force has.
#[derive(Debug, Default)]
pub struct Memory {
    meters: BTreeMap<String, Remembered>,
    /// How often one was asked for.
    asked: u64,
}

/// The use of a name.
#[derive(Debug)]
struct Remembered {
    meter: Arc<Mutex<Meter>>,
    /// When it was last asked for, among all.
    asked: u64,
}

impl Remembered {
    /// Whether no fault in force has it.
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.meter) == 1
    }
}

impl Memory {
    /// The meter of this name, or a fresh one that has it from now on.
    fn meter(
        &mut self,
        name: String,
        fresh: impl FnOnce() -> Arc<Mutex<Meter>>,
    ) -> Arc<Mutex<Meter>> {
        self.asked += 1;
        let asked = self.asked;
        if let Some(known) = self.meters.get_mut(&name) {
            known.asked = asked;
            return Arc::clone(&known.meter);
        }
        self.forget_beyond(REMEMBERED_MAX - 1, ACCOUNTS_REMEMBERED_MAX);
        let meter = fresh();
        let remembered = Remembered {
            meter: Arc::clone(&meter),
            asked,
        };
        self.meters.insert(name, remembered);
        meter
    }

    /// Forgets of the idle ones those that were used longest ago, until there are no more than so many,
    /// with no more than so many accounts.
    fn forget_beyond(&mut self, names_max: usize, accounts_max: usize) {
        let idle = self.meters.iter().filter(|(_, one)| one.is_idle());
        let mut idle: Vec<(u64, usize, String)> = idle
            .map(|(name, one)| (one.asked, one.meter.lock().size(), name.clone()))
            .collect();
        idle.sort_unstable();
        let mut accounts: usize = idle.iter().map(|(_, accounts, _)| accounts).sum();
        let mut names = idle.len();
        for (_, size, name) in idle {
            if names <= names_max && accounts <= accounts_max {
                return;
            }
            self.meters.remove(&name);
            names -= 1;
            accounts -= size;
        }
    }
}

impl Behaviour for Quota {
    fn armed(
        &self,
        memory: &mut Memory,
        dependency: &str,
        at: Micros,
    ) -> Option<Arc<dyn Behaviour>> {
        let fresh = || Arc::new(Mutex::new(Meter::new(self.used, at)));
        let meter = match &self.name {
            Some(name) => memory.meter(format!("{:?} {name}", self.counts), fresh),
            None => fresh(),
        };
        let dependency = name_hash(&[dependency]);
        meter.lock().recount(at);
        Some(Arc::new(Counting {
            quota: self.clone(),
            meter,
            dependency,
            notes: Mutex::default(),
        }))
    }

    fn acts(&self) -> Acts {
        match self.counts {
            Counts::Connections => Acts::CONNECTIONS,
            Counts::Sockets => Acts {
                sockets: !self.keeps,
                ..Acts::REQUESTS
            },
            _ => Acts::REQUESTS,
        }
    }
}

/// A quota in force.
struct Counting {
    quota: Quota,
    meter: Arc<Mutex<Meter>>,
    dependency: u64,
    notes: Mutex<Vec<(Micros, String)>>,
}

impl fmt::Debug for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counting").field(&self.quota).finish()
    }
}

impl Counting {
    fn account(&self, call: &Call) -> u64 {
        self.quota.per.as_ref().map_or(0, |by| by.of(call))
    }

    /// Whether a request counts.
    fn concerns(&self, call: &Call) -> bool {
        let reads = ["GET", "HEAD", "OPTIONS"].contains(&&*call.method);
        match self.quota.counts {
            Counts::Requests | Counts::Bytes => true,
            Counts::Messages => !reads,
            Counts::Connections | Counts::Sockets => false,
        }
    }

    /// What a WebSocket gets that is one too many among those that are open: with `existing = "cut"`
    /// the youngest of them, with the refusal's own code.
    fn socket(&self, call: &Call, now: Micros) -> Option<Decision> {
        let quota = &self.quota;
        let place = call
            .place
            .filter(|place| !(place.already_open && quota.keeps))?;
        let open = place.rank as f64 + quota.used;
        let mut meter = self.meter.lock();
        self.warn(&mut meter, open.min(quota.limit.most), now);
        let over = meter::Over {
            limit: quota.limit,
            restored_in: None,
        };
        (open > quota.limit.most).then(|| Decision::end(quota.refusal.end(&over)))
    }

    /// Notes the warning, the first time that so much is used.
    fn warn(&self, meter: &mut Meter, used: f64, now: Micros) {
        let Some(warning) = self.quota.warning else {
            return;
        };
        if !meter.reaches(used, warning.at.fraction(), &self.quota.limit) {
            return;
        }
        let name = self.quota.name.as_deref();
        let name = name.map_or_else(String::new, |name| format!(" `{name}`"));
        let what = if warning.is_sent { "sent" } else { "withheld" };
        let note = format!("{} of the quota{name} used: warning {what}", warning.at);
        self.notes.lock().push((now, note));
    }
}

impl Behaviour for Counting {
    fn request(&self, call: &Call, context: &Context) -> Option<Decision> {
        if self.quota.counts == Counts::Sockets {
            return self.socket(call, context.now);
        }
        if !self.concerns(call) {
            return None;
        }
        let (limit, account) = (self.quota.limit, self.account(call));
        let mut meter = self.meter.lock();
        let taken = meter.take(account, 1.0, &limit, context.now);
        if let Err(over) = taken {
            return Some(Decision::end(self.quota.refusal.end(&over)));
        }
        if self.quota.counts == Counts::Bytes {
            // There is something left; how much it takes is known when it is over.
            meter.add(account, -1.0, &limit, context.now);
        }
        let used = meter.used(account, &limit, context.now);
        self.warn(&mut meter, used, context.now);
        None
    }

    fn connection(&self, event: &ConnectionEvent, context: &Context) -> Option<Decision> {
        let quota = &self.quota;
        if quota.counts != Counts::Connections {
            return None;
        }
        let connection = (self.dependency, event.connection);
        let mut meter = self.meter.lock();
        let has_room = if event.already_open {
            meter.already_open(connection, quota.keeps, quota.limit.most)
        } else {
            meter.connect(connection, event.open, quota.limit.most)
        };
        let used = meter.connections();
        self.warn(&mut meter, used, context.now);
        if has_room {
            return None;
        }
        if event.already_open {
            return Some(Decision::end(quota.refusal.cut()));
        }
        let over = meter::Over {
            limit: quota.limit,
            restored_in: None,
        };
        Some(Decision::end(refusal::closes(quota.refusal.end(&over))))
    }

    fn ended(&self, call: &Call, bytes: u64, now: Micros) {
        if self.quota.counts == Counts::Bytes {
            let (limit, account) = (self.quota.limit, self.account(call));
            let mut meter = self.meter.lock();
            meter.add(account, bytes as f64, &limit, now);
            let used = meter.used(account, &limit, now);
            self.warn(&mut meter, used, now);
        }
    }

    fn closed(&self, connection: u64) {
        self.meter.lock().close((self.dependency, connection));
    }

    fn counts(&self) -> bool {
        matches!(self.quota.counts, Counts::Bytes | Counts::Connections)
    }

    fn notes(&self) -> Vec<(Micros, String)> {
        std::mem::take(&mut *self.notes.lock())
    }

    fn acts(&self) -> Acts {
        self.quota.acts()
    }
}

#[cfg(test)]
mod tests;
