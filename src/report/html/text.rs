//! Numbers, times and sentences for people. Times are written as everywhere in Brownout: `250ms`,
//! `12.5s`, `1m30s`; moments count from the beginning of the run.

use crate::units::{Micros, format_duration};
use maud::{Markup, html};
use std::time::Duration;

/// Text whose names between backticks are set as names.
pub fn prose(text: &str) -> Markup {
    let paired = text.matches('`').count().is_multiple_of(2);
    let parts: Vec<&str> = if paired {
        text.split('`').collect()
    } else {
        vec![text]
    };
    html! {
        @for (nth, part) in parts.iter().enumerate() {
            @if nth % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// A moment, to the millisecond.
pub fn moment(at: Micros) -> String {
    format!("{:.3}s", at.as_secs_f64())
}

/// From one moment to another.
pub fn stretch((from, to): (Micros, Micros)) -> String {
    format!("{} – {}", moment(from), moment(to))
}

/// A duration, to three digits or so.
pub fn span(micros: u64) -> String {
    let step = match micros {
        0..1_000 => 1,
        1_000..10_000 => 10,
        10_000..100_000 => 100,
        100_000..1_000_000 => 1_000,
        1_000_000..10_000_000 => 10_000,
        _ => 100_000,
    };
    format_duration(Duration::from_micros((micros + step / 2) / step * step))
}

/// A duration where there is one.
pub fn span_or_dash(micros: Option<u64>) -> String {
    micros.map_or_else(|| "–".to_owned(), span)
}

/// How a report names a fault for short: `F1` for the first of the file.
pub fn fault_name(id: u16) -> String {
    format!("F{}", u32::from(id) + 1)
}

/// A part of a whole as percentage, never rounded up to all or down to nothing.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let share = part as f64 * 100.0 / whole as f64;
    let shown = (share * 10.0).round() / 10.0;
    if part > 0 && shown == 0.0 {
        "<0.1%".to_owned()
    } else if part < whole && shown == 100.0 {
        ">99.9%".to_owned()
    } else {
        format!("{shown}%")
    }
}

/// A time stamp without its fractions.
pub fn stamp(text: &str) -> String {
    match text.split_once('T') {
        Some((day, time)) => {
            let time = time.trim_end_matches('Z');
            let time = time.split_once('.').map_or(time, |(seconds, _)| seconds);
            format!("{day} {time} UTC")
        }
        None => text.to_owned(),
    }
}

/// A number with at most two decimals.
pub fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_between_backticks_are_set_as_names() {
        assert_eq!(
            prose("p99 of `ask` < 2").into_string(),
            "p99 of <code>ask</code> &lt; 2"
        );
        assert_eq!(prose("odd ` one").into_string(), "odd ` one");
    }

    #[test]
    fn a_share_is_never_rounded_up_to_all_or_down_to_nothing() {
        let cases = [
            ((0, 10), "0%"),
            ((10, 10), "100%"),
            ((1, 3), "33.3%"),
            ((99_999, 100_000), ">99.9%"),
            ((1, 100_000), "<0.1%"),
            ((0, 0), "–"),
        ];
        for ((part, whole), text) in cases {
            assert_eq!(percent(part, whole), text);
        }
    }

    #[test]
    fn times_are_written_to_three_digits_or_so() {
        for (micros, text) in [
            (0, "0s"),
            (999, "999us"),
            (2_104, "2.1ms"),
            (61_049, "61ms"),
            (3_254_000, "3.25s"),
            (41_337_000, "41.3s"),
        ] {
            assert_eq!(span(micros), text);
        }
        assert_eq!(stamp("2026-11-22T02:20:00.123Z"), "2026-11-22 02:20:00 UTC");
    }
}
