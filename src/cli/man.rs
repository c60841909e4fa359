//! `brownout man`: the manual page, or that of one command, as roff on standard output.
//!
//! Names and options come from the definitions that read them, exit statuses and report files from
//! their registries; what is written here is said nowhere else.

use super::{
    Exit, Failure,
    args::{Cli, Man as Args},
    exit, say,
};
use crate::report::REPORTS;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use roff::{Inline, Roff, bold, italic, roman};

/// Files that a command reads or writes, beside the reports.
const FILES: &[(&str, &str)] = &[
    (
        "brownout.toml",
        "The system under test: how it is started, its dependencies and the load.",
    ),
    (
        "scenarios/*.toml",
        "Scenarios: an outage each, and what is required in it.",
    ),
    (
        "brownout-report/SCENARIO/history.jsonl",
        "What was observed, written as it happens; brownout judge reads it. A large one is packed when its \
         run is over: history.jsonl.gz.",
    ),
];

/// What the environment decides.
const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "NO_COLOR",
        "Where it is set and not empty, nothing is coloured.",
    ),
    (
        "CLICOLOR_FORCE",
        "Where it is set and not 0, colours go also to what is no terminal.",
    ),
    (
        "TERM",
        "In a terminal that is dumb, progress comes in plain lines.",
    ),
    (
        "SSL_CERT_FILE, SSL_CERT_DIR",
        "The roots by which the certificates of upstreams are checked, in place of the system's.",
    ),
    (
        "RUST_BACKTRACE",
        "Where it is 1, the report of a bug in Brownout says where it happened.",
    ),
];

/// Carries it out.
pub fn man(args: &Args) -> Result<Exit, Failure> {
    let page = match &args.command {
        None => whole()?,
        Some(name) => one(name)?,
    };
    say::data(&page)?;
    Ok(Exit::Pass)
}

/// The names that `brownout man` takes.
pub fn pages() -> Vec<String> {
    let command = Cli::command();
    let names = command.get_subcommands().map(|one| one.get_name().into());
    names.collect()
}

/// The page of Brownout as a whole.
fn whole() -> Result<Vec<u8>, Failure> {
    let command = built();
    let mut page = head(&command)?;
    Man::new(command.clone()).render_subcommands_section(&mut page)?;
    let mut roff = Roff::new();
    exit_status(&mut roff);
    let reports = REPORTS.iter().filter_map(|report| {
        let file = format!("brownout-report/{}", report.file?);
        Some((file, sentence(report.summary)))
    });
    let files = FILES
        .iter()
        .map(|(file, what)| (file.to_string(), what.to_string()));
    entries(&mut roff, "FILES", files.chain(reports));
    let variables = ENVIRONMENT.iter();
    entries(
        &mut roff,
        "ENVIRONMENT",
        variables.map(|(name, what)| (name.to_string(), what.to_string())),
    );
    examples(&mut roff, &command);
    see_also(&mut roff, &command);
    page.extend(roff.render().into_bytes());
    Ok(page)
}

/// The page of one command.
fn one(name: &str) -> Result<Vec<u8>, Failure> {
    let whole = built();
    let Some(command) = whole.find_subcommand(name).cloned() else {
        let known = pages();
        return Err(Failure::usage(
            format!("no command is named `{name}`"),
            crate::input::hint_among(name, known.iter().map(String::as_str)),
        ));
    };
    let mut page = head(&command)?;
    let mut roff = Roff::new();
    for (index, paragraph) in paragraphs(&command).into_iter().enumerate() {
        let (control, title) = if index == 0 {
            ("SH", vec!["NOTES"])
        } else {
            ("PP", vec![])
        };
        roff.control(control, title);
        roff.text([roman(paragraph)]);
    }
    examples(&mut roff, &command);
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold("brownout"), roman("(1)")]);
    page.extend(roff.render().into_bytes());
    Ok(page)
}

/// The definitions with the names that commands have in usage texts.
fn built() -> Command {
    let mut command = Cli::command();
    command.build();
    command
}

/// Title, name, synopsis, description and options.
fn head(command: &Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    let man = Man::new(command.clone())
        .source(concat!("brownout ", env!("CARGO_PKG_VERSION")))
        .manual("Brownout");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    Ok(page)
}

fn exit_status(roff: &mut Roff) {
    let statuses = exit::ALL.iter().map(|exit| {
        let what = format!("{}.", exit.meaning());
        (exit.code().to_string(), what)
    });
    entries(roff, "EXIT STATUS", statuses);
    roff.control("PP", []);
    let order: Vec<String> = exit::ALL
        .iter()
        .rev()
        .map(|exit| exit.code().to_string())
        .collect();
    roff.text([roman(format!(
        "Of several scenarios the most important one counts, in this order: {}.",
        order.join(", ")
    ))]);
}

/// A section of names with what each is.
fn entries(roff: &mut Roff, title: &str, entries: impl Iterator<Item = (String, String)>) {
    roff.control("SH", [title]);
    for (name, what) in entries {
        roff.control("TP", []);
        roff.text([bold(name)]);
        roff.text([roman(what)]);
    }
}

/// The examples of a command's help, as they stand.
fn examples(roff: &mut Roff, command: &Command) {
    roff.control("SH", ["EXAMPLES"]);
    roff.control("nf", []);
    for line in after_help(command).lines() {
        if let Some(example) = line.strip_prefix("  ") {
            roff.text([roman(example)]);
        }
    }
    roff.control("fi", []);
}

/// What a command's help says beside its examples.
fn paragraphs(command: &Command) -> Vec<String> {
    after_help(command)
        .split("\n\n")
        .filter(|paragraph| !paragraph.starts_with("Examples:"))
        .map(|paragraph| paragraph.replace('\n', " "))
        .collect()
}

fn after_help(command: &Command) -> String {
    let text = command.get_after_help();
    text.map(ToString::to_string).unwrap_or_default()
}

fn see_also(roff: &mut Roff, command: &Command) {
    roff.control("SH", ["SEE ALSO"]);
    let mut names: Vec<Inline> = Vec::new();
    for sub in command.get_subcommands() {
        if !names.is_empty() {
            names.push(roman(", "));
        }
        names.push(bold(format!("brownout-{}", sub.get_name())));
        names.push(roman("(1)"));
    }
    roff.text(names);
    roff.control("PP", []);
    roff.text([
        italic("brownout man COMMAND"),
        roman(" prints the page of a command."),
    ]);
}

/// A fragment with a capital and a full stop.
fn sentence(fragment: &str) -> String {
    let mut letters = fragment.chars();
    let first = letters.next().map(char::to_uppercase);
    let first: String = first.into_iter().flatten().collect();
    let rest = letters.as_str().trim_end_matches('.');
    format!("{first}{rest}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(page: Result<Vec<u8>, Failure>) -> String {
        String::from_utf8(page.expect("a page")).unwrap()
    }

    /// The titles of a page's sections.
    fn sections(page: &str) -> Vec<&str> {
        page.lines()
            .filter_map(|line| line.strip_prefix(".SH "))
            .map(|title| title.trim_matches('"'))
            .collect()
    }

    #[test]
    fn the_page_has_the_sections_of_a_manual_in_their_order() {
        assert_eq!(
            sections(&text(whole())),
            [
                "NAME",
                "SYNOPSIS",
                "DESCRIPTION",
                "OPTIONS",
                "SUBCOMMANDS",
                "EXIT STATUS",
                "FILES",
                "ENVIRONMENT",
                "EXAMPLES",
                "SEE ALSO",
            ]
        );
    }

    #[test]
    fn every_exit_status_command_and_report_is_in_it() {
        let page = text(whole());
        for exit in exit::ALL {
            let entry = format!(".TP\n\\fB{}\\fR\n{}", exit.code(), exit.meaning());
            assert!(page.contains(&entry), "{entry}\n{page}");
        }
        for name in pages() {
            assert!(
                page.contains(&format!("\\fBbrownout\\-{name}\\fR(1)")),
                "{page}"
            );
        }
        for file in REPORTS.iter().filter_map(|report| report.file) {
            assert!(page.contains(&file.replace('-', "\\-")), "{file}");
        }
    }

    #[test]
    fn every_command_has_a_page_with_its_options_and_examples() {
        for name in pages() {
            let page = text(one(&name));
            let sections = sections(&page);
            for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES"] {
                assert!(sections.contains(&section), "{name}: {sections:?}");
            }
            let command = built().find_subcommand(&name).cloned().unwrap();
            for option in command.get_opts().filter_map(|option| option.get_long()) {
                let written = format!("\\-\\-{}", option.replace('-', "\\-"));
                assert!(page.contains(&written), "{name}: {written}\n{page}");
            }
            let example = format!("brownout {name}").replace('-', "\\-");
            assert!(page.contains(&example), "{name}");
        }
    }

    #[test]
    fn a_page_of_no_command_is_refused_with_the_nearest_one() {
        let failure = one("rum").expect_err("there is no such command");
        assert_eq!(failure.hint.as_deref(), Some("did you mean `run`?"));
    }
}
