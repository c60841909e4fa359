//! How providers say that a quota is used up: status, headers and body as their clients know them.
//! What an answer says of limit and time is true of the quota that refuses.

use super::meter::{Limit, Over, Refill};
use crate::fault::{Closing, End, Reply};
use crate::protocol::http::reason_of;
use std::time::Duration;

/// The refusal of one provider.
#[derive(Debug)]
pub struct Dialect {
    /// Its name in files.
    pub name: &'static str,
    /// The status.
    status: u16,
    /// The media type of the body.
    content_type: &'static str,
    /// The body; `{limit}`, `{seconds}` are filled in.
    body: &'static str,
    /// Which headers it adds.
    headers: &'static [Header],
}

/// A header that a refusal carries. Those about the time of restoring are left out where nothing
/// is ever given back.
#[derive(Debug, Clone, Copy)]
enum Header {
    /// Seconds, rounded up: `Retry-After: 7`.
    RetryAfter,
    /// Seconds with decimals: `Retry-After: 6.5`.
    RetryAfterExact,
    /// `retry-after-ms`.
    RetryAfterMs,
    /// The IETF draft's `RateLimit-Policy` and `RateLimit`.
    RateLimit,
    /// The customary `X-RateLimit-Limit`, `-Remaining`.
    XRateLimit,
    /// `X-RateLimit-Reset`, in seconds from now.
    XRateLimitReset,
    /// `x-ratelimit-limit-requests`, `-remaining-requests`, `-reset-requests`.
    OpenAi,
    /// `x-amz-retry-after`, in milliseconds: what AWS's SDKs read.
    Amz,
    /// A fixed one.
    Fixed(&'static str, &'static str),
}

use Header::{
    Amz, Fixed, OpenAi, RateLimit, RetryAfter, RetryAfterExact, RetryAfterMs, XRateLimit,
    XRateLimitReset,
};

/// The header that AWS's SDKs read.
const AMZ_RETRY_AFTER: &str = "x-amz-retry-after";

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const AMZ_JSON: &str = "application/x-amz-json-1.0";

/// Every dialect, in the order listed.
#[rustfmt::skip]
pub const DIALECTS: &[Dialect] = &[
    Dialect { name: "429", status: 429, content_type: TEXT, body: "Too many requests: the limit is {limit}.\n", headers: &[RetryAfter, RateLimit, XRateLimit, XRateLimitReset] },
    Dialect { name: "403", status: 403, content_type: TEXT, body: "Over quota: the limit is {limit}.\n", headers: &[] },
    Dialect { name: "402", status: 402, content_type: TEXT, body: "The plan's limit of {limit} is used up.\n", headers: &[] },
    Dialect { name: "stripe-429", status: 429, content_type: JSON, body: "{\"error\":{\"code\":\"rate_limit\",\"message\":\"Request rate limit exceeded.\",\"type\":\"invalid_request_error\"}}", headers: &[] },
    Dialect { name: "openai-rate-limit", status: 429, content_type: JSON, body: "{\"error\":{\"message\":\"Rate limit reached: limit {limit}, used {limit}, requested 1. Please try again in {seconds}s.\",\"type\":\"requests\",\"param\":null,\"code\":\"rate_limit_exceeded\"}}", headers: &[OpenAi, RetryAfter, RetryAfterMs] },
    Dialect { name: "openai-insufficient-quota", status: 429, content_type: JSON, body: "{\"error\":{\"message\":\"You exceeded your current quota, please check your plan and billing details.\",\"type\":\"insufficient_quota\",\"param\":null,\"code\":\"insufficient_quota\"}}", headers: &[] },
    Dialect { name: "pusher-403", status: 403, content_type: TEXT, body: "Application is over message quota\n", headers: &[] },
    Dialect { name: "soketi-429", status: 429, content_type: JSON, body: "{\"error\":\"Too many requests.\",\"code\":429}", headers: &[RetryAfterExact, XRateLimit] },
    Dialect { name: "github-403", status: 403, content_type: JSON, body: "{\"message\":\"You have exceeded a secondary rate limit. Please wait a few minutes before you try again.\"}", headers: &[RetryAfter, XRateLimit] },
    Dialect { name: "lambda-429", status: 429, content_type: JSON, body: "{\"Reason\":\"ReservedFunctionConcurrentInvocationLimitExceeded\",\"Type\":\"User\",\"message\":\"Rate Exceeded.\"}", headers: &[Fixed("x-amzn-ErrorType", "TooManyRequestsException"), RetryAfter] },
    Dialect { name: "ThrottlingException", status: 400, content_type: AMZ_JSON, body: "{\"__type\":\"com.amazon.coral.availability#ThrottlingException\",\"message\":\"Rate exceeded\"}", headers: &[Amz] },
    Dialect { name: "ProvisionedThroughputExceededException", status: 400, content_type: AMZ_JSON, body: "{\"__type\":\"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException\",\"message\":\"The level of configured provisioned throughput for the table was exceeded. Consider increasing your provisioning level with the UpdateTable API.\"}", headers: &[Amz] },
    Dialect { name: "elasticsearch-429", status: 429, content_type: JSON, body: "{\"error\":{\"root_cause\":[{\"type\":\"es_rejected_execution_exception\",\"reason\":\"rejected execution of coordinating operation\"}],\"type\":\"es_rejected_execution_exception\",\"reason\":\"rejected execution of coordinating operation\"},\"status\":429}", headers: &[] },
];

/// How a quota refuses.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// Always the same.
    Fixed(End),
    /// As a provider does.
    Dialect(&'static Dialect),
}

impl Refusal {
    /// The refusal of something for which nothing is left.
    pub fn end(&self, over: &Over) -> End {
        match self {
            Self::Fixed(end) => slowed_down(end.clone(), over),
            Self::Dialect(dialect) => End::Reply(dialect.reply(over)),
        }
    }

    /// How a connection that was open is cut: a protocol's answer has no place there.
    pub fn cut(&self) -> End {
        match self {
            Self::Fixed(end @ End::Close(_)) => end.clone(),
            _ => End::Close(Closing::Fin),
        }
    }
}

/// What S3's throttling says of the time, unless the file says it.
fn slowed_down(mut end: End, over: &Over) -> End {
    if let End::Reply(Reply::S3 { code, headers, .. }) = &mut end
        && code == "SlowDown"
        && !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(AMZ_RETRY_AFTER))
    {
        Amz.write(over, headers);
    }
    end
}

/// The dialect of this name.
pub fn find(name: &str) -> Option<&'static Dialect> {
    DIALECTS.iter().find(|dialect| dialect.name == name)
}

fn seconds(time: Duration) -> u128 {
    time.as_millis().div_ceil(1000)
}

impl Dialect {
    fn reply(&self, over: &Over) -> Reply {
        let mut headers = vec![("Content-Type".to_owned(), self.content_type.to_owned())];
        for header in self.headers {
            header.write(over, &mut headers);
        }
        let wait = over.restored_in.map_or(0, seconds);
        let body = self
            .body
            .replace("{limit}", &over.limit.most.to_string())
            .replace("{seconds}", &wait.to_string());
        Reply::Http {
            status: self.status,
            reason: reason_of(self.status).to_owned(),
            headers,
            body: body.into(),
            close: false,
            chunked: false,
        }
    }
}

impl Header {
    fn write(self, over: &Over, headers: &mut Vec<(String, String)>) {
        let mut add = |name: &str, value: String| headers.push((name.to_owned(), value));
        let limit = over.limit.most;
        match (self, over.restored_in) {
            (Fixed(name, value), _) => add(name, value.to_owned()),
            (RetryAfter, Some(wait)) => add("Retry-After", seconds(wait).to_string()),
            (RetryAfterExact, Some(wait)) => add("Retry-After", wait.as_secs_f64().to_string()),
            (RetryAfterMs, Some(wait)) => add("retry-after-ms", wait.as_millis().to_string()),
            (Amz, Some(wait)) => add(AMZ_RETRY_AFTER, wait.as_millis().to_string()),
            (XRateLimitReset, Some(wait)) => add("X-RateLimit-Reset", seconds(wait).to_string()),
            (XRateLimit, _) => {
                add("X-RateLimit-Limit", limit.to_string());
                add("X-RateLimit-Remaining", "0".to_owned());
            }
            (RateLimit, wait) => {
                add("RateLimit-Policy", policy(&over.limit));
                let reset = wait.map_or_else(String::new, |wait| format!(";t={}", seconds(wait)));
                add("RateLimit", format!("\"default\";r=0{reset}"));
            }
            (OpenAi, wait) => {
                add("x-ratelimit-limit-requests", limit.to_string());
                add("x-ratelimit-remaining-requests", "0".to_owned());
                if let Some(wait) = wait {
                    add("x-ratelimit-reset-requests", format!("{}s", seconds(wait)));
                }
            }
            (RetryAfter | RetryAfterExact | RetryAfterMs | Amz | XRateLimitReset, None) => {}
        }
    }
}

/// The quota as the IETF draft's structured field.
fn policy(limit: &Limit) -> String {
    let window = match limit.refill {
        Refill::Total => None,
        Refill::Window(length) => Some(seconds(length)),
        Refill::Bucket(rate) => Duration::try_from_secs_f64(limit.most / rate)
            .ok()
            .map(seconds),
    };
    let window = window.map_or_else(String::new, |window| format!(";w={window}"));
    format!("\"default\";q={}{window}", limit.most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVER: Over = Over {
        limit: Limit {
            most: 100.0,
            refill: Refill::Window(Duration::from_secs(60)),
        },
        restored_in: Some(Duration::from_millis(22_500)),
    };

    const NEVER: Over = Over {
        limit: Limit {
            most: 100.0,
            refill: Refill::Total,
        },
        restored_in: None,
    };

    /// Each dialect as a client is told it: status, headers, body.
    fn shown(over: &Over) -> String {
        let mut shown = String::new();
        for dialect in DIALECTS {
            let Reply::Http {
                status,
                reason,
                headers,
                body,
                ..
            } = dialect.reply(over)
            else {
                panic!("{}", dialect.name)
            };
            shown += &format!("== {}\n{status} {reason}\n", dialect.name);
            for (name, value) in headers {
                shown += &format!("{name}: {value}\n");
            }
            shown += &format!("\n{}\n", String::from_utf8_lossy(&body).trim_end());
        }
        shown
    }

    #[test]
    fn each_provider_refuses_in_its_own_words() {
        insta::assert_snapshot!("quota_dialects", shown(&OVER));
    }

    #[test]
    fn s3_says_when_to_come_back_unless_the_file_does() {
        let headers = |own: &[(&str, &str)], code: &str, over: &Over| {
            let own = own
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()));
            let fixed = Refusal::Fixed(End::Reply(Reply::S3 {
                code: code.to_owned(),
                status: None,
                headers: own.collect(),
                in_200: false,
                close: None,
            }));
            let End::Reply(Reply::S3 { headers, .. }) = fixed.end(over) else {
                panic!("no answer of S3")
            };
            let headers = headers
                .iter()
                .map(|(name, value)| format!("{name}: {value}"));
            headers.collect::<Vec<_>>().join("\n")
        };
        assert_eq!(headers(&[], "SlowDown", &OVER), "x-amz-retry-after: 22500");
        let own = [("x-amz-retry-after", "7")];
        assert_eq!(headers(&own, "SlowDown", &OVER), "x-amz-retry-after: 7");
        assert_eq!(headers(&[], "SlowDown", &NEVER), "");
        assert_eq!(headers(&[], "AccessDenied", &OVER), "");
    }

    #[test]
    fn where_nothing_is_given_back_nobody_is_told_to_wait() {
        let shown = shown(&NEVER).to_lowercase();
        for header in ["retry-after", "reset", ";t=", ";w="] {
            assert!(!shown.contains(header), "{header}");
        }
        assert!(
            shown.contains("ratelimit-policy: \"default\";q=100\n"),
            "{shown}"
        );
    }
}
