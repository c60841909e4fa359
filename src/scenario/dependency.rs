//! `[dependency.NAME]`.

use super::{
    Capture, Dependency, KeyFrom, PusherApp, TlsFront, Upstream, hosts, keys,
    scope::{Scope, check_name},
    system::Known,
};
use crate::{
    input::{Fields, HIDDEN, Item, Problems, hint_among},
    policy::Declared,
    protocol::{PROTOCOLS, Protocol},
};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use toml::de::DeValue;

/// Reads all of them, and notes in `known` what scenarios may call them.
pub(super) fn read(
    root: &Fields<'_>,
    known: &mut Vec<Known>,
    problems: &mut Problems,
) -> Vec<Dependency> {
    let tables = root.named_tables("dependency", "dependency", problems);
    if tables.len() > keys::DEPENDENCIES_MAX {
        root.problem(
            problems,
            "dependency",
            format!("more than {} dependencies", keys::DEPENDENCIES_MAX),
            None,
        );
    }
    let mut dependencies = Vec::with_capacity(tables.len());
    for (name, table) in &tables {
        check_name(name, "a dependency", table.source, problems);
        let dependency = one(name, table, problems);
        known.push(Known {
            name: Arc::clone(&dependency.0.name),
            role: dependency.0.role.clone(),
            protocol: dependency.1,
        });
        dependencies.push(dependency.0);
    }
    check_roles(&tables, problems);
    check_fallbacks(&tables, &dependencies, problems);
    check_listen(&tables, &dependencies, problems);
    hosts::check(&tables, &dependencies, problems);
    dependencies
}

/// One dependency, and its protocol if that is known. What is wrong is replaced by something
/// harmless: an error was appended, so that nobody will see it.
fn one(
    name: &Item<String>,
    table: &Fields<'_>,
    problems: &mut Problems,
) -> (Dependency, Option<Protocol>) {
    let protocol = table.word("protocol", problems).and_then(|word| {
        PROTOCOLS
            .iter()
            .find(|def| def.name == word.value)
            .map(|def| def.protocol)
    });
    let role = table.text("role", problems);
    if let Some(role) = &role {
        check_name(role, "a role", table.source, problems);
    }
    let spoken = protocol.unwrap_or(Protocol::S3);
    let upstream = upstream(table, protocol, problems);
    let dependency = Dependency {
        name: name.value.as_str().into(),
        protocol: spoken,
        role: role.map(|role| role.value.into()),
        tls: tls(table, problems),
        listen: listen(table, problems),
        virtual_host: virtual_host(table, spoken, problems),
        buckets: buckets(table, &upstream, problems),
        schema: schema(table, &upstream, problems),
        answer: answer(table, &upstream, problems),
        app: app(table, protocol, &upstream, problems),
        key: key(table, spoken, problems),
        capture: captures(table, Side::Dependency(spoken), problems),
        policy: policy(table, problems),
        hosts: hosts::read(table, protocol, problems),
        upstream,
        span: table.span.clone(),
    };
    (dependency, protocol)
}

fn upstream(table: &Fields<'_>, protocol: Option<Protocol>, problems: &mut Problems) -> Upstream {
    let nowhere = Upstream::Embedded("sink");
    let Some(text) = table.text("upstream", problems) else {
        return nowhere;
    };
    match parse_upstream(&text.value, protocol) {
        Ok(upstream) => upstream,
        Err((message, hint)) => {
            table.problem(problems, "upstream", message, hint.to_owned());
            nowhere
        }
    }
}

/// What an `upstream` says to a dependency of this protocol; else what is wrong with it, and a hint.
pub fn parse_upstream(
    text: &str,
    protocol: Option<Protocol>,
) -> Result<Upstream, (String, &'static str)> {
    if let Some(instance) = text.strip_prefix("instance:") {
        return Ok(Upstream::Instance(instance.into()));
    }
    if text == "embedded" || text.starts_with("embedded:") {
        return embedded(text, protocol);
    }
    let malformed = || {
        (
            format!("`{text}` is no upstream"),
            "\"embedded\", \"embedded:sink\", \"host:port\", \"https://host\" or \"instance:NAME\"",
        )
    };
    if let Some((scheme, rest)) = text.split_once("://") {
        let (tls, port) = match scheme {
            "http" => (false, Some(80)),
            "https" => (true, Some(443)),
            "tls" => (true, None),
            _ => return Err(malformed()),
        };
        let wants_http = port.is_some();
        if let Some(protocol) = protocol.filter(|protocol| protocol.is_http() != wants_http) {
            let (whose, hint) = match (wants_http, protocol) {
                (true, Protocol::Tcp) => ("an HTTP", "write \"host:port\""),
                (true, _) => (
                    "an HTTP",
                    "write \"host:port\", or \"tls://host:port\" for TLS",
                ),
                (false, _) => ("no HTTP", "write \"https://host\" for TLS"),
            };
            let said = format!("`{text}` is {whose} address, but the protocol is {protocol}");
            return Err((said, hint));
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err((
                format!("`{text}` is more than an address"),
                "an upstream is scheme, host and port; paths come from the system's own requests",
            ));
        }
        let (host, port) = host_and_port(rest, port).ok_or_else(malformed)?;
        return Ok(Upstream::Address { host, port, tls });
    }
    let (host, port) = host_and_port(text, None).ok_or_else(malformed)?;
    Ok(Upstream::Address {
        host,
        port,
        tls: false,
    })
}

/// What there is.
const EMBEDDED_HINT: &str = "`embedded` is a server of s3, postgres or pusher, `embedded:sink` an HTTP server that records what it is sent";

fn embedded(text: &str, protocol: Option<Protocol>) -> Result<Upstream, (String, &'static str)> {
    match (text, protocol) {
        ("embedded", Some(Protocol::S3) | None) => Ok(Upstream::Embedded("s3")),
        ("embedded", Some(Protocol::Postgres)) => Ok(Upstream::Embedded("postgres")),
        ("embedded", Some(Protocol::Pusher)) => Ok(Upstream::Embedded("pusher")),
        ("embedded:sink", Some(Protocol::Http) | None) => Ok(Upstream::Embedded("sink")),
        ("embedded", Some(Protocol::Http)) => Err((
            "no embedded server for http".to_owned(),
            "did you mean `embedded:sink`, which records what it is sent?",
        )),
        ("embedded" | "embedded:sink", Some(Protocol::Redis)) => Err((
            "there is no embedded server for redis".to_owned(),
            "start one, and write its address: upstream = \"127.0.0.1:6379\"",
        )),
        ("embedded" | "embedded:sink", Some(Protocol::Mysql)) => Err((
            "there is no embedded server for mysql".to_owned(),
            "start one, and write its address: upstream = \"127.0.0.1:3306\"",
        )),
        ("embedded" | "embedded:sink", Some(protocol)) => {
            Err((format!("`{text}` does not speak {protocol}"), EMBEDDED_HINT))
        }
        _ => Err((format!("unknown embedded server `{text}`"), EMBEDDED_HINT)),
    }
}

/// `host:port` or `[v6]:port`; the port may be left out where there is a default.
fn host_and_port(text: &str, default: Option<u16>) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, after.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        None => default?,
    };
    (is_host(host) || text.starts_with('[')).then(|| (host.to_owned(), port))
}

/// Whether a text can be a host name or an IPv4 address.
pub(super) fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    text.len() <= 253 && text.split('.').all(label)
}

fn tls(table: &Fields<'_>, problems: &mut Problems) -> Option<TlsFront> {
    match table.raw("tls")?.get_ref() {
        DeValue::Boolean(wanted) => wanted.then(TlsFront::default),
        _ => {
            let tls = table.alternative("tls", keys::TLS, "true or a table", problems)?;
            let names = tls.texts("names", problems).unwrap_or_default();
            for name in &names {
                let host = name.value.strip_prefix("*.").unwrap_or(&name.value);
                if !is_host(host) {
                    problems.error(
                        table.source,
                        name.span.clone(),
                        format!("`{}` is no host name", name.value),
                        None,
                    );
                }
            }
            Some(TlsFront {
                names: names.into_iter().map(|name| name.value).collect(),
            })
        }
    }
}

/// A fixed address.
pub(super) fn listen(table: &Fields<'_>, problems: &mut Problems) -> Option<SocketAddr> {
    let text = table.text("listen", problems)?;
    match text.value.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            table.problem(
                problems,
                "listen",
                format!("`{}` is no address to listen on", text.value),
                "an IP address and a port: \"127.0.0.1:9000\"".to_owned(),
            );
            None
        }
    }
}

fn virtual_host(table: &Fields<'_>, protocol: Protocol, problems: &mut Problems) -> Option<String> {
    let text = table.text("virtual_host", problems)?;
    if protocol != Protocol::S3 {
        table.problem(
            problems,
            "virtual_host",
            format!("`virtual_host` is of S3, but the protocol is {protocol}"),
            None,
        );
    } else if !is_host(&text.value) {
        table.problem(
            problems,
            "virtual_host",
            format!("`{}` is no host name", text.value),
            "for bucket.s3.example.com it is \"s3.example.com\"".to_owned(),
        );
    }
    Some(text.value)
}

/// The highest number of an argument or parameter that may be the key.
const KEY_NUMBER_MAX: usize = 63;

/// What is the key of a statement or command.
fn key(table: &Fields<'_>, protocol: Protocol, problems: &mut Problems) -> Option<KeyFrom> {
    let text = table.text("key", problems)?;
    let (message, hint) = match protocol {
        Protocol::Redis => {
            let nth = text.value.strip_prefix("argument:").and_then(key_number);
            if let Some(nth) = nth {
                return Some(KeyFrom::Argument(nth));
            }
            let message = format!("`{}` is no argument of a command", text.value);
            (
                message,
                "\"argument:1\" is the first behind the command's name",
            )
        }
        _ if protocol.is_sql() => {
            if let Some(nth) = parameter(&text.value) {
                return Some(KeyFrom::Parameter(nth));
            }
            let message = format!("`{}` is no bound parameter of a statement", text.value);
            (
                message,
                "\"parameter:1\" is the first; without it the key is the table",
            )
        }
        _ => {
            let message = format!("requests of the protocol {protocol} bring their own key");
            (message, "leave `key` out")
        }
    };
    table.problem(problems, "key", message, hint.to_owned());
    None
}

fn key_number(text: &str) -> Option<usize> {
    let number = text.parse().ok()?;
    (1..=KEY_NUMBER_MAX).contains(&number).then_some(number)
}

/// What its clients are said to do.
fn policy(table: &Fields<'_>, problems: &mut Problems) -> Option<Declared> {
    let fields = table.table("policy", problems)?;
    Declared::read(&fields, problems).filter(|policy| !policy.is_empty())
}

fn schema(table: &Fields<'_>, upstream: &Upstream, problems: &mut Problems) -> Option<String> {
    let text = table.text("schema", problems)?;
    if *upstream != Upstream::Embedded("postgres") && table.has("upstream") {
        table.problem(
            problems,
            "schema",
            "only the embedded PostgreSQL server is given a schema",
            "upstream = \"embedded\", or make the tables at the upstream".to_owned(),
        );
    }
    Some(text.value)
}

fn answer(
    table: &Fields<'_>,
    upstream: &Upstream,
    problems: &mut Problems,
) -> Option<(u16, String)> {
    let fields = table.table("answer", problems)?;
    if *upstream != Upstream::Embedded("sink") && table.has("upstream") {
        table.problem(
            problems,
            "answer",
            "only `embedded:sink` is told what to answer",
            "upstream = \"embedded:sink\"; elsewhere the upstream itself answers".to_owned(),
        );
    }
    let status = fields.integer("status", problems).unwrap_or(200);
    let body = fields.text("body", problems);
    let body = body.map_or_else(String::new, |body| body.value);
    if status == 204 && !body.is_empty() {
        fields.problem(
            problems,
            "body",
            "an answer of status 204 has no body",
            None,
        );
    }
    Some((u16::try_from(status).unwrap_or(200), body))
}

fn buckets(table: &Fields<'_>, upstream: &Upstream, problems: &mut Problems) -> Vec<String> {
    let buckets = table.texts("buckets", problems).unwrap_or_default();
    if !buckets.is_empty() && *upstream != Upstream::Embedded("s3") && table.has("upstream") {
        table.problem(
            problems,
            "buckets",
            "only the embedded S3 server is given buckets",
            "upstream = \"embedded\", or make the buckets at the upstream".to_owned(),
        );
    }
    for bucket in &buckets {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if !(3..=63).contains(&bucket.value.len()) || !bucket.value.chars().all(fits) {
            problems.error(
                table.source,
                bucket.span.clone(),
                format!("`{}` cannot be the name of a bucket", bucket.value),
                "3 to 63 small letters, digits, `-` and `.`".to_owned(),
            );
        }
    }
    buckets.into_iter().map(|bucket| bucket.value).collect()
}

/// The longest name or secret of an app, in bytes.
const APP_TEXT_BYTES_MAX: usize = 128;

/// The activity time-outs that an embedded server can promise.
const ACTIVITY_TIMEOUT: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(86_400);

/// The app of a dependency on Pusher Channels.
fn app(
    table: &Fields<'_>,
    protocol: Option<Protocol>,
    upstream: &Upstream,
    problems: &mut Problems,
) -> Option<PusherApp> {
    if let Some(other) = protocol.filter(|protocol| *protocol != Protocol::Pusher) {
        if table.has("app") {
            let message = format!("`app` is of Pusher, but the protocol is {other}");
            table.problem(problems, "app", message, None);
        }
        return None;
    }
    let mut app = PusherApp {
        id: "1".to_owned(),
        key: "brownout-key".to_owned(),
        secret: "brownout-secret".to_owned(),
        activity_timeout: Duration::from_secs(120),
        webhook: None,
    };
    let Some(fields) = table.table("app", problems) else {
        return Some(app);
    };
    for (key, own) in [
        ("id", &mut app.id),
        ("key", &mut app.key),
        ("secret", &mut app.secret),
    ] {
        if let Some(text) = fields.text(key, problems) {
            check_app_text(key, &text.value, &fields, problems);
            *own = text.value;
        }
    }
    if let Some(timeout) = fields.duration("activity_timeout", problems) {
        let in_seconds = timeout.subsec_nanos() == 0;
        if !ACTIVITY_TIMEOUT.contains(&timeout) || !in_seconds {
            let message = "the protocol tells clients whole seconds, from 1s to 86400s";
            fields.problem(problems, "activity_timeout", message, None);
        }
        app.activity_timeout = timeout;
    }
    if *upstream != Upstream::Embedded("pusher") && table.has("upstream") {
        for key in ["activity_timeout", "webhook"] {
            if fields.has(key) {
                let message = format!("only the embedded server is given `{key}`");
                let hint = "upstream = \"embedded\", or set it at the upstream".to_owned();
                fields.problem(problems, key, message, hint);
            }
        }
    }
    app.webhook = fields.text("webhook", problems).map(|text| {
        let is_plain = text.value.starts_with("http://") || text.value.starts_with("{url}");
        if !is_plain {
            let message = format!("webhooks cannot be sent to `{}`", text.value);
            let hint = "a plain HTTP address: \"{url}/webhooks\", \"http://127.0.0.1:8080/hook\"";
            fields.problem(problems, "webhook", message, hint.to_owned());
        }
        let scope = Scope {
            known: vec!["url".to_owned()],
            ports: true,
            env: false,
        };
        scope.template(text, fields.source, problems)
    });
    Some(app)
}

/// Names and secrets stand in paths, queries and before a colon.
fn check_app_text(key: &'static str, text: &str, fields: &Fields<'_>, problems: &mut Problems) {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_secret = key == "secret";
    // A history says no secret, and is read again.
    if is_secret && text == HIDDEN {
        return;
    }
    if text.is_empty() || text.len() > APP_TEXT_BYTES_MAX || !text.chars().all(fits) {
        let shown = if is_secret { HIDDEN } else { text };
        let message = format!("`{shown}` cannot be the {key} of an app");
        let hint = format!("letters, digits, `-`, `_` and `.`, at most {APP_TEXT_BYTES_MAX}");
        fields.problem(problems, key, message, hint);
    }
}

/// The number in `parameter:1`, from 1.
fn parameter(text: &str) -> Option<usize> {
    text.strip_prefix("parameter:").and_then(key_number)
}

/// Where a capture stands, which decides what it can take from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Side {
    /// A dependency of this protocol.
    Dependency(Protocol),
    /// A load.
    Load,
}

/// Reads `capture`.
pub(super) fn captures(
    table: &Fields<'_>,
    side: Side,
    problems: &mut Problems,
) -> BTreeMap<String, Capture> {
    let named = table.text_map("capture", problems).unwrap_or_default();
    if let Side::Dependency(protocol) = side
        && !protocol.has_messages()
        && !named.is_empty()
    {
        table.problem(
            problems,
            "capture",
            format!("{protocol} has no requests to capture from"),
            None,
        );
    }
    let mut captures = BTreeMap::new();
    for (name, text) in named.into_iter().take(keys::NAMED_MAX) {
        let item = Item {
            value: name,
            span: text.span.clone(),
        };
        check_name(&item, "a capture", table.source, problems);
        match capture(&text.value, side) {
            Some(capture) => {
                captures.insert(item.value, capture);
            }
            None => problems.error(
                table.source,
                text.span,
                if text
                    .value
                    .split_once(':')
                    .is_some_and(|(_, what)| is_secret(what) || is_signature(what))
                {
                    format!("`{}` is a secret, which no history may hold", text.value)
                } else {
                    format!("nothing can be captured by `{}`", text.value)
                },
                match side {
                    Side::Dependency(protocol) if protocol.is_sql() => {
                        "\"key\" or a bound parameter, \"parameter:1\"".to_owned()
                    }
                    Side::Dependency(Protocol::Pusher) => {
                        "\"json:/data/id\" of messages and of bodies that publish them, \"header:NAME\", \"response-header:NAME\" or \"key\""
                            .to_owned()
                    }
                    Side::Dependency(_) => {
                        "\"header:NAME\", \"response-header:NAME\" or \"key\"".to_owned()
                    }
                    Side::Load => {
                        "\"json:/POINTER\", \"header:NAME\", \"response-header:NAME\" or \"var:NAME\""
                            .to_owned()
                    }
                },
            ),
        }
    }
    captures
}

fn capture(text: &str, side: Side) -> Option<Capture> {
    let load = side == Side::Load;
    let has_messages = side == Side::Dependency(Protocol::Pusher);
    if text == "key" && !load {
        return Some(Capture::Key);
    }
    if let Side::Dependency(protocol) = side
        && protocol.is_sql()
    {
        return parameter(text).map(Capture::Parameter);
    }
    let (from, what) = text.split_once(':')?;
    if from.ends_with("header") && is_secret(what) {
        return None;
    }
    let header = || {
        http::HeaderName::from_bytes(what.as_bytes())
            .ok()
            .map(|name| name.as_str().to_owned())
    };
    match from {
        "header" => header().map(Capture::Header),
        "response-header" => header().map(Capture::ResponseHeader),
        "json" if has_messages && is_signature(what) => None,
        "json" if (load || has_messages) && is_pointer(what) => {
            Some(Capture::Json(what.to_owned()))
        }
        "var" if load => Some(Capture::Var(what.to_owned())),
        _ => None,
    }
}

/// Whether a pointer leads to what signs a subscription to a channel.
fn is_signature(pointer: &str) -> bool {
    pointer.starts_with('/') && pointer.split('/').any(|step| step == "auth")
}

/// Headers that carry secrets; their values never reach a history.
const SECRET_HEADERS: &[&str] = &[
    "authorization",
    "cookie",
    "proxy-authorization",
    "set-cookie",
    "x-amz-security-token",
    "x-api-key",
];

fn is_secret(header: &str) -> bool {
    SECRET_HEADERS.contains(&header.to_ascii_lowercase().as_str())
}

/// Whether a text is a JSON pointer.
pub(super) fn is_pointer(text: &str) -> bool {
    text.is_empty() || text.starts_with('/')
}

/// One word must not be a dependency's name and another's role: scenarios name both alike.
fn check_roles(tables: &[(Item<String>, Fields<'_>)], problems: &mut Problems) {
    for (name, table) in tables {
        let Some(role) = table.text("role", &mut Problems::default()) else {
            continue;
        };
        let other = tables
            .iter()
            .any(|(other, _)| other.value == role.value && other.value != name.value);
        if other {
            problems.error(
                table.source,
                role.span,
                format!(
                    "`{}` is the role of `{}` and the name of another dependency",
                    role.value, name.value
                ),
                "scenarios would not know which is meant".to_owned(),
            );
        }
    }
}

/// That what a policy says is called instead is another dependency.
fn check_fallbacks(
    tables: &[(Item<String>, Fields<'_>)],
    dependencies: &[Dependency],
    problems: &mut Problems,
) {
    for ((_, table), dependency) in tables.iter().zip(dependencies) {
        let quiet = &mut Problems::default();
        let Some(fields) = table.table("policy", quiet) else {
            continue;
        };
        let Some(other) = fields.text("falls_back_on", quiet) else {
            continue;
        };
        let others = dependencies
            .iter()
            .filter(|one| one.name != dependency.name);
        let known: Vec<&str> = others
            .flat_map(|one| [Some(&*one.name), one.role.as_deref()])
            .flatten()
            .collect();
        if known.contains(&&*other.value) {
            continue;
        }
        let message = if *other.value == *dependency.name {
            format!("`{}` cannot be called instead of itself", other.value)
        } else {
            format!("unknown dependency or role `{}`", other.value)
        };
        let hint = hint_among(&other.value, known.iter().copied());
        fields.problem(problems, "falls_back_on", message, hint);
    }
}

fn check_listen(
    tables: &[(Item<String>, Fields<'_>)],
    dependencies: &[Dependency],
    problems: &mut Problems,
) {
    for (index, dependency) in dependencies.iter().enumerate() {
        let Some(listen) = dependency.listen.filter(|listen| listen.port() != 0) else {
            continue;
        };
        let taken = dependencies[..index]
            .iter()
            .find(|other| other.listen == Some(listen));
        if let Some(other) = taken {
            tables[index].1.problem(
                problems,
                "listen",
                format!("`{}` listens on {listen} already", other.name),
                None,
            );
        }
    }
}
