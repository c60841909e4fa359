//! Who observes an exchange and what may be done to it: a dependency's proxy, whose faults act on
//! every request, or the system's front door, where requests are only measured.

use super::{
    channels::MESSAGE_BYTES_MAX, exchange::Exchange, head::BadHead, http1::Over, memory::Memory,
};
use crate::{
    fault::{FaultId, FaultSet, Reply, Switch},
    history::{Attempt, AttemptEnd, Observation, Operation, Outcome, Recorder, Source},
    protocol::{
        Applied, Call, Protocol, RETRY_HEADERS, TRACE_HEADER, TraceParent, http as messages, pusher,
    },
    proxy::{
        conduct::Farewell,
        connection::{Arrival, Life, Refusal, Shared},
        sockets::Sockets,
        station::Station,
    },
    scenario::{Answer, BODY_BYTES_MAX, Capture, Outcomes, Template},
    units::{Micros, format_duration},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;

/// The bytes of an error body that are searched for the protocol's code.
const CODE_BYTES_MAX: usize = 2 * 1024;

/// What is observed.
pub(super) enum Subject {
    /// A request of the system to a dependency.
    Attempt(Box<Call>),
    /// A request to the system.
    Operation {
        /// Its number.
        nth: u64,
        /// Method and path, for evidence.
        request: Arc<str>,
    },
    /// A head that was refused.
    Refused(BadHead),
}

/// Who observes the exchanges of one connection.
pub(super) enum Desk {
    /// A dependency's proxy.
    Dependency {
        /// The proxy's number of the connection.
        connection: u64,
        /// The connection's life.
        life: Arc<Life>,
        /// What all connections of the proxy share.
        shared: Arc<Shared>,
    },
    /// The system's front door.
    Door(Arc<Door>),
}

/// What all connections through a front door share.
#[derive(Debug)]
pub(super) struct Door {
    /// The name under which its operations are judged.
    pub(super) name: Arc<str>,
    /// What counts as which outcome.
    pub(super) outcomes: Outcomes,
    /// No answer within this time is indeterminate.
    pub(super) timeout: Duration,
    /// The history.
    pub(super) recorder: Recorder,
    /// How many operations came so far.
    pub(super) count: AtomicU64,
    /// Never set: no fault acts here.
    pub(super) switch: Switch,
}

impl Desk {
    /// Now, on the run's clock.
    pub(super) fn now(&self) -> Micros {
        self.recorder().now()
    }

    /// The faults in force, now and as they change.
    pub(super) fn faults(&self) -> watch::Receiver<Arc<FaultSet>> {
        match self {
            Self::Dependency { shared, .. } => shared.switch.subscribe(),
            Self::Door(door) => door.switch.subscribe(),
        }
    }

    /// The answers given before, where they are remembered.
    pub(super) fn memory(&self) -> Option<&Memory> {
        match self {
            Self::Dependency { shared, .. } => {
                Some(&shared.answers).filter(|memory| memory.is_on())
            }
            Self::Door(_) => None,
        }
    }

    /// The WebSockets of the dependency, where it has any.
    pub(super) fn sockets(&self) -> Option<&Arc<Sockets>> {
        match self {
            Self::Dependency { shared, .. } => {
                (shared.config.protocol == Protocol::Pusher).then_some(&shared.sockets)
            }
            Self::Door(_) => None,
        }
    }

    /// Begins to observe the request with this head.
    pub(super) fn begin<'a>(
        self: &Arc<Self>,
        method: &str,
        target: &str,
        headers: impl Iterator<Item = (&'a str, &'a [u8])>,
        began: Arrival,
    ) -> Exchange {
        let subject = match &**self {
            Self::Dependency {
                connection, shared, ..
            } => {
                // Values that are no text cannot be matched by a text; they pass unchanged.
                let headers =
                    headers.map(|(name, value)| (name, std::str::from_utf8(value).unwrap_or("")));
                Subject::Attempt(Box::new(messages::identify(
                    shared.config.protocol,
                    shared.config.virtual_host.as_deref(),
                    method,
                    target,
                    headers,
                    *connection,
                    &mut shared.calls.lock(),
                )))
            }
            Self::Door(door) => Subject::Operation {
                nth: door.count.fetch_add(1, Ordering::Relaxed) + 1,
                request: format!("{method} {}", path(target)).into(),
            },
        };
        let mut exchange = Exchange::new(Arc::clone(self), subject, began);
        exchange.enter_sockets();
        exchange
    }

    /// What a fault's reply is on the wire.
    pub(super) fn make(&self, reply: &Reply, call: &Call) -> messages::Made {
        let seed = match self {
            Self::Dependency { shared, .. } => shared.config.seed,
            Self::Door(_) => crate::seed::Seed(0),
        };
        let date = messages::date(jiff::Timestamp::now());
        messages::make(reply, call, &messages::Stamp { seed, date: &date })
    }

    /// How an exchange ended whose engine was dropped half-way, and by which faults.
    pub(super) fn dropped(&self) -> (AttemptEnd, Vec<FaultId>) {
        let Self::Dependency { life, .. } = self else {
            return (AttemptEnd::Unfinished, Vec::new());
        };
        match life.farewell() {
            Some(Farewell::Reset | Farewell::Fin) => (AttemptEnd::Cut, life.cut_by()),
            Some(Farewell::ClientGone) => (AttemptEnd::GaveUp, life.stalled_by()),
            Some(Farewell::Done | Farewell::Drop) | None => (AttemptEnd::Unfinished, Vec::new()),
        }
    }

    /// Which faults hold the requests of the connection as a whole, now and as that changes; `None`
    /// where none can.
    pub(super) fn held_by(&self) -> Option<watch::Receiver<Vec<FaultId>>> {
        match self {
            Self::Dependency { life, .. } => Some(life.held_by()),
            Self::Door(_) => None,
        }
    }

    /// What the connection as a whole is answered, if it is refused.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Dependency { life, .. } => life.refusal(),
            Self::Door(_) => None,
        }
    }

    /// Where requests wait while the dependency is overloaded.
    pub(super) fn station(&self) -> Option<&Arc<Station>> {
        match self {
            Self::Dependency { shared, .. } => Some(&shared.station),
            Self::Door(_) => None,
        }
    }

    /// An answer begins: remember when its first byte leaves, which faults may hold back.
    pub(super) fn mark(&self) {
        if let Self::Dependency { life, .. } = self {
            life.mark();
        }
    }

    /// Whether faults hold back what is written.
    pub(super) fn is_held_back(&self) -> bool {
        match self {
            Self::Dependency { life, .. } => !life.is_clear(),
            Self::Door(_) => false,
        }
    }

    /// Comes back when all that was written has left for the client.
    pub(super) async fn sent(&self) {
        if let Self::Dependency { life, .. } = self {
            life.sent().await;
        }
    }

    /// Whether it can be told of a client that closed its direction if it still reads.
    pub(super) fn tells_who_reads(&self) -> bool {
        matches!(self, Self::Dependency { .. })
    }

    /// Whether the client, who closed its direction and was then sent its answer, was gone.
    pub(super) async fn is_client_reset(&self) -> bool {
        match self {
            Self::Dependency { life, .. } => life.is_client_reset().await,
            Self::Door(_) => false,
        }
    }

    /// Comes back when the client closes its direction, or with true when it resets, also while
    /// nobody takes what it sends.
    pub(super) async fn client_left(&self) -> bool {
        match self {
            Self::Dependency { life, .. } => life.client_left().await,
            Self::Door(_) => std::future::pending().await,
        }
    }

    /// When the first byte after the mark left, if faults held it back.
    pub(super) fn marked(&self) -> Option<Micros> {
        match self {
            Self::Dependency { life, shared, .. } => {
                let began = shared.recorder.instant(Micros(0));
                let at = life.marked()?.saturating_duration_since(began);
                Some(at.into())
            }
            Self::Door(_) => None,
        }
    }

    /// The connection's life, where faults act on its bytes.
    pub(super) fn life(&self) -> Option<&Arc<Life>> {
        match self {
            Self::Dependency { life, .. } => Some(life),
            Self::Door(_) => None,
        }
    }

    /// When that came which was read last.
    pub(super) fn arrival(&self) -> Arrival {
        match self {
            Self::Dependency { life, .. } => life.arrival(),
            Self::Door(_) => self.now().into(),
        }
    }

    /// When the client was seen to leave: now, unless faults on bytes held that back.
    pub(super) fn left_at(&self) -> Micros {
        self.life()
            .map_or_else(|| self.now(), |life| life.left_at())
    }

    /// An exchange has begun, which is recorded once; gives its number on the connection.
    pub(super) fn began(&self, subject: &Subject, at: Micros) -> u64 {
        match (self, subject) {
            (Self::Dependency { life, .. }, Subject::Attempt(call)) => {
                life.request_began(at, &call.operation, &call.key)
            }
            (Self::Dependency { life, .. }, _) => {
                life.request_began(at, &MALFORMED.into(), &"".into())
            }
            (Self::Door(_), _) => 0,
        }
    }

    /// How many bytes of a request's body are kept for what is captured from it.
    pub(super) fn request_bytes(&self) -> usize {
        match self {
            Self::Dependency { shared, .. } if wants_messages(&shared.config.capture) => {
                MESSAGE_BYTES_MAX
            }
            Self::Dependency { .. } | Self::Door(_) => 0,
        }
    }

    /// How many bytes of an answer's body are looked at.
    pub(super) fn sample_bytes(&self, status: u16, is_get: bool) -> usize {
        match self {
            // A 200 may still carry an error; one to GET carries an object.
            Self::Dependency { shared, .. } => match shared.config.protocol {
                Protocol::S3 if status >= 400 || !is_get => CODE_BYTES_MAX,
                _ => 0,
            },
            Self::Door(door) if door.outcomes.needs_body() => BODY_BYTES_MAX,
            Self::Door(_) => 0,
        }
    }

    /// Whether a header of the answer must be kept until the end.
    pub(super) fn wants(&self, header: &str) -> bool {
        match self {
            Self::Dependency { shared, .. } if shared.config.protocol == Protocol::Pusher && header.eq_ignore_ascii_case("sec-websocket-extensions") => true,
            Self::Dependency { .. } if names_a_wait(header) => true,
            Self::Dependency { shared, .. } => shared.config.capture.values().any(|capture| {
                matches!(capture, Capture::ResponseHeader(name) if name.eq_ignore_ascii_case(header))
            }),
            Self::Door(door) => door.outcomes.rules().any(|rule| {
                let mut names = rule.header.iter().map(|(name, _)| name);
                names.any(|name| name.eq_ignore_ascii_case(header))
            }),
        }
    }

    /// The connection is over: closes it as it must be.
    pub(super) fn leave(&self, over: &Over) {
        if let Self::Dependency { life, .. } = self {
            life.ended(over.how.as_str());
            if let Some(closing) = over.closing {
                life.close(closing);
            }
        }
    }

    /// Records an exchange that is over.
    pub(super) fn record(&self, exchange: &mut Exchange, end: AttemptEnd, at: Micros) {
        let observation = match self {
            Self::Dependency {
                connection,
                shared,
                life,
            } => {
                life.request_over(exchange.number);
                let attempt = attempt(exchange, *connection, life, shared, end, at);
                if let Subject::Attempt(call) = &exchange.subject {
                    let bytes = attempt.bytes_up + attempt.bytes_down;
                    shared.request_ended(call, &attempt.faults, bytes);
                }
                Observation::Attempt(attempt)
            }
            Self::Door(door) => Observation::Operation(operation(exchange, door, end, at)),
        };
        self.recorder().record(observation);
    }

    /// Comes back when there is room to record more, or soon after.
    pub(super) async fn room(&self) {
        self.recorder().room().await;
    }

    fn recorder(&self) -> &Recorder {
        match self {
            Self::Dependency { shared, .. } => &shared.recorder,
            Self::Door(door) => &door.recorder,
        }
    }
}

/// The operation of what is no request.
const MALFORMED: &str = "malformed";

/// Whether a header of an answer asks its client to wait.
fn names_a_wait(header: &str) -> bool {
    let mut names = RETRY_HEADERS.iter();
    names.any(|(name, _)| name.eq_ignore_ascii_case(header))
}

/// What of a target may be shown: a query may carry a signature, an authority a password.
fn path(target: &str) -> &str {
    let target = target.split('?').next().unwrap_or_default();
    let Some((_, rest)) = target.split_once("://") else {
        let is_path = target.starts_with('/');
        return if is_path {
            target
        } else {
            target.rsplit('@').next().unwrap_or_default()
        };
    };
    rest.find('/').map_or("/", |at| &rest[at..])
}

fn attempt(
    exchange: &Exchange,
    connection: u64,
    life: &Life,
    shared: &Shared,
    end: AttemptEnd,
    ended: Micros,
) -> Attempt {
    let tally = &exchange.tally;
    let (applied, repeated, repeated_unknown) = tally.applied();
    // Who gave up before anything of the answer left was sent nothing, whatever left then.
    let first_byte = tally.first_byte().filter(|at| *at <= ended);
    let is_sent = first_byte == tally.first_byte();
    let named = |call: Arc<str>, operation: Arc<str>, key: Arc<str>| Attempt {
        dependency: Arc::clone(life.dependency()),
        connection,
        call,
        by_sdk_id: false,
        attempt: 1,
        declared_max: None,
        operation,
        key,
        table: None,
        began: exchange.began,
        first_byte,
        ended,
        end,
        status: tally.status().filter(|_| is_sent),
        code: None,
        applied,
        repeated,
        repeated_unknown,
        faults: exchange.faults.clone(),
        retry_after: exchange.retry_after(),
        released: exchange.released_at(end),
        bytes_up: tally.up.load(Ordering::Relaxed),
        rows: None,
        held: false,
        perhaps_held: false,
        untold: None,
        bytes_down: tally.down.load(Ordering::Relaxed),
        captured: BTreeMap::new(),
        trace: None,
    };
    match &exchange.subject {
        Subject::Attempt(call) => Attempt {
            by_sdk_id: call.sdk_id.is_some(),
            attempt: call.attempt,
            declared_max: call.declared_max,
            code: match shared.config.protocol {
                _ if !is_sent => None,
                Protocol::S3 => s3_code(&exchange.sample.bytes),
                _ => exchange.code.clone(),
            },
            // A WebSocket that was accepted and refused with a code was refused.
            applied: match exchange.code {
                Some(_) => Applied::No,
                None => within_200(exchange, shared).unwrap_or(applied),
            },
            captured: captured(exchange, call, &shared.config.capture),
            trace: call.headers.get(TRACE_HEADER).and_then(TraceParent::parse),
            ..named(
                Arc::clone(&call.id),
                Arc::clone(&call.operation),
                Arc::clone(&call.key),
            )
        },
        Subject::Refused(bad) => named(
            format!("malformed request on connection {connection}").into(),
            MALFORMED.into(),
            bad.to_string().into(),
        ),
        Subject::Operation { .. } => named("".into(), MALFORMED.into(), "".into()),
    }
}

/// What an error of S3's own inside a 200 says of a request, which the status says was carried out;
/// nothing of one that a fault sent several times.
fn within_200(exchange: &Exchange, shared: &Shared) -> Option<Applied> {
    let (applied, repeated, unknown) = exchange.tally.applied();
    let is_one = applied == Applied::Yes && repeated == 0 && unknown == 0;
    let may_be = exchange.is_sample_its_own && exchange.tally.status() == Some(200);
    if shared.config.protocol != Protocol::S3 || !is_one || !may_be {
        return None;
    }
    said_within_200(&exchange.sample.bytes)
}

fn said_within_200(body: &[u8]) -> Option<Applied> {
    let code = s3_code(body)?;
    let text = String::from_utf8_lossy(body);
    let root = text.trim_start_matches('\u{feff}').trim_start();
    let root = match root.strip_prefix("<?xml") {
        Some(rest) => rest.split_once("?>")?.1.trim_start(),
        None => root,
    };
    // An answer to several, of which some were refused: what became of the others stands beside it.
    if !root.starts_with("<Error>") {
        return Some(Applied::Unknown);
    }
    Some(match &*code {
        "InternalError" | "SlowDown" | "ServiceUnavailable" | "RequestTimeout" => Applied::Unknown,
        _ => Applied::No,
    })
}

fn captured(
    exchange: &Exchange,
    call: &Call,
    wanted: &BTreeMap<String, Capture>,
) -> BTreeMap<String, String> {
    let value = |capture: &Capture| match capture {
        Capture::Header(name) => call.headers.get(name).map(str::to_owned),
        Capture::ResponseHeader(name) => exchange.answer_header(name),
        Capture::Key => Some(call.key.to_string()),
        Capture::Json(_) | Capture::Var(_) | Capture::Parameter(_) => None,
    };
    let values = wanted
        .iter()
        .filter_map(|(name, capture)| Some((name.clone(), value(capture)?)));
    let message = exchange.tally.request_body();
    values.chain(captured_of(&message, wanted)).collect()
}

/// Whether something is captured from messages.
fn wants_messages(wanted: &BTreeMap<String, Capture>) -> bool {
    let mut captures = wanted.values();
    captures.any(|capture| matches!(capture, Capture::Json(_)))
}

/// What is captured of a message: an event of Channels, or a body that publishes one.
pub(super) fn captured_of(
    message: &[u8],
    wanted: &BTreeMap<String, Capture>,
) -> Vec<(String, String)> {
    if message.is_empty() || !wants_messages(wanted) {
        return Vec::new();
    }
    let Some(message) = pusher::Message::read(message) else {
        return Vec::new();
    };
    let value = |(name, capture): (&String, &Capture)| match capture {
        Capture::Json(pointer) => Some((name.clone(), message.at(pointer)?)),
        _ => None,
    };
    wanted.iter().filter_map(value).collect()
}

/// S3's error code in the beginning of an error document; spaces may stand before it, as S3 keeps
/// a slow copy's connection alive with them.
fn s3_code(body: &[u8]) -> Option<Arc<str>> {
    let text = String::from_utf8_lossy(body);
    let error = text.find("<Error>")?;
    let (_, rest) = text[error..].split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    Some(code.trim().into())
}

fn operation(exchange: &Exchange, door: &Door, end: AttemptEnd, at: Micros) -> Operation {
    let status = exchange.tally.status();
    let limit = exchange.began + door.timeout;
    let (outcome, why) = if at > limit {
        let why = format!("no answer within {}", format_duration(door.timeout));
        (Outcome::Indeterminate, Some(why))
    } else {
        outcome(exchange, door, end, status)
    };
    let (nth, request) = match &exchange.subject {
        Subject::Operation { nth, request } => (*nth, Arc::clone(request)),
        Subject::Attempt(_) | Subject::Refused(_) => (
            door.count.fetch_add(1, Ordering::Relaxed) + 1,
            "malformed request".into(),
        ),
    };
    Operation {
        load: Arc::clone(&door.name),
        nth,
        source: Source::Ingress,
        intended: exchange.began,
        began: exchange.began,
        ended: at.min(limit),
        accepted: None,
        outcome,
        status,
        why,
        cut: end == AttemptEnd::Unfinished && at <= limit,
        refused: 0,
        request,
        captured: BTreeMap::new(),
    }
}

fn outcome(
    exchange: &Exchange,
    door: &Door,
    end: AttemptEnd,
    status: Option<u16>,
) -> (Outcome, Option<String>) {
    let why = match (end, status) {
        (AttemptEnd::Answered, Some(status)) => {
            let headers = exchange.answer_headers.iter();
            let answer = Answer {
                status,
                headers: headers.map(|(name, value)| (&**name, &**value)),
                body: &exchange.sample.bytes,
            };
            let outcome = door
                .outcomes
                .classify(&answer, &|template: &Template| template.0.clone());
            let why = (outcome == Outcome::Failed).then(|| format!("status {status}"));
            return (outcome, why);
        }
        (AttemptEnd::UpstreamFailed, _) if exchange.tally.is_refused() => {
            let why = "the system accepts no connection".to_owned();
            return (Outcome::Failed, Some(why));
        }
        (AttemptEnd::GaveUp, _) => "the client gave up",
        (AttemptEnd::Unfinished, _) => "the run ended first",
        _ => "the connection broke off",
    };
    (Outcome::Indeterminate, Some(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_target_only_the_path_is_shown() {
        for (target, shown) in [
            ("/a/b?X-Amz-Signature=s", "/a/b"),
            ("/a@b", "/a@b"),
            ("/a?b=http://c/d", "/a"),
            ("http://user:pw@host:80/a/b?c=d", "/a/b"),
            ("http://user:pw@host", "/"),
            ("user:pw@host:443", "host:443"),
            ("*", "*"),
        ] {
            assert_eq!(path(target), shown, "{target}");
        }
    }

    #[test]
    fn the_code_of_an_s3_error_is_found_in_its_beginning() {
        let body = "<?xml version=\"1.0\"?>\n<Error><Code>SlowDown</Code><Message>";
        assert_eq!(s3_code(body.as_bytes()).as_deref(), Some("SlowDown"));
        assert_eq!(
            s3_code(b"   <Error><Code>InternalError</Code></Error>").as_deref(),
            Some("InternalError")
        );
        for body in ["", "<Error><Co", "<Code>x</Code>", "<Error><Code>Slow"] {
            assert_eq!(s3_code(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn an_error_is_one_of_the_whole_request_only_at_the_root() {
        let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
        let error = |code: &str| format!("<Error><Code>{code}</Code></Error>");
        let several = format!(
            "{head}<DeleteResult>{}</DeleteResult>",
            error("AccessDenied")
        );
        for (body, said) in [
            (
                format!("{head}{}", error("InternalError")),
                Some(Applied::Unknown),
            ),
            (
                format!("  {head}{}", error("NoSuchUpload")),
                Some(Applied::No),
            ),
            (error("AccessDenied"), Some(Applied::No)),
            (several, Some(Applied::Unknown)),
            (format!("{head}<CopyObjectResult/>"), None),
            (String::new(), None),
        ] {
            assert_eq!(said_within_200(body.as_bytes()), said, "{body}");
        }
    }
}
