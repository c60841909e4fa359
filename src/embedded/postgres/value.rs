//! Values between PostgreSQL's two formats, text and binary, and what SQLite stores.
//!
//! SQLite knows integers, floats, texts and blobs. A boolean is stored as 0 or 1; a uuid, a JSON
//! document and a time as text, a time with time zone always as `2026-11-22 05:40:00.000000+00`,
//! so that texts sort as times do. Exact decimals are stored as floats where they have a fraction.

use super::refusal::Refusal;
use bytes::{BufMut, BytesMut};
use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};
use postgres_types::Type;
use rusqlite::types::{Value, ValueRef};

/// Microseconds from 1970 to 2000, where PostgreSQL's binary times begin.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Days from 1970 to 2000.
const EPOCH_DAYS: i64 = 10_957;

/// The type that PostgreSQL calls so, length and precision aside.
pub(super) fn type_named(name: &str) -> Option<Type> {
    let name = name.split('(').next().unwrap_or_default();
    let name = name.trim().trim_matches('"').to_ascii_lowercase();
    Some(match name.as_str() {
        "smallint" | "int2" | "smallserial" => Type::INT2,
        "int" | "integer" | "int4" | "serial" => Type::INT4,
        "bigint" | "int8" | "bigserial" => Type::INT8,
        "real" | "float4" => Type::FLOAT4,
        "double precision" | "double" | "float8" | "float" => Type::FLOAT8,
        "numeric" | "decimal" => Type::NUMERIC,
        "bool" | "boolean" => Type::BOOL,
        "text" | "citext" | "interval" | "inet" => Type::TEXT,
        "varchar" | "character varying" => Type::VARCHAR,
        "char" | "character" | "bpchar" => Type::BPCHAR,
        "bytea" | "blob" => Type::BYTEA,
        "uuid" => Type::UUID,
        "json" => Type::JSON,
        "jsonb" => Type::JSONB,
        "timestamptz" | "timestamp with time zone" => Type::TIMESTAMPTZ,
        "timestamp" | "timestamp without time zone" => Type::TIMESTAMP,
        "date" => Type::DATE,
        "time" | "time without time zone" => Type::TIME,
        "oid" => Type::OID,
        "name" => Type::NAME,
        _ => return None,
    })
}

/// Bytes that a value of the type takes, for row descriptions; -1: it varies.
pub(super) fn size_of(kind: &Type) -> i16 {
    match *kind {
        Type::BOOL => 1,
        Type::INT2 => 2,
        Type::INT4 | Type::FLOAT4 | Type::DATE | Type::OID => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::TIME => 8,
        Type::UUID => 16,
        _ => -1,
    }
}

fn malformed(kind: &Type, text: &str) -> Refusal {
    let code = match *kind {
        Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::DATE | Type::TIME => "22007",
        _ => "22P02",
    };
    let shown: String = text.chars().take(100).collect();
    Refusal::new(
        code,
        format!(
            "invalid input syntax for type {}: \"{shown}\"",
            spelled(kind)
        ),
    )
}

fn spelled(kind: &Type) -> &str {
    match *kind {
        Type::INT2 => "smallint",
        Type::INT4 => "integer",
        Type::INT8 => "bigint",
        Type::FLOAT4 => "real",
        Type::FLOAT8 => "double precision",
        Type::BOOL => "boolean",
        Type::TIMESTAMPTZ => "timestamp with time zone",
        Type::TIMESTAMP => "timestamp",
        _ => kind.name(),
    }
}

/// What is stored of a value that arrived as text.
pub(super) fn from_text(kind: &Type, text: &str) -> Result<Value, Refusal> {
    let wrong = || malformed(kind, text);
    let trimmed = text.trim();
    Ok(match *kind {
        Type::INT2 => Value::Integer(trimmed.parse::<i16>().map_err(|_| wrong())?.into()),
        Type::INT4 => Value::Integer(trimmed.parse::<i32>().map_err(|_| wrong())?.into()),
        Type::INT8 | Type::OID => Value::Integer(trimmed.parse().map_err(|_| wrong())?),
        Type::FLOAT4 | Type::FLOAT8 => Value::Real(trimmed.parse().map_err(|_| wrong())?),
        Type::NUMERIC => match trimmed.parse::<i64>() {
            Ok(whole) => Value::Integer(whole),
            Err(_) => Value::Real(trimmed.parse().map_err(|_| wrong())?),
        },
        Type::BOOL => Value::Integer(i64::from(truth(trimmed).ok_or_else(wrong)?)),
        Type::BYTEA => Value::Blob(bytes_of(text).ok_or_else(wrong)?),
        Type::UUID => Value::Text(uuid(trimmed).ok_or_else(wrong)?),
        Type::TIMESTAMPTZ => Value::Text(stored_zoned(instant(trimmed).ok_or_else(wrong)?)),
        Type::TIMESTAMP => Value::Text(stored_local(local(trimmed).ok_or_else(wrong)?)),
        Type::DATE => {
            let date = trimmed.parse::<Date>().ok();
            let date = date.or_else(|| local(trimmed).map(DateTime::date));
            Value::Text(date.ok_or_else(wrong)?.to_string())
        }
        Type::JSON | Type::JSONB => {
            serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|_| wrong())?;
            Value::Text(text.to_owned())
        }
        _ => Value::Text(text.to_owned()),
    })
}

/// What is stored of a value that arrived in binary.
pub(super) fn from_binary(kind: &Type, bytes: &[u8]) -> Result<Value, Refusal> {
    let wrong = || {
        Refusal::new(
            "22P03",
            format!("incorrect binary data format for type {}", spelled(kind)),
        )
    };
    let text = || {
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| Refusal::new("22021", "invalid byte sequence for encoding \"UTF8\""))
    };
    Ok(match *kind {
        Type::INT2 => Value::Integer(i16::from_be_bytes(sized(bytes).ok_or_else(wrong)?).into()),
        Type::INT4 => Value::Integer(i32::from_be_bytes(sized(bytes).ok_or_else(wrong)?).into()),
        Type::OID => Value::Integer(u32::from_be_bytes(sized(bytes).ok_or_else(wrong)?).into()),
        Type::INT8 => Value::Integer(i64::from_be_bytes(sized(bytes).ok_or_else(wrong)?)),
        Type::FLOAT4 => Value::Real(f32::from_be_bytes(sized(bytes).ok_or_else(wrong)?).into()),
        Type::FLOAT8 => Value::Real(f64::from_be_bytes(sized(bytes).ok_or_else(wrong)?)),
        Type::BOOL => Value::Integer(i64::from(sized::<1>(bytes).ok_or_else(wrong)?[0] != 0)),
        Type::BYTEA => Value::Blob(bytes.to_vec()),
        Type::UUID => Value::Text(hyphened(&sized(bytes).ok_or_else(wrong)?)),
        Type::JSONB => from_text(kind, text()?.strip_prefix('\u{1}').ok_or_else(wrong)?)?,
        Type::JSON => from_text(kind, &text()?)?,
        Type::TIMESTAMPTZ | Type::TIMESTAMP => {
            let micros = i64::from_be_bytes(sized(bytes).ok_or_else(wrong)?);
            let at = micros.checked_add(EPOCH_MICROS).ok_or_else(wrong)?;
            let at = Timestamp::from_microsecond(at).map_err(|_| wrong())?;
            Value::Text(if *kind == Type::TIMESTAMPTZ {
                stored_zoned(at)
            } else {
                stored_local(at.to_zoned(TimeZone::UTC).datetime())
            })
        }
        Type::DATE => {
            let days = i64::from(i32::from_be_bytes(sized(bytes).ok_or_else(wrong)?));
            let at = Timestamp::from_second((days + EPOCH_DAYS).saturating_mul(86_400));
            let at = at.map_err(|_| wrong())?;
            Value::Text(at.to_zoned(TimeZone::UTC).date().to_string())
        }
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => {
            Value::Text(text()?)
        }
        _ => {
            return Err(Refusal::unsupported(&format!(
                "binary parameters of type {}",
                kind.name()
            )));
        }
    })
}

fn sized<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

/// Writes a field of a row, its length in front; -1 for NULL.
pub(super) fn write(
    value: ValueRef<'_>,
    kind: &Type,
    binary: bool,
    row: &mut BytesMut,
) -> Result<(), Refusal> {
    let at = row.len();
    row.put_i32(-1);
    if matches!(value, ValueRef::Null) {
        return Ok(());
    }
    if binary {
        write_binary(value, kind, row)?;
    } else {
        row.put_slice(&text_of(value, kind));
    }
    let length = i32::try_from(row.len() - at - 4)
        .map_err(|_| Refusal::new("54000", "a field of more than 2 GiB"))?;
    row[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn text_of(value: ValueRef<'_>, kind: &Type) -> Vec<u8> {
    match (value, kind.clone()) {
        (ValueRef::Integer(bit), Type::BOOL) => (if bit == 0 { "f" } else { "t" }).into(),
        (ValueRef::Integer(number), _) => number.to_string().into_bytes(),
        (ValueRef::Real(number), Type::INT2 | Type::INT4 | Type::INT8) => {
            format!("{:.0}", number).into_bytes()
        }
        (ValueRef::Real(number), _) => number.to_string().into_bytes(),
        (ValueRef::Text(text), Type::TIMESTAMPTZ) => std::str::from_utf8(text)
            .ok()
            .and_then(instant)
            .map_or_else(
                || text.to_vec(),
                |at| trimmed(&stored_zoned(at)).into_bytes(),
            ),
        (ValueRef::Text(text), Type::TIMESTAMP) => {
            std::str::from_utf8(text).ok().and_then(local).map_or_else(
                || text.to_vec(),
                |at| trimmed(&stored_local(at)).into_bytes(),
            )
        }
        (ValueRef::Blob(bytes), _) => {
            let mut text = String::from("\\x");
            bytes.iter().for_each(|byte| text += &format!("{byte:02x}"));
            text.into_bytes()
        }
        (ValueRef::Text(text), _) => text.to_vec(),
        (ValueRef::Null, _) => Vec::new(),
    }
}

fn write_binary(value: ValueRef<'_>, kind: &Type, row: &mut BytesMut) -> Result<(), Refusal> {
    let text = text_of(value, kind);
    let text = String::from_utf8_lossy(&text);
    let stored = |from: &str| from_text(kind, from);
    let unfit = || malformed(kind, &text);
    let whole = || match value {
        ValueRef::Integer(number) => Some(number),
        #[expect(clippy::cast_possible_truncation, reason = "a sum shown as an integer")]
        ValueRef::Real(number) => Some(number.round() as i64),
        _ => text.trim().parse().ok(),
    };
    let out_of_range = |_| Refusal::new("22003", format!("{} out of range", spelled(kind)));
    let float = || match value {
        #[expect(clippy::cast_precision_loss, reason = "asked for as a float")]
        ValueRef::Integer(number) => Some(number as f64),
        ValueRef::Real(number) => Some(number),
        _ => text.trim().parse().ok(),
    };
    match *kind {
        Type::INT2 => row.put_i16(
            whole()
                .ok_or_else(unfit)?
                .try_into()
                .map_err(out_of_range)?,
        ),
        Type::INT4 => row.put_i32(
            whole()
                .ok_or_else(unfit)?
                .try_into()
                .map_err(out_of_range)?,
        ),
        Type::OID => row.put_u32(
            whole()
                .ok_or_else(unfit)?
                .try_into()
                .map_err(out_of_range)?,
        ),
        Type::INT8 => row.put_i64(whole().ok_or_else(unfit)?),
        #[expect(clippy::cast_possible_truncation, reason = "the column's own width")]
        Type::FLOAT4 => row.put_f32(float().ok_or_else(unfit)? as f32),
        Type::FLOAT8 => row.put_f64(float().ok_or_else(unfit)?),
        Type::BOOL => row.put_u8(u8::from(truth(&text).ok_or_else(unfit)?)),
        Type::BYTEA => match value {
            ValueRef::Blob(bytes) => row.put_slice(bytes),
            _ => row.put_slice(text.as_bytes()),
        },
        Type::UUID => row.put_slice(&hex(&text.replace('-', "")).ok_or_else(unfit)?),
        Type::JSONB => {
            row.put_u8(1);
            row.put_slice(text.as_bytes());
        }
        Type::TIMESTAMPTZ => {
            row.put_i64(instant(&text).ok_or_else(unfit)?.as_microsecond() - EPOCH_MICROS);
        }
        Type::TIMESTAMP => {
            let at = local(&text).ok_or_else(unfit)?;
            let at = at.to_zoned(TimeZone::UTC).map_err(|_| unfit())?;
            row.put_i64(at.timestamp().as_microsecond() - EPOCH_MICROS);
        }
        Type::DATE => {
            let Value::Text(date) = stored(&text)? else {
                return Err(unfit());
            };
            let at = instant(&date).ok_or_else(unfit)?;
            let days = at.as_second().div_euclid(86_400) - EPOCH_DAYS;
            row.put_i32(days.try_into().map_err(out_of_range)?);
        }
        Type::NUMERIC => write_numeric(&text, row).ok_or_else(unfit)?,
        _ => row.put_slice(text.as_bytes()),
    }
    Ok(())
}

/// PostgreSQL's binary decimal: digits in base 10,000.
fn write_numeric(text: &str, row: &mut BytesMut) -> Option<()> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let scale = u16::try_from(fraction.len()).ok()?;
    let whole = format!("{}{whole}", "0".repeat((4 - whole.len() % 4) % 4));
    let fraction = format!("{fraction}{}", "0".repeat((4 - fraction.len() % 4) % 4));
    let groups = |digits: &str| -> Option<Vec<i16>> {
        let chunks = digits.as_bytes().chunks(4);
        chunks
            .map(|four| std::str::from_utf8(four).ok()?.parse().ok())
            .collect()
    };
    let weight = i16::try_from(whole.len() / 4).ok()? - 1;
    let mut all = groups(&whole)?;
    all.extend(groups(&fraction)?);
    row.put_i16(i16::try_from(all.len()).ok()?);
    row.put_i16(weight);
    row.put_u16(if negative { 0x4000 } else { 0 });
    row.put_u16(scale);
    all.into_iter().for_each(|group| row.put_i16(group));
    Some(())
}

/// PostgreSQL's spellings of true and false.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "t" | "true" | "1" | "y" | "yes" | "on" => Some(true),
        "f" | "false" | "0" | "n" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn bytes_of(text: &str) -> Option<Vec<u8>> {
    match text.strip_prefix("\\x") {
        Some(digits) => hex(digits),
        None => Some(text.as_bytes().to_vec()),
    }
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok())
        .collect()
}

fn uuid(text: &str) -> Option<String> {
    let digits = text
        .trim_start_matches('{')
        .trim_end_matches('}')
        .replace('-', "");
    Some(hyphened(&hex(&digits)?.try_into().ok()?))
}

fn hyphened(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text += &format!("{byte:02x}");
    }
    text
}

/// A random uuid of version 4.
pub(super) fn random_uuid() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    hyphened(&bytes)
}

/// A point in time; without a zone it is read as UTC, the server's own.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    let zoned = text.parse::<Timestamp>().ok();
    zoned.or_else(|| {
        let local = local(text)?;
        Some(local.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })
}

/// A date and time without zone; a zone that is given is dropped, as PostgreSQL drops it.
fn local(text: &str) -> Option<DateTime> {
    text.parse::<DateTime>().ok().or_else(|| {
        let date = text.parse::<Date>().ok()?;
        Some(date.to_datetime(Time::midnight()))
    })
}

/// As times with zone are stored.
pub(super) fn stored_zoned(at: Timestamp) -> String {
    format!("{}+00", stored_local(at.to_zoned(TimeZone::UTC).datetime()))
}

fn stored_local(at: DateTime) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

/// Without the zeros at a fraction's end, as PostgreSQL writes it.
fn trimmed(stored: &str) -> String {
    let (time, zone) = match stored.strip_suffix("+00") {
        Some(time) => (time, "+00"),
        None => (stored, ""),
    };
    let time = time.trim_end_matches('0').trim_end_matches('.');
    // `05:00:00.000000` has lost nothing but its fraction: the dot stops the first trimming.
    format!("{time}{zone}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: &Type, value: &Value) -> String {
        String::from_utf8(text_of(ValueRef::from(value), kind)).expect("text")
    }

    #[test]
    fn what_arrives_as_text_leaves_as_postgresql_writes_it() {
        let table = [
            (Type::INT8, "42", "42"),
            (Type::BOOL, "true", "t"),
            (Type::BOOL, "off", "f"),
            (Type::BYTEA, "\\x00ff", "\\x00ff"),
            (Type::FLOAT8, "1.5", "1.5"),
            (Type::NUMERIC, "12.5", "12.5"),
            (
                Type::UUID,
                "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
                "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            ),
            (
                Type::TIMESTAMPTZ,
                "2026-11-22 06:40:00.500+01:00",
                "2026-11-22 05:40:00.5+00",
            ),
            (
                Type::TIMESTAMPTZ,
                "2026-11-22T05:40:00Z",
                "2026-11-22 05:40:00+00",
            ),
            (
                Type::TIMESTAMPTZ,
                "2026-11-22 05:40:10+00",
                "2026-11-22 05:40:10+00",
            ),
            (Type::TIMESTAMPTZ, "2026-11-22", "2026-11-22 00:00:00+00"),
            (Type::TIMESTAMP, "2026-11-22 05:40", "2026-11-22 05:40:00"),
            (Type::DATE, "2026-11-22", "2026-11-22"),
        ];
        for (kind, arrived, leaves) in table {
            let value = from_text(&kind, arrived).expect(arrived);
            assert_eq!(text(&kind, &value), leaves, "{arrived}");
        }
    }

    #[test]
    fn what_is_written_in_binary_reads_back() {
        let table = [
            (Type::INT2, "-7"),
            (Type::INT4, "70000"),
            (Type::INT8, "5000000000"),
            (Type::FLOAT4, "1.5"),
            (Type::FLOAT8, "-0.25"),
            (Type::BOOL, "t"),
            (Type::BYTEA, "\\x0102"),
            (Type::UUID, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            (Type::JSONB, "{\"a\": 1}"),
            (Type::JSON, "[1, 2]"),
            (Type::TIMESTAMPTZ, "1999-12-31 23:59:59.999999+00"),
            (Type::TIMESTAMP, "2026-11-22 05:40:00.000001"),
            (Type::DATE, "1999-12-31"),
            (Type::TEXT, "\u{e9}t\u{e9}"),
        ];
        for (kind, arrived) in table {
            let value = from_text(&kind, arrived).expect(arrived);
            let mut row = BytesMut::new();
            write(ValueRef::from(&value), &kind, true, &mut row).expect(arrived);
            let read = from_binary(&kind, &row[4..]).expect(arrived);
            assert_eq!(text(&kind, &read), arrived);
        }
    }

    #[test]
    fn a_decimal_in_binary_has_its_digits_in_groups_of_four() {
        let mut row = BytesMut::new();
        write_numeric("-12345.67", &mut row).expect("a number");
        let expected: Vec<u8> = [3i16, 1, 0x4000, 2, 1, 2345, 6700]
            .iter()
            .flat_map(|group| group.to_be_bytes())
            .collect();
        assert_eq!(row[..], expected[..]);
    }

    #[test]
    fn what_a_type_cannot_hold_is_refused() {
        let table = [
            (Type::INT4, "4000000000", "22P02"),
            (Type::INT8, "twelve", "22P02"),
            (Type::BOOL, "maybe", "22P02"),
            (Type::UUID, "12", "22P02"),
            (Type::JSONB, "{", "22P02"),
            (Type::TIMESTAMPTZ, "yesterday-ish", "22007"),
        ];
        for (kind, arrived, code) in table {
            let refusal = from_text(&kind, arrived).expect_err(arrived);
            assert_eq!(refusal.code, code, "{arrived}");
        }
        assert!(from_binary(&Type::INT8, &[1, 2]).is_err());
    }
}
