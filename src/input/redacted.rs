//! A file's text without the secrets that may stand in it. A history carries both files, so that it can
//! be judged again; histories and reports are passed on to people and machines that must not know the
//! passwords of the system.
//!
//! Taken out are
//!
//! - the texts of every `env`, `headers` and `header` table, whatever they are called;
//! - texts and numbers under keys that are called after a secret, in bodies too;
//! - passwords in URLs, and what a query calls after a secret, wherever they stand;
//! - arguments of a command that follow an option called after a secret, or are part of it;
//! - comments.
//!
//! Placeholders stay: they name what stands elsewhere. What is read from the text afterwards is a system
//! and a scenario still, with the same names, faults and expectations. It is no proof against a secret
//! under an innocent name: a file should say `{env.NAME}`.

use super::secret::{HIDDEN, Hide, end_of_quoted, is_named_after_a_secret};
use std::ops::Range;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Tables all of whose texts may be secrets.
const TABLES: [&str; 3] = ["env", "headers", "header"];

/// Tables whose keys the author has chosen: they say nothing of what is below them.
const NAMED: [&str; 4] = ["dependency", "load", "ledger", "capture"];

/// What is required, and the patterns of ledgers, hold what is compared with the history: under a name like
/// `token` an id that the history shows anyway.
const COMPARED: [&str; 2] = ["expect", "pattern"];

/// A file's text without its secrets; nothing of a text that is no TOML.
pub fn redacted(text: &str) -> String {
    let Ok(table) = DeTable::parse(text) else {
        return String::new();
    };
    without(text, table.get_ref(), Hide::Short)
}

/// A file's text to be shown in part: of the same length and with its lines, and stars for its secrets.
/// What cannot be read as TOML is shown as far as it can.
pub(super) fn masked(text: &str) -> String {
    let (table, _) = DeTable::parse_recoverable(text);
    without(text, table.get_ref(), Hide::InPlace)
}

fn without(text: &str, table: &DeTable<'_>, hide: Hide) -> String {
    let mut found = Found {
        text,
        hide,
        parts: Vec::new(),
        texts: Vec::new(),
    };
    look(table, Place::default(), &mut found);
    found.comments();
    found.parts.sort_by_key(|(span, _)| span.start);
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (span, instead) in found.parts {
        // Where something is no TOML, places need not follow each other.
        if span.start < at {
            continue;
        }
        out.push_str(text.get(at..span.start).unwrap_or_default());
        out.push_str(&instead);
        at = span.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// Where in a file something stands, as far as it bears on whether it is a secret.
#[derive(Debug, Default, Clone, Copy)]
struct Place {
    /// Its keys are names of the author's choice.
    is_named: bool,
    /// Every text in it may be a secret.
    is_secret: bool,
    /// It is a body, in which a number may be a secret.
    is_body: bool,
    /// It is a command with its arguments.
    is_command: bool,
    /// It is compared with the history, or takes it apart: whatever it is called, it stays, or another
    /// verdict would come of it.
    is_compared: bool,
}

/// What is to be replaced, and where a comment cannot begin.
#[derive(Debug)]
struct Found<'a> {
    text: &'a str,
    hide: Hide,
    parts: Vec<(Range<usize>, String)>,
    texts: Vec<Range<usize>>,
}

impl Found<'_> {
    /// A text at its place.
    fn text(&mut self, span: Range<usize>, said: &str, is_secret: bool) {
        self.texts.push(span.clone());
        let hide = self.hide;
        let instead = |said: &str| match is_secret {
            true => hide.all(said),
            false => hide.within(said),
        };
        if hide == Hide::Short {
            let instead = instead(said);
            if instead != said {
                let quoted = toml::Value::String(instead).to_string();
                self.parts.push((span, quoted));
            }
            return;
        }
        let raw = self.text.get(span.clone()).unwrap_or_default();
        let inner = raw.trim_matches(['"', '\'']);
        let start = span.start + (raw.len() - raw.trim_start_matches(['"', '\'']).len());
        if !inner.is_empty() {
            self.parts
                .push((start..start + inner.len(), instead(inner)));
        }
    }

    /// A number at its place, which is a secret.
    fn number(&mut self, span: Range<usize>) {
        let instead = match self.hide {
            Hide::Short => format!("\"{HIDDEN}\""),
            Hide::InPlace => "*".repeat(span.len()),
        };
        self.parts.push((span, instead));
    }

    /// Finds the comments: what a `#` begins that stands in no text and no quoted key.
    fn comments(&mut self) {
        let text = self.text;
        self.texts.sort_by_key(|span| span.start);
        let mut texts = self.texts.iter().peekable();
        let mut at = 0;
        while let Some(next) = find_from(text, at, &['#', '"', '\'']) {
            while texts.next_if(|span| span.end <= next).is_some() {}
            at = match texts.peek().filter(|span| span.start <= next) {
                Some(span) => span.end,
                None if text[next..].starts_with('#') => {
                    let end = find_from(text, next, &['\n', '\r']).unwrap_or(text.len());
                    let instead = match self.hide {
                        Hide::Short => "#".to_owned(),
                        Hide::InPlace => self.hide.within(&text[next..end]),
                    };
                    self.parts.push((next..end, instead));
                    end
                }
                None => end_of_quoted(text, next),
            };
        }
    }
}

fn find_from(text: &str, at: usize, any: &[char]) -> Option<usize> {
    Some(at + text.get(at..)?.find(any)?)
}

fn look(table: &DeTable<'_>, place: Place, found: &mut Found<'_>) {
    for (key, value) in table {
        let name = &**key.get_ref();
        let is_table = TABLES.iter().any(|table| name.eq_ignore_ascii_case(table));
        let is_named = is_named_after_a_secret(name);
        let below = match place.is_named {
            true => Place::default(),
            false => Place {
                is_named: NAMED.contains(&name),
                is_secret: place.is_secret || is_table || is_named,
                is_body: place.is_body || name == "json",
                is_command: name == "command",
                is_compared: place.is_compared || COMPARED.contains(&name),
            },
        };
        look_at(value, below, found);
    }
}

fn look_at(value: &Spanned<DeValue<'_>>, place: Place, found: &mut Found<'_>) {
    match value.get_ref() {
        DeValue::Table(table) => look(table, place, found),
        DeValue::Array(members) => {
            let mut follows = false;
            for member in members.iter() {
                let is_secret = place.is_secret || follows;
                let said = member.get_ref().as_str().filter(|_| place.is_command);
                follows = said.is_some_and(is_option_of_a_secret);
                look_at(member, Place { is_secret, ..place }, found);
            }
        }
        DeValue::String(_) if place.is_compared => found.texts.push(value.span()),
        DeValue::String(said) => found.text(value.span(), said, place.is_secret),
        DeValue::Integer(_) | DeValue::Float(_)
            if place.is_secret && place.is_body && !place.is_compared =>
        {
            found.number(value.span());
        }
        _ => {}
    }
}

/// Whether the argument behind this one is a secret: `--api-key`.
fn is_option_of_a_secret(argument: &str) -> bool {
    argument.starts_with('-') && !argument.contains('=') && is_named_after_a_secret(argument)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_taken_out_and_the_rest_stays_as_it_is() {
        let file = r##"
# The shop, whose password is hunter2.
[system]
command = ["./shop", "--database", "postgres://shop:hunter2@db:5432/shop?a=b", # hunter2
  "--api-key", "hunter2", "--token=hunter2", "PASSWORD=hunter2", "--port", "{port.api}"]
env = { KEY = "hunter2", URL = "{dependency.s3.url}", TWO = """hunter2
# hunter2""", DSN = "app:hunter2@{dependency.db.address}/app" }
[instance.worker.env]
"A.#B" = 'hunter2' # hunter2
[dependency.pager.app]
key    = "shown"
secret = "hunter2"
[load.buy]
rate    = "20/s"
request = { method = "GET", path = "/a@b:c#d?page=2&access_token=hunter2&sig=hunter2", headers = { authorization = "Bearer hunter2", pin = "1\u0032" } }
[load.pay.request.headers]
X-Tenant = "hunter2"
[load.login.request.json]
user = "{bot}"
password = "hunter2"
account = { pin_token = 1234321, number = 7 }
"##;
        let shown = redacted(file);
        for secret in ["hunter2", "u0032", "1234321"] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
        for kept in [
            "\"postgres://shop:***@db:5432/shop?a=b\"",
            "\"--api-key\", \"***\", \"--token=***\", \"PASSWORD=***\", \"--port\", \"{port.api}\"]",
            "URL = \"{dependency.s3.url}\"",
            "DSN = \"***{dependency.db.address}***\"",
            "key    = \"shown\"",
            "path = \"/a@b:c#d?page=2&access_token=***&sig=***\"",
            "rate    = \"20/s\"",
            "user = \"{bot}\"",
            "number = 7",
        ] {
            assert!(shown.contains(kept), "{kept}: {shown}");
        }
        assert_eq!(shown.lines().count(), file.lines().count() - 1, "{shown}");
        let table: toml::Table = shown.parse().expect("it is TOML");
        let headers = &table["load"]["pay"]["request"]["headers"];
        assert_eq!(headers["X-Tenant"].as_str(), Some(HIDDEN));
        assert_eq!(redacted(&shown), shown, "once is enough");
        let quoted = "[\"a#b\\\"\".'c#d'] # hunter2\nx = 1\n";
        assert_eq!(redacted(quoted), quoted.replace(" hunter2", ""));
        assert_eq!(redacted("no TOML, hunter2"), "");
        let plain = "[system]\nname = \"x\"\n";
        assert_eq!(redacted(plain), plain);
    }

    #[test]
    fn what_the_author_called_after_a_secret_is_read_as_before() {
        let file = r#"
[dependency.token-service]
protocol = "http"
[dependency.env]
protocol = "redis"
[load.headers]
rate = "20/s"
vars = { token = { one_of = ["hunter2"] }, secret = { zipf = 1.1, of = 200 } }
capture = { token = "json:/token", "a" = "header:cookie-kind" }
[ledger.passwords]
accepted = { load = "headers", id = "token" }
[[phase]]
load = { token = "10x" }
"#;
        let shown = redacted(file);
        assert_eq!(shown, file.replace("hunter2", HIDDEN));
    }

    #[test]
    fn what_is_shown_of_a_file_stays_where_it_is_without_its_secrets() {
        let file = r#"[system]
env = { A = "hunter2{dependency.s3.ulr}", B = '''hunter2
hunter2''' }
upstream = "http://u:hunter2@h" # http://u:hunter2@h
[load.a.request.json]
password = "hunter2"
pin_token = 1234321
"#;
        let shown = masked(file);
        let expected = file
            .replace("hunter2", "*******")
            .replace("1234321", "*******");
        assert_eq!(shown, expected);
        // What is no TOML is shown as well as it can be.
        let torn = "[system]\nenv = { A = \"hunter2\" }\nurl = \"http://u:hunter2@h\"\nname = =\n";
        assert_eq!(masked(torn), torn.replace("hunter2", "*******"));
        assert_eq!(masked(""), "");
    }

    #[test]
    fn what_is_compared_with_the_history_stays_whatever_it_is_called() {
        let file = r#"
[[expect]]
where = { env = "prod", token = "a", url = "/x?key=7" }
except = { headers = "b" }
names = ["token=c"]
[ledger.orders]
delivered = { pattern = "token=a/{id}" }
"#;
        assert_eq!(redacted(file), file);
    }
}
