//! The routes: what is asked of which proxy or toxic, and how the answer looks on the wire.

use super::{
    VERSION,
    failure::Failure,
    json, metrics,
    proxies::{Populated, Proxies},
};
use crate::protocol::s3::percent_decoded;
use bytes::Bytes;
use http::Method;
use std::{
    fmt::Write,
    sync::atomic::{AtomicU32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// How the user agents of browsers begin. None of them is answered: a page must not drive this.
const BROWSER: &[u8] = b"Mozilla/";

/// The API over its proxies.
#[derive(Debug)]
pub(crate) struct Api {
    proxies: Proxies,
    metrics: Metrics,
    /// Tells the requests of this process from those of others, and from each other.
    process: u64,
    requests: AtomicU32,
}

/// Which metrics there are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Metrics {
    /// The bytes of each proxy.
    pub proxies: bool,
    /// What the process itself takes.
    pub runtime: bool,
}

/// A request.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    /// As it came, without its query.
    pub(crate) path: &'a str,
    pub(crate) user_agent: Option<&'a [u8]>,
    pub(crate) body: Bytes,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content: Option<Content>,
    /// Where the same is to be had, if elsewhere.
    pub(crate) location: Option<String>,
    /// Of a request that a route was found for.
    pub(crate) request_id: Option<String>,
}

/// A body and what it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) kind: &'static str,
    pub(crate) text: String,
    /// Nobody is to guess that it is something else.
    pub(crate) is_plain: bool,
}

/// What a path leads to, with the methods that it understands.
#[derive(Debug)]
enum Route<'a> {
    Reset,
    Populate,
    Version,
    Proxies,
    Proxy(&'a str),
    Toxics(&'a str),
    Toxic(&'a str, &'a str),
}

impl Reply {
    /// A status alone.
    pub(crate) fn bare(status: u16) -> Self {
        Self {
            status,
            content: None,
            location: None,
            request_id: None,
        }
    }

    /// Words for people.
    pub(crate) fn plain(status: u16, text: &str) -> Self {
        Self::with(status, "text/plain; charset=utf-8", text.to_owned(), true)
    }

    fn json(status: u16, text: String) -> Self {
        Self::with(status, "application/json", text, false)
    }

    pub(crate) fn with(status: u16, kind: &'static str, text: String, is_plain: bool) -> Self {
        Self {
            content: Some(Content {
                kind,
                text,
                is_plain,
            }),
            ..Self::bare(status)
        }
    }
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        // It is JSON; that it is called plain text is what clients have always been told.
        Self::plain(failure.status, &(json::written(&failure) + "\n"))
    }
}

impl Api {
    pub(crate) fn new(proxies: Proxies, metrics: Metrics) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let nanos = since.map_or(0, |since| since.as_nanos() as u64);
        Self {
            proxies,
            metrics,
            process: nanos ^ u64::from(std::process::id()).rotate_left(40),
            requests: AtomicU32::new(0),
        }
    }

    /// The proxies.
    pub(crate) fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    /// Has the proxies of a configuration file be there, and says how many there are.
    pub(crate) async fn populate(&self, config: &[u8]) -> Result<usize, String> {
        let done = self.proxies.populate(config, true).await;
        match done.failure {
            Some(failure) => Err(failure.message),
            None => Ok(done.proxies.map_or(0, |proxies| proxies.len())),
        }
    }

    /// The metrics that its flags ask for.
    pub(crate) async fn metrics(&self) -> String {
        metrics::text(&self.proxies.flows().await, self.metrics)
    }

    /// Does what is asked.
    pub(crate) async fn answer(&self, asked: &Asked<'_>) -> Reply {
        let path = percent_decoded(asked.path);
        if let Some(clean) = cleaned(&path) {
            return Reply {
                location: Some(escaped(&clean)),
                ..Reply::bare(301)
            };
        }
        let Some(route) = Self::route(&path) else {
            return Reply::plain(404, "404 page not found\n");
        };
        if !route.understands(asked.method) {
            return Reply::bare(405);
        }
        let reply = match asked.user_agent {
            Some(agent) if agent.starts_with(BROWSER) => {
                Reply::plain(403, "User agent not allowed\n")
            }
            _ => self
                .carry_out(&route, asked)
                .await
                .unwrap_or_else(Reply::from),
        };
        Reply {
            request_id: Some(self.request_id()),
            ..reply
        }
    }

    fn route<'a>(path: &'a str) -> Option<Route<'a>> {
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        if segments.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        match segments[..] {
            ["reset"] => Some(Route::Reset),
            ["populate"] => Some(Route::Populate),
            ["version"] => Some(Route::Version),
            ["proxies"] => Some(Route::Proxies),
            ["proxies", proxy] => Some(Route::Proxy(proxy)),
            ["proxies", proxy, "toxics"] => Some(Route::Toxics(proxy)),
            ["proxies", proxy, "toxics", toxic] => Some(Route::Toxic(proxy, toxic)),
            _ => None,
        }
    }

    async fn carry_out(&self, route: &Route<'_>, asked: &Asked<'_>) -> Result<Reply, Failure> {
        let (proxies, body) = (&self.proxies, &asked.body);
        let method = asked.method;
        Ok(match *route {
            Route::Reset => {
                proxies.reset().await?;
                Reply::bare(204)
            }
            Route::Populate => populated(&proxies.populate(body, false).await),
            Route::Version => Reply::with(
                200,
                "application/json;charset=utf-8",
                format!("{{\"version\": \"{VERSION}\"}}\n"),
                false,
            ),
            Route::Proxies if method == Method::GET => Reply::json(200, proxies.list().await),
            Route::Proxies => Reply::json(201, proxies.create(body).await?),
            Route::Proxy(name) if method == Method::GET => {
                Reply::json(200, proxies.show(name).await?)
            }
            Route::Proxy(name) if method == Method::DELETE => {
                proxies.delete(name).await?;
                Reply::bare(204)
            }
            Route::Proxy(name) => Reply::json(200, proxies.update(name, body).await?),
            Route::Toxics(proxy) if method == Method::GET => {
                Reply::json(200, proxies.toxics(proxy).await?)
            }
            Route::Toxics(proxy) => Reply::json(200, proxies.add_toxic(proxy, body).await?),
            Route::Toxic(proxy, name) if method == Method::GET => {
                Reply::json(200, proxies.toxic(proxy, name).await?)
            }
            Route::Toxic(proxy, name) if method == Method::DELETE => {
                proxies.delete_toxic(proxy, name).await?;
                Reply::bare(204)
            }
            Route::Toxic(proxy, name) => {
                Reply::json(200, proxies.update_toxic(proxy, name, body).await?)
            }
        })
    }

    /// 20 characters, of which no two requests have the same: seconds, process, count.
    fn request_id(&self) -> String {
        const LETTERS: &[u8] = b"0123456789abcdefghijklmnopqrstuv";
        let count = self.requests.fetch_add(1, Ordering::Relaxed);
        let bits = u128::from(self.process) << 32 | u128::from(count);
        let letter = |at: u32| char::from(LETTERS[(bits >> (at * 5)) as usize & 31]);
        (0..20).rev().map(letter).collect()
    }
}

impl Route<'_> {
    fn understands(&self, method: &Method) -> bool {
        let one_of = |methods: &[Method]| methods.contains(method);
        match self {
            Self::Version => one_of(&[Method::GET]),
            Self::Reset | Self::Populate => one_of(&[Method::POST]),
            Self::Proxies | Self::Toxics(_) => one_of(&[Method::GET, Method::POST]),
            Self::Proxy(_) | Self::Toxic(..) => {
                one_of(&[Method::GET, Method::POST, Method::PATCH, Method::DELETE])
            }
        }
    }
}

/// The path without what says nothing, where there is such: `//`, `/./`, `/x/../`.
fn cleaned(path: &str) -> Option<String> {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            _ => kept.push(segment),
        }
    }
    let mut clean = format!("/{}", kept.join("/"));
    if path.ends_with('/') && clean.len() > 1 {
        clean.push('/');
    }
    (clean != path).then_some(clean)
}

/// A path as it may stand in a header.
fn escaped(path: &str) -> String {
    const PLAIN: &[u8] = b"-_.~!$&'()*+,;=:@/";
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || PLAIN.contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing into memory does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn populated(done: &Populated) -> Reply {
    let mut text = String::from("{");
    if let Some(failure) = &done.failure {
        let message = json::written(&failure.message);
        // Writing into memory does not fail.
        let _ = write!(text, "\"error\":{message},\"status\":{},", failure.status);
    }
    text.push_str("\"proxies\":");
    match &done.proxies {
        Some(proxies) => {
            let _ = write!(text, "[{}]", proxies.join(","));
        }
        None => text.push_str("null"),
    }
    text.push('}');
    let status = done.failure.as_ref().map_or(201, |failure| failure.status);
    Reply::json(status, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        control::{Tell, toxiproxy::Common},
        history::Recorder,
        seed::Seed,
    };
    use std::{collections::BTreeSet, net::Ipv4Addr};

    #[test]
    fn paths_are_cleaned_as_clients_expect() {
        for (path, clean) in [
            ("//proxies", Some("/proxies")),
            ("/proxies//a/", Some("/proxies/a/")),
            ("/a/./b/../c", Some("/a/c")),
            ("/..", Some("/")),
            ("", Some("/")),
            ("/", None),
            ("/proxies/", None),
            ("/proxies/a", None),
        ] {
            assert_eq!(cleaned(path).as_deref(), clean, "{path}");
        }
    }

    #[test]
    fn paths_in_headers_are_escaped() {
        assert_eq!(escaped("/proxies/a b"), "/proxies/a%20b");
        assert_eq!(escaped("/é\r\nX: y?%"), "/%C3%A9%0D%0AX:%20y%3F%25");
        assert_eq!(escaped("/proxies/a:1,2/"), "/proxies/a:1,2/");
    }

    #[test]
    fn no_two_requests_have_the_same_id() {
        let tell = Tell::new(|_, _| {});
        let (recorder, _history) = Recorder::channel(1);
        let common = Common::new(Seed(1), (Ipv4Addr::LOCALHOST.into(), false), tell, recorder);
        let api = Api::new(Proxies::new(common), Metrics::default());
        let ids: BTreeSet<String> = (0..100).map(|_| api.request_id()).collect();
        assert_eq!(ids.len(), 100);
        let is_id = |id: &String| {
            id.len() == 20
                && id
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'v'))
        };
        assert!(ids.iter().all(is_id), "{ids:?}");
    }
}
