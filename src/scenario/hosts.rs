//! Hosts that are wired into libraries: `hosts` of a dependency. Patterns, and who claims what.

use super::{Dependency, dependency::is_host};
use crate::{
    input::{Fields, Item, Problems},
    protocol::Protocol,
};
use std::fmt;

/// The most hosts of one dependency.
const HOSTS_MAX: usize = 100;

/// A host name, or all names under one: `*.pusher.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    /// In lower case, without the star.
    name: String,
    is_wild: bool,
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.is_wild { "*." } else { "" };
        write!(f, "{star}{}", self.name)
    }
}

impl HostPattern {
    /// Reads `api.segment.io` or `*.pusher.com`.
    ///
    /// # Errors
    /// Why it is none, and what would be.
    pub fn parse(text: &str) -> Result<Self, (String, &'static str)> {
        let shape = "a name alone, \"api.segment.io\", or all names under one, \"*.pusher.com\"";
        let (is_wild, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let name = name.to_ascii_lowercase();
        if !is_host(&name) {
            return Err((format!("`{text}` is no host name"), shape));
        }
        let is_local = name == "localhost" || name.ends_with(".localhost");
        if is_local || name.rsplit('.').next().is_some_and(is_number) {
            return Err((
                format!("`{text}` never comes through a forward proxy"),
                "it is for names of others; give the system `{dependency.NAME.url}` instead",
            ));
        }
        if is_wild && !name.contains('.') {
            return Err((
                format!("`{text}` would take in a whole top-level domain"),
                shape,
            ));
        }
        Ok(Self { name, is_wild })
    }

    /// Whether a host is meant; a star stands for one label or more.
    pub fn matches(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        if !self.is_wild {
            return host.eq_ignore_ascii_case(&self.name);
        }
        let Some(split) = host.len().checked_sub(self.name.len()) else {
            return false;
        };
        host.is_char_boundary(split)
            && host[split..].eq_ignore_ascii_case(&self.name)
            && host[..split].len() > 1
            && host[..split].ends_with('.')
    }

    /// Whether some host is meant by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let within = |wild: &Self, other: &Self| {
            wild.is_wild
                && (other.name.ends_with(&format!(".{}", wild.name))
                    || other.is_wild && other.name == wild.name)
        };
        self == other || within(self, other) || within(other, self)
    }
}

/// A last label that is a number makes an address, not a name.
fn is_number(label: &str) -> bool {
    label.chars().all(|c| c.is_ascii_digit())
}

/// Reads `hosts`.
pub(super) fn read(
    table: &Fields<'_>,
    protocol: Option<Protocol>,
    problems: &mut Problems,
) -> Vec<HostPattern> {
    let texts = table.texts("hosts", problems).unwrap_or_default();
    if texts.is_empty() {
        return Vec::new();
    }
    if texts.len() > HOSTS_MAX {
        table.problem(
            problems,
            "hosts",
            format!("more than {HOSTS_MAX} hosts"),
            None,
        );
    }
    if let Some(protocol) = protocol.filter(|protocol| !goes_through(*protocol)) {
        table.problem(
            problems,
            "hosts",
            format!("{protocol} does not go through a forward proxy"),
            "give the system the proxy's address, as `{dependency.NAME.address}`".to_owned(),
        );
    }
    let mut hosts: Vec<HostPattern> = Vec::new();
    for text in texts.iter().take(HOSTS_MAX) {
        let wrong = |problems: &mut Problems, message: String, hint: Option<String>| {
            problems.error(table.source, text.span.clone(), message, hint);
        };
        match HostPattern::parse(&text.value) {
            Ok(host) => {
                if let Some(other) = hosts.iter().find(|other| other.overlaps(&host)) {
                    let message = if *other == host {
                        format!("`{host}` twice")
                    } else {
                        format!("`{host}` and `{other}` overlap")
                    };
                    wrong(problems, message, None);
                }
                hosts.push(host);
            }
            Err((message, hint)) => wrong(problems, message, Some(hint.to_owned())),
        }
    }
    hosts
}

fn goes_through(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Http | Protocol::S3 | Protocol::Pusher)
}

/// A host must lead to one dependency.
pub(super) fn check(
    tables: &[(Item<String>, Fields<'_>)],
    dependencies: &[Dependency],
    problems: &mut Problems,
) {
    for (index, dependency) in dependencies.iter().enumerate() {
        for host in &dependency.hosts {
            let taken = dependencies[..index].iter().find_map(|other| {
                let overlapping = other.hosts.iter().find(|own| own.overlaps(host));
                overlapping.map(|own| (&other.name, own))
            });
            if let Some((name, own)) = taken {
                tables[index].1.problem(
                    problems,
                    "hosts",
                    format!("`{host}` leads to `{name}` already, by its `{own}`"),
                    None,
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        HostPattern::parse(text).expect(text)
    }

    #[test]
    fn a_star_stands_for_one_label_or_more() {
        let wild = pattern("*.Pusher.com");
        for host in ["ws.pusher.com", "a.b.PUSHER.com", "ws.pusher.com."] {
            assert!(wild.matches(host), "{host}");
        }
        for host in [
            "pusher.com",
            "notpusher.com",
            ".pusher.com",
            "ws.pusher.com.evil",
            "é.com",
        ] {
            assert!(!wild.matches(host), "{host}");
        }
        assert!(pattern("api.segment.io").matches("API.segment.io"));
        assert!(!pattern("api.segment.io").matches("x.api.segment.io"));
    }

    #[test]
    fn what_is_no_host_of_others_is_refused() {
        let wrong = [
            "",
            "*",
            "*.",
            "*.com",
            "a.*.com",
            "https://a.com",
            "a.com:443",
            "a.com/x",
            "localhost",
            "127.0.0.1",
            "x.localhost",
            "a..com",
        ];
        for text in wrong {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn patterns_overlap_where_a_host_could_be_meant_by_both() {
        let table = [
            ("a.x.com", "*.x.com", true),
            ("x.com", "*.x.com", false),
            ("*.a.x.com", "*.x.com", true),
            ("a.com", "A.com", true),
            ("a.com", "b.com", false),
            ("notx.com", "*.x.com", false),
        ];
        for (one, other, expected) in table {
            assert_eq!(
                pattern(one).overlaps(&pattern(other)),
                expected,
                "{one} {other}"
            );
            assert_eq!(
                pattern(other).overlaps(&pattern(one)),
                expected,
                "{other} {one}"
            );
        }
    }
}
