//! `traceparent`: the trace to which a request of HTTP says that it belongs (W3C Trace Context,
//! level 1). It is read and passed on as it is.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::fmt;

/// The header.
pub const TRACE_HEADER: &str = "traceparent";

/// Where in a trace a request was made. Two numbers that mean nothing by themselves: no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    /// The trace.
    pub trace: u128,
    /// The span within which the request was made.
    pub span: u64,
    /// Whether whoever began the trace records it.
    pub is_sampled: bool,
}

impl TraceParent {
    /// What the header says; none where it is malformed, as the specification wants it. Of versions
    /// to come only what they have in common with this one is read.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches([' ', '\t']);
        let mut parts = text.split('-');
        let version = hex(parts.next()?, 2)?;
        let trace = hex(parts.next()?, 32)?;
        let span = hex(parts.next()?, 16)?;
        let flags = hex(parts.next()?, 2)?;
        let is_whole = version != 0 || parts.next().is_none();
        let is_valid = version != 0xff && trace != 0 && span != 0 && is_whole;
        is_valid.then_some(Self {
            trace,
            // Sixteen digits fit.
            span: span as u64,
            is_sampled: flags & 1 == 1,
        })
    }
}

/// A number in so many hexadecimal digits, in lower case alone.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let fits = text.len() == digits && text.bytes().all(is_hex);
    fits.then(|| u128::from_str_radix(text, 16).ok())?
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.is_sampled);
        write!(f, "00-{:032x}-{:016x}-{flags:02x}", self.trace, self.span)
    }
}

impl Serialize for TraceParent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceParent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("no traceparent"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_the_specification_wants() {
        let said = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let read = TraceParent::parse(said).expect("it is well formed");
        assert_eq!(read.to_string(), said);
        assert!(read.is_sampled && read.span == 0xb7ad_6b71_6920_3331);
        let json = serde_json::to_string(&read).expect("a text");
        assert_eq!(serde_json::from_str::<TraceParent>(&json).ok(), Some(read));

        let unsampled = TraceParent::parse(&said.replace("-01", "-02")).expect("well formed");
        assert!(!unsampled.is_sampled);
        // A version to come may say more.
        assert!(TraceParent::parse(&format!("cc{}-more", &said[2..])).is_some());
        for wrong in [
            "",
            "00",
            &said[..54],
            &said.to_uppercase(),
            &format!("{said}-more"),
            &format!("ff{}", &said[2..]),
            &said.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &said.replace("b7ad6b7169203331", &"0".repeat(16)),
            &said.replace("0af7", "0ag7"),
            &said.replace("0af7", "+af7"),
        ] {
            assert_eq!(TraceParent::parse(wrong), None, "{wrong}");
        }
    }
}
