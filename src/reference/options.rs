//! The options of a reference program: `--name value` pairs, the environment behind them.

use super::Refusal;
use std::collections::BTreeMap;

/// Every option that some program reads.
const KNOWN: &[&str] = &[
    "port",
    "variant",
    "name",
    "s3",
    "primary",
    "standby",
    "pager",
    "plan",
    "status-page",
    "queue",
    "core",
    "sender",
    "webhooks",
    "server",
    "pusher",
    "transcripts",
    "app",
    "second",
    "twin",
    "dependency",
];

/// What was said on the command line.
#[derive(Debug)]
pub(super) struct Options {
    said: BTreeMap<String, String>,
}

impl Options {
    pub(super) fn parse(args: &[String]) -> Result<Self, Refusal> {
        let mut said = BTreeMap::new();
        for pair in args.chunks(2) {
            let name = pair[0].strip_prefix("--").unwrap_or_default();
            if !KNOWN.contains(&name) {
                return Err(Refusal::Usage(format!("unknown option `{}`", pair[0])));
            }
            let Some(value) = pair.get(1) else {
                return Err(Refusal::Usage(format!("`--{name}` has no value")));
            };
            said.insert(name.to_owned(), value.clone());
        }
        Ok(Self { said })
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.said.get(name).map(String::as_str)
    }

    pub(super) fn need(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name)
            .ok_or_else(|| Refusal::Usage(format!("`--{name}` is needed")))
    }

    /// The option, or this variable of the environment.
    pub(super) fn or_env(&self, name: &str, variable: &str) -> Result<String, Refusal> {
        let from_env = || std::env::var(variable).ok();
        self.get(name)
            .map(str::to_owned)
            .or_else(from_env)
            .ok_or_else(|| Refusal::Usage(format!("`--{name}` or `{variable}` is needed")))
    }

    /// A variable of the environment: secrets do not belong on a command line.
    pub(super) fn env(variable: &str) -> Result<String, Refusal> {
        std::env::var(variable).map_err(|_| Refusal::Usage(format!("`{variable}` is needed")))
    }

    pub(super) fn port(&self) -> Result<u16, Refusal> {
        let port = self.need("port")?;
        port.parse()
            .map_err(|_| Refusal::Usage(format!("`--port {port}` is not a port")))
    }
}
