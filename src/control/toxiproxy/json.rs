//! JSON as clients of Toxiproxy have learnt to write it, from a server whose reader is forgiving in
//! places: keys in any case, null for what is not said, anything behind the first value, and of a
//! key that is there twice the last. Numbers are not: `1.5` and `"5"` are no integers.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use std::fmt;

/// A value, its keys in the order in which they were written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// Nothing is said.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without a fraction.
    Integer(i64),
    /// Any other number.
    Number(f64),
    /// A text.
    Text(String),
    /// `[…]`.
    List(Vec<Node>),
    /// `{…}`.
    Object(Vec<(String, Node)>),
}

/// A value of another type than its place wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mismatch {
    is: String,
    wanted: &'static str,
    /// The way to it, from the outermost key.
    place: String,
}

impl Mismatch {
    /// The same, seen from the object that holds it under this key.
    pub(crate) fn at(mut self, key: &str) -> Self {
        let dot = if self.place.is_empty() { "" } else { "." };
        self.place = format!("{key}{dot}{}", self.place);
        self
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is, wanted, place } = self;
        if place.is_empty() {
            return write!(
                f,
                "json: cannot unmarshal {is} into Go value of type {wanted}"
            );
        }
        write!(
            f,
            "json: cannot unmarshal {is} into Go struct field {place} of type {wanted}"
        )
    }
}

impl Node {
    /// Reads the first value of a body.
    ///
    /// # Errors
    /// There is none, in the words of the server that clients know where they are short.
    pub(crate) fn read(body: &[u8]) -> Result<Self, String> {
        let mut values = serde_json::Deserializer::from_slice(body).into_iter();
        match values.next() {
            None => Err("EOF".to_owned()),
            Some(Ok(node)) => Ok(node),
            Some(Err(error)) if error.is_eof() => Err("unexpected EOF".to_owned()),
            Some(Err(error)) => Err(error.to_string()),
        }
    }

    /// Whether nothing is said.
    pub(crate) fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// The entries of an object; `None` for null.
    pub(crate) fn object(&self) -> Result<Option<&[(String, Node)]>, Mismatch> {
        match self {
            Self::Null => Ok(None),
            Self::Object(entries) => Ok(Some(entries)),
            _ => Err(self.is_no("object")),
        }
    }

    /// The members of a list; `None` for null.
    pub(crate) fn list(&self) -> Result<Option<&[Node]>, Mismatch> {
        match self {
            Self::Null => Ok(None),
            Self::List(members) => Ok(Some(members)),
            _ => Err(self.is_no("array")),
        }
    }

    /// What an object says last of a key; `None` where it says nothing, or null.
    pub(crate) fn get(&self, key: &str) -> Result<Option<&Node>, Mismatch> {
        let entries = self.object()?.unwrap_or_default();
        let mut last_first = entries.iter().rev();
        let said =
            last_first.find(|(known, node)| known.eq_ignore_ascii_case(key) && !node.is_null());
        Ok(said.map(|(_, node)| node))
    }

    /// What an object says of a key that wants a text.
    pub(crate) fn text_at(&self, key: &str) -> Result<Option<String>, Mismatch> {
        let Some(node) = self.get(key)? else {
            return Ok(None);
        };
        match node {
            Self::Text(text) => Ok(Some(text.clone())),
            _ => Err(node.is_no("string").at(key)),
        }
    }

    /// The stream that a toxic names. One client calls it `direction`, as another server does.
    pub(crate) fn stream_said(&self) -> Result<Option<String>, Mismatch> {
        match self.text_at("stream")? {
            None => self.text_at("direction"),
            said => Ok(said),
        }
    }

    /// What an object says of a key that wants `true` or `false`.
    pub(crate) fn bool_at(&self, key: &str) -> Result<Option<bool>, Mismatch> {
        let Some(node) = self.get(key)? else {
            return Ok(None);
        };
        match node {
            Self::Bool(bool) => Ok(Some(*bool)),
            _ => Err(node.is_no("bool").at(key)),
        }
    }

    /// What an object says of a key that wants a number of 32 bits.
    pub(crate) fn single_at(&self, key: &str) -> Result<Option<f32>, Mismatch> {
        let Some(node) = self.get(key)? else {
            return Ok(None);
        };
        let number = node.number().map_err(|_| node.is_no("float32").at(key))?;
        let single = number as f32;
        if single.is_finite() {
            Ok(Some(single))
        } else {
            Err(node.is_no("float32").at(key))
        }
    }

    /// A whole number.
    pub(crate) fn integer(&self) -> Result<i64, Mismatch> {
        match self {
            Self::Integer(number) => Ok(*number),
            _ => Err(self.is_no("int64")),
        }
    }

    /// Any number.
    pub(crate) fn number(&self) -> Result<f64, Mismatch> {
        match self {
            Self::Integer(number) => Ok(*number as f64),
            Self::Number(number) => Ok(*number),
            _ => Err(self.is_no("float64")),
        }
    }

    fn is_no(&self, wanted: &'static str) -> Mismatch {
        let is = match self {
            Self::Null => "null".to_owned(),
            Self::Bool(_) => "bool".to_owned(),
            Self::Integer(number) => format!("number {number}"),
            Self::Number(number) => format!("number {number}"),
            Self::Text(_) => "string".to_owned(),
            Self::List(_) => "array".to_owned(),
            Self::Object(_) => "object".to_owned(),
        };
        Mismatch {
            is,
            wanted,
            place: String::new(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, bool: bool) -> Result<Node, E> {
        Ok(Node::Bool(bool))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        Ok(i64::try_from(number).map_or(Node::Number(number as f64), Node::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Node, E> {
        Ok(Node::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = list.next_element()? {
            members.push(member);
        }
        Ok(Node::List(members))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Object(entries))
    }
}

/// A number without a fraction where it has none: `1` and not `1.0`.
pub(crate) struct Short(pub(crate) f64);

/// Up to here every whole number is exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Serialize for Short {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 && self.0.abs() < EXACT {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

/// The same for a number of 32 bits, in as few digits as tell it from its neighbours.
pub(crate) struct Single(pub(crate) f32);

impl Serialize for Single {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 && f64::from(self.0.abs()) < EXACT {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f32(self.0)
        }
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(bool) => serializer.serialize_bool(*bool),
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Number(number) => Short(*number).serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(members) => serializer.collect_seq(members),
            Self::Object(entries) => {
                serializer.collect_map(entries.iter().map(|(key, value)| (key, value)))
            }
        }
    }
}

/// Compact JSON in which `<`, `>` and `&` are escaped, as clients are used to.
pub(crate) fn written(value: &impl Serialize) -> String {
    // What is written has texts for keys and finite numbers, so this cannot fail.
    let text = serde_json::to_string(value).unwrap_or_default();
    if !text.contains(['<', '>', '&']) {
        return text;
    }
    // They stand in texts alone.
    text.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Node {
        Node::read(text.as_bytes()).expect("it is JSON")
    }

    #[test]
    fn keys_are_found_in_any_case_and_the_last_wins() {
        let node = read(r#"{"Name":"a","NAME":"b","name":null,"other":[1,{}]} trailing"#);
        assert_eq!(node.text_at("name"), Ok(Some("b".to_owned())));
        assert_eq!(node.text_at("listen"), Ok(None));
    }

    #[test]
    fn what_is_no_value_of_the_type_says_so() {
        let node = read(r#"{"enabled":"yes","toxicity":1e300,"name":5}"#);
        let words = |mismatch: Mismatch| mismatch.to_string();
        assert_eq!(
            node.bool_at("enabled").map_err(words),
            Err(
                "json: cannot unmarshal string into Go struct field enabled of type bool"
                    .to_owned()
            )
        );
        assert!(node.single_at("toxicity").is_err());
        assert!(node.text_at("name").is_err());
        assert!(read("[]").get("name").is_err());
        assert!(read("1.5").integer().is_err());
        assert!(read("\"5\"").integer().is_err());
        assert!(read("9223372036854775808").integer().is_err());
        assert_eq!(read("-7").integer(), Ok(-7));
    }

    #[test]
    fn no_body_and_half_a_body_are_told_apart() {
        assert_eq!(Node::read(b" "), Err("EOF".to_owned()));
        assert_eq!(Node::read(b"{\"a\":"), Err("unexpected EOF".to_owned()));
        assert!(Node::read(b"}").is_err());
        let deep = "[".repeat(100_000);
        assert!(Node::read(deep.as_bytes()).is_err());
    }

    #[test]
    fn numbers_are_short_and_texts_safe_in_a_page() {
        assert_eq!(written(&Short(1.0)), "1");
        assert_eq!(written(&Short(0.1)), "0.1");
        assert_eq!(written(&"<a&b>"), r#""\u003ca\u0026b\u003e""#);
    }
}
