//! A team's own report: its template, filled with what `report.json` holds.
//!
//! Templates are Jinja's (minijinja). A name that is not there is an error and not an empty
//! text, values are escaped as the output's kind asks for, and nothing is included from elsewhere. A
//! template is somebody's program: how long it runs and how much it writes is bounded.

use super::{SuiteReport, words::span};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, value::Serde};
use std::{io, ops::Range};

/// The largest template, in bytes.
pub const TEMPLATE_BYTES_MAX: u64 = 1 << 20;

/// The most that one may write, in bytes.
const OUTPUT_BYTES_MAX: usize = 64 << 20;

/// The most steps that one may take: a report of twenty large scenarios takes some millions.
const STEPS_MAX: u64 = 50_000_000;

/// What may stand behind the extension that says what is written.
const TEMPLATE_ENDS: [&str; 3] = [".j2", ".jinja", ".jinja2"];

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// What is wrong: a lower-case fragment.
    pub message: String,
    /// The bytes of the template that it is about, where that is known.
    pub place: Option<Range<usize>>,
}

/// Whether a file of this name holds markup, in which values are escaped.
pub fn is_markup(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut ends = TEMPLATE_ENDS.iter();
    let stripped = ends.find_map(|end| name.strip_suffix(end));
    let name = stripped.unwrap_or(&name);
    [".html", ".htm", ".xhtml", ".xml", ".svg"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// Fills a template.
///
/// # Errors
/// It is no template, names what is not there, or goes beyond its bounds.
pub fn fill(report: &SuiteReport, template: &str, markup: bool) -> Result<Vec<u8>, TemplateError> {
    fill_within(STEPS_MAX, report, template, markup)
}

/// As [`fill`], in so many steps at most.
fn fill_within(
    steps_max: u64,
    report: &SuiteReport,
    template: &str,
    markup: bool,
) -> Result<Vec<u8>, TemplateError> {
    let mut environment = Environment::new();
    environment.set_debug(true);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(steps_max));
    environment.set_auto_escape_callback(move |_| {
        if markup {
            AutoEscape::Html
        } else {
            AutoEscape::None
        }
    });
    environment.add_filter("duration", span);
    let template = environment
        .template_from_named_str("template", template)
        .map_err(|error| explained(&error, steps_max))?;
    let mut out = Bounded(Vec::new());
    template
        .render_captured_to(Serde(report), &mut out)
        .map_err(|error| explained(&error, steps_max))?;
    Ok(out.0)
}

fn explained(error: &Error, steps_max: u64) -> TemplateError {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let message = match error.kind() {
        ErrorKind::OutOfFuel => format!("the template takes more than {steps_max} steps"),
        ErrorKind::WriteFailure => innermost.to_string(),
        kind => match error.detail() {
            Some(detail) => format!("{kind}: {detail}"),
            None => kind.to_string(),
        },
    };
    let line = || {
        let line = error.line()?;
        let text = error.template_source()?;
        let before: usize = text
            .split_inclusive('\n')
            .take(line - 1)
            .map(str::len)
            .sum();
        let length = text[before..].lines().next().map_or(0, str::len);
        Some(before..before + length)
    };
    TemplateError {
        message,
        place: error.range().or_else(line),
    }
}

/// Takes in so much and no more.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_BYTES_MAX {
            let limit = OUTPUT_BYTES_MAX >> 20;
            return Err(io::Error::other(format!(
                "the template writes more than {limit} MiB"
            )));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn filled(template: &str, markup: bool) -> Result<String, TemplateError> {
        let bytes = fill(&sample::suite(), template, markup)?;
        Ok(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_template_sees_what_report_json_holds() {
        let template = "{% for one in scenarios %}{{ one.status }} {{ one.duration_us|duration }}\
             {% for verdict in one.verdicts if verdict.status != \"pass\" %} {{ verdict.id }}\
             {% endfor %}{% if one.trouble is defined %} {{ one.trouble.kind }}{% endif %}\n\
             {% endfor %}";
        assert_eq!(
            filled(template, false).unwrap(),
            "fail 41.3s ADA-1 ADA-12\ninconclusive 412ms not-started\n"
        );
        let all = filled("{{ scenarios[0]|tojson }}", false).unwrap();
        let all: serde_json::Value = serde_json::from_str(&all).unwrap();
        let saved = serde_json::to_value(&sample::suite().scenarios[0]).unwrap();
        assert_eq!(all, saved);
    }

    #[test]
    fn values_are_escaped_in_markup_alone() {
        let template = "{{ \"<b>&\" }}";
        assert_eq!(filled(template, true).unwrap(), "&lt;b&gt;&amp;");
        assert_eq!(filled(template, false).unwrap(), "<b>&");
        for (name, markup) in [
            ("team.html", true),
            ("team.HTML.j2", true),
            ("team.xml.jinja", true),
            ("team.md.j2", false),
            ("team.j2", false),
            ("html", false),
        ] {
            assert_eq!(is_markup(name), markup, "{name}");
        }
    }

    #[test]
    fn mistakes_are_said_with_their_place() {
        for (template, said, at) in [
            ("a\n{{ scenario }}", "undefined value", "scenario"),
            ("a\n{% for %}\n", "syntax error", "%}"),
            ("{{ seed|upside }}", "unknown filter", "upside"),
            (
                "{% if brownoutt %}x{% endif %}",
                "undefined value",
                "brownoutt",
            ),
        ] {
            let error = filled(template, false).unwrap_err();
            assert!(error.message.starts_with(said), "{error:?}");
            let place = error.place.expect("a place");
            assert!(template[place.clone()].contains(at), "{template} {place:?}");
        }
        assert!(filled("{% include \"/etc/passwd\" %}", false).is_err());
    }

    #[test]
    fn a_template_that_does_not_end_is_ended() {
        let many = "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}";
        let error = fill_within(1_000_000, &sample::suite(), many, false).unwrap_err();
        assert!(error.message.contains("1000000 steps"), "{error:?}");
        let much = format!(
            "{{% for a in range(90000) %}}{}{{% endfor %}}",
            "x".repeat(1_000)
        );
        let error = filled(&much, false).unwrap_err();
        assert!(error.message.contains("64 MiB"), "{error:?}");
    }
}
