//! Reads the two frequent lines of a history as a `Writer` writes them: every field in its place, no
//! blank between, no escape in a text.
//!
//! A line that looks otherwise in any way (another program's order or spacing, a quote within a text,
//! a field of an older or a newer version) is not read here but by `serde_json`, at several times the
//! cost; what is read here is what `serde_json` would have read, which tests hold together.

use super::{Attempt, AttemptEnd, Operation, Outcome, Source, shared::Shared};
use crate::{
    fault::FaultId,
    protocol::{Applied, RetryAfter, TraceParent},
    units::Micros,
};
use std::{collections::BTreeMap, sync::Arc};

/// How the line of an operation begins.
pub(super) const OPERATION: &str = r#"{"type":"operation","#;

/// How the line of an attempt begins.
pub(super) const ATTEMPT: &str = r#"{"type":"attempt","#;

/// The operation of a line that begins as [`OPERATION`]; `None` where it looks otherwise.
pub(super) fn operation(line: &[u8], names: &mut Shared) -> Option<Operation> {
    let mut scan = Scan::of(line, OPERATION)?;
    let operation = Operation {
        load: names.share(scan.text(r#""load":"#)?),
        nth: scan.number(r#","nth":"#)?,
        source: match scan.text(r#","source":"#)? {
            "load" => Source::Load,
            "ingress" => Source::Ingress,
            _ => return None,
        },
        intended: scan.moment(r#","intended":"#)?,
        began: scan.moment(r#","began":"#)?,
        ended: scan.moment(r#","ended":"#)?,
        accepted: scan.some_moment(r#","accepted":"#)?,
        outcome: match scan.text(r#","outcome":"#)? {
            "ok" => Outcome::Ok,
            "degraded" => Outcome::Degraded,
            "failed" => Outcome::Failed,
            "indeterminate" => Outcome::Indeterminate,
            _ => return None,
        },
        status: scan.some_small(r#","status":"#)?,
        why: scan.some_text(r#","why":"#)?.map(str::to_owned),
        cut: scan.skip(r#","cut":true"#),
        refused: scan.some_small(r#","refused":"#)?.unwrap_or(0),
        request: names.share(scan.text(r#","request":"#)?),
        captured: scan.captured()?,
    };
    scan.ends().then_some(operation)
}

/// The attempt of a line that begins as [`ATTEMPT`]; `None` where it looks otherwise.
pub(super) fn attempt(line: &[u8], names: &mut Shared) -> Option<Attempt> {
    let mut scan = Scan::of(line, ATTEMPT)?;
    let attempt = Attempt {
        dependency: names.share(scan.text(r#""dependency":"#)?),
        connection: scan.number(r#","connection":"#)?,
        call: names.share(scan.text(r#","call":"#)?),
        by_sdk_id: scan.yes_or_no(r#","by_sdk_id":"#)?,
        attempt: scan.small(r#","attempt":"#)?,
        declared_max: scan.some_small(r#","declared_max":"#)?,
        operation: names.share(scan.text(r#","operation":"#)?),
        key: names.share(scan.text(r#","key":"#)?),
        table: scan
            .some_text(r#","table":"#)?
            .map(|name| names.share(name)),
        began: scan.moment(r#","began":"#)?,
        first_byte: scan.some_moment(r#","first_byte":"#)?,
        ended: scan.moment(r#","ended":"#)?,
        end: match scan.text(r#","end":"#)? {
            "answered" => AttemptEnd::Answered,
            "gave-up" => AttemptEnd::GaveUp,
            "cut" => AttemptEnd::Cut,
            "upstream-failed" => AttemptEnd::UpstreamFailed,
            "unfinished" => AttemptEnd::Unfinished,
            _ => return None,
        },
        status: scan.some_small(r#","status":"#)?,
        code: scan.some_text(r#","code":"#)?.map(|code| names.share(code)),
        applied: match scan.text(r#","applied":"#)? {
            "no" => Applied::No,
            "yes" => Applied::Yes,
            "unknown" => Applied::Unknown,
            _ => return None,
        },
        repeated: scan.some_small(r#","repeated":"#)?.unwrap_or(0),
        repeated_unknown: scan.some_small(r#","repeated_unknown":"#)?.unwrap_or(0),
        rows: scan.some_number(r#","rows":"#)?,
        held: scan.skip(r#","held":true"#),
        perhaps_held: scan.skip(r#","perhaps_held":true"#),
        untold: scan.some_moment(r#","untold":"#)?,
        faults: scan.faults()?,
        retry_after: scan.retry_after(names)?,
        released: scan.some_moment(r#","released":"#)?,
        bytes_up: scan.number(r#","bytes_up":"#)?,
        bytes_down: scan.number(r#","bytes_down":"#)?,
        captured: scan.captured()?,
        trace: match scan.some_text(r#","trace":"#)? {
            Some(text) => Some(TraceParent::parse(text)?),
            None => None,
        },
    };
    scan.ends().then_some(attempt)
}

/// A line, and how far it was read. Every method takes what stands before the value, and says `None`
/// where the line looks otherwise.
struct Scan<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn of(line: &'a [u8], start: &str) -> Option<Self> {
        let line = str::from_utf8(line).ok()?;
        let mut scan = Self { line, at: 0 };
        scan.skip(start).then_some(scan)
    }

    fn rest(&self) -> &'a [u8] {
        &self.line.as_bytes()[self.at..]
    }

    /// Whether this comes next, which is then passed by.
    fn skip(&mut self, expected: &str) -> bool {
        let is_next = self.rest().starts_with(expected.as_bytes());
        if is_next {
            self.at += expected.len();
        }
        is_next
    }

    fn ends(&mut self) -> bool {
        self.skip("}") && self.at == self.line.len()
    }

    fn number(&mut self, name: &str) -> Option<u64> {
        if !self.skip(name) {
            return None;
        }
        let digits = self.rest();
        let mut value = 0_u64;
        let mut count = 0;
        while let Some(digit) = digits.get(count).filter(|byte| byte.is_ascii_digit()) {
            value = value
                .checked_mul(10)?
                .checked_add(u64::from(digit - b'0'))?;
            count += 1;
        }
        // JSON has no number without a digit, and none with a nought before others.
        if count == 0 || (count > 1 && digits[0] == b'0') {
            return None;
        }
        self.at += count;
        Some(value)
    }

    fn small<T: TryFrom<u64>>(&mut self, name: &str) -> Option<T> {
        self.number(name)?.try_into().ok()
    }

    fn moment(&mut self, name: &str) -> Option<Micros> {
        self.number(name).map(Micros)
    }

    fn yes_or_no(&mut self, name: &str) -> Option<bool> {
        if !self.skip(name) {
            return None;
        }
        let is_yes = self.skip("true");
        (is_yes || self.skip("false")).then_some(is_yes)
    }

    /// A text without escapes.
    fn text(&mut self, name: &str) -> Option<&'a str> {
        if !self.skip(name) || !self.skip("\"") {
            return None;
        }
        let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..b' ');
        let length = self.rest().iter().position(is_special)?;
        let text = &self.line[self.at..self.at + length];
        self.at += length;
        self.skip("\"").then_some(text)
    }

    /// Whether a field comes next that is not always there.
    fn has(&self, name: &str) -> bool {
        self.rest().starts_with(name.as_bytes())
    }

    fn some_number(&mut self, name: &str) -> Option<Option<u64>> {
        match self.has(name) {
            true => self.number(name).map(Some),
            false => Some(None),
        }
    }

    fn some_small<T: TryFrom<u64>>(&mut self, name: &str) -> Option<Option<T>> {
        match self.has(name) {
            true => self.small(name).map(Some),
            false => Some(None),
        }
    }

    fn some_moment(&mut self, name: &str) -> Option<Option<Micros>> {
        self.some_number(name).map(|number| number.map(Micros))
    }

    fn some_text(&mut self, name: &str) -> Option<Option<&'a str>> {
        match self.has(name) {
            true => self.text(name).map(Some),
            false => Some(None),
        }
    }

    fn faults(&mut self) -> Option<Vec<FaultId>> {
        let mut faults = Vec::new();
        if !self.skip(r#","faults":["#) {
            return Some(faults);
        }
        faults.push(FaultId(self.small("")?));
        while !self.skip("]") {
            faults.push(FaultId(self.small(",")?));
        }
        Some(faults)
    }

    fn retry_after(&mut self, names: &mut Shared) -> Option<Vec<RetryAfter>> {
        let mut waits = Vec::new();
        if !self.skip(r#","retry_after":["#) {
            return Some(waits);
        }
        loop {
            let header: Arc<str> = names.share(self.text(r#"{"header":"#)?);
            let delay_us = self.number(r#","delay_us":"#)?;
            waits.push(RetryAfter { header, delay_us });
            if !self.skip("}") {
                return None;
            }
            if self.skip("]") {
                return Some(waits);
            }
            if !self.skip(",") {
                return None;
            }
        }
    }

    fn captured(&mut self) -> Option<BTreeMap<String, String>> {
        let mut captured = BTreeMap::new();
        if !self.skip(r#","captured":{"#) {
            return Some(captured);
        }
        loop {
            let name = self.text("")?.to_owned();
            captured.insert(name, self.text(":")?.to_owned());
            if self.skip("}") {
                return Some(captured);
            }
            if !self.skip(",") {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{
        Observation, line,
        line::tests::{attempts, numbers, texts},
    };
    use proptest::{collection::btree_map, option, prelude::*, sample::Index};

    prop_compose! {
        fn operations()(
            (load, request, why) in (texts(), texts(), option::of(texts())),
            (nth, intended, began, ended) in (numbers(), numbers(), numbers(), numbers()),
            (accepted, status) in (option::of(numbers()), option::of(any::<u16>())),
            (is_load, cut, refused) in (any::<bool>(), any::<bool>(), 0..3_u32),
            outcome in prop_oneof![
                Just(Outcome::Ok),
                Just(Outcome::Degraded),
                Just(Outcome::Failed),
                Just(Outcome::Indeterminate),
            ],
            captured in btree_map(texts(), texts(), 0..3),
        ) -> Operation {
            Operation {
                load: load.into(),
                nth,
                source: if is_load { Source::Load } else { Source::Ingress },
                intended: Micros(intended),
                began: Micros(began),
                ended: Micros(ended),
                accepted: accepted.map(Micros),
                outcome,
                status,
                why,
                cut,
                refused,
                request: request.into(),
                captured,
            }
        }
    }

    fn observations() -> impl Strategy<Value = Observation> {
        prop_oneof![
            operations().prop_map(Observation::Operation),
            attempts().prop_map(Observation::Attempt),
        ]
    }

    fn line_of(observation: &Observation) -> Vec<u8> {
        let mut line = Vec::new();
        line::push(&mut line, observation).unwrap();
        line.pop();
        line
    }

    fn quickly(line: &[u8]) -> Option<Observation> {
        let names = &mut Shared::new();
        let operation = operation(line, names).map(Observation::Operation);
        operation.or_else(|| attempt(line, names).map(Observation::Attempt))
    }

    /// What a damaged line is read as, by both ways.
    fn agree(line: &[u8]) -> Result<(), TestCaseError> {
        if let Some(read) = quickly(line) {
            let usual: Result<Observation, _> = serde_json::from_slice(line);
            let text = String::from_utf8_lossy(line);
            prop_assert!(
                usual.as_ref().is_ok_and(|usual| *usual == read),
                "{text}: {usual:?}"
            );
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn what_a_writer_wrote_is_read_as_it_was_unless_a_text_is_escaped(
            observation in observations(),
        ) {
            let line = line_of(&observation);
            match quickly(&line) {
                Some(read) => prop_assert_eq!(read, observation),
                None => prop_assert!(
                    line.contains(&b'\\') || line.windows(8).any(|part| part == b"\"trace\":"),
                    "{}", String::from_utf8_lossy(&line),
                ),
            }
        }

        #[test]
        fn a_damaged_line_is_read_as_serde_reads_it_or_not_at_all(
            observation in observations(),
            (at, byte) in (any::<Index>(), any::<u8>()),
            (from, length) in (any::<Index>(), 1..12_usize),
        ) {
            let line = line_of(&observation);
            let place = at.index(line.len());
            let mut changed = line.clone();
            changed[place] = byte;
            agree(&changed)?;
            for byte in [byte, b' ', b'0', b'"', b',', b'}'] {
                let mut longer = line.clone();
                longer.insert(place, byte);
                agree(&longer)?;
            }
            let from = from.index(line.len());
            let gone = from..(from + length).min(line.len());
            let mut shorter = line.clone();
            shorter.drain(gone.clone());
            agree(&shorter)?;
            let twice = [&line[..gone.end], &line[gone.start..]].concat();
            agree(&twice)?;
            agree(&line[..from])?;
        }
    }

    #[test]
    fn a_line_of_a_real_run_is_read() {
        for line in [
            r#"{"type":"attempt","dependency":"s3","connection":166,"call":"PutObject models/bots/30.json #2","by_sdk_id":true,"attempt":2,"declared_max":2,"operation":"PutObject","key":"models/bots/30.json","began":32164937,"first_byte":32165258,"ended":32165272,"end":"answered","status":500,"code":"InternalError","applied":"no","faults":[2,11],"retry_after":[{"header":"retry-after","delay_us":2000000}],"bytes_up":113,"bytes_down":282,"captured":{"version":"1795354165899435"},"trace":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}"#,
            r#"{"type":"operation","load":"train","nth":126,"source":"load","intended":31704968,"began":31706733,"ended":32219340,"accepted":31713796,"outcome":"ok","status":202,"request":"POST /bots/16/train","captured":{"model":"16","version":"1795354169403194"}}"#,
        ] {
            let usual: Observation = serde_json::from_str(line).unwrap();
            assert_eq!(quickly(line.as_bytes()), Some(usual));
        }
    }
}
