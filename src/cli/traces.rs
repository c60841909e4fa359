//! The team's own traces, for the commands on whose way requests pass.

use super::{args::Command, say};
use crate::otel::{Settings, Traces};

/// Begins to send spans, where the environment names who receives them. What is wrong with that is
/// said, and keeps nobody from what was asked for.
pub fn begin(command: &Command) -> Option<Traces> {
    let is_meant = matches!(
        command,
        Command::Run(_) | Command::Serve(_) | Command::Matrix(_) | Command::Metastability(_)
    );
    if !is_meant {
        return None;
    }
    match Settings::from_variables(|name| std::env::var(name).ok()) {
        Ok(None) => None,
        Ok(Some(settings)) => Traces::begin(settings)
            .inspect_err(|error| say::warning(&format!("no traces are sent: {error}"), None))
            .ok(),
        Err(trouble) => {
            say::warning(&format!("no traces are sent: {trouble}"), None);
            None
        }
    }
}

/// Sends what is left, and says what was lost.
pub fn end(traces: Option<Traces>) {
    let sent = traces.map(Traces::end);
    if let Some(sent) = sent.filter(|sent| sent.lost > 0) {
        say::warning(&sent.to_string(), None);
    }
}
