//! `brownout init`: a system file and a first scenario for the user's own system.
//!
//! It looks at what lies in the folder, asks for what it cannot know (on a terminal alone, and each
//! question has an option), and writes both files or none. What it writes passes `brownout check`.
//! Secrets that it comes by go nowhere: neither into the files nor onto the terminal.

mod ask;
mod compose;
mod depends;
mod dotenv;
mod files;
mod look;
mod place;
mod start;
mod url;
mod yaml;

use super::{Exit, Failure, args::Init as Args, say};
use crate::{
    input::{Problems, Source, hint_among},
    report::quoted,
    scenario::from_texts,
    units::Rate,
};
use ask::{Asker, yes};
use depends::{Clue, Dependency};
use files::{Setup, Start};
use look::{Found, look};
use place::Wanted;
use start::{Port, Started};
use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

/// Where the files go, below the folder.
const SYSTEM: &str = "brownout.toml";
const SCENARIO: &str = "scenarios/first-outage.toml";

/// The load's rate where nobody says another one: enough to show 95 % in a short phase, and little
/// enough for any machine.
const RATE: &str = "20/s";

/// The variable from which a program takes its port where nothing says another one.
const PORT_VARIABLE: &str = "PORT";

/// The longest path of the load, in bytes.
const PATH_BYTES_MAX: usize = 1_000;

/// Carries it out.
pub fn init(args: &Args) -> Result<Exit, Failure> {
    let mut wanted = [SYSTEM, SCENARIO].map(|name| Wanted {
        path: beside(&args.dir, name),
        text: String::new(),
    });
    if !args.force && !args.dry_run {
        place::refuse_existing(&wanted)?;
    }
    let found = look_again(args, args.command.as_deref(), &[])?;
    say_found(&found);
    let (setup, assumed) = if asks(args) {
        let mut asker = Asker {
            input: io::stdin().lock(),
            output: anstream::stderr(),
        };
        (interview(args, found, &mut asker)?, Vec::new())
    } else {
        assume(args, found)?
    };
    wanted[0].text = setup.system();
    wanted[1].text = setup.scenario();
    verify(&wanted[0].text, &wanted[1].text)?;
    for one in assumed {
        say::note(&format!("assumed   {one}"));
    }
    if args.dry_run {
        for (name, file) in [SYSTEM, SCENARIO].iter().zip(&wanted) {
            say::data(format!("# ── {name} ──\n{}\n", file.text).as_bytes())?;
        }
        return Ok(Exit::Pass);
    }
    place::write(&wanted, args.force)?;
    for file in &wanted {
        say::note(&format!("written   {}", file.path.display()));
    }
    say_next(&setup, &wanted[1].path);
    Ok(Exit::Pass)
}

/// Whether anybody can be asked.
fn asks(args: &Args) -> bool {
    !args.yes && io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn beside(folder: &Path, name: &str) -> PathBuf {
    if folder == Path::new(".") {
        PathBuf::from(name)
    } else {
        folder.join(name)
    }
}

/// What the folder says, given how the system is started and what else was typed.
fn look_again(args: &Args, line: Option<&str>, more: &[Clue]) -> Result<Found, Failure> {
    let mut clues = more.to_vec();
    for text in &args.depends {
        let clue = depends_on(text)
            .map_err(|wrong| Failure::usage(format!("--depends: {wrong}"), DEPENDS_HINT))?;
        clues.push(clue);
    }
    let mut found = look(&args.dir, &clues, args.service.as_deref(), line)
        .map_err(|wrong| Failure::usage(wrong, "brownout init DIR looks into another folder"))?;
    let called = depends::by_hosts(&args.host, &found.dependencies);
    found
        .dependencies
        .extend(called.map_err(|wrong| usage("--host", wrong))?);
    if args.external.is_some() {
        depends::fixed(&mut found.dependencies);
    }
    Ok(found)
}

const DEPENDS_HINT: &str = "DATABASE_URL=postgres://127.0.0.1:5432/app";

/// Reads `VARIABLE=URL`. A message never holds the URL: there may be a password in it.
fn depends_on(text: &str) -> Result<Clue, String> {
    let (name, value) = text.split_once('=').ok_or("expected VARIABLE=URL")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(fits) {
        return Err("what stands before `=` is no name of a variable".to_owned());
    }
    let clue = Clue {
        name: name.to_owned(),
        value: value.trim().to_owned(),
        origin: "what was typed".to_owned(),
    };
    let found = depends::find(std::slice::from_ref(&clue), &[]);
    if found.dependencies.is_empty() {
        return Err(format!(
            "what `{name}` is set to is no URL of a kind that is known (postgres, mysql, redis, http, https, amqp …)"
        ));
    }
    Ok(clue)
}

/// Says what was found and what could not be read.
fn say_found(found: &Found) {
    for trouble in &found.troubles {
        say::warning(
            trouble,
            Some("the rest was read; nothing depends on this line alone"),
        );
    }
    if !found.read.is_empty() {
        say::note(&format!("read      {}", found.read.join(", ")));
    }
    for dependency in &found.dependencies {
        let variables: Vec<&str> = dependency
            .env
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        say::note(&format!(
            "found     {} ({}, {} from {}), in a rehearsal {}",
            dependency.name,
            dependency.kind.protocol(),
            variables.join(" and "),
            dependency.origin,
            dependency.upstream
        ));
    }
    for note in &found.notes {
        say::note(&format!("note      {note}"));
    }
    for one in &found.real {
        say::note(&format!("note      {one}"));
    }
}

/// Everything by options and what was found, and what was assumed.
fn assume(args: &Args, found: Found) -> Result<(Setup, Vec<String>), Failure> {
    let mut assumed = Vec::new();
    let mut missing = Vec::new();
    let mut hints = Vec::new();
    let start = start(args, found.started.clone())?;
    if start.is_none() {
        missing.push("how the system is started");
        hints.push("--command 'node server.js'".to_owned());
    }
    if found.dependencies.is_empty() {
        missing.push("what it depends on");
        hints.push(format!("--depends {DEPENDS_HINT}"));
    }
    let start = match start {
        Some(start) if !found.dependencies.is_empty() => start,
        _ => {
            return Err(Failure::usage(
                format!(
                    "nothing in `{}` says {}",
                    args.dir.display(),
                    missing.join(" or ")
                ),
                hints.join(" "),
            ));
        }
    };
    if let (Start::Command(started), None) = (&start, &args.command) {
        assumed.push(format!(
            "it is started by `{}`, as {} says (--command)",
            started.words.join(" "),
            started.origin
        ));
    }
    let port = match (&args.port, found.port) {
        _ if args.external.is_some() => Port::InCommand,
        (Some(text), _) => typed_port(text)?,
        (None, Some((port, why))) => {
            assumed.push(format!("{} (--port): {why}", said(&port)));
            port
        }
        (None, None) => {
            let port = Port::Variable(PORT_VARIABLE.to_owned());
            assumed.push(format!("{} (--port): no file says otherwise", said(&port)));
            port
        }
    };
    let failing = match &args.failing {
        Some(name) => {
            named(name, &found.dependencies).map_err(|wrong| usage("--failing", wrong))?
        }
        None => {
            let first = first_to_fail(&found.dependencies);
            if found.dependencies.len() > 1 {
                let name = &found.dependencies[first].name;
                assumed.push(format!("`{name}` is the one that fails (--failing)"));
            }
            first
        }
    };
    let path = match &args.path {
        Some(path) => path.clone(),
        None => {
            assumed.push("the load asks for / (--path)".to_owned());
            "/".to_owned()
        }
    };
    let setup = Setup {
        start,
        port,
        ready: match &args.ready {
            Some(path) => optional_path(path).map_err(|wrong| usage("--ready", wrong))?,
            None => found.ready,
        },
        failing,
        dependencies: found.dependencies,
        real: found.real,
        path: checked_path(&path).map_err(|wrong| usage("--path", wrong))?,
        rate: typed_rate(args.rate.as_deref().unwrap_or(RATE))
            .map_err(|wrong| usage("--rate", wrong))?,
    };
    Ok((setup, assumed))
}

fn usage(option: &str, wrong: String) -> Failure {
    Failure::usage(format!("{option}: {wrong}"), "brownout init --help")
}

/// How the system comes to run, where that is known.
fn start(args: &Args, found: Option<Started>) -> Result<Option<Start>, Failure> {
    let Some(url) = &args.external else {
        return Ok(found.map(Start::Command));
    };
    let wrong = |wrong: &str| usage("--external", wrong.to_owned());
    let parsed = url::Url::parse(url).ok_or_else(|| wrong("no URL, like http://127.0.0.1:8000"))?;
    if parsed.scheme != "http" {
        return Err(wrong("the load is plain HTTP: http://127.0.0.1:8000"));
    }
    let bare = url.trim_end_matches('/').to_owned();
    Ok(Some(Start::External(bare)))
}

fn typed_port(text: &str) -> Result<Port, Failure> {
    Port::parse(text).map_err(|wrong| usage("--port", wrong))
}

/// A port in words.
fn said(port: &Port) -> String {
    match port {
        Port::InCommand => "its command says its port".to_owned(),
        Port::Variable(name) => format!("it takes its port from {name}"),
        Port::Fixed(port) => format!("it listens on port {port}"),
    }
}

/// Everything that no option says is asked for.
fn interview<R: io::BufRead, W: io::Write>(
    args: &Args,
    found: Found,
    asker: &mut Asker<R, W>,
) -> Result<Setup, Failure> {
    let mut found = found;
    let mut line = args.command.clone();
    if line.is_none() && args.external.is_none() {
        let default = found
            .started
            .as_ref()
            .map(|one| one.words.join(" "))
            .unwrap_or_default();
        let answer = asker.ask("How is the system started?", &default, |text| {
            if text.is_empty() {
                Err("a program and its arguments".to_owned())
            } else {
                Ok(text.to_owned())
            }
        })?;
        if answer != default {
            found = look_again(args, Some(&answer), &[])?;
            line = Some(answer);
        }
    }
    if found.dependencies.is_empty() {
        let question = "What does it depend on? A variable and its URL, VARIABLE=URL";
        let clue = asker.ask(question, "", depends_on)?;
        found = look_again(args, line.as_deref(), &[clue])?;
    }
    let Some(start) = start(args, found.started)? else {
        return Err(usage("--command", "it names no program".to_owned()));
    };
    let port = match &start {
        Start::Command(started) => port_by_answer(args, started, found.port, asker)?,
        Start::External(_) => Port::InCommand,
    };
    let ready = match &args.ready {
        _ if args.external.is_some() => None,
        Some(path) => optional_path(path).map_err(|wrong| usage("--ready", wrong))?,
        None => {
            let question =
                "Which path answers 2xx when it is ready? Empty: as soon as the port accepts";
            asker.ask(
                question,
                found.ready.as_deref().unwrap_or_default(),
                optional_path,
            )?
        }
    };
    let path = match &args.path {
        Some(path) => checked_path(path).map_err(|wrong| usage("--path", wrong))?,
        None => asker.ask("Which path shall the load ask for?", "/", checked_path)?,
    };
    let rate = match &args.rate {
        Some(rate) => typed_rate(rate).map_err(|wrong| usage("--rate", wrong))?,
        None => asker.ask("How many requests a second?", RATE, typed_rate)?,
    };
    let failing = failing_by_answer(args, &found.dependencies, asker)?;
    if !args.dry_run {
        let question = format!("Write {SYSTEM} and {SCENARIO}?");
        if !asker.ask(&question, "y", yes)? {
            return Err(Failure::usage(
                "nothing was written",
                "--dry-run prints what would be",
            ));
        }
    }
    Ok(Setup {
        start,
        port,
        ready,
        dependencies: found.dependencies,
        real: found.real,
        failing,
        path,
        rate,
    })
}

fn port_by_answer<R: io::BufRead, W: io::Write>(
    args: &Args,
    started: &Started,
    found: Option<(Port, String)>,
    asker: &mut Asker<R, W>,
) -> Result<Port, Failure> {
    if let Some(text) = &args.port {
        return typed_port(text);
    }
    let default = match found {
        Some((Port::InCommand, _)) => return Ok(Port::InCommand),
        Some((Port::Variable(name), _)) => name,
        Some((Port::Fixed(port), _)) => port.to_string(),
        None => PORT_VARIABLE.to_owned(),
    };
    let question = format!(
        "On which port does `{}` listen? A number, or the variable that it takes it from",
        started.words.join(" ")
    );
    asker.ask(&question, &default, Port::parse)
}

fn failing_by_answer<R: io::BufRead, W: io::Write>(
    args: &Args,
    dependencies: &[Dependency],
    asker: &mut Asker<R, W>,
) -> Result<usize, Failure> {
    if let Some(name) = &args.failing {
        return named(name, dependencies).map_err(|wrong| usage("--failing", wrong));
    }
    let first = first_to_fail(dependencies);
    if dependencies.len() == 1 {
        return Ok(first);
    }
    let names: Vec<&str> = dependencies.iter().map(|one| one.name.as_str()).collect();
    let question = format!("Which of {} shall fail first?", names.join(", "));
    asker.ask(&question, &dependencies[first].name, |name| {
        named(name, dependencies)
    })
}

/// The dependency whose outage most likely tells something.
fn first_to_fail(dependencies: &[Dependency]) -> usize {
    let places = 0..dependencies.len();
    places
        .min_by_key(|place| dependencies[*place].kind)
        .unwrap_or_default()
}

fn named(name: &str, dependencies: &[Dependency]) -> Result<usize, String> {
    let found = dependencies.iter().position(|one| one.name == name);
    found.ok_or_else(|| {
        let known = dependencies.iter().map(|one| one.name.as_str());
        format!(
            "no dependency is named `{name}` ({})",
            hint_among(name, known)
        )
    })
}

fn checked_path(text: &str) -> Result<String, String> {
    let bad = |c: char| c.is_whitespace() || c.is_control();
    if !text.starts_with('/') || text.contains(bad) || text.len() > PATH_BYTES_MAX {
        return Err("a path begins with `/` and holds no spaces, like /orders?page=1".to_owned());
    }
    Ok(text.to_owned())
}

fn optional_path(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        Ok(None)
    } else {
        checked_path(text).map(Some)
    }
}

fn typed_rate(text: &str) -> Result<Rate, String> {
    let text = text.trim();
    let text = if text.contains('/') {
        text.to_owned()
    } else {
        format!("{text}/s")
    };
    let rate: Rate = text
        .parse()
        .map_err(|error: crate::units::UnitError| error.to_string())?;
    if (0.5..=1_000.0).contains(&rate.as_per_second()) {
        Ok(rate)
    } else {
        Err("a rate from 0.5/s to 1000/s".to_owned())
    }
}

/// What is about to be written must be what `brownout check` takes.
fn verify(system: &str, scenario: &str) -> Result<(), Failure> {
    let mut problems = Problems::default();
    from_texts(
        Source::new(SCENARIO, scenario),
        Source::new(SYSTEM, system),
        PathBuf::from("."),
        &mut problems,
    );
    if !problems.any_error() {
        return Ok(());
    }
    say::problems(&problems.into_sorted());
    Err(Failure {
        exit: Exit::Bug,
        message: "what would be written is not valid; nothing was written".to_owned(),
        hint: Some(
            "this is a bug in Brownout: please report it with the problems above".to_owned(),
        ),
    })
}

/// What to do now.
fn say_next(setup: &Setup, scenario: &Path) {
    for password in setup.dependencies.iter().flat_map(|one| &one.passwords) {
        say::note(&format!(
            "first     export {}=…   the password within {} ({}), which was not copied",
            password.variable, password.within, password.origin
        ));
    }
    if matches!(setup.start, Start::External(_)) {
        for (name, value) in setup.to_be_set() {
            say::note(&format!("first     start the system with {name}={value}"));
        }
    }
    let scenario = quoted(&scenario.display().to_string());
    say::note(&format!("next      brownout plan {scenario}"));
    say::note(&format!("          brownout run {scenario}"));
}

#[cfg(test)]
mod tests;
