//! Who may drive an API.
//!
//! On a loopback address it is every program of this machine, but no page in its browser: a page's
//! request names the page as its origin, and a page whose host name was made to lead here names
//! that. On any other address it is who knows the token.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{
    HeaderMap, HeaderName,
    header::{AUTHORIZATION, HOST, ORIGIN},
};
use std::net::{IpAddr, SocketAddr};

/// Says of a page's request where it came from, in every browser of today.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets requests in, or not.
#[derive(Debug)]
pub(super) struct Guard {
    is_loopback: bool,
    token: Option<String>,
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It came from a page of another origin.
    Origin,
    /// It asked for a host that this is not.
    Host,
    /// It does not know the token.
    Token,
}

impl Guard {
    /// Guards an API that listens there: for this machine alone, if none of the addresses can be
    /// reached by others.
    pub(super) fn new(listen: &[SocketAddr], token: Option<String>) -> Self {
        Self {
            is_loopback: listen.iter().all(|address| address.ip().is_loopback()),
            token,
        }
    }

    /// Looks at the head of a request for what is no secret and changes nothing: a link from
    /// elsewhere may lead there, but no name that was made to.
    pub(super) fn check_host(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.is_loopback && !text(headers, HOST).is_none_or(is_of_this_machine) {
            return Err(Refusal::Host);
        }
        Ok(())
    }

    /// Looks at a request's head.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let text = |name| text(headers, name);
        if !is_of_this_origin(text(ORIGIN), text(FETCH_SITE), text(HOST)) {
            return Err(Refusal::Origin);
        }
        self.check_host(headers)?;
        match &self.token {
            Some(token) if !text(AUTHORIZATION).is_some_and(|said| knows(said, token)) => {
                Err(Refusal::Token)
            }
            None if !self.is_loopback => Err(Refusal::Token),
            _ => Ok(()),
        }
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let value = headers.get(name)?;
    Some(value.to_str().unwrap_or("?"))
}

/// Whether no page sent it but one of our own. Programs that are no browsers say nothing of either.
fn is_of_this_origin(origin: Option<&str>, site: Option<&str>, host: Option<&str>) -> bool {
    let by_origin = origin.is_none_or(|origin| {
        let authority = origin.strip_prefix("http://");
        authority.is_some() && authority == host
    });
    by_origin && site.is_none_or(|site| matches!(site, "same-origin" | "none"))
}

/// Whether a name cannot have been made to lead here by somebody else: an address, or `localhost`.
fn is_of_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// `Bearer TOKEN`, or `Basic` with the token as the password, as clients send it that are given
/// `http://any:TOKEN@host`.
fn knows(said: &str, token: &str) -> bool {
    let Some((scheme, rest)) = said.split_once(' ') else {
        return false;
    };
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return is_same(rest.as_bytes(), token.as_bytes());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return false;
    }
    let pair = BASE64_STANDARD.decode(rest).unwrap_or_default();
    let colon = pair.iter().position(|byte| *byte == b':');
    colon.is_some_and(|colon| is_same(&pair[colon + 1..], token.as_bytes()))
}

/// Compares in a time that tells nothing of where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differ = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && std::hint::black_box(differ) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let each = pairs.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                value.parse().expect("a value"),
            )
        });
        each.collect()
    }

    fn at(address: Ipv4Addr) -> SocketAddr {
        SocketAddr::new(address.into(), 8474)
    }

    fn loopback(pairs: &[(&'static str, &str)]) -> Result<(), Refusal> {
        Guard::new(&[at(Ipv4Addr::LOCALHOST)], None).check(&headers(pairs))
    }

    fn open(pairs: &[(&'static str, &str)]) -> Result<(), Refusal> {
        let token = Some("s3cret".to_owned());
        Guard::new(&[at(Ipv4Addr::UNSPECIFIED)], token).check(&headers(pairs))
    }

    #[test]
    fn programs_of_this_machine_are_let_in() {
        for host in [
            "localhost:8474",
            "LocalHost",
            "127.0.0.1:8474",
            "[::1]:8474",
            "10.0.0.5",
        ] {
            assert_eq!(loopback(&[("host", host)]), Ok(()), "{host}");
        }
        assert_eq!(loopback(&[]), Ok(()));
    }

    #[test]
    fn a_page_of_another_origin_is_not_let_in() {
        let host = ("host", "localhost:8474");
        for origin in [
            "https://evil.example",
            "null",
            "https://localhost:8474",
            "http://localhost",
        ] {
            assert_eq!(
                loopback(&[host, ("origin", origin)]),
                Err(Refusal::Origin),
                "{origin}"
            );
        }
        for site in ["cross-site", "same-site"] {
            let site = ("sec-fetch-site", site);
            assert_eq!(loopback(&[host, site]), Err(Refusal::Origin));
        }
        let own = ("origin", "http://localhost:8474");
        assert_eq!(
            loopback(&[host, own, ("sec-fetch-site", "same-origin")]),
            Ok(())
        );
    }

    #[test]
    fn a_name_that_was_made_to_lead_here_is_not_let_in() {
        for host in [
            "evil.example:8474",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
        ] {
            assert_eq!(loopback(&[("host", host)]), Err(Refusal::Host), "{host}");
            let origin = format!("http://{host}");
            assert_eq!(
                loopback(&[("host", host), ("origin", &origin)]),
                Err(Refusal::Host)
            );
        }
    }

    #[test]
    fn on_another_address_only_who_knows_the_token_is_let_in() {
        let host = ("host", "faults:8474");
        let basic = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
        for right in [
            "Bearer s3cret",
            "bearer s3cret",
            &basic("any:s3cret"),
            &basic(":s3cret"),
        ] {
            assert_eq!(open(&[host, ("authorization", right)]), Ok(()), "{right}");
        }
        for wrong in [
            "Bearer s3cre",
            "Bearer s3cret1",
            "Bearer",
            "s3cret",
            &basic("s3cret"),
            "Basic ?",
        ] {
            assert_eq!(
                open(&[host, ("authorization", wrong)]),
                Err(Refusal::Token),
                "{wrong}"
            );
        }
        assert_eq!(open(&[host]), Err(Refusal::Token));
        for listen in [
            &[at(Ipv4Addr::UNSPECIFIED)][..],
            &[at(Ipv4Addr::LOCALHOST), at(Ipv4Addr::UNSPECIFIED)],
        ] {
            let none = Guard::new(listen, None);
            assert_eq!(none.check(&headers(&[host])), Err(Refusal::Token));
        }
    }
}
