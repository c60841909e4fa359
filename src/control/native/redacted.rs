//! A file's text without the secrets that may stand in it: whoever may ask this server is not always
//! whoever may read its files.
//!
//! Taken out are the values of every `env` and `headers` table and of keys that are called after a
//! secret, and passwords in URLs wherever they stand. A value that is a placeholder as a whole stays: it
//! names something that stands elsewhere.

use crate::{history::Observation, scenario::FILE_BYTES_MAX};
use std::ops::Range;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The longest head of a history, in bytes: two files as JSON, in which a byte takes six at most, and
/// what else it says.
pub(super) const HEAD_BYTES_MAX: u64 = 13 * FILE_BYTES_MAX;

/// What stands for a secret.
const HIDDEN: &str = "***";

/// Tables all of whose values may be secrets.
const TABLES: [&str; 3] = ["env", "headers", "header"];

/// Keys that are called after a secret.
const NAMES: [&str; 5] = ["password", "passwd", "secret", "token", "authorization"];

/// The first line of a history, whose texts lose their secrets. Nothing of what is no such line.
pub(super) fn head(line: &[u8]) -> String {
    let Ok(Observation::Run(mut run)) = serde_json::from_slice(line) else {
        return String::new();
    };
    for (_, file) in [&mut run.scenario, &mut run.system] {
        *file = text(file);
    }
    super::line(&Observation::Run(run))
}

/// A file's text without its secrets; nothing of a text that is no TOML.
pub(super) fn text(text: &str) -> String {
    let Ok(table) = DeTable::parse(text) else {
        return String::new();
    };
    let mut found = Vec::new();
    look(table.get_ref(), false, &mut found);
    found.sort_by_key(|(span, _)| span.start);
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (span, instead) in found {
        out.push_str(text.get(at..span.start).unwrap_or_default());
        out.push_str(&instead);
        at = span.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// Where something is to be replaced, and by what.
type Found = Vec<(Range<usize>, String)>;

fn look(table: &DeTable<'_>, is_secret: bool, found: &mut Found) {
    for (key, value) in table {
        let key = key.get_ref().to_ascii_lowercase();
        let is_named = NAMES.iter().any(|name| key.contains(name));
        let is_secret = is_secret || is_named || TABLES.contains(&&*key);
        look_at(value, is_secret, found);
    }
}

fn look_at(value: &Spanned<DeValue<'_>>, is_secret: bool, found: &mut Found) {
    match value.get_ref() {
        DeValue::Table(table) => look(table, is_secret, found),
        DeValue::Array(members) => {
            for member in members.iter() {
                look_at(member, is_secret, found);
            }
        }
        DeValue::String(said) => {
            let instead = if is_secret && !is_placeholder(said) {
                HIDDEN.to_owned()
            } else {
                without_passwords(said)
            };
            if instead != **said {
                let quoted = toml::Value::String(instead).to_string();
                found.push((value.span(), quoted));
            }
        }
        // A secret may have digits alone.
        DeValue::Integer(_) | DeValue::Float(_) if is_secret => {
            found.push((value.span(), format!("\"{HIDDEN}\"")));
        }
        _ => {}
    }
}

/// Whether it is one placeholder and nothing more: `{dependency.s3.url}`.
fn is_placeholder(said: &str) -> bool {
    let inner = said
        .strip_prefix('{')
        .and_then(|said| said.strip_suffix('}'));
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    inner.is_some_and(|inner| !inner.is_empty() && inner.chars().all(fits))
}

/// A text in which URLs have no password.
fn without_passwords(said: &str) -> String {
    let mut out = String::with_capacity(said.len());
    let mut rest = said;
    while let Some(place) = rest.find("://") {
        let (before, after) = rest.split_at(place + 3);
        out.push_str(before);
        let ends = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '<');
        let authority = &after[..after.find(ends).unwrap_or(after.len())];
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        match user.and_then(|user| user.split_once(':').map(|(name, _)| (user, name))) {
            Some((user, name)) => {
                out.push_str(&format!("{name}:{HIDDEN}"));
                rest = &after[user.len()..];
            }
            None => rest = after,
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_taken_out_and_the_rest_stays_as_it_is() {
        let file = r#"
# The shop.
[system]
command = ["./shop", "--database", "postgres://shop:hunter2@db:5432/shop?a=b"]
env = { KEY = "hunter2", URL = "{dependency.s3.url}", TWO = """hunter2
hunter2""" }
[instance.worker.env]
"A.B" = 'hunter2'
[dependency.pager.app]
key    = "shown"
secret = "hunter2"
[load.buy]
rate    = "20/s"
request = { method = "GET", path = "/a@b:c", headers = { authorization = "Bearer hunter2", pin = "1\u0032" } }
[load.pay.request.headers]
X-Tenant = "hunter2"
"#;
        let shown = text(file);
        assert!(
            !shown.contains("hunter2") && !shown.contains("u0032"),
            "{shown}"
        );
        for kept in [
            "# The shop.",
            "\"postgres://shop:***@db:5432/shop?a=b\"",
            "URL = \"{dependency.s3.url}\"",
            "key    = \"shown\"",
            "path = \"/a@b:c\"",
            "rate    = \"20/s\"",
        ] {
            assert!(shown.contains(kept), "{kept}: {shown}");
        }
        let keys = |text: &str| {
            let table: toml::Table = text.parse().expect("it is TOML");
            table["load"]["pay"]["request"]["headers"].clone()
        };
        assert_eq!(keys(&shown)["X-Tenant"].as_str(), Some("***"));
        assert_eq!(text("[system]\nname = \"x\"\n"), "[system]\nname = \"x\"\n");
        assert_eq!(text("no TOML, hunter2"), "");
    }

    #[test]
    fn passwords_go_out_of_urls_and_nothing_else_does() {
        for (said, shown) in [
            ("redis://:pw@host:1/0", "redis://:***@host:1/0"),
            ("a://u:p:w@h b://v:x@i", "a://u:***@h b://v:***@i"),
            ("http://host:80/a@b", "http://host:80/a@b"),
            ("http://user@host", "http://user@host"),
            ("://", "://"),
            ("u:p@h", "u:p@h"),
        ] {
            assert_eq!(without_passwords(said), shown);
        }
    }

    #[test]
    fn of_what_is_no_head_nothing_is_shown() {
        assert_eq!(head(b"hunter2"), "");
        assert_eq!(head(b""), "");
    }
}
