//! Keys that several kinds share, and their reading: laws of delay, `applied`, `direction`, how a
//! connection is closed; and at which level a fault acts.

use super::{
    By, Closing, Context, Decision, Direction, End, Gate, Law, Reply, Then, law::DELAY_MAX,
};
use crate::{
    input::{Fields, Key, Problems, Shape},
    protocol::{Protocol, pusher},
    seed::Seed,
    units::{format_duration, parse_duration},
};
use std::time::Duration;

/// A place for lists of keys that are made of several.
pub(super) const fn joined<const N: usize>(one: &[Key], other: &[Key]) -> [Key; N] {
    assert!(
        one.len() + other.len() == N,
        "the length of the joined list"
    );
    let mut all = [Key::optional("", Shape::Any, ""); N];
    let mut at = 0;
    while at < N {
        all[at] = if at < one.len() {
            one[at]
        } else {
            other[at - one.len()]
        };
        at += 1;
    }
    all
}

/// Any protocol carries it.
pub(super) fn any_protocol(_: Protocol) -> Result<(), &'static str> {
    Ok(())
}

/// Only protocols whose single requests are seen carry it.
pub(super) fn messages(protocol: Protocol) -> Result<(), &'static str> {
    if protocol.has_messages() {
        Ok(())
    } else {
        Err(
            "no single answers are seen there; `hang`, `reset`, `close`, `truncate` and `stall` act on any stream",
        )
    }
}

/// Only HTTP's answers have a body apart from their head.
pub(super) fn bodies(protocol: Protocol) -> Result<(), &'static str> {
    messages(protocol)?;
    if protocol.is_http() {
        Ok(())
    } else {
        Err(
            "only answers of http and s3 have a head and a body; `truncate` and `stall` act on the bytes of any stream",
        )
    }
}

/// The gate's keys that pick single requests, and why a kind that acts on bytes takes no `when`.
pub(super) const BYTES_REFUSE: &[(&str, &str)] = &[(
    "when",
    "it acts on the bytes of connections, whatever they mean; `latency`, `stalled-body` and \
     `truncated-body` act on single requests",
)];

/// The gate's keys that a kind about connections cannot take.
pub(super) const CONNECTIONS_REFUSE: &[(&str, &str)] =
    &[("when", "it acts on connections, before any request is seen")];

/// The gate's keys that a fault on processes cannot take.
pub(super) const PROCESS_REFUSE: &[(&str, &str)] = &[
    ("when", NO_EVENTS),
    ("share", NO_EVENTS),
    ("by", NO_EVENTS),
    ("first", NO_EVENTS),
    ("every", NO_EVENTS),
    ("after", NO_EVENTS),
    ("ramp", NO_EVENTS),
];

const NO_EVENTS: &str = "it acts once, when its phase begins";

/// Reports a `by` that names something else than connections.
pub(super) fn by_connection(fields: &Fields<'_>, gate: &Gate, problems: &mut Problems) {
    if let Some(by) = &gate.by
        && *by != By::Connection
    {
        let message = format!("it acts on connections, not by {by}");
        let hint = "leave `by` out, or write \"connection\"".to_owned();
        fields.problem(problems, "by", message, hint);
    }
}

/// What a fault acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Whole connections, open and idle ones too.
    Connection,
    /// Single requests.
    Request,
}

/// The level of a kind that can act on both: requests where the protocol shows them, unless the
/// file says `by = "connection"` and picks no requests by `when`.
pub(super) fn level(protocol: Protocol, gate: &Gate) -> Level {
    let asked = gate.by == Some(By::Connection) && gate.when.is_empty();
    if asked || !protocol.has_messages() {
        Level::Connection
    } else {
        Level::Request
    }
}

/// The keys of a law of delays.
pub(super) const LAW: &[Key; 7] = &[
    Key::optional("delay", Shape::Duration, "always this long"),
    Key::optional(
        "uniform",
        Shape::Texts,
        "evenly from the first to the second: [\"10ms\", \"50ms\"]",
    ),
    Key::optional(
        "exponential",
        Shape::Duration,
        "exponential, with this mean",
    ),
    Key::optional("normal", Shape::Table(NORMAL), "normal, cut at zero"),
    Key::optional("log_normal", Shape::Table(LOG_NORMAL), "log-normal"),
    Key::optional("pareto", Shape::Table(PARETO), "Pareto, the heavy tail"),
    Key::optional(
        "recorded",
        Shape::Texts,
        "one of these at random, as measured",
    ),
];

const NORMAL: &[Key] = &[
    Key::required("mean", Shape::Duration, "the mean"),
    Key::required("deviation", Shape::Duration, "the standard deviation"),
];

const LOG_NORMAL: &[Key] = &[
    Key::required("median", Shape::Duration, "the median"),
    Key::required(
        "sigma",
        Shape::Number(0.0, 10.0),
        "the standard deviation of the logarithm",
    ),
];

const PARETO: &[Key] = &[
    Key::required("scale", Shape::Duration, "the least delay"),
    Key::required(
        "shape",
        Shape::Number(0.05, 100.0),
        "the tail's exponent: the smaller, the heavier",
    ),
];

/// Delays by a law, or by a ramp.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Delays {
    /// By this law.
    Drawn(Law),
    /// All the same, moving from the first to the second over the phase.
    Ramp(Duration, Duration),
}

impl Delays {
    /// Reads one law out of the keys of [`LAW`], or the gate's ramp.
    pub(super) fn parse(fields: &Fields<'_>, gate: &Gate, problems: &mut Problems) -> Option<Self> {
        let before = problems.as_slice().len();
        let mut given: Vec<&str> = LAW
            .iter()
            .map(|key| key.name)
            .filter(|name| fields.has(name))
            .collect();
        if gate.ramp.delay.is_some() {
            given.push("ramp");
        }
        if given.len() > 1 {
            let message = format!(
                "the delay is given {} times: {}",
                given.len(),
                given.join(", ")
            );
            fields.problem(problems, given[1], message, "keep one of them".to_owned());
        }
        if given.is_empty() {
            let message = format!("{} has no delay", fields.name());
            let hint = "write `delay = \"250ms\"`, or one of uniform, exponential, normal, log_normal, pareto, recorded";
            problems.error(fields.source, fields.span.clone(), message, hint.to_owned());
        }
        let delays = match gate.ramp.delay {
            Some((from, to)) => Some(Self::Ramp(from, to)),
            None => law(fields, problems).map(Self::Drawn),
        };
        if let Some(longest) = delays.as_ref().and_then(Self::longest)
            && longest > DELAY_MAX
        {
            let message = format!("a delay of {} is too long", format_duration(longest));
            let hint = "at most 1h; a `hang` never answers".to_owned();
            let key = given.first().copied().unwrap_or("delay");
            fields.problem(problems, key, message, hint);
        }
        delays.filter(|_| problems.as_slice().len() == before)
    }

    /// Reads exactly one law out of a table that is one.
    pub(super) fn law(fields: &Fields<'_>, problems: &mut Problems) -> Option<Law> {
        match Self::parse(fields, &Gate::default(), problems)? {
            Self::Drawn(law) => Some(law),
            Self::Ramp(..) => None,
        }
    }

    /// The longest delay that stands in the file.
    fn longest(&self) -> Option<Duration> {
        match self {
            Self::Ramp(one, other) => Some(*one.max(other)),
            Self::Drawn(law) => Some(law.longest()),
        }
    }

    /// The law in force when this much of the phase is over.
    pub(super) fn at(&self, progress: f64) -> Law {
        match self {
            Self::Drawn(law) => law.clone(),
            Self::Ramp(from, to) => {
                let (from, to) = (from.as_secs_f64(), to.as_secs_f64());
                let seconds = (from + (to - from) * progress).max(0.0);
                Law::Constant(Duration::try_from_secs_f64(seconds).unwrap_or_default())
            }
        }
    }

    /// The delay of one request: a function of the request alone, and of the moment for a ramp.
    pub(super) fn draw(&self, context: &Context) -> Duration {
        match self {
            Self::Drawn(Law::Constant(delay)) => *delay,
            _ => {
                let (seed, name, key) = context.stream;
                self.at(context.progress)
                    .draw(&mut seed.generator(name, key))
            }
        }
    }
}

/// The law that one of the keys of [`LAW`] gives; `delay` where none of the others stands.
fn law(fields: &Fields<'_>, problems: &mut Problems) -> Option<Law> {
    if fields.has("uniform") {
        let bounds = durations(fields, "uniform", problems)?;
        let &[low, high] = bounds.as_slice() else {
            let hint = "write the least and the greatest: [\"10ms\", \"50ms\"]".to_owned();
            fields.problem(problems, "uniform", "`uniform` needs two durations", hint);
            return None;
        };
        if low > high {
            let hint = "the least comes first".to_owned();
            fields.problem(problems, "uniform", "`uniform` runs backwards", hint);
            return None;
        }
        return Some(Law::Uniform(low, high));
    }
    if fields.has("exponential") {
        return above_zero(fields, "exponential", problems).map(Law::Exponential);
    }
    if let Some(normal) = fields.table("normal", problems) {
        let mean = normal.duration("mean", problems);
        let deviation = normal.duration("deviation", problems);
        return Some(Law::Normal(mean?, deviation?));
    }
    if let Some(log_normal) = fields.table("log_normal", problems) {
        let median = above_zero(&log_normal, "median", problems);
        let sigma = log_normal.number("sigma", problems);
        return Some(Law::LogNormal(median?, sigma?));
    }
    if let Some(pareto) = fields.table("pareto", problems) {
        let scale = above_zero(&pareto, "scale", problems);
        let shape = pareto.number("shape", problems);
        return Some(Law::Pareto(scale?, shape?));
    }
    if fields.has("recorded") {
        let delays = durations(fields, "recorded", problems)?;
        if delays.is_empty() {
            let message = "`recorded` needs at least one duration";
            fields.problem(problems, "recorded", message, None);
            return None;
        }
        return Some(Law::Recorded(delays.into()));
    }
    fields.duration("delay", problems).map(Law::Constant)
}

fn above_zero(fields: &Fields<'_>, key: &'static str, problems: &mut Problems) -> Option<Duration> {
    let value = fields.duration(key, problems)?;
    if value.is_zero() {
        fields.problem(problems, key, format!("`{key}` must be above zero"), None);
        return None;
    }
    Some(value)
}

fn durations(
    fields: &Fields<'_>,
    key: &'static str,
    problems: &mut Problems,
) -> Option<Vec<Duration>> {
    let items = fields.texts(key, problems)?;
    let mut values = Vec::with_capacity(items.len());
    for item in &items {
        match parse_duration(&item.value) {
            Ok(value) => values.push(value),
            Err(error) => {
                let message = format!("`{key}`: {error}");
                problems.error(fields.source, item.span.clone(), message, None);
            }
        }
    }
    (values.len() == items.len()).then_some(values)
}

/// The key that says what becomes of WebSockets that are open already.
pub(super) const EXISTING: Key = Key::optional(
    "existing",
    Shape::OneOf(&["keep", "cut"]),
    "pusher: whether WebSockets that are open already are closed too (keep)",
);

/// Whether open WebSockets are closed too.
pub(super) fn cuts_existing(
    fields: &Fields<'_>,
    protocol: Protocol,
    problems: &mut Problems,
) -> bool {
    if protocol != Protocol::Pusher && fields.has("existing") {
        let message = format!("`existing` is about WebSockets, but the protocol is {protocol}");
        let hint = "`reset` and `close` with by = \"connection\" cut open connections".to_owned();
        fields.problem(problems, "existing", message, hint);
    }
    fields.word("existing", problems).map(|word| word.value) == Some("cut")
}

/// The key that says how a code is told.
pub(super) const TOLD: Key = Key::optional(
    "told",
    Shape::OneOf(&["error", "close"]),
    "pusher: error: in an error message, then in the close frame; close: in the close frame alone (error)",
);

/// A code of Channels out of the key `error`, told as [`TOLD`] says.
pub(super) fn pusher_code(fields: &Fields<'_>, problems: &mut Problems) -> Option<Reply> {
    let text = fields.text("error", problems)?.value;
    let code: Option<u16> = text.parse().ok().filter(|code| (4000..4400).contains(code));
    let Some(code) = code else {
        let codes: Vec<String> = pusher::CODES
            .iter()
            .map(|def| def.code.to_string())
            .collect();
        let message = format!("Channels has no code `{text}`");
        let hint = format!("from 4000 to 4399; known are: {}", codes.join(", "));
        fields.problem(problems, "error", message, hint);
        return None;
    };
    Some(code_reply(code, fields, problems))
}

/// A code of Channels with its text, told as [`TOLD`] says.
pub(super) fn code_reply(code: u16, fields: &Fields<'_>, problems: &mut Problems) -> Reply {
    let known = pusher::find_code(code);
    Reply::Pusher {
        code,
        reason: known.map_or_else(|| format!("Code {code}"), |def| def.text.to_owned()),
        in_close: fields.word("told", problems).map(|word| word.value) == Some("close"),
    }
}

/// The key that says which way bytes are shaped.
pub(super) const DIRECTION: Key = Key::optional(
    "direction",
    Shape::OneOf(&["up", "down", "both"]),
    "up: from the system to the dependency; down: the answers",
);

/// The directions that the file names.
pub(super) fn directions(
    fields: &Fields<'_>,
    default: &'static [Direction],
    problems: &mut Problems,
) -> &'static [Direction] {
    match fields.word("direction", problems).map(|word| word.value) {
        Some("up") => &[Direction::Up],
        Some("down") => &[Direction::Down],
        Some("both") => &[Direction::Up, Direction::Down],
        _ => default,
    }
}

/// The seed material of one direction, so that the two draw apart.
pub(super) fn stream_of(context: &Context, direction: Direction) -> (Seed, u64, u64) {
    let (seed, name, key) = context.stream;
    let mark = match direction {
        Direction::Up => 0x7570,
        Direction::Down => 0x646f_776e,
    };
    (seed, name ^ mark, key)
}

/// A number of bytes, zero where the file does not say.
pub(super) fn bytes(fields: &Fields<'_>, key: &'static str, problems: &mut Problems) -> u64 {
    fields.bytes(key, problems).map_or(0, |bytes| bytes.0)
}

/// How a cut ends the connection.
pub(super) const HOW: Key = Key::optional(
    "how",
    Shape::OneOf(&["fin", "reset"]),
    "how the connection is closed (fin)",
);

/// The closing that [`HOW`] names.
pub(super) fn closing(fields: &Fields<'_>, problems: &mut Problems) -> Closing {
    match fields.word("how", problems).map(|word| word.value) {
        Some("reset") => Closing::Reset,
        _ => Closing::Fin,
    }
}

/// The key that says whether the dependency carries out what the client is told it has not.
pub(super) const APPLIED: Key = Key::optional(
    "applied",
    Shape::OneOf(&["no", "yes", "maybe"]),
    "no: the dependency never sees the request; yes: it carries it out first; maybe: a seeded coin for each request (no)",
);

/// Whether the dependency carries a request out before a fault answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applies {
    No,
    Yes,
    Maybe,
}

impl Applies {
    pub(super) fn parse(fields: &Fields<'_>, problems: &mut Problems) -> Self {
        match fields.word("applied", problems).map(|word| word.value) {
            Some("yes") => Self::Yes,
            Some("maybe") => Self::Maybe,
            _ => Self::No,
        }
    }

    /// The reply, before or after the dependency has carried the request out.
    pub(super) fn decide(self, reply: Reply, context: &Context) -> Decision {
        let applied = match self {
            Self::No => false,
            Self::Yes => true,
            Self::Maybe => context.coin() < 0.5,
        };
        Decision::end(if applied {
            End::Forward(Then::Reply(reply))
        } else {
            End::Reply(reply)
        })
    }
}
