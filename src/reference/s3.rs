//! An S3 client with two sets of manners: those of boto 2 as everybody ran it in February 2017,
//! and those of a client that means to be bounded. The requests are signed by `rusty-s3`, which
//! sends nothing itself, so that time-outs and retries are all here.
//!
//! It sends `amz-sdk-invocation-id` and `amz-sdk-request` as today's AWS SDKs do. boto 2 did not;
//! without them nobody on the wire could tell a retry from a new call, so this departs from the
//! original for the sake of being countable.

use super::{
    Refusal,
    web::{Endpoint, Patience, ask},
};
use crate::seed::Seed;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode};
use parking_lot::Mutex;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use std::{fmt, time::Duration};
use tokio::time;

/// How long a signature is good for: longer than any call takes with all its retries.
const SIGNED_FOR: Duration = Duration::from_secs(3600);

/// The header that carries a model's version.
const VERSION: &str = "x-amz-meta-version";

/// When a client gives up, and when it tries again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manners {
    pub patience: Patience,
    /// The most attempts of a call.
    pub attempts: u32,
    /// The pause after the i-th failed attempt (from 0) is drawn evenly from zero up to this
    /// times 2^i.
    pub pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// Whether it also pauses after the last attempt, when nothing comes any more.
    pub pauses_at_the_end: bool,
}

impl Manners {
    /// boto 2: one socket time-out of 70 s for connecting and for reading, 7 attempts, pauses of
    /// rand(0,1)·2^i up to 60 s, also after the last failure.
    pub(super) const BOTO_2: Self = Self {
        patience: Patience {
            connect: Duration::from_secs(70),
            answer: Duration::from_secs(70),
        },
        attempts: 7,
        pause: Duration::from_secs(1),
        pause_max: Duration::from_secs(60),
        pauses_at_the_end: true,
    };

    /// Remedied: a call is over in 2·(1 + 2) + 0.1 = 6.1 s at the very most.
    pub(super) const BOUNDED: Self = Self {
        patience: Patience {
            connect: Duration::from_secs(1),
            answer: Duration::from_secs(2),
        },
        attempts: 2,
        pause: Duration::from_millis(100),
        pause_max: Duration::from_millis(100),
        pauses_at_the_end: false,
    };

    /// Remedied, where somebody waits: one short try.
    pub(super) const BRIEF: Self = Self {
        patience: Patience {
            connect: Duration::from_millis(400),
            answer: Duration::from_millis(600),
        },
        attempts: 1,
        pause: Duration::ZERO,
        pause_max: Duration::ZERO,
        pauses_at_the_end: false,
    };

    /// One try that waits for ever, as an HTTP client without any time-out does: an hour here.
    pub(super) const ENDLESS: Self = Self {
        patience: Patience {
            connect: Duration::from_secs(3600),
            answer: Duration::from_secs(3600),
        },
        attempts: 1,
        pause: Duration::ZERO,
        pause_max: Duration::ZERO,
        pauses_at_the_end: false,
    };

    /// The pause after the i-th failed attempt, from 0; `dice` is in [0, 1).
    fn pause_after(&self, failed: u32, dice: f64) -> Duration {
        let ceiling = self.pause.as_secs_f64() * 2f64.powi(failed.min(30) as i32);
        Duration::from_secs_f64((dice * ceiling).min(self.pause_max.as_secs_f64()))
    }
}

/// Why a call failed for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CallError {
    /// There is no such object.
    NotFound,
    /// S3 could not be reached, or answered this status.
    Unavailable(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such object"),
            Self::Unavailable(why) => f.write_str(why),
        }
    }
}

/// A client of one bucket.
#[derive(Debug)]
pub(super) struct Client {
    endpoint: Endpoint,
    bucket: Bucket,
    credentials: Credentials,
    manners: Manners,
    random: Mutex<ChaCha8Rng>,
}

impl Client {
    /// # Errors
    /// An address that is not plain HTTP, or a bucket name that fits into no URL.
    pub(super) fn new(
        url: &str,
        bucket: &str,
        (access_key, secret_key): (String, String),
        manners: Manners,
    ) -> Result<Self, Refusal> {
        let endpoint = Endpoint::parse(url)?;
        let wrong = |why: String| Refusal::Usage(format!("`{url}` and bucket `{bucket}`: {why}"));
        let parsed = endpoint
            .url
            .parse()
            .map_err(|error| wrong(format!("{error}")))?;
        let region = std::env::var("AWS_REGION").unwrap_or_else(|_| "us-east-1".to_owned());
        let bucket = Bucket::new(parsed, UrlStyle::Path, bucket.to_owned(), region)
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            endpoint,
            bucket,
            credentials: Credentials::new(access_key, secret_key),
            manners,
            random: Mutex::new(Seed::fresh().stream(&["reference", "s3"])),
        })
    }

    /// Writes a model.
    pub(super) async fn put(&self, key: &str, version: u64, body: Bytes) -> Result<(), CallError> {
        let version = version.to_string();
        let sign = || {
            let mut action = self.bucket.put_object(Some(&self.credentials), key);
            action.headers_mut().insert(VERSION, version.as_str());
            action.sign(SIGNED_FOR)
        };
        let request = || {
            Request::put(target(sign().as_str()))
                .header(VERSION, &version)
                .body(Full::new(body.clone()))
        };
        self.call(request).await.map(drop)
    }

    /// Reads a model and its version.
    pub(super) async fn get(&self, key: &str) -> Result<(u64, Bytes), CallError> {
        let sign = || {
            self.bucket
                .get_object(Some(&self.credentials), key)
                .sign(SIGNED_FOR)
        };
        let request = || Request::get(target(sign().as_str())).body(Full::default());
        let answer = self.call(request).await?;
        Ok((version_of(&answer), answer.into_body()))
    }

    /// The version that is stored.
    pub(super) async fn stored_version(&self, key: &str) -> Result<u64, CallError> {
        let sign = || {
            self.bucket
                .head_object(Some(&self.credentials), key)
                .sign(SIGNED_FOR)
        };
        let request = || Request::head(target(sign().as_str())).body(Full::default());
        let answer = self.call(request).await?;
        Ok(version_of(&answer))
    }

    /// A logical call: attempts until one is answered, or until manners say it is enough.
    async fn call(
        &self,
        request: impl Fn() -> http::Result<Request<Full<Bytes>>>,
    ) -> Result<Response<Bytes>, CallError> {
        let id = self.invocation_id();
        let mut failed = 0;
        loop {
            let mut request = request().map_err(|error| unavailable(&error))?;
            let headers = request.headers_mut();
            let number = format!("attempt={}; max={}", failed + 1, self.manners.attempts);
            for (name, value) in [("amz-sdk-invocation-id", &id), ("amz-sdk-request", &number)] {
                let value = value.parse().map_err(|error| unavailable(&error))?;
                headers.insert(name, value);
            }
            let error = match ask(&self.endpoint, request, self.manners.patience).await {
                Ok(answer) if answer.status().is_success() => return Ok(answer),
                Ok(answer) if answer.status() == StatusCode::NOT_FOUND => {
                    return Err(CallError::NotFound);
                }
                Ok(answer) if !worth_another_try(answer.status()) => {
                    return Err(unavailable(&answer.status()));
                }
                Ok(answer) => unavailable(&answer.status()),
                Err(failure) => unavailable(&failure),
            };
            let last = failed + 1 >= self.manners.attempts;
            if !last || self.manners.pauses_at_the_end {
                time::sleep(self.manners.pause_after(failed, self.dice())).await;
            }
            if last {
                return Err(error);
            }
            failed += 1;
        }
    }

    fn dice(&self) -> f64 {
        let bits = self.random.lock().next_u64() >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }

    /// A random UUID (version 4), the same for all attempts of a call.
    fn invocation_id(&self) -> String {
        let mut random = self.random.lock();
        let (high, low) = (random.next_u64(), random.next_u64());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            0x8000 | low >> 48 & 0x3fff,
            low & 0xffff_ffff_ffff
        )
    }
}

fn unavailable(why: &dyn fmt::Display) -> CallError {
    CallError::Unavailable(why.to_string())
}

/// The statuses that S3's documents call worth repeating.
fn worth_another_try(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504)
}

/// The request target of a signed URL: its path and query.
fn target(url: &str) -> String {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.find('/').unwrap_or(after_scheme.len());
    after_scheme[path..].to_owned()
}

/// An object without a readable version counts as older than any.
fn version_of(answer: &Response<Bytes>) -> u64 {
    answer
        .headers()
        .get(VERSION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boto_2_pauses_ever_longer_up_to_a_minute() {
        let pause = |failed| Manners::BOTO_2.pause_after(failed, 0.5).as_secs_f64();
        assert_eq!([0, 1, 2, 3].map(pause), [0.5, 1.0, 2.0, 4.0]);
        assert_eq!(pause(12), 60.0);
    }

    #[test]
    fn an_invocation_id_is_a_uuid_of_its_own() {
        let keys = ("a".to_owned(), "b".to_owned());
        let client = Client::new("http://127.0.0.1:1", "models", keys, Manners::BOUNDED).unwrap();
        let (one, other) = (client.invocation_id(), client.invocation_id());
        assert_ne!(one, other);
        let groups: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12], "{one}");
    }
}
