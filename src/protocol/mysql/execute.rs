//! The parameters that `COM_STMT_EXECUTE` binds, as text. Values are read, never kept.

use super::packet::{long, number, short};

/// The command, the statement's number, flags, and how often it is executed.
const FIXED_BYTES: usize = 1 + 4 + 1 + 4;

/// A parameter's type and, in the highest bit of the second byte, whether it is unsigned.
pub type Type = [u8; 2];

const NULL: u8 = 0x06;
const UNSIGNED: u8 = 0x80;

/// The bound parameters of one execution, as far as they are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound<'a> {
    nulls: &'a [u8],
    types: Option<&'a [u8]>,
    values: &'a [u8],
}

impl<'a> Bound<'a> {
    /// Reads the payload of a `COM_STMT_EXECUTE` of a statement with this many parameters. `None`
    /// if there are none, or the payload ends before them.
    pub fn read(payload: &'a [u8], parameters: u16) -> Option<Self> {
        let count = usize::from(parameters);
        if payload.first() != Some(&0x17) || count == 0 {
            return None;
        }
        let rest = payload.get(FIXED_BYTES..)?;
        let (nulls, rest) = rest.split_at_checked(count.div_ceil(8))?;
        let (says_types, rest) = rest.split_first()?;
        let (types, values) = match says_types {
            0 => (None, rest),
            _ => {
                let (types, values) = rest.split_at_checked(2 * count)?;
                (Some(types), values)
            }
        };
        Some(Self {
            nulls,
            types,
            values,
        })
    }

    /// The types of its first parameters, at most as many; `None` where those of the execution
    /// before hold on.
    pub fn types(&self, most: usize) -> Option<Vec<Type>> {
        let types = self.types?.chunks_exact(2);
        Some(types.take(most).map(|one| [one[0], one[1]]).collect())
    }

    /// The n-th parameter, from 1, as text. `None` where there is none, where it is NULL, came
    /// beforehand as long data (`is_long`, from 1), or is no text. `types` are those that hold.
    pub fn parameter(
        &self,
        nth: usize,
        types: &[Type],
        is_long: impl Fn(usize) -> bool,
    ) -> Option<String> {
        let mut rest = self.values;
        for (at, kind) in types.iter().enumerate().take(nth) {
            let is_null = self.nulls.get(at / 8)? >> (at % 8) & 1 == 1;
            let is_there = !is_null && !is_long(at + 1) && kind[0] != NULL;
            let len = if is_there {
                value_len(kind[0], rest)?
            } else {
                0
            };
            let (value, behind) = rest.split_at_checked(len)?;
            if at + 1 == nth {
                return is_there.then(|| as_text(*kind, value)).flatten();
            }
            rest = behind;
        }
        None
    }
}

/// The bytes of a value, its length included where it says one.
fn value_len(kind: u8, bytes: &[u8]) -> Option<usize> {
    Some(match kind {
        0x01 => 1,
        0x02 | 0x0d => 2,
        0x03 | 0x04 | 0x09 => 4,
        0x05 | 0x08 => 8,
        0x07 | 0x0a | 0x0b | 0x0c => 1 + usize::from(*bytes.first()?),
        _ => {
            let (len, rest) = number(bytes)?;
            (bytes.len() - rest.len()).checked_add(usize::try_from(len).ok()?)?
        }
    })
}

/// As MySQL itself would write it.
fn as_text([kind, flags]: Type, value: &[u8]) -> Option<String> {
    let is_unsigned = flags & UNSIGNED != 0;
    match kind {
        0x01 | 0x02 | 0x03 | 0x08 | 0x09 | 0x0d => Some(integer(value, is_unsigned)),
        0x04 => Some(f32::from_le_bytes(value.try_into().ok()?).to_string()),
        0x05 => Some(f64::from_le_bytes(value.try_into().ok()?).to_string()),
        0x07 | 0x0a | 0x0c => date(&value[1..], kind == 0x0a),
        0x0b => time(&value[1..]),
        _ => {
            let (_, text) = number(value)?;
            String::from_utf8(text.to_vec()).ok()
        }
    }
}

fn integer(value: &[u8], is_unsigned: bool) -> String {
    let is_negative = !is_unsigned && value.last().is_some_and(|last| last & 0x80 != 0);
    let mut wide = [if is_negative { 0xff } else { 0 }; 8];
    wide[..value.len()].copy_from_slice(value);
    if is_unsigned {
        u64::from_le_bytes(wide).to_string()
    } else {
        i64::from_le_bytes(wide).to_string()
    }
}

/// Parts that are zero at the end may be missing.
fn date(value: &[u8], is_day: bool) -> Option<String> {
    let part = |at: usize| value.get(at).copied().unwrap_or(0);
    let year = short(value, 0).unwrap_or(0);
    let mut text = format!("{year:04}-{:02}-{:02}", part(2), part(3));
    if !is_day {
        text += &format!(" {:02}:{:02}:{:02}", part(4), part(5), part(6));
        text += &fraction(value, 7);
    }
    Some(text)
}

fn time(value: &[u8]) -> Option<String> {
    let part = |at: usize| value.get(at).copied().unwrap_or(0);
    let sign = if part(0) == 1 { "-" } else { "" };
    let days = u64::from(long(value, 1).unwrap_or(0));
    let hours = days * 24 + u64::from(part(5));
    let clock = format!("{sign}{hours:02}:{:02}:{:02}", part(6), part(7));
    Some(clock + &fraction(value, 8))
}

fn fraction(value: &[u8], at: usize) -> String {
    match long(value, at) {
        Some(micros) => format!(".{micros:06}"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An execution of these parameters: type, and the value unless it is NULL.
    fn payload(parameters: &[(Type, Option<&[u8]>)], says_types: bool) -> Vec<u8> {
        let mut payload = vec![0x17, 7, 0, 0, 0, 0, 1, 0, 0, 0];
        let mut nulls = vec![0; parameters.len().div_ceil(8)];
        for (at, _) in parameters
            .iter()
            .enumerate()
            .filter(|(_, one)| one.1.is_none())
        {
            nulls[at / 8] |= 1 << (at % 8);
        }
        payload.extend(nulls);
        payload.push(u8::from(says_types));
        if says_types {
            payload.extend(parameters.iter().flat_map(|(kind, _)| kind));
        }
        payload.extend(parameters.iter().filter_map(|one| one.1).flatten());
        payload
    }

    /// A parameter's type, its value unless it is NULL, and the text of it.
    type Case = (Type, Option<&'static [u8]>, Option<&'static str>);

    const VARIOUS: &[Case] = &[
        ([0x01, 0], Some(b"\xff"), Some("-1")),
        ([0x01, 0x80], Some(b"\xff"), Some("255")),
        ([0x02, 0], Some(b"\x39\x30"), Some("12345")),
        ([0xfd, 0], None, None),
        ([0x03, 0], Some(b"\xfe\xff\xff\xff"), Some("-2")),
        ([0x08, 0x80], Some(&[0xff; 8]), Some("18446744073709551615")),
        ([0x05, 0], Some(b"\0\0\0\0\0\0\xf8\x3f"), Some("1.5")),
        ([0x04, 0], Some(b"\0\0\x20\x40"), Some("2.5")),
        ([0x06, 0], Some(b""), None),
        ([0xfd, 0], Some(b"\x05hello"), Some("hello")),
        ([0xf6, 0], Some(b"\x041.25"), Some("1.25")),
        ([0xfc, 0], Some(b"\x02\xff\xfe"), None),
        ([0x0a, 0], Some(b"\x04\xe1\x07\x02\x1c"), Some("2017-02-28")),
        (
            [0x0c, 0],
            Some(b"\x07\xe1\x07\x02\x1c\x0c\x25\x00"),
            Some("2017-02-28 12:37:00"),
        ),
        (
            [0x07, 0],
            Some(b"\x0b\xe1\x07\x02\x1c\x0c\x25\x01\x05\0\0\0"),
            Some("2017-02-28 12:37:01.000005"),
        ),
        ([0x0c, 0], Some(b"\0"), Some("0000-00-00 00:00:00")),
        (
            [0x0b, 0],
            Some(b"\x08\x01\x01\0\0\0\x02\x03\x04"),
            Some("-26:03:04"),
        ),
        ([0xfe, 0], Some(b"\x04last"), Some("last")),
    ];

    #[test]
    fn parameters_are_read_as_mysql_would_write_them() {
        let bound: Vec<_> = VARIOUS
            .iter()
            .map(|(kind, value, _)| (*kind, *value))
            .collect();
        let count = u16::try_from(bound.len()).unwrap();
        let first = payload(&bound, true);
        let first = Bound::read(&first, count).unwrap();
        let types = first.types(63).unwrap();
        // The types of the first execution hold on.
        let second = payload(&bound, false);
        let second = Bound::read(&second, count).unwrap();
        assert_eq!(second.types(63), None);
        for (at, (_, _, text)) in VARIOUS.iter().enumerate() {
            for bound in [&first, &second] {
                let seen = bound.parameter(at + 1, &types, |_| false);
                assert_eq!(seen.as_deref(), *text, "{at}");
            }
        }
        assert_eq!(first.parameter(0, &types, |_| false), None);
        assert_eq!(first.parameter(VARIOUS.len() + 1, &types, |_| false), None);
        assert_eq!(first.types(2).map(|types| types.len()), Some(2));
    }

    #[test]
    fn what_came_before_as_long_data_has_no_value_here() {
        let types = [[0xfc, 0], [0x01, 0]];
        let payload = payload(&[(types[0], Some(b"")), (types[1], Some(b"\x07"))], true);
        let bound = Bound::read(&payload, 2).unwrap();
        assert_eq!(bound.parameter(1, &types, |nth| nth == 1), None);
        assert_eq!(
            bound.parameter(2, &types, |nth| nth == 1).as_deref(),
            Some("7")
        );
    }

    #[test]
    fn what_is_cut_off_or_no_execution_binds_nothing() {
        let whole = payload(&[([0xfd, 0], Some(b"\x05hello"))], true);
        for end in 0..whole.len() {
            let seen = Bound::read(&whole[..end], 1)
                .map(|bound| bound.parameter(1, &[[0xfd, 0]], |_| false));
            assert_eq!(seen.flatten(), None, "{end}");
        }
        assert_eq!(Bound::read(&whole, 0), None);
        assert_eq!(
            Bound::read(b"\xfa\x07\0\0\0\0\0\x01\0\0\0\0\0\0\0\0", 1),
            None
        );
    }

    proptest! {
        #[test]
        fn garbage_is_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), count: u16, nth in 0..70_usize) {
            let payload = [&[0x17][..], &bytes].concat();
            if let Some(bound) = Bound::read(&payload, count) {
                let types = bound.types(63).unwrap_or_else(|| vec![[0xfd, 0]; 63]);
                let _ = bound.parameter(nth, &types, |_| false);
            }
        }
    }
}
