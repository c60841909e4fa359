//! Texts with `{placeholders}`.
//!
//! `{name}` stands for a value, `{{` and `}}` for single braces. `{json:name}` stands for the
//! value escaped for the inside of a JSON string; a request's `json` body uses it by itself.
//! A template never fails to be filled in: what was checked when the file was read is not checked
//! again, and a placeholder without a value stays as it is written.

/// A text with `{placeholders}`, checked to refer to things that exist. Filled in when the run
/// knows its ports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template(pub String);

impl Template {
    /// A template that fills in to exactly this text.
    pub fn literal(text: &str) -> Self {
        Self(text.replace('{', "{{").replace('}', "}}"))
    }

    /// The text with each placeholder replaced by what `value` knows of its name. A placeholder
    /// of which it knows nothing stays as it is written.
    pub fn fill(&self, value: &impl Fn(&str) -> Option<String>) -> String {
        let mut filled = String::with_capacity(self.0.len());
        for piece in pieces(&self.0) {
            match piece {
                Piece::Literal(text) | Piece::Stray(text) => filled.push_str(text),
                Piece::Placeholder { name, json } => match value(name) {
                    Some(known) if json => filled.push_str(&json_escaped(&known)),
                    Some(known) => filled.push_str(&known),
                    None => {
                        filled.push('{');
                        filled.push_str(name);
                        filled.push('}');
                    }
                },
            }
        }
        filled
    }

    /// The names of its placeholders, in order, each once.
    pub fn placeholders(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for piece in pieces(&self.0) {
            if let Piece::Placeholder { name, .. } = piece
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        names
    }

    /// Whether a brace in it neither belongs to a placeholder nor is doubled.
    pub(super) fn has_stray_brace(&self) -> bool {
        pieces(&self.0).any(|piece| matches!(piece, Piece::Stray(_)))
    }
}

/// A part of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Text as it will appear.
    Literal(&'a str),
    /// Stands for a value.
    Placeholder {
        /// What it stands for.
        name: &'a str,
        /// Whether the value is escaped for the inside of a JSON string.
        json: bool,
    },
    /// A single brace that belongs to nothing.
    Stray(&'a str),
}

/// The parts of a template, in order. Any text whatever has parts.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, taken) = first_piece(rest);
        rest = &rest[taken..];
        Some(piece)
    })
}

fn first_piece(text: &str) -> (Piece<'_>, usize) {
    let brace = text.find(['{', '}']).unwrap_or(text.len());
    if brace > 0 {
        return (Piece::Literal(&text[..brace]), brace);
    }
    if text.starts_with("{{") || text.starts_with("}}") {
        return (Piece::Literal(&text[..1]), 2);
    }
    match text.strip_prefix('{').and_then(|inner| {
        let end = inner.find('}')?;
        placeholder(&inner[..end]).map(|piece| (piece, end + 2))
    }) {
        Some(found) => found,
        None => (Piece::Stray(&text[..1]), 1),
    }
}

fn placeholder(inner: &str) -> Option<Piece<'_>> {
    let (name, json) = match inner.strip_prefix("json:") {
        Some(name) => (name, true),
        None => (inner, false),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (!name.is_empty() && name.chars().all(fits)).then_some(Piece::Placeholder { name, json })
}

/// A text as it stands between the quotes of a JSON string.
pub(super) fn json_escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filled(template: &str) -> String {
        Template(template.to_owned()).fill(&|name| match name {
            "port.api" => Some("8080".to_owned()),
            "said" => Some("\"hi\"\n".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn placeholders_are_replaced_and_doubled_braces_become_single() {
        for (template, expected) in [
            ("", ""),
            ("--port={port.api}", "--port=8080"),
            ("{port.api}{port.api}", "80808080"),
            ("{{\"p\":{port.api}}}", "{\"p\":8080}"),
            ("{{{port.api}}}", "{8080}"),
            ("{{port.api}}", "{port.api}"),
            ("{unknown}", "{unknown}"),
            ("{json:said}", "\\\"hi\\\"\\n"),
            ("{ {} } {a b}", "{ {} } {a b}"),
        ] {
            assert_eq!(filled(template), expected, "{template}");
        }
    }

    #[test]
    fn a_single_brace_that_belongs_to_nothing_is_noticed() {
        for text in ["{", "}", "a{}b", "{\"a\":1}", "{a b}", "{json:}", "{{}"] {
            assert!(Template(text.to_owned()).has_stray_brace(), "{text}");
        }
        for text in ["", "{{}}", "{a}", "{json:a}", "{{{a}}}"] {
            assert!(!Template(text.to_owned()).has_stray_brace(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_literal_fills_in_to_itself(text in ".*") {
            prop_assert_eq!(Template::literal(&text).fill(&|_| Some("x".to_owned())), text);
        }

        #[test]
        fn names_that_stand_for_their_own_placeholder_give_the_template_back(
            parts in proptest::collection::vec(("[^{}]*", "[a-z0-9_.-]{1,8}"), 0..6)
        ) {
            let text: String = parts
                .iter()
                .map(|(literal, name)| format!("{literal}{{{name}}}"))
                .collect();
            let template = Template(text.clone());
            prop_assert_eq!(template.fill(&|name| Some(format!("{{{name}}}"))), text);
            prop_assert!(parts.iter().all(|(_, name)| template.placeholders().contains(&name.as_str())));
        }

        #[test]
        fn any_text_can_be_filled_in(text in "[{}a:.\"jsonß]*") {
            let _ = Template(text).fill(&|_| None);
        }

        #[test]
        fn a_json_placeholder_gives_valid_json(value in ".*") {
            let filled = Template("\"{json:a}\"".to_owned()).fill(&|_| Some(value.clone()));
            prop_assert_eq!(serde_json::from_str::<String>(&filled).unwrap(), value);
        }
    }
}
