//! Makes the probes that expectations ask for, while the run goes on.
//!
//! Every probe is made from before the first fault until after the last, at its own pace; which of
//! its samples count is the expectation's business. A probe that cannot be made is a sample too,
//! one that says so.

use super::places::Places;
use crate::{
    expectation::{ProbeAsk, ProbeSpec},
    history::{Observation, ProbeSample, Recorder},
    scenario::{Answer, BODY_BYTES_MAX, Rule, Scenario},
};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use std::{ffi::OsString, process::Stdio, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::TcpStream,
    task::JoinHandle,
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

/// The longest part of an answer or of a program's output that is kept.
const SEEN_MAX: usize = 500;

/// The variable by which a run's processes are known: see `Keeper::mark`.
pub type Mark = (&'static str, OsString);

/// The probes of a run. Dropping them ends them.
pub struct Probes {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Probes {
    /// Starts the probes of all expectations. Programs are started with `mark` in their
    /// environment.
    pub fn start(scenario: &Scenario, places: &Places, mark: &Mark, recorder: &Recorder) -> Self {
        let stop = CancellationToken::new();
        let tasks = scenario
            .expects
            .iter()
            .filter_map(|expect| Some((expect, expect.expectation.probe()?)))
            .map(|(expect, spec)| {
                let probe = Probe {
                    id: Arc::clone(&expect.id),
                    mark: mark.clone(),
                    ask: filled(&spec, places),
                    every: spec.every,
                    timeout: spec.timeout,
                };
                tokio::spawn(probe.repeat(recorder.clone(), stop.clone()))
            })
            .collect();
        Self { stop, tasks }
    }

    /// Ends the probes; a probe under way is waited for, within its own time-out.
    pub async fn stop(mut self) {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// What is asked, with its placeholders filled in.
enum Ask {
    Http { url: String, rule: Rule },
    Command(Vec<String>),
}

fn filled(spec: &ProbeSpec, places: &Places) -> Ask {
    match &spec.ask {
        ProbeAsk::Http { url, rule } => Ask::Http {
            url: places.fill(url),
            rule: rule.clone(),
        },
        ProbeAsk::Command(words) => {
            Ask::Command(words.iter().map(|word| places.fill(word)).collect())
        }
    }
}

struct Probe {
    id: Arc<str>,
    mark: Mark,
    ask: Ask,
    every: Duration,
    timeout: Duration,
}

/// What one probe found.
struct Finding {
    /// Whether what was asked for held; `None`: the probe could not be made.
    held: Option<bool>,
    /// Whether anything answered.
    answered: bool,
    /// What was seen instead.
    seen: Option<String>,
}

impl Finding {
    const HELD: Self = Self {
        held: Some(true),
        answered: true,
        seen: None,
    };

    fn not_held(seen: &str) -> Self {
        Self {
            held: Some(false),
            answered: true,
            seen: Some(shortened(seen)),
        }
    }

    fn no_answer(why: &str) -> Self {
        Self {
            answered: false,
            ..Self::not_held(why)
        }
    }

    fn unmade(why: &str) -> Self {
        Self {
            held: None,
            ..Self::no_answer(why)
        }
    }
}

impl Probe {
    async fn repeat(self, recorder: Recorder, stop: CancellationToken) {
        let mut pace = tokio::time::interval(self.every);
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = pace.tick() => {}
            }
            let at = recorder.now();
            let Finding {
                held,
                answered,
                seen,
            } = self.once().await;
            recorder.record(Observation::Probe(ProbeSample {
                at,
                ended: recorder.now(),
                probe: Arc::clone(&self.id),
                held,
                answered,
                seen,
            }));
        }
    }

    async fn once(&self) -> Finding {
        let asked = async {
            match &self.ask {
                Ask::Http { url, rule } => get(url, rule).await,
                Ask::Command(words) => command(words, &self.mark).await,
            }
        };
        tokio::time::timeout(self.timeout, asked)
            .await
            .unwrap_or_else(|_| Finding::no_answer("no answer in time"))
    }
}

/// GETs a URL and holds the answer against the rule. An answer that never comes does not hold; a
/// URL that makes no sense could not be asked at all.
async fn get(url: &str, rule: &Rule) -> Finding {
    let Ok(uri) = url.parse::<http::Uri>() else {
        return Finding::unmade(&format!("{url:?} is no URL"));
    };
    match fetch(&uri, BODY_BYTES_MAX).await {
        Ok((status, headers, body)) => {
            let headers: Vec<(&str, &[u8])> = headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_bytes()))
                .collect();
            let answer = Answer {
                status,
                headers: headers.iter().copied(),
                body: &body,
            };
            if rule.holds(&answer, &|template| template.0.clone()) {
                Finding::HELD
            } else {
                let body = String::from_utf8_lossy(&body);
                Finding::not_held(&format!("status {status}, {body}"))
            }
        }
        Err(error) => Finding::no_answer(&error.to_string()),
    }
}

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// GETs a URL on a connection of its own, with a body of at most `limit` bytes.
pub(super) async fn fetch(
    uri: &http::Uri,
    limit: usize,
) -> Result<(u16, http::HeaderMap, Vec<u8>), BoxError> {
    let host = uri.host().ok_or("no host in the URL")?;
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = http::Request::get(path)
        .header(
            "host",
            uri.authority().map_or(host, |authority| authority.as_str()),
        )
        .body(Empty::<bytes::Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, limit)
        .collect()
        .await?
        .to_bytes()
        .to_vec();
    connection.abort();
    Ok((head.status.as_u16(), head.headers, body))
}

/// Runs a program in a process group of its own, which ends with the probe; exit status 0 holds.
/// One that cannot be started is a probe that was not made.
async fn command(words: &[String], mark: &Mark) -> Finding {
    let Some((program, arguments)) = words.split_first() else {
        return Finding::unmade("no program");
    };
    let mut command = tokio::process::Command::new(program);
    command
        .args(arguments)
        .env_remove(crate::process::TOKEN)
        .env(mark.0, &mark.1)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Finding::unmade(&format!("{program}: {error}")),
    };
    let _group = Group::of(&child);
    let said = beginning_of(child.stdout.take(), child.stderr.take());
    let (said, status) = tokio::join!(said, child.wait());
    match status {
        Ok(status) if status.success() => Finding::HELD,
        Ok(status) => Finding::not_held(&format!("{status}: {}", said.trim())),
        Err(error) => Finding::unmade(&format!("{program}: {error}")),
    }
}

/// What a program says first, on either stream; the rest is read and thrown away, so that it
/// never waits for a reader.
async fn beginning_of(
    out: Option<impl AsyncRead + Unpin>,
    err: Option<impl AsyncRead + Unpin>,
) -> String {
    let (mut said, more) = tokio::join!(beginning(out), beginning(err));
    said.extend(more);
    String::from_utf8_lossy(&said).into_owned()
}

async fn beginning(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut stream) = stream else {
        return kept;
    };
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let room = (4 * SEEN_MAX).saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
    kept
}

/// A probe's process group, killed when dropped: with it goes what the program has started.
struct Group(Option<u32>);

impl Group {
    fn of(child: &tokio::process::Child) -> Self {
        Self(child.id())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(pid) = self.0.and_then(|pid| i32::try_from(pid).ok())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            // It is gone already where the probe ended well.
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

pub(super) fn shortened(text: &str) -> String {
    text.chars().take(SEEN_MAX).collect()
}
