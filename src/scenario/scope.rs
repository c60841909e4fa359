//! What names and placeholders may be, and what they may refer to.

use super::template::Template;
use crate::input::{Item, Problems, Source, Span, hint_among};
use std::collections::BTreeMap;

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// What the placeholders of a template may refer to.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    /// Names as they stand between the braces.
    pub known: Vec<String>,
    /// Whether `{port.NAME}` of any name is meant too.
    pub ports: bool,
    /// Whether `{env.NAME}` of any name is meant too.
    pub env: bool,
}

impl Scope {
    /// The same scope with these names too.
    pub fn and<'a>(&self, more: impl IntoIterator<Item = &'a str>) -> Self {
        let mut wider = self.clone();
        for name in more {
            if !wider.knows(name) {
                wider.known.push(name.to_owned());
            }
        }
        wider
    }

    /// A template whose placeholders all refer to something; problems say which do not.
    pub fn template(
        &self,
        text: Item<String>,
        source: &Source,
        problems: &mut Problems,
    ) -> Template {
        let template = Template(text.value);
        if template.has_stray_brace() {
            problems.error(
                source,
                text.span.clone(),
                "a single brace that belongs to no placeholder",
                "write `{{` and `}}` for braces that are meant as such".to_owned(),
            );
        }
        for name in template.placeholders() {
            if !self.knows(name) {
                problems.error(
                    source,
                    place_within(source, &text.span, name),
                    format!("`{{{name}}}` refers to nothing"),
                    self.hint(name),
                );
            }
        }
        template
    }

    fn knows(&self, name: &str) -> bool {
        let of_any_name = |prefix: &str| {
            let rest = name.strip_prefix(prefix);
            rest.is_some_and(|rest| !rest.is_empty() && !rest.contains('.'))
        };
        self.known.iter().any(|known| known == name)
            || (self.ports && of_any_name("port."))
            || (self.env && of_any_name("env."))
    }

    fn hint(&self, name: &str) -> String {
        let known: Vec<String> = self
            .known
            .iter()
            .map(String::as_str)
            .chain(self.ports.then_some("port.NAME"))
            .chain(self.env.then_some("env.NAME"))
            .map(|known| format!("{{{known}}}"))
            .collect();
        if known.is_empty() {
            return "no placeholder is filled in here".to_owned();
        }
        hint_among(&format!("{{{name}}}"), known.iter().map(String::as_str))
    }
}

/// The place of a placeholder within a text's own place, or the whole text where an escape hides
/// it.
fn place_within(source: &Source, span: &Span, name: &str) -> Span {
    let written = format!("{{{name}}}");
    match source
        .text
        .get(span.clone())
        .and_then(|text| text.find(&written))
    {
        Some(at) => span.start + at..span.start + at + written.len(),
        None => span.clone(),
    }
}

/// Reports a name that placeholders, scenarios or reports could not use.
pub(super) fn check_name(
    name: &Item<String>,
    what: &str,
    source: &Source,
    problems: &mut Problems,
) {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let text = &name.value;
    if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.chars().all(fits) {
        problems.error(
            source,
            name.span.clone(),
            format!("`{text}` cannot be the name of {what}"),
            format!("letters, digits, `-` and `_`, at most {NAME_BYTES_MAX}"),
        );
    }
}

/// Names that may be given once only.
#[derive(Debug, Default)]
pub(super) struct Once {
    lines: BTreeMap<String, usize>,
}

impl Once {
    /// Whether the name is new; otherwise a problem says where it stands first.
    pub fn take(
        &mut self,
        name: &Item<String>,
        what: &str,
        source: &Source,
        problems: &mut Problems,
    ) -> bool {
        if let Some(line) = self.lines.get(&name.value) {
            problems.error(
                source,
                name.span.clone(),
                format!("a second {what} `{}`", name.value),
                format!("the first is in line {line}"),
            );
            return false;
        }
        let (line, _) = source.position(name.span.start);
        self.lines.insert(name.value.clone(), line);
        true
    }
}
