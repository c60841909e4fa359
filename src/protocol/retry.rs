//! What answers say about another try: the error codes of databases ("not now" rather than "no", and
//! of what they speak), and the headers that name a time.

use crate::units::Micros;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// A time that an answer asked its client to wait before it comes again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RetryAfter {
    /// The header that said so, one of [`RETRY_HEADERS`].
    pub header: Arc<str>,
    /// How long, in microseconds.
    pub delay_us: u64,
}

/// The headers that name a time to wait, in lower case, each with its unit: seconds in HTTP's own
/// (RFC 9110, 10.2.3), milliseconds in those of AWS and of OpenAI.
pub const RETRY_HEADERS: &[(&str, Duration)] = &[
    ("retry-after", Duration::from_secs(1)),
    ("retry-after-ms", Duration::from_millis(1)),
    ("x-amz-retry-after", Duration::from_millis(1)),
];

/// The longest wait that is believed: a day.
const WAIT_MAX: Duration = Duration::from_secs(86_400);

/// The time to wait that a header names, if it is one of [`RETRY_HEADERS`] and names it as a number.
/// HTTP's other form, a date, says nothing without the client's clock, and is passed over.
pub fn retry_after(name: &str, value: &str) -> Option<RetryAfter> {
    let known = |(header, _): &&(&str, Duration)| header.eq_ignore_ascii_case(name);
    let (header, unit) = RETRY_HEADERS.iter().find(known)?;
    let count: f64 = value.trim().parse().ok()?;
    let fits = count >= 0.0 && unit.as_secs_f64() * count <= WAIT_MAX.as_secs_f64();
    fits.then(|| RetryAfter {
        header: (*header).into(),
        delay_us: Micros::from(unit.mul_f64(count)).0,
    })
}

impl RetryAfter {
    /// How long.
    pub const fn delay(&self) -> Duration {
        Duration::from_micros(self.delay_us)
    }
}

/// Whether an error of this code asks to be tried again, as far as a server can say so: it was
/// overloaded, shutting down, read-only for now, or the statement lost a race.
///
/// `code` is a SQLSTATE of PostgreSQL (five characters), an errno of MySQL (digits), or the first
/// word of a Redis error. Sources: PostgreSQL's appendix of error codes (classes 08, 40, 53, 57,
/// 58), the MariaDB and Redis answers that were measured for the founding incidents.
pub fn asks_for_retry(code: &str) -> bool {
    if !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_digit()) && code.len() == 4 {
        return matches!(
            code,
            "1040" | "1053" | "1203" | "1205" | "1213" | "1290" | "1927"
        );
    }
    if code.len() == 5 && code.bytes().any(|byte| byte.is_ascii_digit()) {
        // 57014 is a cancelled statement: whoever cancelled it did not want it.
        return matches!(&code[..2], "08" | "40" | "53" | "58")
            || (code.starts_with("57") && code != "57014")
            || matches!(code, "55P03" | "25006");
    }
    matches!(
        code,
        "LOADING"
            | "BUSY"
            | "OOM"
            | "READONLY"
            | "MASTERDOWN"
            | "CLUSTERDOWN"
            | "MOVED"
            | "ASK"
            | "TRYAGAIN"
            | "NOREPLICAS"
            | "MISCONF"
    )
}

/// Whether an error of this code is the answer of a database that is well to data that does not fit:
/// a key that is there already, a value out of range, a script that is not loaded.
///
/// `code` is as for [`asks_for_retry`]. Sources: classes 22 (data exception) and 23 (integrity
/// constraint violation) of PostgreSQL's appendix of error codes, MariaDB's error messages with
/// these SQLSTATEs, the answer that Redis' clients wait for before they send a script.
pub fn speaks_of_data(code: &str) -> bool {
    if code.len() == 4 && code.bytes().all(|byte| byte.is_ascii_digit()) {
        return matches!(
            code,
            "1022"
                | "1048"
                | "1062"
                | "1169"
                | "1216"
                | "1217"
                | "1264"
                | "1292"
                | "1365"
                | "1406"
                | "1451"
                | "1452"
        );
    }
    code == "NOSCRIPT" || code.len() == 5 && matches!(&code.as_bytes()[..2], b"22" | b"23")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_wait_is_read_in_its_headers_own_unit() {
        let read = |name, value| retry_after(name, value).map(|one| one.delay());
        assert_eq!(read("Retry-After", "2"), Some(Duration::from_secs(2)));
        assert_eq!(
            read("x-amz-retry-after", "1500"),
            Some(Duration::from_millis(1_500))
        );
        assert_eq!(read("retry-after-ms", " 0 "), Some(Duration::ZERO));
        for value in [
            "",
            "-1",
            "soon",
            "NaN",
            "1e300",
            "Fri, 07 Nov 2025 21:19:55 GMT",
        ] {
            assert_eq!(read("retry-after", value), None, "{value}");
        }
        assert_eq!(read("date", "2"), None);
    }

    #[test]
    fn data_that_do_not_fit_are_told_from_a_database_that_is_not_well() {
        for code in ["23505", "22001", "1062", "1451", "NOSCRIPT"] {
            assert!(speaks_of_data(code), "{code}");
        }
        for code in [
            "", "57014", "XX001", "42P01", "40001", "1317", "2205", "ERR", "22é",
        ] {
            assert!(!speaks_of_data(code), "{code}");
        }
    }

    #[test]
    fn not_now_is_told_from_no() {
        for code in [
            "53300", "57P01", "57P03", "40001", "40P01", "55P03", "25006", "08006", "1040", "1213",
            "LOADING", "MOVED",
        ] {
            assert!(asks_for_retry(code), "{code}");
        }
        for code in [
            "",
            "57014",
            "23505",
            "42P01",
            "25P02",
            "1062",
            "1317",
            "ERR",
            "WRONGTYPE",
            "SlowDown",
        ] {
            assert!(!asks_for_retry(code), "{code}");
        }
    }
}
