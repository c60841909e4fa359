//! Where words go: data to standard output, everything else to standard error. Colours only on a
//! terminal, and never where `NO_COLOR` is set.

use crate::input::{Problem, Severity};
use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use std::io::{self, Write};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// Data, to standard output. A reader that has gone (`| head`) is no error.
///
/// # Errors
/// Standard output is a file that cannot be written, on a full disk for one.
pub fn data(bytes: &[u8]) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Data that is no text for a terminal, to standard output as it is.
///
/// # Errors
/// As [`data`].
pub fn bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// A line for people, to standard error.
pub fn note(text: &str) {
    // Nobody could be told that standard error cannot be written.
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// What is wrong, and what to do about it.
pub fn error(message: &str, hint: Option<&str>) {
    note(&format!("{ERROR}error{ERROR:#}: {message}"));
    if let Some(hint) = hint {
        note(&format!("{HINT}hint{HINT:#}: {hint}"));
    }
}

/// What is not as it should be and keeps nothing from going on.
pub fn warning(message: &str, hint: Option<&str>) {
    note(&format!("{WARNING}warning{WARNING:#}: {message}"));
    if let Some(hint) = hint {
        note(&format!("{HINT}hint{HINT:#}: {hint}"));
    }
}

/// Problems of files with the offending text underlined, and how many they are.
pub fn problems(problems: &[Problem]) {
    if problems.is_empty() {
        return;
    }
    let colour = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
    let text = crate::input::render(problems, colour);
    note(text.trim_end());
    note(&format!("\n{}", tally(problems)));
}

fn tally(problems: &[Problem]) -> String {
    let count = |severity: Severity, noun: &str| {
        let count = problems
            .iter()
            .filter(|problem| problem.severity == severity)
            .count();
        let s = if count == 1 { "" } else { "s" };
        (count > 0).then(|| format!("{count} {noun}{s}"))
    };
    let parts: Vec<String> = [
        count(Severity::Error, "error"),
        count(Severity::Warning, "warning"),
    ]
    .into_iter()
    .flatten()
    .collect();
    parts.join(", ")
}
