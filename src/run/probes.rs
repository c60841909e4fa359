//! Makes the probes that expectations ask for, while the run goes on.
//!
//! Every probe is made from before the first fault until after the last, at its own pace, whether or
//! not the one before has ended: a system that hangs for half of the time so fails half of its
//! samples. Which of them count is the expectation's business. A probe that cannot be made is a
//! sample too, one that says so.

use super::places::Places;
use crate::{
    dial,
    expectation::{PROBES_UNDER_WAY_MAX, ProbeAsk, ProbeSpec},
    history::{Observation, ProbeSample, Recorder},
    load,
    scenario::{Answer, BODY_BYTES_MAX, Rule, Scenario},
    units::Micros,
};
use futures_util::future::{join, maybe_done};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::{ffi::OsString, net::SocketAddr, pin::pin, process::Stdio, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    task::{JoinHandle, JoinSet},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

/// The longest part of an answer or of a program's output that is kept.
const SEEN_MAX: usize = 500;

/// The time in which the last output of a program that has ended must have come: what it leaves behind
/// may hold the pipe open for ever.
const LAST_OUTPUT_WITHIN: Duration = Duration::from_millis(250);

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

    /// Begins no more probes and waits for those under way, within their own time-out, unless
    /// somebody does not want to wait.
    pub async fn finish(mut self, cancel: &CancellationToken) {
        self.stop.cancel();
        for task in &mut self.tasks {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = task => {}
            }
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
    /// Begins one at each beat until it is to stop, and waits for those under way. As each ends with
    /// its time-out, no more are under way than the file allows, and one: where a machine is so
    /// busy that they are, the next is not made.
    async fn repeat(self, recorder: Recorder, stop: CancellationToken) {
        let probe = Arc::new(self);
        let mut pace = tokio::time::interval(probe.every);
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut under_way = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = pace.tick() => {}
            }
            while under_way.try_join_next().is_some() {}
            let at = recorder.now();
            if under_way.len() <= PROBES_UNDER_WAY_MAX as usize {
                under_way.spawn(Arc::clone(&probe).sample(at, recorder.clone()));
            } else {
                let count = under_way.len();
                probe.record(
                    at,
                    Finding::unmade(&format!("{count} are under way")),
                    &recorder,
                );
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    async fn sample(self: Arc<Self>, at: Micros, recorder: Recorder) {
        let finding = self.once().await;
        self.record(at, finding, &recorder);
    }

    fn record(&self, at: Micros, finding: Finding, recorder: &Recorder) {
        recorder.record(Observation::Probe(ProbeSample {
            at,
            ended: recorder.now(),
            probe: Arc::clone(&self.id),
            held: finding.held,
            answered: finding.answered,
            seen: finding.seen,
        }));
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

/// GETs a URL and holds the answer against the rule, of a long body its beginning. An answer that never
/// comes does not hold; where it is we who cannot ask, nobody was asked.
async fn get(url: &str, rule: &Rule) -> Finding {
    let Ok(uri) = url.parse::<http::Uri>() else {
        return Finding::unmade(&format!("{url:?} is no URL"));
    };
    match fetch(&uri, BODY_BYTES_MAX).await {
        Ok(Page {
            status,
            headers,
            body,
            ..
        }) => {
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
        Err(NoAnswer::Unasked(why)) => Finding::unmade(&why),
        Err(NoAnswer::Theirs(why)) => Finding::no_answer(&why),
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Page {
    /// Its status code.
    pub status: u16,
    /// Its headers.
    pub headers: http::HeaderMap,
    /// Its body, or the beginning of that.
    pub body: Vec<u8>,
    /// Whether that is all of the body.
    pub is_whole: bool,
}

/// Why there is no answer, in words.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// Nobody was asked: it was we who could not.
    Unasked(String),
    /// Whoever was asked did not answer, or not to the end.
    Theirs(String),
}

impl NoAnswer {
    fn theirs(error: impl std::fmt::Display) -> Self {
        Self::Theirs(error.to_string())
    }

    /// Of a connection that did not come about.
    fn of_dialling(error: &std::io::Error) -> Self {
        match load::ran_out(error) {
            true => Self::Unasked(format!("there was no socket left to ask with: {error}")),
            false => Self::theirs(error),
        }
    }

    /// The words.
    pub fn into_words(self) -> String {
        match self {
            Self::Unasked(why) | Self::Theirs(why) => why,
        }
    }
}

/// GETs a URL on a connection of its own, which ends with the call. Of a longer body the first `limit`
/// bytes are kept and the rest is read, as far as the load reads one, and thrown away.
pub(super) async fn fetch(uri: &http::Uri, limit: usize) -> Result<Page, NoAnswer> {
    let unasked = |why: &str| NoAnswer::Unasked(why.to_owned());
    let host = uri.host().ok_or_else(|| unasked("no host in the URL"))?;
    let place = format!("{host}:{}", uri.port_u16().unwrap_or(80));
    let found = tokio::net::lookup_host(&place).await;
    let found = found.map_err(|error| unasked(&format!("{host} cannot be looked up: {error}")))?;
    let addresses: Vec<SocketAddr> = found.collect();
    let stream = dial::connect(&addresses[..])
        .await
        .map_err(|error| NoAnswer::of_dialling(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(NoAnswer::theirs)?;
    let mut background = JoinSet::new();
    background.spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = http::Request::get(path)
        .header(
            "host",
            uri.authority().map_or(host, |authority| authority.as_str()),
        )
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|error| unasked(&error.to_string()))?;
    let answer = sender.send_request(request).await;
    let (head, body) = answer.map_err(NoAnswer::theirs)?.into_parts();
    let (body, is_whole) = beginning_of_body(body, limit).await?;
    Ok(Page {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
        is_whole,
    })
}

/// The first `limit` bytes of a body that is read to its end, and whether they are all.
async fn beginning_of_body(mut body: Incoming, limit: usize) -> Result<(Vec<u8>, bool), NoAnswer> {
    let (mut kept, mut read) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| NoAnswer::Theirs(format!("in the middle of the answer: {error}")))?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        let room = limit - kept.len();
        kept.extend_from_slice(&data[..data.len().min(room)]);
        read += data.len() as u64;
        if read > load::DRAIN_BYTES_MAX {
            break;
        }
    }
    let is_whole = read == kept.len() as u64;
    Ok((kept, is_whole))
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
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = {
        let reading = join(
            beginning(child.stdout.take(), &mut out),
            beginning(child.stderr.take(), &mut err),
        );
        let mut reading = pin!(maybe_done(reading));
        let status = tokio::select! {
            status = child.wait() => status,
            () = &mut reading => child.wait().await,
        };
        if status.as_ref().is_ok_and(|status| !status.success()) {
            let _ = tokio::time::timeout(LAST_OUTPUT_WITHIN, reading).await;
        }
        status
    };
    match status {
        Ok(status) if status.success() => Finding::HELD,
        Ok(status) => {
            out.extend(err);
            let said = String::from_utf8_lossy(&out);
            Finding::not_held(&format!("{status}: {}", said.trim()))
        }
        Err(error) => Finding::unmade(&format!("{program}: {error}")),
    }
}

/// Keeps what a program says first; the rest is read and thrown away, so that it never waits for a
/// reader.
async fn beginning(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut stream) = stream else {
        return;
    };
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let room = (4 * SEEN_MAX).saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    /// A server that gives this answer to each connection, and its URL.
    async fn answering(answer: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        url
    }

    #[tokio::test]
    async fn a_long_answer_holds_by_its_status() {
        let long = 2 * BODY_BYTES_MAX;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {long}\r\n\r\n");
        let url = answering(head + &"x".repeat(long)).await;
        let finding = get(&url, &Rule::default()).await;
        assert_eq!((finding.held, finding.answered), (Some(true), true));
        let page = fetch(&url.parse().unwrap(), 10).await.unwrap();
        assert_eq!((&page.body[..], page.is_whole), (&b"xxxxxxxxxx"[..], false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hang_takes_one_sample_of_each_beat_and_not_one_of_each_time_out() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let probe = Probe {
            id: "P".into(),
            mark: ("BROWNOUT_RUN", OsString::new()),
            ask: Ask::Http {
                url,
                rule: Rule::default(),
            },
            every: Duration::from_millis(200),
            timeout: Duration::from_secs(2),
        };
        let (recorder, mut queue) = Recorder::channel(1_000);
        let stop = CancellationToken::new();
        let task = tokio::spawn(probe.repeat(recorder, stop.clone()));
        tokio::time::sleep(Duration::from_millis(9_900)).await;
        stop.cancel();
        task.await.unwrap();
        let mut begun = Vec::new();
        while let Some(Observation::Probe(sample)) = queue.recv().await {
            assert_eq!(sample.held, Some(false));
            assert!(sample.ended.since(sample.at) >= Duration::from_secs(2));
            begun.push(sample.at);
        }
        // Five time-outs fit into it, and fifty beats.
        assert_eq!(begun.len(), 50);
        assert!(
            begun
                .windows(2)
                .all(|two| two[1].since(two[0]) >= Duration::from_millis(150))
        );
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_does_not_hold() {
        let url = answering("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx".to_owned()).await;
        let finding = get(&url, &Rule::default()).await;
        assert_eq!((finding.held, finding.answered), (Some(false), false));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_program_has_answered_when_it_ends_whatever_it_leaves_behind() {
        let probe = |script: &str, timeout| Probe {
            id: "P".into(),
            mark: ("BROWNOUT_RUN", OsString::new()),
            ask: Ask::Command(["sh", "-c", script].map(str::to_owned).to_vec()),
            every: Duration::from_secs(60),
            timeout,
        };
        let long = Duration::from_secs(30);
        // A child that goes on has the pipes of both streams.
        let held = probe("sleep 300 & exit 0", long).once().await;
        assert_eq!((held.held, held.answered), (Some(true), true));
        let failed = probe("echo no; echo why >&2; sleep 300 & exit 3", long);
        let failed = failed.once().await;
        assert_eq!((failed.held, failed.answered), (Some(false), true));
        let seen = failed.seen.unwrap();
        assert!(seen.contains("exit status: 3: no\nwhy"), "{seen}");
        // One that goes on itself has not answered, also where it has closed its streams.
        let closed = probe("exec >&- 2>&-; exec sleep 300", Duration::from_millis(500));
        let closed = closed.once().await;
        assert_eq!((closed.held, closed.answered), (Some(false), false));
        // More than a pipe holds is read, so that nobody waits for us.
        let loud = probe("head -c 1000000 /dev/zero; exit 1", long)
            .once()
            .await;
        assert_eq!((loud.held, loud.answered), (Some(false), true));
    }

    #[tokio::test]
    async fn who_ran_out_of_sockets_has_asked_nobody() {
        use rustix::io::Errno;
        let dialling = |errno: Errno| {
            NoAnswer::of_dialling(&std::io::Error::from_raw_os_error(errno.raw_os_error()))
        };
        assert!(matches!(dialling(Errno::MFILE), NoAnswer::Unasked(_)));
        assert!(matches!(dialling(Errno::CONNREFUSED), NoAnswer::Theirs(_)));
        let finding = get("/healthz", &Rule::default()).await;
        assert_eq!(finding.held, None, "there is nobody to ask");
    }
}
