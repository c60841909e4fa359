//! What a toxic can be told: its `attributes`.

use super::json::{Mismatch, Node};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// One attribute of a kind of toxic.
#[derive(Debug)]
pub(crate) struct Field {
    /// Its key.
    pub(crate) name: &'static str,
    default: Default,
}

#[derive(Debug)]
enum Default {
    Integer,
    Number(f64),
}

impl Field {
    /// A whole number, 0 where nothing is said.
    pub(crate) const fn integer(name: &'static str) -> Self {
        Self {
            name,
            default: Default::Integer,
        }
    }

    /// Any number.
    pub(crate) const fn number(name: &'static str, default: f64) -> Self {
        Self {
            name,
            default: Default::Number(default),
        }
    }

    fn default(&self) -> Value {
        match self.default {
            Default::Integer => Value::Integer(0),
            Default::Number(number) => Value::Number(number),
        }
    }

    fn read(&self, node: &Node) -> Result<Value, Mismatch> {
        match self.default {
            Default::Integer => node.integer().map(Value::Integer),
            Default::Number(_) => node.number().map(Value::Number),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Integer(i64),
    Number(f64),
}

/// The attributes of one toxic: all fields of its kind, in their order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Attributes(Vec<(&'static str, Value)>);

impl Attributes {
    /// What holds where nothing is said.
    pub(crate) fn of(fields: &'static [Field]) -> Self {
        let each = fields.iter().map(|field| (field.name, field.default()));
        Self(each.collect())
    }

    /// These with what a request says; what it says nothing of, or null, stays.
    pub(crate) fn with(&self, fields: &'static [Field], said: &Node) -> Result<Self, Mismatch> {
        let mut new = self.clone();
        let Some(entries) = said.object()? else {
            return Ok(new);
        };
        for (key, node) in entries {
            let known = fields.iter().zip(&mut new.0);
            let of_this_name = known
                .into_iter()
                .find(|(field, _)| field.name.eq_ignore_ascii_case(key));
            if let Some((field, (_, value))) = of_this_name
                && !node.is_null()
            {
                *value = field
                    .read(node)
                    .map_err(|mismatch| mismatch.at(field.name))?;
            }
        }
        Ok(new)
    }

    /// A whole number; 0 where the kind has no such field.
    pub(crate) fn integer(&self, name: &str) -> i64 {
        match self.value(name) {
            Some(Value::Integer(number)) => *number,
            _ => 0,
        }
    }

    /// A number; 0 where the kind has no such field.
    pub(crate) fn number(&self, name: &str) -> f64 {
        match self.value(name) {
            Some(Value::Number(number)) => *number,
            _ => 0.0,
        }
    }

    fn value(&self, name: &str) -> Option<&Value> {
        let mut values = self.0.iter();
        values.find_map(|(known, value)| (*known == name).then_some(value))
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            match value {
                Value::Integer(number) => map.serialize_entry(name, number)?,
                Value::Number(number) => map.serialize_entry(name, &super::json::Short(*number))?,
            }
        }
        map.end()
    }
}
