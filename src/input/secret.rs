//! What may be a secret in a text that is shown to people or kept: by what it is called, and by where it
//! stands in a URL. Nobody is to learn a password from a history, a report or a message.

/// What stands for a secret.
pub(crate) const HIDDEN: &str = "***";

/// Parts of names of secrets, without what joins words.
const NAMES: [&str; 12] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "cookie",
    "credential",
    "signature",
    "apikey",
    "accesskey",
    "privatekey",
];

/// What a query may call a secret beside these, as a whole.
const PARAMETERS: [&str; 5] = ["pass", "pwd", "sig", "auth", "key"];

/// Whether this is called after a secret: `AWS_SECRET_ACCESS_KEY`, `api-key`, `X-Amz-Signature`.
pub(crate) fn is_named_after_a_secret(name: &str) -> bool {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    let name: String = letters.map(|letter| letter.to_ascii_lowercase()).collect();
    NAMES.iter().any(|part| name.contains(part))
}

/// Where the text in quotes ends that begins here: behind its last quote.
pub(super) fn end_of_quoted(text: &str, at: usize) -> usize {
    let mut letters = text[at..].char_indices();
    let quote = letters.next().map(|(_, quote)| quote);
    while let Some((place, letter)) = letters.next() {
        if letter == '\\' && quote == Some('"') {
            letters.next();
        } else if Some(letter) == quote {
            return at + place + 1;
        }
    }
    text.len()
}

/// What stands in a secret's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hide {
    /// [`HIDDEN`].
    Short,
    /// As many bytes as it has, so that everything else stays where it is.
    InPlace,
}

impl Hide {
    /// A text of which nothing is left but its placeholders, `{name}`, which name what stands
    /// elsewhere.
    pub(super) fn all(self, said: &str) -> String {
        let mut out = String::new();
        let mut rest = said;
        while let Some(first) = rest.chars().next() {
            let end = placeholder_end(rest);
            let doubled = rest.starts_with("{{") || rest.starts_with("}}");
            let step = end.max(first.len_utf8() + usize::from(doubled));
            match self {
                _ if end > 0 => out.push_str(&rest[..end]),
                Self::InPlace if matches!(first, '\n' | '\r') => out.push(first),
                Self::InPlace => out.push_str(&"*".repeat(step)),
                Self::Short if out.ends_with(HIDDEN) => {}
                Self::Short => out.push_str(HIDDEN),
            }
            rest = &rest[step..];
        }
        out
    }

    /// A text in which URLs have no password, and what a query, a form or JSON calls after a secret says
    /// nothing.
    pub(super) fn within(self, said: &str) -> String {
        let mut out = String::with_capacity(said.len());
        let mut rest = said;
        while let Some(place) = rest.find("://") {
            let (before, after) = rest.split_at(place + 3);
            out.push_str(before);
            let ends =
                |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '<');
            let authority = &after[..after.find(ends).unwrap_or(after.len())];
            let user = authority.rsplit_once('@').map(|(user, _)| user);
            match user.and_then(|user| user.split_once(':').map(|both| (user, both))) {
                Some((user, (name, password))) => {
                    out.push_str(name);
                    out.push(':');
                    out.push_str(&self.all(password));
                    rest = &after[user.len()..];
                }
                None => rest = after,
            }
        }
        out.push_str(rest);
        self.members(&self.parameters(&out))
    }

    /// A text in which what a query or a form calls after a secret says nothing: `?token=***&page=2`.
    fn parameters(self, said: &str) -> String {
        let mut out = String::with_capacity(said.len());
        let (mut rest, mut is_query) = (said, false);
        loop {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-_.[]".contains(c);
            let name = &rest[..rest.find(|c| !fits(c)).unwrap_or(rest.len())];
            let whole = is_query && PARAMETERS.iter().any(|one| one.eq_ignore_ascii_case(name));
            if let Some(value) = rest[name.len()..].strip_prefix('=')
                && (whole || is_named_after_a_secret(name))
            {
                let ends = |c: char| c.is_whitespace() || "&;#\"'<".contains(c);
                let end = value.find(ends).unwrap_or(value.len());
                out.push_str(name);
                out.push('=');
                out.push_str(&self.all(&value[..end]));
                rest = &value[end..];
            }
            let Some(at) = rest.find(['?', '&', ';']) else {
                break;
            };
            out.push_str(&rest[..=at]);
            rest = &rest[at + 1..];
            is_query = true;
        }
        out.push_str(rest);
        out
    }

    /// A text in which what JSON calls after a secret says nothing: `{"password": "***"}`.
    fn members(self, said: &str) -> String {
        let mut out = String::with_capacity(said.len());
        let mut rest = said;
        while let Some((before, after)) = rest.split_once('"') {
            out.push_str(before);
            out.push('"');
            rest = after;
            let Some((name, after)) = rest.split_once('"') else {
                break;
            };
            let value = after.trim_start().strip_prefix(':').map(str::trim_start);
            let Some(value) = value.filter(|_| is_named_after_a_secret(name)) else {
                continue;
            };
            out.push_str(&rest[..rest.len() - value.len()]);
            let end = match value.strip_prefix('"') {
                Some(_) => end_of_quoted(value, 0),
                None => value
                    .find(|c: char| c.is_whitespace() || ",}]".contains(c))
                    .unwrap_or(value.len()),
            };
            // What holds more than a value says its own.
            if value.starts_with(['{', '[']) {
                rest = value;
                continue;
            }
            let (value, after) = value.split_at(end);
            let inner = value
                .strip_prefix('"')
                .map(|rest| rest.strip_suffix('"').unwrap_or(rest));
            match (inner, self) {
                (Some(inner), _) => {
                    out.push('"');
                    out.push_str(&self.all(inner));
                    out.push_str(&value[1 + inner.len()..]);
                }
                (None, Self::InPlace) => out.push_str(&self.all(value)),
                // A number has no quotes, and stars need them.
                (None, Self::Short) => out.push_str(&format!("\"{}\"", self.all(value))),
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

/// A text in which URLs have no password, and what a query, a form or JSON calls after a secret says
/// nothing.
pub(crate) fn without_secrets(said: &str) -> String {
    Hide::Short.within(said)
}

/// A line that some program printed, without what it calls after a secret: `password=***`,
/// `Authorization: ***`. What stands behind a colon may be of several words, so that nothing of the line is
/// left behind it.
pub(crate) fn line_without_secrets(line: &str) -> String {
    let line = without_secrets(line);
    let mut out = String::with_capacity(line.len());
    let mut rest = &*line;
    while let Some(place) = rest.find(['=', ':']) {
        let (name, after) = rest.split_at(place);
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.[]".contains(c);
        // Neither a path (`std::`) nor what members of JSON and URLs were looked at for already.
        let is_colon = after.starts_with(':');
        let value = &after[1..];
        let is_value = !is_colon || value.starts_with([' ', '\t']) || value.starts_with('"');
        let name = name.trim_end();
        let whole = &name[name.trim_end_matches(fits).len()..];
        out.push_str(&rest[..=place]);
        rest = value;
        if !is_value || !is_named_after_a_secret(whole) {
            continue;
        }
        let inner = value.trim_start();
        out.push_str(&value[..value.len() - inner.len()]);
        let end = match inner.chars().next() {
            _ if is_colon => inner.len(),
            Some('"' | '\'') => end_of_quoted(inner, 0),
            _ => inner
                .find(|c: char| c.is_whitespace() || ",;&)]}\"'".contains(c))
                .unwrap_or(inner.len()),
        };
        if end > 0 {
            out.push_str(HIDDEN);
        }
        rest = &inner[end..];
    }
    out.push_str(rest);
    out
}

/// Where the placeholder ends that a text begins with; 0 where it begins with none.
fn placeholder_end(text: &str) -> usize {
    let Some(inner) = text.strip_prefix('{') else {
        return 0;
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
    let end = inner.find(|c| !fits(c)).unwrap_or(inner.len());
    match end > 0 && inner[end..].starts_with('}') {
        true => end + 2,
        false => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_secret_its_placeholders_are_left() {
        for (said, shown) in [
            ("", ""),
            ("hunter2", "***"),
            ("{dependency.s3.url}", "{dependency.s3.url}"),
            (
                "a:b@{port.db}/c?{{d}}{json:id}{ e }",
                "***{port.db}***{json:id}***",
            ),
            ("{{{name}}}é{", "***{name}***"),
        ] {
            assert_eq!(Hide::Short.all(said), shown, "{said}");
            assert_eq!(Hide::Short.all(shown), shown, "{said}");
            assert_eq!(Hide::InPlace.all(said).len(), said.len(), "{said}");
        }
    }

    #[test]
    fn what_a_program_prints_gives_out_no_secret() {
        for (said, shown) in [
            ("", ""),
            ("listening on 127.0.0.1:8080", "listening on 127.0.0.1:8080"),
            (
                "level=info password=hunter2 port=1",
                "level=info password=*** port=1",
            ),
            ("DB_PASSWORD='a b' x", "DB_PASSWORD=*** x"),
            ("Authorization: Bearer hunter2", "Authorization: ***"),
            ("  cookie: a=hunter2; b=hunter2", "  cookie: ***"),
            (
                "connect a://u:hunter2@h/?token=hunter2 no",
                "connect a://u:***@h/?token=*** no",
            ),
            (r#"{"token":"hunter2","a":1}"#, r#"{"token":"***","a":1}"#),
            (r#"{"token":"hunt"#, r#"{"token":"***"#),
            ("Settings(secret=hunter2, a=1)", "Settings(secret=***, a=1)"),
            ("at auth::token::check: no", "at auth::token::check: no"),
            ("secret =", "secret ="),
            ("secret = hunter2", "secret = ***"),
        ] {
            assert_eq!(line_without_secrets(said), shown, "{said}");
        }
    }

    #[test]
    fn passwords_go_out_of_urls_and_nothing_else_does() {
        for (said, shown) in [
            ("redis://:pw@host:1/0", "redis://:***@host:1/0"),
            ("a://u:p:w@h b://v:x@i", "a://u:***@h b://v:***@i"),
            ("http://host:80/a@b", "http://host:80/a@b"),
            ("http://user@host", "http://user@host"),
            ("http://u:{env.PW}@host", "http://u:{env.PW}@host"),
            ("://", "://"),
            ("u:p@h", "u:p@h"),
            ("/a?X-Amz-Signature=ab%2F&b=1", "/a?X-Amz-Signature=***&b=1"),
            ("/a?key=x;Token={t} b", "/a?key=***;Token={t} b"),
            ("/a?monkey=x&tokens", "/a?monkey=x&tokens"),
            ("a & b = c; key = d", "a & b = c; key = d"),
            ("key=kept", "key=kept"),
            ("--token=x", "--token=***"),
            ("password=x&user=y", "password=***&user=y"),
            (
                r#"{"a":"b","token" : "x\"y","c":1}"#,
                r#"{"a":"b","token" : "***","c":1}"#,
            ),
            (
                r#"{"secret":7,"secrets":{"a":"b"}}"#,
                r#"{"secret":"***","secrets":{"a":"b"}}"#,
            ),
            (
                r#"{"tokens":{"token":"x"},"cookie":"a b"}"#,
                r#"{"tokens":{"token":"***"},"cookie":"***"}"#,
            ),
        ] {
            assert_eq!(without_secrets(said), shown);
            assert_eq!(Hide::InPlace.within(said).len(), said.len(), "{said}");
        }
    }
}
