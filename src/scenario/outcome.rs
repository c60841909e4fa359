//! Answers to outcomes: the rules of a load or an ingress applied to one answer. Pure; it keeps
//! no body and waits for nothing, so a time-out is not its business.

use super::{Outcomes, Rule, Template, ValueMatch};
use crate::{fault::wildcard, history::Outcome};
use serde_json::Value;
use std::cmp::Ordering;

/// The most bytes of a body that rules look at. A JSON rule over a longer body does not hold,
/// because what was cut off cannot be parsed.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// An answer as rules see it.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a, H> {
    /// The status code.
    pub status: u16,
    /// Header names (in any case) and values, in any order, repeats included.
    pub headers: H,
    /// The body, or its first [`BODY_BYTES_MAX`] bytes.
    pub body: &'a [u8],
}

impl Outcomes {
    /// The outcome of an answer: `degraded` is asked first, then `ok`; anything else is failed.
    /// `fill` puts captured values into the other side of a JSON comparison.
    pub fn classify<'a, H>(
        &self,
        answer: &Answer<'_, H>,
        fill: &impl Fn(&Template) -> String,
    ) -> Outcome
    where
        H: Iterator<Item = (&'a str, &'a [u8])> + Clone,
    {
        if let Some(degraded) = &self.degraded
            && degraded.holds(answer, fill)
        {
            Outcome::Degraded
        } else if self.ok.holds(answer, fill) {
            Outcome::Ok
        } else {
            Outcome::Failed
        }
    }

    /// Every rule there is.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        [&self.ok].into_iter().chain(&self.degraded)
    }

    /// Whether a rule looks into the body, so that its beginning must be kept.
    pub fn needs_body(&self) -> bool {
        self.rules().any(|rule| !rule.json.is_empty())
    }
}

impl Rule {
    /// Whether every part of the rule holds for an answer.
    pub fn holds<'a, H>(&self, answer: &Answer<'_, H>, fill: &impl Fn(&Template) -> String) -> bool
    where
        H: Iterator<Item = (&'a str, &'a [u8])> + Clone,
    {
        self.status.contains(answer.status)
            && self.header.iter().all(|(name, pattern)| {
                answer.headers.clone().any(|(known, value)| {
                    known.eq_ignore_ascii_case(name)
                        && std::str::from_utf8(value).is_ok_and(|text| wildcard(pattern, text))
                })
            })
            && self.json_holds(answer.body, fill)
    }

    fn json_holds(&self, body: &[u8], fill: &impl Fn(&Template) -> String) -> bool {
        if self.json.is_empty() {
            return true;
        }
        let Ok(document) = serde_json::from_slice::<Value>(body) else {
            return false;
        };
        self.json.iter().all(|(pointer, wanted)| {
            document
                .pointer(pointer)
                .is_some_and(|value| wanted.holds(value, fill))
        })
    }
}

impl ValueMatch {
    /// Whether a JSON value compares as wanted. A number equals by its value, everything else by its
    /// text: "1.10" is not "1.1". In order of size numbers compare, in texts too; of anything else no
    /// such comparison holds.
    pub fn holds(&self, value: &Value, fill: &impl Fn(&Template) -> String) -> bool {
        let wanted = fill(&self.value);
        let found = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let order = order(&found, &wanted);
        let equal = match order {
            Some(order) if value.is_number() => order == Ordering::Equal,
            _ => found == wanted,
        };
        match self.comparison {
            "=" => equal,
            "!=" => !equal,
            "<" => order == Some(Ordering::Less),
            "<=" => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            ">" => order == Some(Ordering::Greater),
            ">=" => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
            _ => false,
        }
    }
}

/// How two numbers stand to each other: exactly where both are whole, else as nearly as floating point
/// has it. `None` of what is no number, or too great a one to tell.
fn order(one: &str, other: &str) -> Option<Ordering> {
    if let (Ok(one), Ok(other)) = (one.parse::<i128>(), other.parse::<i128>()) {
        return Some(one.cmp(&other));
    }
    let number = |text: &str| text.parse::<f64>().ok().filter(|one| one.is_finite());
    number(one)?.partial_cmp(&number(other)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::StatusSet;

    fn rule(
        status: std::ops::RangeInclusive<u16>,
        header: &[(&str, &str)],
        json: &[(&str, &'static str, &str)],
    ) -> Rule {
        Rule {
            status: StatusSet(vec![status]),
            header: header
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            json: json
                .iter()
                .map(|(pointer, comparison, value)| {
                    let value = Template((*value).to_owned());
                    ((*pointer).to_owned(), ValueMatch { comparison, value })
                })
                .collect(),
        }
    }

    fn check(outcomes: &Outcomes, status: u16, headers: &[(&str, &str)], body: &str) -> Outcome {
        let answer = Answer {
            status,
            headers: headers
                .iter()
                .map(|(name, value)| (*name, value.as_bytes())),
            body: body.as_bytes(),
        };
        outcomes.classify(&answer, &|template: &Template| {
            template.0.replace("{version}", "3")
        })
    }

    #[test]
    fn by_default_any_2xx_is_ok_and_all_else_failed() {
        let outcomes = Outcomes::default();
        assert_eq!(check(&outcomes, 204, &[], ""), Outcome::Ok);
        assert_eq!(check(&outcomes, 302, &[], ""), Outcome::Failed);
        assert_eq!(check(&outcomes, 500, &[], ""), Outcome::Failed);
        assert!(!outcomes.needs_body());
    }

    #[test]
    fn a_fallback_is_told_by_its_header_before_ok_is_asked() {
        let outcomes = Outcomes {
            ok: rule(200..=200, &[], &[]),
            degraded: Some(rule(200..=299, &[("x-answered-from", "cache*")], &[])),
            usually_degraded: None,
        };
        let cached = [("X-Answered-From", "live"), ("X-Answered-From", "cache-2")];
        assert_eq!(check(&outcomes, 200, &cached, ""), Outcome::Degraded);
        assert_eq!(check(&outcomes, 200, &cached[..1], ""), Outcome::Ok);
        assert_eq!(check(&outcomes, 500, &cached, ""), Outcome::Failed);
    }

    #[test]
    fn json_rules_compare_numbers_as_numbers_and_the_rest_as_text() {
        for (comparison, value, body, holds) in [
            ("=", "ok", r#"{"a":"ok"}"#, true),
            ("=", "ok", r#"{"a":"no"}"#, false),
            ("=", "1.0", r#"{"a":1}"#, true),
            ("=", "true", r#"{"a":true}"#, true),
            ("!=", "x", r#"{"a":"y"}"#, true),
            ("!=", "x", r#"{"a":"x"}"#, false),
            ("!=", "x", r#"{"b":"y"}"#, false),
            (">=", "{version}", r#"{"a":3}"#, true),
            (">=", "{version}", r#"{"a":2}"#, false),
            (">", "3", r#"{"a":"10"}"#, true),
            ("<", "b", r#"{"a":"a"}"#, false),
            ("<=", "3", r#"{"a":3}"#, true),
            ("=", "ok", r#"{"a":"o"#, false),
            // Versions, ids and hashes that would be one number are not one text.
            ("=", "1.1", r#"{"a":"1.10"}"#, false),
            ("!=", "1.1", r#"{"a":"1.10"}"#, true),
            ("=", "5e1234", r#"{"a":"7e9999"}"#, false),
            ("=", "3", r#"{"a":"3"}"#, true),
            ("=", "3", r#"{"a":"03"}"#, false),
            ("=", "9007199254740992", r#"{"a":9007199254740993}"#, false),
            ("=", "9007199254740993", r#"{"a":9007199254740993}"#, true),
            ("!=", "9007199254740992", r#"{"a":9007199254740993}"#, true),
            (">=", "9007199254740993", r#"{"a":9007199254740992}"#, false),
            (
                ">=",
                "9007199254740993",
                r#"{"a":"9007199254740993"}"#,
                true,
            ),
            (">=", "inf", r#"{"a":"inf"}"#, false),
            ("=", "0.5", r#"{"a":5e-1}"#, true),
        ] {
            let outcomes = Outcomes {
                ok: rule(200..=200, &[], &[("/a", comparison, value)]),
                ..Outcomes::default()
            };
            let wanted = if holds { Outcome::Ok } else { Outcome::Failed };
            assert_eq!(
                check(&outcomes, 200, &[], body),
                wanted,
                "{comparison} {value} {body}"
            );
            assert!(outcomes.needs_body());
        }
    }
}
