//! The command line: the only part of the crate that prints or exits.
//!
//! Each command is a file with one function from what was typed to an [`Exit`]. Data goes to
//! standard output, all else to standard error; see `say`.

mod apart;
mod args;
mod bug;
mod check;
mod completions;
mod ctl;
mod diff;
mod exit;
mod explain;
mod files;
#[cfg(test)]
mod formats;
mod init;
mod interrupt;
mod judge;
mod list;
mod man;
mod matrix;
mod metastability;
mod outputs;
mod paths;
mod plan;
mod progress;
mod publish;
mod report;
mod run;
mod runs;
mod say;
mod schema;
#[cfg(feature = "demo")]
mod selftest;
mod serve;
mod so_far;
mod spelling;
#[cfg(feature = "otel")]
mod traces;

pub use exit::Exit;
#[cfg(any(test, fuzzing))]
pub(crate) use judge::has_all_of;

use crate::process;
use args::{Cli, Command};
use clap::Parser;
use std::{io, process::ExitCode};

/// Why a command could not be carried out, as its user is told.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A problem of what was typed or of a file that it names.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    /// What it says.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The problems were shown already; nothing more is said.
    pub(crate) fn shown() -> Self {
        Self {
            exit: Exit::Usage,
            message: String::new(),
            hint: None,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self {
            exit: Exit::Usage,
            message: format!("cannot write the output: {}", paths::in_words(&error)),
            hint: None,
        }
    }
}

/// Carries out what the process's arguments ask for.
pub fn main() -> ExitCode {
    if let Some(exit) = hidden() {
        return exit;
    }
    bug::install_hook();
    let cli = match Cli::try_parse_from(spelling::with_two_dashes(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    #[cfg(feature = "otel")]
    let traces = traces::begin(&cli.command);
    // What was started is ended while the stack unwinds, so a panic is caught only here.
    let outcome = std::panic::catch_unwind(|| carry_out(cli.command));
    let exit = outcome.unwrap_or(Ok(Exit::Bug)).unwrap_or_else(|failure| {
        if !failure.message.is_empty() {
            say::error(&failure.message, failure.hint.as_deref());
        }
        failure.exit
    });
    #[cfg(feature = "otel")]
    traces::end(traces);
    if bug::happened() {
        return exit.max(Exit::Bug).into();
    }
    exit.into()
}

/// The commands that nobody types: this very executable is also the guard over the processes of a
/// run, and the reference systems of the shipped scenarios.
fn hidden() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    let command = args.next()?;
    if command == process::guard::ARGUMENT {
        return Some(process::guard::main());
    }
    #[cfg(feature = "demo")]
    if command == "reference" {
        let args: Vec<String> = args.map(|one| one.to_string_lossy().into_owned()).collect();
        let status = crate::reference::main(&args);
        return Some(u8::try_from(status).unwrap_or(Exit::Bug.code()).into());
    }
    None
}

/// Help and version are answers; all else that clap has to say is a problem of usage.
fn usage(error: &clap::Error) -> ExitCode {
    // Nobody could be told that neither output can be written.
    let _ = error.print();
    if error.use_stderr() {
        Exit::Usage.into()
    } else {
        Exit::Pass.into()
    }
}

fn carry_out(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Check(args) => check::check(&args),
        Command::Plan(args) => plan::plan(&args),
        Command::List(args) => list::list(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Init(args) => init::init(&args),
        Command::Run(args) => run::run(&args),
        Command::Matrix(args) => matrix::matrix(&args),
        Command::Judge(args) => judge::judge(&args),
        Command::Diff(args) => diff::diff(&args),
        Command::Report(args) => report::report(&args),
        Command::Metastability(args) => metastability::metastability(&args),
        #[cfg(feature = "demo")]
        Command::Selftest(args) => selftest::selftest(&args),
        Command::Schema(args) => schema::schema(&args),
        Command::Serve(args) => serve::serve(&args),
        Command::Ctl(args) => ctl::ctl(&args),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => man::man(&args),
    }
}
