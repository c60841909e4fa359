//! `.env` files: `NAME=value` lines, as the common libraries read them, and forgiving. The process's
//! own environment is neither read nor changed.
//!
//! A message names the line and never what stands in it: it may be a secret.

/// The longest value that is kept, in bytes; what refers to others cannot grow beyond it.
const VALUE_BYTES_MAX: usize = 8 * 1024;

/// The most variables that are kept of a file.
const VARIABLES_MAX: usize = 2_000;

/// Stands for a dollar that begins no name while others are expanded.
const ESCAPED_DOLLAR: char = '\u{1}';

/// A variable and its line, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, quotes and escapes undone.
    pub value: String,
    /// Where it begins.
    pub line: usize,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, a fragment.
    pub message: String,
}

/// All variables that can be read, and what is wrong with the lines that cannot.
pub fn read(text: &str) -> (Vec<Variable>, Vec<Trouble>) {
    let mut variables: Vec<Variable> = Vec::new();
    let mut troubles = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = text.lines().collect();
    let mut next = 0;
    while next < lines.len() && variables.len() < VARIABLES_MAX {
        let line = next + 1;
        let rest = &lines[next..];
        next += 1;
        match one(rest, &variables) {
            Ok(None) => {}
            Ok(Some((name, value, taken))) => {
                next += taken - 1;
                variables.push(Variable { name, value, line });
            }
            Err(message) => troubles.push(Trouble {
                line,
                message: message.to_owned(),
            }),
        }
    }
    (variables, troubles)
}

/// The variable that begins on the first line, and how many lines it takes.
fn one(
    lines: &[&str],
    before: &[Variable],
) -> Result<Option<(String, String, usize)>, &'static str> {
    let line = lines[0].trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let (name, value) = line.split_once('=').ok_or("no `=` in this line")?;
    let name = name.trim_end();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.is_empty() || !name.chars().all(fits) {
        return Err("what stands before `=` is no name of a variable");
    }
    let (value, taken) = value_of(value.trim_start(), &lines[1..])?;
    let value = match value {
        Value::Literal(text) => text,
        Value::Open(text) => expanded(&text, &|name| {
            let found = before.iter().rev().find(|one| one.name == name);
            found.map(|one| one.value.clone())
        })
        .replace(ESCAPED_DOLLAR, "$"),
    };
    if value.len() > VALUE_BYTES_MAX {
        return Err("a value longer than 8 KiB");
    }
    Ok(Some((name.to_owned(), value, taken)))
}

enum Value {
    /// As it stands.
    Literal(String),
    /// May refer to other variables.
    Open(String),
}

/// The value that begins here and may go on in the lines below, and how many lines it takes.
fn value_of(first: &str, below: &[&str]) -> Result<(Value, usize), &'static str> {
    let Some(quote) = first
        .chars()
        .next()
        .filter(|c| matches!(c, '"' | '\'' | '`'))
    else {
        let end = first.find(" #").or_else(|| first.find("\t#"));
        let plain = if first.starts_with('#') {
            ""
        } else {
            &first[..end.unwrap_or(first.len())]
        };
        return Ok((Value::Open(plain.trim_end().to_owned()), 1));
    };
    let mut text = String::new();
    let lines = std::iter::once(&first[1..]).chain(below.iter().copied());
    for (index, line) in lines.enumerate() {
        if index > 0 {
            text.push('\n');
        }
        let mut letters = line.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' if quote == '"' => text.push_str(&escaped(letters.next())),
                end if end == quote => {
                    let value = if quote == '"' {
                        Value::Open(text)
                    } else {
                        Value::Literal(text)
                    };
                    return Ok((value, index + 1));
                }
                other => text.push(other),
            }
        }
        if text.len() > VALUE_BYTES_MAX {
            break;
        }
    }
    Err("the quote that begins here never ends")
}

fn escaped(letter: Option<char>) -> String {
    match letter {
        Some('n') => "\n".to_owned(),
        Some('r') => "\r".to_owned(),
        Some('t') => "\t".to_owned(),
        Some('$') => ESCAPED_DOLLAR.to_string(),
        Some(letter @ ('"' | '\\' | '\'')) => letter.to_string(),
        Some(other) => format!("\\{other}"),
        None => String::new(),
    }
}

/// The text with `$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME-default}` replaced. What is not
/// known and has no default becomes nothing, as shells have it.
pub fn expanded(text: &str, value: &impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(inner) = rest.strip_prefix('{')
            && let Some(end) = inner.find('}')
        {
            out.push_str(&braced(&inner[..end], value));
            rest = &inner[end + 1..];
            continue;
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        if end == 0 || rest.starts_with(|c: char| c.is_ascii_digit()) {
            out.push('$');
        } else {
            out.push_str(&value(&rest[..end]).unwrap_or_default());
            rest = &rest[end..];
        }
        if out.len() > VALUE_BYTES_MAX {
            return out;
        }
    }
    out.push_str(rest);
    out
}

fn braced(inner: &str, value: &impl Fn(&str) -> Option<String>) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = inner.find(|c| !is_name(c)).unwrap_or(inner.len());
    let (name, rest) = inner.split_at(end);
    let known = value(name);
    match (known, rest) {
        (Some(known), _) if !known.is_empty() || !rest.starts_with(':') => known,
        (_, rest) => {
            let default = rest.strip_prefix(":-").or_else(|| rest.strip_prefix('-'));
            default.unwrap_or_default().to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let (variables, troubles) = read(text);
        let read: Vec<(&str, &str)> = variables
            .iter()
            .map(|one| (one.name.as_str(), one.value.as_str()))
            .collect();
        assert_eq!(read, expected, "{text}");
        assert_eq!(troubles, [], "{text}");
    }

    #[test]
    fn lines_are_read_as_the_common_libraries_do() {
        check(
            "A=1\n\n# no\nexport B = 2 # two\r\nC=",
            &[("A", "1"), ("B", "2"), ("C", "")],
        );
        check(
            "A='x # y'\nB=\"a\\nb\"\nC=a#b",
            &[("A", "x # y"), ("B", "a\nb"), ("C", "a#b")],
        );
        check("A=\"one\ntwo\"\nB=3", &[("A", "one\ntwo"), ("B", "3")]);
        check("\u{feff}A=#none", &[("A", "")]);
    }

    #[test]
    fn values_refer_to_those_before_them() {
        check(
            "H=db\nU=pg://${H}/$X/${P:-5432}\nL='$H'\nE=\"\\$H\"",
            &[
                ("H", "db"),
                ("U", "pg://db//5432"),
                ("L", "$H"),
                ("E", "$H"),
            ],
        );
    }

    #[test]
    fn a_bad_line_is_named_without_what_it_holds_and_the_others_are_read() {
        let (variables, troubles) = read("A=1\nhunter2\nB='hunter2\nC=3\n=hunter2\n");
        assert_eq!(variables.len(), 2, "{variables:?}");
        let lines: Vec<usize> = troubles.iter().map(|one| one.line).collect();
        assert_eq!(lines, [2, 3, 5]);
        assert!(troubles.iter().all(|one| !one.message.contains("hunter2")));
    }

    #[test]
    fn what_refers_to_itself_again_and_again_stays_small() {
        let mut text = "A0=xxxxxxxxxxxxxxxx\n".to_owned();
        for n in 1..60 {
            text.push_str(&format!("A{n}=${{A{0}}}${{A{0}}}\n", n - 1));
        }
        let (variables, _) = read(&text);
        assert!(
            variables
                .iter()
                .all(|one| one.value.len() <= VALUE_BYTES_MAX)
        );
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "(\\PC|\n|\r|=|\"|'|\\$|\\{|\\}|#|A){0,80}") {
            let _ = read(&text);
        }
    }
}
