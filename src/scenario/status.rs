//! Sets of HTTP statuses as people write them.

use super::StatusSet;
use crate::units::UnitError;
use std::ops::RangeInclusive;

/// Reads `"200"`, `"2xx"`, `"200,202-204"`.
///
/// # Errors
/// Anything else, and statuses below 100 or above 999.
pub fn parse_statuses(text: &str) -> Result<StatusSet, UnitError> {
    text.split(',')
        .map(|part| range(part.trim()))
        .collect::<Option<Vec<_>>>()
        .map(StatusSet)
        .ok_or_else(|| {
            UnitError(format!(
                "expected statuses like \"200\", \"2xx\" or \"200,202-204\", not {text:?}"
            ))
        })
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    if let Some(class) = text.strip_suffix("xx") {
        let [digit @ b'1'..=b'9'] = class.as_bytes() else {
            return None;
        };
        let first = u16::from(digit - b'0') * 100;
        return Some(first..=first + 99);
    }
    let (low, high) = match text.split_once('-') {
        Some((low, high)) => (one(low)?, one(high)?),
        None => (one(text)?, one(text)?),
    };
    (low <= high).then_some(low..=high)
}

fn one(text: &str) -> Option<u16> {
    let text = text.trim();
    let plain = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|status| plain && *status >= 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_as_people_write_them() {
        for (text, within, without) in [
            ("200", 200, 201),
            ("2xx", 299, 300),
            ("200,202-204", 203, 201),
            (" 500 - 503 , 429", 429, 504),
        ] {
            let set = parse_statuses(text).unwrap();
            assert!(set.contains(within), "{text}");
            assert!(!set.contains(without), "{text}");
        }
    }

    #[test]
    fn what_is_no_status_is_refused() {
        for text in [
            "", "2", "0xx", "2x", "+2xx", "20xx", "204-200", "99", "1000", "200,", "ok",
        ] {
            assert!(parse_statuses(text).is_err(), "{text}");
        }
    }
}
