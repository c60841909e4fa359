//! Which error codes of databases say "not now" rather than "no".

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

#[cfg(test)]
mod tests {
    use super::*;

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
