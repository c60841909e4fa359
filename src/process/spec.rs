//! What an instance is, and why it could not be started or signalled.

use crate::units::format_duration;
use std::{collections::BTreeMap, fmt::Write as _, io, path::PathBuf, time::Duration};

/// One instance as it is to be started, with every placeholder filled.
#[derive(Debug, Clone)]
pub struct InstanceSpec {
    /// Its name: in events, in errors, and of its log `NAME.log`.
    pub name: String,
    /// Program and arguments, handed over as they are. A program with a slash in it is looked up
    /// from `folder`, one without in `PATH`.
    pub argv: Vec<String>,
    /// Added to our own environment, of which [`TOKEN`](super::TOKEN) is left out.
    pub env: BTreeMap<String, String>,
    /// The working directory.
    pub folder: PathBuf,
    /// When it counts as ready.
    pub ready: Readiness,
    /// The time it has to become ready.
    pub ready_within: Duration,
    /// The signal that asks it to stop, without `SIG`: `TERM`, `INT`, `QUIT`, `HUP`, `KILL`.
    pub stop_signal: &'static str,
    /// Then KILL after this time.
    pub stop_within: Duration,
}

/// When an instance counts as ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// When a GET of this `http://` URL is answered with 2xx.
    Http {
        /// The URL.
        url: String,
    },
    /// When a connection to this address is accepted.
    Port {
        /// `HOST:PORT`; of a host with several addresses any one.
        address: String,
    },
    /// As soon as it was started.
    Immediately,
}

impl Readiness {
    /// When what has this URL accepts a connection: at its port, or the one that its scheme has.
    pub fn of_url(url: &str) -> Self {
        let address = || {
            let uri: http::Uri = url.parse().ok()?;
            let usual = match uri.scheme_str() {
                Some("http") => Some(80),
                Some("https") => Some(443),
                _ => None,
            };
            Some(format!("{}:{}", uri.host()?, uri.port_u16().or(usual)?))
        };
        // One without is told when the instance is to be started, as every other bad URL is.
        Self::Port {
            address: address().unwrap_or_else(|| url.to_owned()),
        }
    }
}

/// Why an instance was not started, or is not ready. The text holds its last output.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The spec itself is wrong: no program, a bad URL, an unknown signal.
    #[error("instance `{name}`: {what}")]
    Spec {
        /// The instance.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// The operating system would not start it.
    #[error("instance `{name}`: cannot start `{program}`: {error}")]
    Spawn {
        /// The instance.
        name: String,
        /// The program as it was looked up.
        program: String,
        /// Why.
        error: io::Error,
    },
    /// It exited before it was ready.
    #[error("instance `{name}` ended before it was ready: {status}{}", quoted(.output))]
    Exited {
        /// The instance.
        name: String,
        /// How, in words: "exit status 3", "killed by signal 9 (KILL)".
        status: String,
        /// Its last 20 lines of output.
        output: Vec<String>,
    },
    /// It was not ready in time. It has been killed.
    #[error(
        "instance `{name}` was not ready within {}: {last}{}",
        format_duration(*.within), quoted(.output)
    )]
    NotReady {
        /// The instance.
        name: String,
        /// The time it had.
        within: Duration,
        /// What the last look saw: "connection refused", "status 503".
        last: String,
        /// Its last 20 lines of output.
        output: Vec<String>,
    },
    /// Somebody else listens at its address, and would be taken for it.
    #[error(
        "instance `{name}`: somebody else listens at {address} already and would be taken for it; \
         end that program, or let Brownout choose the port: `{{port.{name}}}` in `command` and `url`"
    )]
    Taken {
        /// The instance.
        name: String,
        /// Its address.
        address: String,
    },
    /// It is running already.
    #[error("instance `{0}` is running already")]
    AlreadyRunning(String),
    /// No instance of this name was ever registered.
    #[error("there is no instance `{0}`")]
    Unknown(String),
    /// The keeper has stopped everything and starts nothing any more.
    #[error("instance `{0}` is not started: the run is over")]
    Closed(String),
    /// The guard process is gone, so that nothing could be promised about clean-up.
    #[error("instance `{name}` is not started: the guard process is gone: {error}")]
    Guard {
        /// The instance.
        name: String,
        /// What the pipe to it said.
        error: io::Error,
    },
}

/// Why an instance could not be signalled.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// No instance of this name was ever registered.
    #[error("there is no instance `{0}`")]
    Unknown(String),
    /// It is not running.
    #[error("instance `{0}` is not running")]
    NotRunning(String),
    /// Some of its processes did not do what the signal asks of them.
    #[error(
        "instance `{name}`: {} of its processes {still} {} after the signal (process {})",
        .pids.len(), format_duration(*.within), listed(.pids)
    )]
    Unmoved {
        /// The instance.
        name: String,
        /// What they do: "still run".
        still: &'static str,
        /// Which.
        pids: Vec<i32>,
        /// The time that they had.
        within: Duration,
    },
    /// Its processes are gone, and somebody goes on to serve at its address.
    #[error(
        "instance `{name}`: all its processes are gone, and {address} still accepts connections: \
         what serves there is none of them"
    )]
    StillServed {
        /// The instance.
        name: String,
        /// Its address.
        address: String,
    },
    /// The operating system refused.
    #[error("instance `{name}` cannot be signalled: {error}")]
    Refused {
        /// The instance.
        name: String,
        /// Why.
        error: io::Error,
    },
}

/// `12, 13 and 14`.
fn listed(pids: &[i32]) -> String {
    let words: Vec<String> = pids.iter().map(i32::to_string).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Output lines as the end of an error text.
fn quoted(lines: &[String]) -> String {
    if lines.is_empty() {
        return "; it printed nothing".to_owned();
    }
    let mut text = "; its last output:".to_owned();
    for line in lines {
        let _ = write!(text, "\n  | {line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_url_is_ready_at_its_port_whatever_its_host_is_called() {
        for (url, expected) in [
            ("http://127.0.0.1:8080/api", "127.0.0.1:8080"),
            ("http://localhost:8080", "localhost:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
            ("http://web", "web:80"),
            ("https://web", "web:443"),
            // No port to look at: refused when it is to be started.
            ("web", "web"),
        ] {
            let address = expected.to_owned();
            assert_eq!(Readiness::of_url(url), Readiness::Port { address }, "{url}");
        }
    }
}
