//! Answers as files describe them: S3's codes, HTTP statuses, the pages of load balancers.

use super::{Reply, keys, sqlstate};
use crate::{
    input::{Fields, Problems, did_you_mean},
    protocol::{
        Protocol,
        http::reason_of,
        s3::{self, find_error},
    },
};
use ::http::{HeaderName, HeaderValue};
use bytes::Bytes;
use std::time::Duration;

/// Reads an error answer out of the keys of the kind `error`.
pub(super) fn parse(
    fields: &Fields<'_>,
    protocol: Protocol,
    problems: &mut Problems,
) -> Option<Reply> {
    match protocol {
        Protocol::Redis => {
            return super::redis::reply(fields, problems).map(|(reply, _)| reply);
        }
        Protocol::Mysql => {
            return super::mysql::reply(fields, problems).map(|(reply, _)| reply);
        }
        Protocol::Postgres => {
            let reply = sqlstate::reply(fields, problems)?;
            return Some(Reply::Postgres(Box::new(reply)));
        }
        _ => {}
    }
    let before = problems.as_slice().len();
    for key in ["message", "detail", "hint"] {
        if fields.has(key) {
            let said = format!("answers of {protocol} have no `{key}`");
            let hint = match key {
                "message" => "did you mean `body`?",
                _ => "they have a `body`",
            };
            fields.problem(problems, key, said, hint.to_owned());
        }
    }
    if !fields.has("error") && !fields.has("status") {
        let hint = match protocol {
            Protocol::S3 => "write one of S3's codes: error = \"InternalError\"",
            Protocol::Pusher => {
                "write a code for WebSockets, error = \"4004\", or a status for the HTTP API, status = 403"
            }
            _ => "write the status: status = 503",
        };
        let message = format!("{} says neither `error` nor `status`", fields.name());
        problems.error(fields.source, fields.span.clone(), message, hint.to_owned());
    }
    let mut added = headers(fields, problems);
    if let Some(delay) = fields.duration("retry_after", problems) {
        added.push(retry_after(protocol, delay));
    }
    let reply = if protocol == Protocol::S3 && fields.has("error") {
        s3_code(fields, added, problems)
    } else if protocol == Protocol::Pusher && fields.has("error") {
        pusher(fields, problems)
    } else if protocol == Protocol::Pusher {
        http(fields, added, problems).map(in_channels_words)
    } else {
        http(fields, added, problems)
    };
    reply.filter(|_| problems.as_slice().len() == before)
}

/// S3's error of the code in `error`.
fn s3_code(
    fields: &Fields<'_>,
    headers: Vec<(String, String)>,
    problems: &mut Problems,
) -> Option<Reply> {
    let code = code(fields, problems);
    for key in ["body", "reason"] {
        if fields.has(key) {
            let message = format!("an S3 error brings its own {key}");
            let hint = format!("leave `{key}` out, or write `status` in place of `error`");
            fields.problem(problems, key, message, hint);
        }
    }
    Some(Reply::S3 {
        code: code?,
        status: status(fields, problems),
        headers,
        in_200: false,
        close: fields.bool("close", problems),
    })
}

/// A code of Channels, which needs no other words.
fn pusher(fields: &Fields<'_>, problems: &mut Problems) -> Option<Reply> {
    for key in [
        "status",
        "body",
        "headers",
        "reason",
        "retry_after",
        "close",
    ] {
        if fields.has(key) {
            let message = format!("a code of Channels has no `{key}`");
            let hint = format!("leave `{key}` out, or write `status` in place of `error`");
            fields.problem(problems, key, message, hint);
        }
    }
    keys::pusher_code(fields, problems)
}

/// The body with which the HTTP API goes along with a status, where the author wrote none.
fn in_channels_words(reply: Reply) -> Reply {
    let Reply::Http {
        status,
        reason,
        mut headers,
        body,
        close,
        chunked,
    } = reply
    else {
        return reply;
    };
    let default = match status {
        400 => "Bad request\n",
        401 => "Invalid signature\n",
        403 => "Application is disabled or over its message quota\n",
        413 => "The data content of this event exceeds the allowed maximum (10240 bytes)\n",
        429 => r#"{"error":"Too many requests.","code":429}"#,
        500.. => "Internal server error\n",
        _ => "",
    };
    let is_given = !body.is_empty() || default.is_empty();
    let typed = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    if !is_given && !typed {
        let kind = if default.starts_with('{') {
            "application/json"
        } else {
            "text/plain; charset=utf-8"
        };
        headers.push(("Content-Type".to_owned(), kind.to_owned()));
    }
    Reply::Http {
        status,
        reason,
        headers,
        body: if is_given {
            body
        } else {
            Bytes::from_static(default.as_bytes())
        },
        close,
        chunked,
    }
}

/// The S3 code in `error`.
pub(super) fn code(fields: &Fields<'_>, problems: &mut Problems) -> Option<String> {
    let code = fields.text("error", problems)?.value;
    if find_error(&code).is_some() {
        return Some(code);
    }
    let known = || s3::ERRORS.iter().map(|def| def.code);
    let hint = match did_you_mean(&code, known()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are: {}", known().collect::<Vec<_>>().join(", ")),
    };
    let message = format!("S3 has no error `{code}`");
    fields.problem(problems, "error", message, hint);
    None
}

fn status(fields: &Fields<'_>, problems: &mut Problems) -> Option<u16> {
    fields
        .integer("status", problems)
        .and_then(|status| u16::try_from(status).ok())
}

fn http(
    fields: &Fields<'_>,
    added: Vec<(String, String)>,
    problems: &mut Problems,
) -> Option<Reply> {
    let page = page(fields, problems);
    let given = status(fields, problems);
    let status = given.or(page.as_ref().map(|page| page.status));
    let text = fields.text("body", problems).map(|item| item.value);
    if matches!(status, Some(204 | 304)) && text.is_some() {
        let message = format!("an answer {} carries no body", status.unwrap_or_default());
        fields.problem(problems, "body", message, None);
    }
    let reason = reason(fields, problems);
    let close = fields.bool("close", problems);
    let status = status?;
    let default = page.as_ref().filter(|page| page.status == status);
    let reason = reason
        .or(default.map(|page| page.reason.to_owned()))
        .unwrap_or_else(|| reason_of(status).to_owned());
    let mut headers: Vec<(String, String)> = page
        .iter()
        .flat_map(|page| page.headers)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    headers.retain(|(name, _)| {
        !added
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(name))
    });
    headers.extend(added);
    let body = match (text, &page) {
        (Some(text), _) => Bytes::from(text),
        (None, Some(page)) => Bytes::from_static(page.body.as_bytes()),
        (None, None) => Bytes::new(),
    };
    Some(Reply::Http {
        status,
        reason,
        headers,
        body,
        close: close.unwrap_or(false),
        chunked: false,
    })
}

fn reason(fields: &Fields<'_>, problems: &mut Problems) -> Option<String> {
    let reason = fields.text("reason", problems)?.value;
    if reason.chars().any(char::is_control) {
        let message = "control characters make no reason phrase";
        fields.problem(problems, "reason", message, None);
    }
    Some(reason)
}

/// The headers that the file adds. Framing stays with whoever sends the answer.
pub(super) fn headers(fields: &Fields<'_>, problems: &mut Problems) -> Vec<(String, String)> {
    let added = fields.text_map("headers", problems).unwrap_or_default();
    for (name, value) in &added {
        let framing = ["content-length", "transfer-encoding", "connection"];
        let wrong = if HeaderName::from_bytes(name.as_bytes()).is_err() {
            format!("`{name}` is no header name")
        } else if HeaderValue::from_str(&value.value).is_err() {
            format!("`{name}` has no header value: {:?}", value.value)
        } else if framing.contains(&name.to_ascii_lowercase().as_str()) {
            format!("`{name}` belongs to the framing, which Brownout does itself")
        } else {
            continue;
        };
        problems.error(fields.source, value.span.clone(), wrong, None);
    }
    added
        .into_iter()
        .map(|(name, value)| (name, value.value))
        .collect()
}

/// S3's clients read milliseconds in a header of their own and ignore HTTP's.
fn retry_after(protocol: Protocol, delay: Duration) -> (String, String) {
    if protocol == Protocol::S3 {
        (
            "x-amz-retry-after".to_owned(),
            delay.as_millis().to_string(),
        )
    } else {
        let seconds = delay.as_millis().div_ceil(1000);
        ("Retry-After".to_owned(), seconds.to_string())
    }
}

/// The error page of a platform or load balancer.
struct Page {
    name: &'static str,
    status: u16,
    reason: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
}

const NGINX: &[(&str, &str)] = &[("Server", "nginx/1.22.1"), ("Content-Type", "text/html")];
const HAPROXY: &[(&str, &str)] = &[("Cache-Control", "no-cache"), ("Content-Type", "text/html")];

/// As nginx 1.22.1 and HAProxy 2.6 send them; Heroku's router answers all its errors alike.
#[rustfmt::skip]
const PAGES: &[Page] = &[
    Page { name: "nginx-502", status: 502, reason: "Bad Gateway", headers: NGINX, body: "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n" },
    Page { name: "nginx-503", status: 503, reason: "Service Temporarily Unavailable", headers: NGINX, body: "<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n<body>\r\n<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n" },
    Page { name: "nginx-504", status: 504, reason: "Gateway Time-out", headers: NGINX, body: "<html>\r\n<head><title>504 Gateway Time-out</title></head>\r\n<body>\r\n<center><h1>504 Gateway Time-out</h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n" },
    Page { name: "haproxy-502", status: 502, reason: "Bad Gateway", headers: HAPROXY, body: "<html><body><h1>502 Bad Gateway</h1>\nThe server returned an invalid or incomplete response.\n</body></html>\n" },
    Page { name: "haproxy-503", status: 503, reason: "Service Unavailable", headers: HAPROXY, body: "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n" },
    Page { name: "haproxy-504", status: 504, reason: "Gateway Time-out", headers: HAPROXY, body: "<html><body><h1>504 Gateway Time-out</h1>\nThe server didn't respond in time.\n</body></html>\n" },
    Page { name: "heroku", status: 503, reason: "Service Unavailable", headers: &[("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-cache, no-store")], body: "<!DOCTYPE html>\n<html>\n<head><title>Application Error</title></head>\n<body>\n<iframe src=\"//www.herokucdn.com/error-pages/application-error.html\"></iframe>\n</body>\n</html>\n" },
];

fn page(fields: &Fields<'_>, problems: &mut Problems) -> Option<&'static Page> {
    let name = fields.text("error", problems)?.value;
    if let Some(page) = PAGES.iter().find(|page| page.name == name) {
        return Some(page);
    }
    let known = || PAGES.iter().map(|page| page.name);
    let hint = match did_you_mean(&name, known()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are: {}", known().collect::<Vec<_>>().join(", ")),
    };
    let message = format!("no page `{name}` is known");
    fields.problem(problems, "error", message, hint);
    None
}
