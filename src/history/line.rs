//! One observation as one line of JSON.
//!
//! A busy run has a hundred attempts for every other entry, so these are written by hand, field by
//! field, as `serde_json` would write them; a test holds the two together. All else goes the usual
//! way, and so does whatever is rare in an attempt.

use super::{Attempt, Observation};
use serde::Serialize;

/// Appends the observation and its end of line.
///
/// # Errors
/// None that is known: memory takes everything.
pub(super) fn push(line: &mut Vec<u8>, observation: &Observation) -> serde_json::Result<()> {
    match observation {
        Observation::Attempt(attempt) => push_attempt(line, attempt)?,
        other => serde_json::to_writer(&mut *line, other)?,
    }
    line.push(b'\n');
    Ok(())
}

fn push_attempt(line: &mut Vec<u8>, attempt: &Attempt) -> serde_json::Result<()> {
    let Attempt {
        dependency,
        connection,
        call,
        by_sdk_id,
        attempt,
        declared_max,
        operation,
        key,
        table,
        began,
        first_byte,
        ended,
        end,
        status,
        code,
        applied,
        repeated,
        repeated_unknown,
        rows,
        held,
        perhaps_held,
        untold,
        faults,
        retry_after,
        released,
        bytes_up,
        bytes_down,
        captured,
        trace,
    } = attempt;
    line.extend_from_slice(br#"{"type":"attempt","dependency":"#);
    text(line, dependency)?;
    number(line, br#","connection":"#, *connection);
    line.extend_from_slice(br#","call":"#);
    text(line, call)?;
    line.extend_from_slice(br#","by_sdk_id":"#);
    line.extend_from_slice(if *by_sdk_id { b"true" } else { b"false" });
    number(line, br#","attempt":"#, u64::from(*attempt));
    some_number(line, br#","declared_max":"#, declared_max.map(u64::from));
    line.extend_from_slice(br#","operation":"#);
    text(line, operation)?;
    line.extend_from_slice(br#","key":"#);
    text(line, key)?;
    if let Some(table) = table {
        line.extend_from_slice(br#","table":"#);
        text(line, table)?;
    }
    number(line, br#","began":"#, began.0);
    some_number(line, br#","first_byte":"#, first_byte.map(|at| at.0));
    number(line, br#","ended":"#, ended.0);
    other(line, br#","end":"#, end)?;
    some_number(line, br#","status":"#, status.map(u64::from));
    if let Some(code) = code {
        line.extend_from_slice(br#","code":"#);
        text(line, code)?;
    }
    other(line, br#","applied":"#, applied)?;
    if *repeated > 0 {
        number(line, br#","repeated":"#, u64::from(*repeated));
    }
    if *repeated_unknown > 0 {
        number(
            line,
            br#","repeated_unknown":"#,
            u64::from(*repeated_unknown),
        );
    }
    some_number(line, br#","rows":"#, *rows);
    if *held {
        line.extend_from_slice(br#","held":true"#);
    }
    if *perhaps_held {
        line.extend_from_slice(br#","perhaps_held":true"#);
    }
    some_number(line, br#","untold":"#, untold.map(|at| at.0));
    if !faults.is_empty() {
        other(line, br#","faults":"#, faults)?;
    }
    if !retry_after.is_empty() {
        other(line, br#","retry_after":"#, retry_after)?;
    }
    some_number(line, br#","released":"#, released.map(|at| at.0));
    number(line, br#","bytes_up":"#, *bytes_up);
    number(line, br#","bytes_down":"#, *bytes_down);
    if !captured.is_empty() {
        other(line, br#","captured":"#, captured)?;
    }
    if let Some(trace) = trace {
        other(line, br#","trace":"#, trace)?;
    }
    line.push(b'}');
    Ok(())
}

fn other(line: &mut Vec<u8>, name: &[u8], value: &impl Serialize) -> serde_json::Result<()> {
    line.extend_from_slice(name);
    serde_json::to_writer(line, value)
}

fn text(line: &mut Vec<u8>, text: &str) -> serde_json::Result<()> {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    // Without a way out half-way the compiler looks at many bytes at once.
    if !text
        .bytes()
        .fold(true, |plain, byte| plain & is_plain(byte))
    {
        return serde_json::to_writer(line, text);
    }
    line.push(b'"');
    line.extend_from_slice(text.as_bytes());
    line.push(b'"');
    Ok(())
}

fn some_number(line: &mut Vec<u8>, name: &[u8], value: Option<u64>) {
    if let Some(value) = value {
        number(line, name, value);
    }
}

fn number(line: &mut Vec<u8>, name: &[u8], mut value: u64) {
    line.extend_from_slice(name);
    // As many digits as the greatest has.
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    line.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        fault::FaultId,
        history::AttemptEnd,
        protocol::{Applied, RetryAfter, TraceParent},
        units::Micros,
    };
    use proptest::{collection::vec, option, prelude::*};
    use std::sync::Arc;

    /// Texts with all that JSON escapes, and all that it does not.
    pub fn texts() -> impl Strategy<Value = String> {
        let letters = prop_oneof![
            any::<char>(),
            Just('"'),
            Just('\\'),
            Just('\u{7f}'),
            (0..0x20u8).prop_map(char::from),
        ];
        prop_oneof![
            "[a-z:]{0,12}",
            vec(letters, 0..8).prop_map(String::from_iter)
        ]
    }

    pub fn numbers() -> impl Strategy<Value = u64> {
        prop_oneof![0..11u64, any::<u64>(), Just(u64::MAX)]
    }

    fn waits() -> impl Strategy<Value = RetryAfter> {
        (texts(), numbers()).prop_map(|(header, delay_us)| RetryAfter {
            header: header.into(),
            delay_us,
        })
    }

    prop_compose! {
        pub fn attempts()(
            (dependency, call, operation, key) in (texts(), texts(), texts(), texts()),
            (connection, began, ended) in (numbers(), numbers(), numbers()),
            (first_byte, released, rows) in
                (option::of(numbers()), option::of(numbers()), option::of(numbers())),
            (bytes_up, bytes_down, untold) in (numbers(), numbers(), option::of(numbers())),
            (by_sdk_id, held, perhaps_held) in (any::<bool>(), any::<bool>(), any::<bool>()),
            (attempt, declared_max) in (any::<u32>(), option::of(any::<u32>())),
            (status, code, table) in
                (option::of(any::<u16>()), option::of(texts()), option::of(texts())),
            (repeated, repeated_unknown) in (0..4u32, 0..4u32),
            end in prop_oneof![
                Just(AttemptEnd::Answered),
                Just(AttemptEnd::GaveUp),
                Just(AttemptEnd::Cut),
                Just(AttemptEnd::UpstreamFailed),
                Just(AttemptEnd::Unfinished),
            ],
            applied in prop_oneof![
                Just(Applied::No), Just(Applied::Yes), Just(Applied::Unknown),
            ],
            faults in vec(any::<u16>().prop_map(FaultId), 0..3),
            retry_after in vec(waits(), 0..3),
            captured in proptest::collection::btree_map(texts(), texts(), 0..3),
            trace in proptest::option::of(any::<(u128, u64, bool)>()),
        ) -> Attempt {
            Attempt {
                dependency: dependency.into(),
                connection,
                call: call.into(),
                by_sdk_id,
                attempt,
                declared_max,
                operation: operation.into(),
                key: key.into(),
                table: table.map(Arc::from),
                began: Micros(began),
                first_byte: first_byte.map(Micros),
                ended: Micros(ended),
                end,
                status,
                code: code.map(Arc::from),
                applied,
                repeated,
                repeated_unknown,
                rows,
                held,
                perhaps_held,
                untold: untold.map(Micros),
                faults,
                retry_after,
                released: released.map(Micros),
                bytes_up,
                bytes_down,
                captured,
                trace: trace.map(|(trace, span, is_sampled)| TraceParent {
                    trace,
                    span,
                    is_sampled,
                }),
            }
        }
    }

    #[test]
    fn a_line_of_before_there_were_unknown_copies_and_lost_commits_is_still_read() {
        let plain = crate::history::sample::attempt("s3", 0, 10).done();
        let mut line = Vec::new();
        push(&mut line, &Observation::Attempt(plain.clone())).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert!(
            !line.contains("unknown") && !line.contains("untold"),
            "{line}"
        );
        let read: Observation = serde_json::from_str(&line).unwrap();
        assert_eq!(read, Observation::Attempt(plain));
    }

    proptest! {
        #[test]
        fn a_line_is_what_serde_writes(attempt in attempts()) {
            let observation = Observation::Attempt(attempt);
            let mut line = b"before".to_vec();
            push(&mut line, &observation).unwrap();
            let expected = serde_json::to_string(&observation).unwrap();
            prop_assert_eq!(String::from_utf8(line).unwrap(), format!("before{expected}\n"));
        }
    }
}
