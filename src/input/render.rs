//! Problems as people read them.

use super::{Problem, Severity, Source, Span, redacted::masked};
use annotate_snippets::{
    AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet, renderer::DecorStyle,
};
use std::sync::Arc;

/// Renders problems one after the other, each with file, line, column, the offending text
/// underlined, and what to do. An empty place shows its line without an underline: something is
/// missing there. `color` adds ANSI colours and changes no letter.
pub fn render(problems: &[Problem], color: bool) -> String {
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    }
    .decor_style(DecorStyle::Ascii);
    let mut text = String::new();
    let mut files = Files::default();
    for problem in problems {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&one(problem, &mut files, &renderer));
    }
    text
}

/// Files as they may be shown: what is said here is kept in the logs of build servers.
#[derive(Default)]
struct Files(Vec<(Arc<str>, String)>);

impl Files {
    fn shown(&mut self, source: &Source) -> &str {
        let is_known = |(text, _): &(Arc<str>, String)| Arc::ptr_eq(text, &source.text);
        let at = self.0.iter().position(is_known).unwrap_or_else(|| {
            self.0
                .push((Arc::clone(&source.text), masked(&source.text)));
            self.0.len() - 1
        });
        &self.0[at].1
    }
}

fn one(problem: &Problem, files: &mut Files, renderer: &Renderer) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(problem.message.as_str()));
    if let Some(element) = place(problem, files) {
        group = group.element(element);
    }
    let mut report = vec![group];
    if let Some(hint) = &problem.hint {
        let hint = Level::HELP
            .with_name("hint")
            .secondary_title(printable(hint));
        report.push(Group::with_title(hint));
    }
    let mut text = renderer.render(&report);
    text.push('\n');
    text
}

fn place<'a>(problem: &'a Problem, files: &'a mut Files) -> Option<Element<'a>> {
    let source = problem.source.as_ref()?;
    let Some(span) = &problem.span else {
        return Some(Origin::path(&*source.name).into());
    };
    let span = first_line(&source.text, span.clone());
    let snippet = Snippet::source(files.shown(source));
    let snippet = if span.is_empty() {
        // An invisible annotation leaves the line out of the arrow's text, so it is put there.
        let (line, column) = source.position(span.start);
        snippet
            .path(format!("{}:{line}:{column}", source.name))
            .annotation(AnnotationKind::Visible.span(span))
    } else {
        snippet
            .path(&*source.name)
            .annotation(AnnotationKind::Primary.span(span))
    };
    Some(snippet.into())
}

/// The part of a span that is on its first line: a long text needs no frame around all of it.
fn first_line(text: &str, span: Span) -> Span {
    let start = text.floor_char_boundary(span.start);
    let end = text.floor_char_boundary(span.end).max(start);
    let length = text[start..end].find(['\n', '\r']).unwrap_or(end - start);
    start..start + length
}

/// A hint may quote the file, and a file may hold escape sequences.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{Problems, Source};
    use proptest::prelude::*;

    const TEXT: &str = "[system]\nname = \"x\"\n\n[[phase]]\n  kind = \"latancy\"\n";

    fn check(span: Option<Span>, hint: Option<&str>, expected: &str) {
        let mut problems = Problems::default();
        let source = Source::new("a/b.toml", TEXT);
        problems.error(&source, span, "it is wrong", hint.map(str::to_owned));
        assert_eq!(render(problems.as_slice(), false), expected);
    }

    #[test]
    fn the_offending_text_is_underlined() {
        let at = TEXT.find("\"latancy\"").unwrap();
        check(
            Some(at..at + 9),
            Some("did you mean `latency`?"),
            "error: it is wrong
 --> a/b.toml:5:10
  |
5 |   kind = \"latancy\"
  |          ^^^^^^^^^
  |
hint: did you mean `latency`?
",
        );
    }

    #[test]
    fn where_something_is_missing_the_header_is_shown_without_underline() {
        let at = TEXT.find("[[phase]]").unwrap();
        check(
            Some(at..at),
            None,
            "error: it is wrong
 --> a/b.toml:4:1
  |
4 | [[phase]]
  |
",
        );
        check(None, None, "error: it is wrong\n--> a/b.toml\n");
    }

    #[test]
    fn a_span_over_several_lines_is_underlined_on_its_first() {
        check(
            Some(0..TEXT.len()),
            None,
            "error: it is wrong
 --> a/b.toml:1:1
  |
1 | [system]
  | ^^^^^^^^
",
        );
    }

    #[test]
    fn colour_changes_no_letter() {
        let mut problems = Problems::default();
        problems.warning(&Source::new("x", TEXT), 0..8, "w", Some("h".to_owned()));
        let colored = render(problems.as_slice(), true);
        assert_ne!(colored, render(problems.as_slice(), false));
        assert_eq!(
            anstream::adapter::strip_str(&colored).to_string(),
            render(problems.as_slice(), false)
        );
    }

    #[test]
    fn escape_sequences_of_a_file_do_not_reach_the_terminal() {
        let source = Source::new("x", "a = \"\u{1b}[31m\"");
        let mut problems = Problems::default();
        problems.error(
            &source,
            4..10,
            "bad \u{1b}[31m",
            Some("\u{1b}[31m".to_owned()),
        );
        assert!(!render(problems.as_slice(), false).contains('\u{1b}'));
    }

    proptest! {
        #[test]
        fn any_place_in_any_text_can_be_rendered(text in "(\\PC|\n|\r|\t|\u{1b}){0,40}", start in 0usize..60, length in 0usize..60) {
            let source = Source::new("x", text);
            let mut problems = Problems::default();
            problems.error(&source, start..start + length, "m", None);
            prop_assert!(render(problems.as_slice(), false).contains("error: m"));
        }
    }
}
