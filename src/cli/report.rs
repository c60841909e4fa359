//! `brownout report`: a saved run rendered again. Nothing is judged, and nothing is run.

use super::{
    Exit, Failure,
    args::Report as Args,
    paths::in_words,
    runs::{self, Saved},
    say,
};
use crate::{
    input::{Problem, Severity, Source},
    report::{REPORTS, ReportDef, SuiteReport, TEMPLATE_BYTES_MAX, fill, is_markup},
};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

/// What a report is called on the command line, where that is not its name.
const MARKDOWN: (&str, &str) = ("markdown", "summary");

/// The formats that can be asked for.
pub fn formats() -> Vec<&'static str> {
    let names = REPORTS.iter().map(|def| def.name);
    names
        .map(|name| if name == MARKDOWN.1 { MARKDOWN.0 } else { name })
        .collect()
}

/// Carries it out.
pub fn report(args: &Args) -> Result<Exit, Failure> {
    let bytes = match &args.template {
        Some(template) => {
            let text = text_of(template)?;
            let Saved { report, .. } = runs::saved(&args.run)?;
            filled(template, text, args.out.as_deref(), &report)?
        }
        None => {
            let def = format(args)?;
            let mut saved = runs::saved(&args.run)?;
            // The page of a series has no charts: its repeats' own pages have them.
            let charts = saved.report.series.is_none();
            if charts && def.file.is_some_and(|file| file.ends_with(".html")) {
                runs::add_histories(&mut saved);
            }
            let bytes = (def.render)(&saved.report);
            if def.file.is_none() && args.out.is_none() {
                say::data(&bytes)?;
                return Ok(Exit::Pass);
            }
            if def.file.is_none() {
                anstream::adapter::strip_bytes(&bytes).into_vec()
            } else {
                bytes
            }
        }
    };
    deliver(args.out.as_deref(), &bytes)?;
    Ok(Exit::Pass)
}

/// Bytes as they are, to the file or else to standard output.
pub fn deliver(out: Option<&Path>, bytes: &[u8]) -> Result<(), Failure> {
    let Some(file) = out else {
        say::bytes(bytes)?;
        return Ok(());
    };
    fs::write(file, bytes).map_err(|error| {
        Failure::usage(
            format!("cannot write `{}`: {}", file.display(), in_words(&error)),
            "name another file with `--out FILE`",
        )
    })
}

/// The format that was asked for, else the one whose file ends as `--out` does, else the
/// terminal's.
fn format(args: &Args) -> Result<&'static ReportDef, Failure> {
    let name = args
        .format
        .as_deref()
        .map(|name| if name == MARKDOWN.0 { MARKDOWN.1 } else { name });
    let end = |file: &Path| file.extension().map(std::ffi::OsStr::to_ascii_lowercase);
    let asked = args.out.as_deref().map(end);
    let wanted = |def: &&ReportDef| match (name, &asked) {
        (Some(name), _) => def.name == name,
        (None, Some(asked)) => {
            let own = def.file.unwrap_or("x.txt");
            asked.is_some() && end(Path::new(own)) == *asked
        }
        (None, None) => def.file.is_none(),
    };
    REPORTS.iter().find(wanted).ok_or_else(|| {
        let file = args.out.as_deref().unwrap_or(Path::new(""));
        Failure::usage(
            format!("`{}` does not say which format is meant", file.display()),
            format!("add `--format` with one of {}", formats().join(", ")),
        )
    })
}

fn text_of(template: &Path) -> Result<String, Failure> {
    let shown = template.display();
    let refused = |what: String| {
        Failure::usage(
            what,
            "a template is a text with `{{ … }}`; `brownout report --help` shows one",
        )
    };
    let mut text = String::new();
    File::open(template)
        .and_then(|file| file.take(TEMPLATE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => refused(format!("`{shown}` is no text")),
            _ => refused(format!("cannot read `{shown}`: {}", in_words(&error))),
        })?;
    if text.len() as u64 > TEMPLATE_BYTES_MAX {
        return Err(refused(format!(
            "`{shown}` is larger than {} MiB",
            TEMPLATE_BYTES_MAX >> 20
        )));
    }
    Ok(text)
}

/// Values are escaped where the template or what it is written to is markup.
fn filled(
    template: &Path,
    text: String,
    out: Option<&Path>,
    report: &SuiteReport,
) -> Result<Vec<u8>, Failure> {
    let name = template.display().to_string();
    let out = out.map(|file| file.display().to_string());
    let markup = is_markup(&name) || out.is_some_and(|out| is_markup(&out));
    fill(report, &text, markup).map_err(|error| {
        say::problems(&[Problem {
            severity: Severity::Error,
            message: error.message,
            source: Some(Source::new(name, text)),
            span: error.place,
            hint: Some(
                "a template sees the fields of report.json; ask for one that may be missing with \
                 `is defined`"
                    .to_owned(),
            ),
        }]);
        Failure::shown()
    })
}
