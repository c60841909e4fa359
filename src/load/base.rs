//! Where load goes.

use http::Uri;

/// The system's base URL: host, port, and a path before every request's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Host name or address, IPv6 without its brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What stands before every path; empty, or with a slash in front and none behind.
    pub prefix: String,
}

impl Base {
    /// Reads `http://HOST[:PORT][/PREFIX]`; the error is a lower-case fragment.
    pub fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url
            .parse()
            .map_err(|error| format!("`{url}` is not a URL: {error}"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(format!("load is sent without TLS; `{url}` asks for https"));
            }
            _ => return Err(format!("`{url}` must begin with http://")),
        }
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| format!("`{url}` names no host"))?;
        Ok(Self {
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port: uri.port_u16().unwrap_or(80),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// Host and port as they stand in a `Host` header.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_read_into_its_parts() {
        for (url, host, port, prefix, authority) in [
            (
                "http://127.0.0.1:8080",
                "127.0.0.1",
                8080,
                "",
                "127.0.0.1:8080",
            ),
            ("http://localhost/", "localhost", 80, "", "localhost:80"),
            ("http://[::1]:9/api/v1/", "::1", 9, "/api/v1", "[::1]:9"),
        ] {
            let base = Base::parse(url).unwrap();
            assert_eq!((base.host.as_str(), base.port), (host, port), "{url}");
            assert_eq!(base.prefix, prefix, "{url}");
            assert_eq!(base.authority(), authority, "{url}");
        }
    }

    #[test]
    fn what_load_cannot_be_sent_to_is_refused() {
        for url in ["https://x", "127.0.0.1:80", "ftp://x", "", "http://"] {
            assert!(Base::parse(url).is_err(), "{url}");
        }
    }
}
