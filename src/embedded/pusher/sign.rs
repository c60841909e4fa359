//! Signatures: HMAC-SHA256 in hexadecimal, as clients of the HTTP API, of private channels and of
//! webhooks make and check them.

use md5::{Digest, Md5};
use ring::hmac;
use std::fmt::Write;

/// How far a request's time may lie from ours, in seconds.
const TIMESTAMP_SECONDS_MAX: u64 = 600;

/// The signature of a text.
pub(super) fn signature(secret: &str, text: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hex(hmac::sign(&key, text).as_ref())
}

/// Whether `given` is the signature of a text, found out in constant time.
pub(super) fn is_signed(secret: &str, text: &[u8], given: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    unhex(given).is_some_and(|given| hmac::verify(&key, text, &given).is_ok())
}

/// The MD5 of a body, as `body_md5` has it.
pub(super) fn md5(body: &[u8]) -> String {
    hex(&Md5::digest(body))
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| {
            let pair = std::str::from_utf8(pair)
                .ok()
                .filter(|pair| pair.len() == 2);
            u8::from_str_radix(pair?, 16).ok()
        })
        .collect()
}

/// A request of the HTTP API, as far as its signature covers it.
pub(super) struct Signed<'a> {
    /// The method.
    pub(super) method: &'a str,
    /// The path.
    pub(super) path: &'a str,
    /// The parameters of its query, decoded, in the order sent.
    pub(super) query: &'a [(String, String)],
    /// Its body.
    pub(super) body: &'a [u8],
}

impl Signed<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        let named = self.query.iter().find(|(known, _)| known == name);
        named.map(|(_, value)| value.as_str())
    }

    /// What is signed: method, path, and the sorted query without the signature.
    fn text(&self) -> String {
        let mut pairs: Vec<String> = self
            .query
            .iter()
            .filter(|(name, _)| name != "auth_signature")
            .map(|(name, value)| format!("{}={value}", name.to_lowercase()))
            .collect();
        pairs.sort_unstable();
        format!("{}\n{}\n{}", self.method, self.path, pairs.join("&"))
    }

    /// What is wrong with it, `now` seconds after 1970.
    pub(super) fn check(&self, key: &str, secret: &str, now: u64) -> Result<(), String> {
        let needed = |name: &str| {
            self.parameter(name)
                .ok_or_else(|| format!("{name} is missing\n"))
        };
        let (given_key, version) = (needed("auth_key")?, needed("auth_version")?);
        let (timestamp, given) = (needed("auth_timestamp")?, needed("auth_signature")?);
        if given_key != key {
            return Err(format!("Unknown auth_key {given_key:?}\n"));
        }
        if version != "1.0" {
            return Err(format!("Unsupported auth_version {version:?}\n"));
        }
        let is_near = timestamp
            .parse()
            .is_ok_and(|sent: u64| now.abs_diff(sent) <= TIMESTAMP_SECONDS_MAX);
        if !is_near {
            return Err(format!(
                "Timestamp expired: given timestamp ({timestamp}) not within \
                 {TIMESTAMP_SECONDS_MAX}s of server time ({now})\n"
            ));
        }
        if !self.body.is_empty() && needed("body_md5")? != md5(self.body) {
            return Err("Invalid body_md5: it is not that of the body\n".to_owned());
        }
        if !is_signed(secret, self.text().as_bytes(), given) {
            return Err(format!(
                "Invalid signature: you should have sent HmacSHA256Hex({:?}, your_secret_key), \
                 but you sent {given:?}\n",
                self.text()
            ));
        }
        Ok(())
    }
}

/// The parameters of a query, decoded. What is no valid escape stays as it is.
pub(super) fn parameters(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

/// A text with its percent escapes decoded, and `+` for a space.
pub(super) fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (bytes[at], escaped) {
            (_, Some(byte)) => {
                plain.push(byte);
                at += 2;
            }
            (b'+', None) => plain.push(b' '),
            (byte, None) => plain.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod unit {
    use super::*;

    // The documentation's worked example.
    const BODY: &[u8] = br#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
    const QUERY: &str = "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0\
        &body_md5=ec365a775a4cd0599faeb73354201b6f\
        &auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c";

    fn checked(query: &str, body: &[u8], now: u64) -> Result<(), String> {
        let signed = Signed {
            method: "POST",
            path: "/apps/3/events",
            query: &parameters(query),
            body,
        };
        signed.check("278d425bdf160c739803", "7ad3773142a6692b25b8", now)
    }

    #[test]
    fn the_worked_example_of_the_documentation_is_accepted() {
        assert_eq!(checked(QUERY, BODY, 1_353_088_179), Ok(()));
    }

    #[test]
    fn whatever_differs_is_refused() {
        let now = 1_353_088_179;
        for (query, body, now, said) in [
            (
                QUERY.replace("8179", "8178"),
                BODY,
                now,
                "Invalid signature",
            ),
            (QUERY.to_owned(), &BODY[1..], now, "Invalid body_md5"),
            (QUERY.to_owned(), BODY, now + 601, "Timestamp expired"),
            (
                QUERY.replace("auth_key=2", "auth_key=3"),
                BODY,
                now,
                "Unknown auth_key",
            ),
            (
                QUERY.replace("=1.0", "=2.0"),
                BODY,
                now,
                "Unsupported auth_version",
            ),
            (
                QUERY.replace("body_md5", "x"),
                BODY,
                now,
                "body_md5 is missing",
            ),
            (
                QUERY.replace("da45", "zz45"),
                BODY,
                now,
                "Invalid signature",
            ),
            (String::new(), BODY, now, "auth_key is missing"),
        ] {
            let wrong = checked(&query, body, now).unwrap_err();
            assert!(wrong.contains(said), "{wrong}");
        }
    }

    #[test]
    fn a_private_channels_example_of_the_documentation_is_signed_alike() {
        let signed = signature("7ad3773142a6692b25b8", b"1234.1234:private-foobar");
        let expected = "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4";
        assert_eq!(signed, expected);
        assert!(is_signed(
            "7ad3773142a6692b25b8",
            b"1234.1234:private-foobar",
            expected
        ));
        assert!(!is_signed(
            "7ad3773142a6692b25b8",
            b"1234.1234:private-fooba",
            expected
        ));
    }

    #[test]
    fn escapes_are_decoded_and_what_is_none_stays() {
        for (text, plain) in [
            ("a%2Cb", "a,b"),
            ("a+b", "a b"),
            ("%", "%"),
            ("%zz%4", "%zz%4"),
        ] {
            assert_eq!(decoded(text), plain);
        }
    }
}
