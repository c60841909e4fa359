//! The account of a calibration, for a person at a terminal and for other programs.

use super::{
    layout::{WIDTH, harmless, wrap},
    terminal::painted,
    words::span,
};
use crate::{
    selftest::{Account, Ended, Row, Standing, UNCLEAR_ONE_OF},
    statistics::Interval,
};
use anstyle::{AnsiColor, Style};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// The most runs that were not right that are shown; the JSON has all.
const NOTES_MAX: usize = 20;

/// The account as JSON.
pub fn json(account: &Account) -> Vec<u8> {
    let mut bytes =
        serde_json::to_vec_pretty(account).expect("an account has text keys and finite numbers");
    bytes.push(b'\n');
    bytes
}

/// The account for the terminal.
pub fn terminal(account: &Account) -> Vec<u8> {
    let mut out = painted(
        BOLD,
        "Is red red? Planted systems and the verdicts on them\n",
    );
    out.push_str(&painted(DIM, &wrap("", &circumstances(account), WIDTH)));
    out.push('\n');
    out.push_str(&painted(BOLD, &line(HEAD.map(str::to_owned))));
    let mut system = "";
    for row in &account.rows {
        let shown = cells(
            row,
            if row.system == system {
                ""
            } else {
                &row.system
            },
        );
        system = &row.system;
        let text = line(shown);
        out.push_str(&match style(row) {
            Some(style) => painted(style, &text),
            None => text,
        });
    }
    out.push_str(&notes(account));
    out.push('\n');
    for sentence in sentences(account) {
        out.push_str(&wrap("", &sentence, WIDTH));
    }
    let (sign, colour, said) = conclusion(account);
    out.push_str(&painted(
        colour.on_default().bold(),
        &wrap(&format!("{sign} "), &said, WIDTH),
    ));
    out.into_bytes()
}

/// How it was done.
fn circumstances(account: &Account) -> String {
    let noise = match (account.noise, account.noise_wanted) {
        (0, 0) => "nothing beside them".to_owned(),
        (noise, wanted) if noise < wanted => {
            format!("{noise} of {wanted} busy processes beside them until the end")
        }
        (1, _) => "1 busy process beside them".to_owned(),
        (many, _) => format!("{many} busy processes beside them"),
    };
    let rounds = match account.rounds {
        1 => "1 round".to_owned(),
        many => format!("{many} rounds"),
    };
    format!(
        "{rounds} wanted · {} of {} runs made, {} side by side on {} processors, {noise} · {}",
        account.runs,
        account.wanted,
        account.jobs,
        account.processors,
        span(account.took_us)
    )
}

const HEAD: [&str; 8] = [
    "system", "twin", "required", "pass", "fail", "inc.", "unclear", "wrong",
];

/// The widths of the columns, with one between two.
const WIDTHS: [usize; 8] = [11, 20, 12, 4, 4, 4, 12, 5];

fn line(cells: [String; 8]) -> String {
    let mut line = String::new();
    for (place, (cell, width)) in cells.iter().zip(WIDTHS).enumerate() {
        let cell = harmless(cell);
        // Words to the left, numbers to the right.
        line.push_str(&match place {
            0..3 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        line.push(' ');
    }
    format!("{}\n", line.trim_end())
}

fn cells(row: &Row, system: &str) -> [String; 8] {
    let unclear = match (row.unclear, row.unclear_bounds) {
        (_, None) => "not run".to_owned(),
        (0, Some(bounds)) => format!("0% (≤{})", percent(bounds.high)),
        (unclear, Some(bounds)) => format!(
            "{} (≤{})",
            percent(unclear as f64 / row.runs() as f64),
            percent(bounds.high)
        ),
    };
    let count = |count: u64| match count {
        0 => "·".to_owned(),
        count => count.to_string(),
    };
    [
        system.to_owned(),
        row.what.clone(),
        row.required.to_string(),
        count(row.pass),
        count(row.fail),
        count(row.inconclusive),
        unclear,
        row.wrong.to_string(),
    ]
}

/// A share that is shown as no less than it is, in whole percent; in tenths below ten.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 10.0 {
        format!("{:.1}%", (percent * 10.0 - 1e-6).ceil() / 10.0)
    } else {
        format!("{}%", (percent - 1e-6).ceil() as u64)
    }
}

fn style(row: &Row) -> Option<Style> {
    let colour = match row {
        row if row.wrong > 0 => AnsiColor::Red,
        row if row.is_too_unclear() || row.runs() == 0 => AnsiColor::Yellow,
        _ => return None,
    };
    Some(colour.on_default().bold())
}

/// The runs that were not right, the wrong ones first.
fn notes(account: &Account) -> String {
    let of = |standing| {
        let rows = account.rows.iter();
        rows.flat_map(move |row| {
            let own = row
                .notes
                .iter()
                .filter(move |note| note.standing == standing);
            own.map(move |note| (row, note))
        })
    };
    let all: Vec<_> = of(Standing::Wrong).chain(of(Standing::Unclear)).collect();
    let mut text = String::new();
    for (row, note) in all.iter().take(NOTES_MAX) {
        let word = match note.standing {
            Standing::Wrong => "wrong",
            _ => "unclear",
        };
        let kept = note.kept.as_ref();
        let kept = kept.map_or_else(String::new, |kept| format!(" (see {kept})"));
        let said = format!(
            "{} {}, round {}: {}{kept}",
            row.system, row.twin, note.round, note.why
        );
        text.push_str(&wrap(&format!("{word:<8} "), &harmless(&said), WIDTH));
    }
    if all.len() > NOTES_MAX {
        let more = all.len() - NOTES_MAX;
        text.push_str(&format!("and {more} more runs that were not right\n"));
    }
    match text.is_empty() {
        true => text,
        false => format!("\n{text}"),
    }
}

/// What the numbers show, and how far.
fn sentences(account: &Account) -> Vec<String> {
    let mut sentences = Vec::new();
    if let Some(bounds) = account.wrong_bounds {
        sentences.push(format!(
            "wrong: {} of {} runs, so that {} of many such runs are (95%, exact)",
            account.wrong,
            account.runs,
            between(bounds)
        ));
    }
    if let Some(bounds) = account.unclear_bounds {
        sentences.push(format!(
            "unclear: {} of {} runs that measured something, so that {} of many such runs are; of \
             each twin 1 of {UNCLEAR_ONE_OF} may be",
            account.unclear,
            account.measured,
            between(bounds)
        ));
    }
    if account.repeated > 0 {
        sentences.push(format!(
            "repeated: {} unclear tries, because their own load had missed its schedule on this \
             machine; above only the last try of a run counts",
            account.repeated
        ));
        sentences.extend(account.unclear_tries_bounds.map(|bounds| {
            format!(
                "unclear, with every try counted: {} of {} that measured something, so that {} of \
                 many such tries are",
                account.unclear_tries,
                account.tries,
                between(bounds)
            )
        }));
    }
    sentences
}

fn between(bounds: Interval) -> String {
    match (bounds.low, bounds.high) {
        (low, high) if low <= 0.0 => format!("at most {}", percent(high)),
        (low, high) if high >= 1.0 => format!("at least {:.1}%", low * 100.0),
        (low, high) => format!("{:.1}% to {}", low * 100.0, percent(high)),
    }
}

fn conclusion(account: &Account) -> (&'static str, AnsiColor, String) {
    match account.ended {
        Ended::Calibrated => {
            let said = "red is red, green is green, and what was not measured is neither";
            ("✓", AnsiColor::Green, said.to_owned())
        }
        Ended::Wrong => {
            let said = match account.wrong {
                1 => "1 verdict is wrong".to_owned(),
                many => format!("{many} verdicts are wrong"),
            };
            let said =
                format!("{said}: do not rely on verdicts of this machine until it is known why");
            ("✗", AnsiColor::Red, said)
        }
        Ended::Unclear => {
            let rows = account.rows.iter();
            let twins = rows.filter(|row| row.is_too_unclear() || row.runs() == 0);
            let twins = twins.count();
            let short = account.is_noise_short().then(|| {
                "what should keep cores busy beside the runs ended before them".to_owned()
            });
            let silent = (twins > 0 || short.is_none()).then(|| {
                format!(
                    "of {twins} twins too many runs say nothing: the machine may be too busy for {} \
                     runs side by side",
                    account.jobs
                )
            });
            let why: Vec<String> = [short, silent].into_iter().flatten().collect();
            let said = format!("no verdict is wrong, but {}", why.join("; and "));
            ("?", AnsiColor::Yellow, said)
        }
        Ended::Interrupted => {
            let said = format!(
                "interrupted after {} of {} runs; none of these is wrong",
                account.runs, account.wanted
            );
            ("?", AnsiColor::Yellow, said)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expectation::Status;
    use crate::selftest::{Case, Seen, Weighed};

    fn twin(
        system: &str,
        twin: &str,
        required: Status,
        seen: &[(Status, Standing)],
    ) -> (Case, Vec<Seen>) {
        let case = Case {
            system: system.to_owned(),
            twin: twin.to_owned(),
            what: format!("the {twin} one"),
            required,
            fails: Vec::new(),
            says: Vec::new(),
        };
        let run = |(nth, (status, standing)): (usize, &(Status, Standing))| {
            Seen {
            round: u32::try_from(nth).unwrap() + 1,
            status: *status,
            weighed: Weighed {
                standing: *standing,
                why: (*standing != Standing::Right).then(|| "because of something that takes so many words that one line cannot hold them".to_owned()),
            },
            repeated: 1,
            kept: (*standing == Standing::Wrong).then(|| "brownout-selftest/1-time-out-bad".to_owned()),
        }
        };
        (case, seen.iter().enumerate().map(run).collect())
    }

    fn shown(account: &mut Account) -> String {
        (account.took_us, account.jobs, account.processors) = (61_000_000, 6, 2);
        account.beside(2, 2);
        let text = String::from_utf8(terminal(account)).unwrap();
        anstream::adapter::strip_str(&text).to_string()
    }

    const RIGHT: Standing = Standing::Right;

    #[test]
    fn a_table_with_a_wrong_verdict_says_which() {
        let (pass, fail, unknown) = (Status::Pass, Status::Fail, Status::Inconclusive);
        let mut bad = vec![(fail, RIGHT); 18];
        bad.extend([(pass, Standing::Wrong), (unknown, Standing::Unclear)]);
        let cases = [
            twin("cache-first", "good", pass, &[(pass, RIGHT); 20]),
            twin("cache-first", "bad", fail, &bad),
            twin(
                "cache-first",
                "unmeasured",
                unknown,
                &[(unknown, RIGHT); 20],
            ),
        ];
        let mut account = Account::of(20, &cases, false);
        insta::assert_snapshot!("wrong", shown(&mut account));
    }

    #[test]
    fn every_line_fits_whatever_the_numbers() {
        let many = vec![(Status::Inconclusive, Standing::Unclear); 1_000];
        let cases = [
            twin("cache-first", "unmeasured", Status::Inconclusive, &many),
            twin("herd", "good", Status::Pass, &[]),
        ];
        for interrupted in [false, true] {
            let text = shown(&mut Account::of(1_000, &cases, interrupted));
            for line in text.lines() {
                assert!(line.chars().count() <= WIDTH, "{line}");
            }
            assert!(text.contains("and 980 more runs"), "{text}");
        }
    }

    #[test]
    fn calibrated_unclear_and_interrupted_are_told_apart() {
        let of = |seen: &[(Status, Standing)], interrupted| {
            let cases = [twin("pool", "bad", Status::Fail, seen)];
            shown(&mut Account::of(1, &cases, interrupted))
        };
        let right = (Status::Fail, RIGHT);
        let unclear = (Status::Inconclusive, Standing::Unclear);
        assert!(of(&[right], false).contains("✓ red is red"));
        assert!(of(&[unclear], false).contains("? no verdict is wrong, but of 1 twins"));
        assert!(of(&[], true).contains("? interrupted after 0 of 1 runs"));
    }

    #[test]
    fn noise_that_did_not_last_is_said() {
        let cases = [twin("pool", "good", Status::Pass, &[(Status::Pass, RIGHT)])];
        let of = |lasted| {
            let mut account = Account::of(1, &cases, false);
            account.beside(2, lasted);
            let text = String::from_utf8(terminal(&account)).unwrap();
            let text = anstream::adapter::strip_str(&text).to_string();
            let words: Vec<&str> = text.split_whitespace().collect();
            words.join(" ")
        };
        assert!(of(2).contains("2 busy processes beside them") && of(2).contains("✓ red is red"));
        let short = of(1);
        assert!(
            short.contains("1 of 2 busy processes beside them"),
            "{short}"
        );
        assert!(
            !short.contains("✓ red is red") && !short.contains("say nothing"),
            "{short}"
        );
        assert!(short.contains("ended before them"), "{short}");
    }

    #[test]
    fn shares_are_never_shown_as_less_than_they_are() {
        for (share, text) in [
            (0.0, "0%"),
            (0.0062, "0.7%"),
            (0.139, "14%"),
            (1.0, "100%"),
            (0.05, "5.0%"),
        ] {
            assert_eq!(percent(share), text);
        }
    }

    #[test]
    fn the_json_is_versioned_and_can_be_read_back() {
        let cases = [twin(
            "pool",
            "bad",
            Status::Fail,
            &[(Status::Pass, Standing::Wrong)],
        )];
        let account = Account::of(1, &cases, false);
        let text = json(&account);
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(
            (&value["version"], &value["ended"]),
            (&1.into(), &"wrong".into())
        );
        assert_eq!(value["rows"][0]["notes"][0]["standing"], "wrong");
        assert_eq!(serde_json::from_slice::<Account>(&text).unwrap(), account);
    }
}
