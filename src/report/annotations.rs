//! Annotations: lines by which a build server shows a verdict beside the expectation in the
//! scenario's file. GitHub's are *workflow commands* on standard output:
//!
//! ```text
//! ::error file=scenarios/s3.toml,line=70,endLine=75,title=ADA-1 fails::2 of 3 calls held on
//! ```
//!
//! A percent sign and line ends are escaped everywhere, colons and commas in properties as well (GitHub's
//! own toolkit does so, and its runner undoes exactly that). A step shows at most [`LEVEL_MAX`]
//! annotations of each level and drops the rest without a word, so the worst come first and the last
//! says what is left out.
//!
//! GitHub takes commands from any line of a log, also from one that repeats what the system under
//! test said; [`without_commands`] keeps a report from being read that way.

use super::{
    ScenarioReport, SuiteReport,
    layout::harmless,
    series::{self, RequirementSeries, SeriesOutcome},
    words::{in_doubt, why},
};
use crate::expectation::{DoubtAbout, Place, Status, Verdict};

/// The most annotations of a level that GitHub shows for one step.
pub const LEVEL_MAX: usize = 10;

/// The longest title, in characters, that GitHub keeps.
const TITLE_MAX: usize = 255;

/// The longest message, in characters.
const MESSAGE_MAX: usize = 2_000;

/// How many pieces of evidence stand in a message.
const EVIDENCE_SHOWN: usize = 3;

/// How an annotation is marked, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// Something required did not hold, or the scenario could not be carried through.
    Error,
    /// Nothing can be said.
    Warning,
    /// Worth knowing.
    Notice,
}

impl Level {
    const ALL: [Self; 3] = [Self::Error, Self::Warning, Self::Notice];

    const fn command(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

/// Something to be shown at a place.
#[derive(Debug)]
struct Annotation {
    level: Level,
    file: String,
    /// The first line and the last, where it is about a part of the file.
    lines: Option<(u64, u64)>,
    title: String,
    message: String,
}

/// GitHub's workflow commands for all that is no pass, a line each; nothing where all passes. `path`
/// makes the path from the root of the repository of a file as it was typed.
pub fn github_annotations(report: &SuiteReport, path: impl Fn(&str) -> String) -> String {
    let all: Vec<Annotation> = match series::groups(report) {
        Some(groups) => groups.into_iter().flat_map(of_series).collect(),
        None => report.scenarios.iter().flat_map(of_scenario).collect(),
    };
    let mut out = String::new();
    for level in Level::ALL {
        let own: Vec<&Annotation> = all.iter().filter(|one| one.level == level).collect();
        let shown = if own.len() > LEVEL_MAX {
            LEVEL_MAX - 1
        } else {
            own.len()
        };
        for annotation in &own[..shown] {
            out.push_str(&command(annotation, &path));
        }
        if shown < own.len() {
            out.push_str(&command(&left_out(&own[shown..]), &path));
        }
    }
    out
}

/// A text in which GitHub looks for no commands, whatever it holds. `token` ends that state again:
/// nobody may be able to guess it.
pub fn without_commands(text: &[u8], token: &str) -> Vec<u8> {
    let mut out = format!("::stop-commands::{token}\n").into_bytes();
    out.extend_from_slice(text);
    if !text.ends_with(b"\n") {
        out.push(b'\n');
    }
    out.extend_from_slice(format!("::{token}::\n").as_bytes());
    out
}

fn command(annotation: &Annotation, path: impl Fn(&str) -> String) -> String {
    let mut properties = vec![format!("file={}", property(&path(&annotation.file)))];
    if let Some((line, end_line)) = annotation.lines {
        properties.push(format!("line={line}"));
        properties.push(format!("endLine={end_line}"));
    }
    let title = clipped(&annotation.title.replace('\n', " "), TITLE_MAX);
    properties.push(format!("title={}", property(&title)));
    format!(
        "::{} {}::{}\n",
        annotation.level.command(),
        properties.join(","),
        data(&clipped(&annotation.message, MESSAGE_MAX))
    )
}

/// Of one scenario, what weighs most first.
fn of_scenario(scenario: &ScenarioReport) -> Vec<Annotation> {
    let of_file = |level, title: &str, message: String| Annotation {
        level,
        file: scenario.file.clone(),
        lines: None,
        title: title.to_owned(),
        message,
    };
    let mut all = Vec::new();
    if let Some(trouble) = &scenario.trouble {
        let mut message = trouble.message.clone();
        if let Some(detail) = &trouble.detail {
            message.push_str(&format!("\n{detail}"));
        }
        let title = format!("{}: {}", scenario.title, trouble.kind.heading());
        all.push(of_file(Level::Error, &title, message));
    }
    for doubt in &scenario.doubts {
        let title = in_doubt(DoubtAbout::of(doubt));
        all.push(of_file(Level::Warning, title, doubt.clone()));
    }
    all.extend(
        scenario
            .verdicts
            .iter()
            .filter_map(|one| of_verdict(one, scenario)),
    );
    if !scenario.unlisted_hosts.is_empty() {
        let hosts: Vec<&str> = scenario
            .unlisted_hosts
            .iter()
            .map(|one| one.host.as_str())
            .collect();
        let mut notice = of_file(
            Level::Notice,
            "hosts that no dependency lists",
            format!("the system asked for {}", hosts.join(", ")),
        );
        notice.file.clone_from(&scenario.system);
        all.push(notice);
    }
    all
}

/// Of one scenario that was repeated: what went wrong with repeats, and each requirement once.
fn of_series((one, repeats): series::Group<'_>) -> Vec<Annotation> {
    let mut all: Vec<Annotation> = Vec::new();
    for repeat in repeats {
        let mut own = ScenarioReport {
            verdicts: Vec::new(),
            ..repeat.clone()
        };
        own.title = format!("{} (repeat {})", own.title, series::nth(repeat));
        for annotation in of_scenario(&own) {
            if all.iter().all(|known| known.message != annotation.message) {
                all.push(annotation);
            }
        }
    }
    let requirements = one.requirements.iter();
    all.extend(requirements.filter_map(|requirement| of_requirement(requirement, repeats)));
    all
}

fn of_requirement(one: &RequirementSeries, repeats: &[ScenarioReport]) -> Option<Annotation> {
    let (status, is) = match one.outcome {
        SeriesOutcome::Pass => return None,
        SeriesOutcome::Flake => (Status::Fail, "is a flake"),
        SeriesOutcome::Fail => (Status::Fail, "fails"),
        SeriesOutcome::Inconclusive => (Status::Inconclusive, "is inconclusive"),
    };
    let (repeat, verdict) = series::first(repeats, &one.id, status)?;
    let annotation = of_verdict(verdict, repeat)?;
    Some(Annotation {
        title: format!("{} {is}: {}", one.id, one.that),
        message: format!(
            "{}\nrepeat {} (seed {}): {}",
            series::why(one),
            series::nth(repeat),
            repeat.seed,
            annotation.message
        ),
        ..annotation
    })
}

fn of_verdict(verdict: &Verdict, scenario: &ScenarioReport) -> Option<Annotation> {
    let (level, is) = match verdict.status {
        Status::Pass => return None,
        Status::Fail => (Level::Error, "fails"),
        Status::Inconclusive => (Level::Warning, "is inconclusive"),
    };
    let mut message = why(verdict);
    for seen in verdict.evidence.iter().take(EVIDENCE_SHOWN) {
        message.push_str(&format!("\n{:.3}s {}", seen.at.as_secs_f64(), seen.what));
    }
    let place = verdict.place.as_ref();
    Some(Annotation {
        level,
        file: place.map_or_else(|| scenario.file.clone(), |place| place.file.clone()),
        lines: place.map(|Place { line, end_line, .. }| (*line, *end_line)),
        title: format!("{} {is}: {}", verdict.id, verdict.that),
        message,
    })
}

/// What stands for those that GitHub would not show, at the place of the first of them.
fn left_out(rest: &[&Annotation]) -> Annotation {
    let titles: Vec<&str> = rest.iter().map(|one| one.title.as_str()).collect();
    Annotation {
        level: rest[0].level,
        file: rest[0].file.clone(),
        lines: rest[0].lines,
        title: format!("and {} more like this", rest.len()),
        message: format!(
            "GitHub shows {LEVEL_MAX} of a kind; summary.md has all of them:\n{}",
            titles.join("\n")
        ),
    }
}

/// The text without what steers terminals, and not longer than this.
fn clipped(text: &str, most: usize) -> String {
    let text = harmless(text);
    if text.chars().count() <= most {
        return text;
    }
    let kept: String = text.chars().take(most - 1).collect();
    kept + "…"
}

/// A text behind the second `::` of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// The value of a property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_requirement_of_repeated_runs_is_annotated_once() {
        insta::assert_snapshot!("series", commands(&series::sample::suite()));
    }

    fn commands(report: &SuiteReport) -> String {
        github_annotations(report, str::to_owned)
    }

    #[test]
    fn what_is_no_pass_points_at_its_expectation_the_worst_first() {
        insta::assert_snapshot!(commands(&sample::suite()));
    }

    #[test]
    fn a_doubt_is_called_what_it_is() {
        let mut report = sample::suite();
        report.scenarios.truncate(1);
        report.scenarios[0].verdicts.clear();
        report.scenarios[0].doubts = sample::doubts();
        let text = commands(&report);
        let titles: Vec<&str> = text
            .lines()
            .filter_map(|line| Some(line.split_once("title=")?.1.split_once("::")?.0))
            .collect();
        assert_eq!(
            titles,
            [
                "not every fault acted",
                "not every instance came up",
                "in doubt"
            ]
        );
    }

    #[test]
    fn where_all_passes_nothing_is_said() {
        let mut report = sample::suite();
        report.scenarios.truncate(1);
        report.scenarios[0].doubts.clear();
        let verdicts = &mut report.scenarios[0].verdicts;
        verdicts.retain(|verdict| verdict.status == Status::Pass);
        assert_eq!(verdicts.len(), 1);
        assert_eq!(commands(&report), "");
    }

    #[test]
    fn whatever_stands_in_a_text_it_stays_one_property_or_one_message() {
        let mut report = sample::suite();
        report.scenarios.truncate(1);
        report.scenarios[0].doubts.clear();
        let verdicts = &mut report.scenarios[0].verdicts;
        verdicts.retain(|verdict| verdict.status == Status::Fail);
        verdicts[0].that = "50%, a::b\nline=9".to_owned();
        verdicts[0].reason = Some("100% of it\r\n::error::forged %0A\u{1b}[31m".to_owned());
        verdicts[0].evidence.clear();
        verdicts[0].required = "a, b: c".to_owned();
        verdicts[0].measured = "0".to_owned();
        verdicts[0].place.as_mut().unwrap().file = "a,b:c%.toml".to_owned();
        assert_eq!(
            commands(&report),
            "::error file=a%2Cb%3Ac%25.toml,line=70,endLine=75,\
             title=ADA-1 fails%3A 50%25%2C a%3A%3Ab line=9::\
             100%25 of it%0A::error::forged %250A (required a, b: c, measured 0)\n"
        );
    }

    #[test]
    fn of_more_than_github_shows_the_last_says_what_is_left_out() {
        let mut report = sample::suite();
        report.scenarios.truncate(1);
        let failing = report.scenarios[0].verdicts[1].clone();
        let verdicts = (1..=13).map(|nth| Verdict {
            id: format!("F-{nth}"),
            ..failing.clone()
        });
        report.scenarios[0].verdicts = verdicts.collect();
        let text = commands(&report);
        let errors: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("::error "))
            .collect();
        assert_eq!(errors.len(), LEVEL_MAX);
        assert!(errors[8].contains("title=F-9 fails"), "{text}");
        assert!(errors[9].contains("title=and 4 more like this::"), "{text}");
        for left in ["F-10 fails", "F-13 fails"] {
            assert!(errors[9].contains(left), "{text}");
        }
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        assert_eq!(clipped("abcdef", 6), "abcdef");
        assert_eq!(clipped("abcdefg", 6), "abcde…");
    }

    #[test]
    fn a_report_is_fenced_off() {
        let text = without_commands(b"::error::forged", "secret");
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "::stop-commands::secret\n::error::forged\n::secret::\n"
        );
    }
}
