//! The parts of a URL, as far as they say what a system depends on.

/// A URL taken apart. Nothing in it is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url<'a> {
    /// The scheme in small letters, "postgres", "jdbc:postgresql".
    pub scheme: String,
    /// The user, unless that is empty.
    pub user: Option<&'a str>,
    /// Whether there is a password.
    pub has_password: bool,
    /// The host, in small letters.
    pub host: String,
    /// The port, where one is given.
    pub port: Option<u16>,
    /// The path with its first slash, or nothing.
    pub path: &'a str,
    /// The query without its question mark, or nothing.
    pub query: &'a str,
}

impl<'a> Url<'a> {
    /// Takes a text apart; `None` where it is no URL with a single host.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once("://")?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | ':');
        if scheme.is_empty() || !scheme.chars().all(fits) {
            return None;
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(slash);
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (userinfo, host),
            None => ("", authority),
        };
        let (user, has_password) = match userinfo.split_once(':') {
            Some((user, password)) => (user, !password.is_empty()),
            None => (userinfo, false),
        };
        let (host, port) = host_and_port(host)?;
        Some(Self {
            scheme: scheme.to_ascii_lowercase(),
            user: Some(user).filter(|user| !user.is_empty()),
            has_password,
            host,
            port,
            path,
            query,
        })
    }
}

/// `host`, `host:port` or `[v6]:port`.
pub fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        (host, after.strip_prefix(':'))
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = match port {
        Some(port) => Some(port.parse().ok().filter(|port| *port != 0)?),
        None => None,
    };
    let label = |label: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        (1..=63).contains(&label.len()) && label.chars().all(fits)
    };
    let named = host.len() <= 253 && host.split('.').all(label);
    (named || text.starts_with('[')).then(|| (host.to_ascii_lowercase(), port))
}

/// Whether a host is this machine.
pub fn is_here(host: &str) -> bool {
    let name = matches!(
        host,
        "localhost" | "host.docker.internal" | "0.0.0.0" | "::1"
    );
    let loopback = host
        .parse::<std::net::Ipv4Addr>()
        .is_ok_and(|ip| ip.is_loopback());
    name || loopback
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn urls_are_taken_apart() {
        let url = Url::parse("postgresql+asyncpg://app:p%40ss@DB.example.com:5433/shop?ssl=1");
        let url = url.unwrap();
        assert_eq!((url.user, url.has_password), (Some("app"), true));
        assert_eq!(
            (url.host.as_str(), url.port),
            ("db.example.com", Some(5433))
        );
        assert_eq!((url.path, url.query), ("/shop", "ssl=1"));
        let url = Url::parse("jdbc:postgresql://[::1]/x").unwrap();
        assert_eq!(
            (url.scheme.as_str(), url.host.as_str()),
            ("jdbc:postgresql", "::1")
        );
    }

    #[test]
    fn what_is_no_url_of_one_host_is_none() {
        for text in [
            "",
            "x",
            "://a",
            "a://",
            "kafka://a:1,b:2",
            "a://b:0",
            "a b://c",
            "a://b c",
        ] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }

    #[test]
    fn loopback_is_here() {
        for host in [
            "localhost",
            "127.0.0.1",
            "127.3.2.1",
            "::1",
            "host.docker.internal",
        ] {
            assert!(is_here(host), "{host}");
        }
        assert!(!is_here("db") && !is_here("10.0.0.1"));
    }

    proptest! {
        #[test]
        fn any_text_can_be_taken_apart(text in "(\\PC|:|/|@|\\?|#|\\[|\\]){0,40}") {
            let _ = Url::parse(&text);
        }
    }
}
