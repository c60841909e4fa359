//! `junit.xml` of a matrix, for build servers: a suite for the system, a case for what each load met
//! with in each trial, and one for what came after it.
//!
//! A `failure` is only what `--fail-on` names, because a matrix requires nothing of itself. What was
//! tried and shows nothing is an `error`; what was not tried, not reached, or is none of the load's
//! business is `skipped`, with the reason.

use super::{MatrixReportDef, RESTARTED, doubling, met, slowest, then, trouble};
use crate::{
    matrix::{Aftermath, Cell, Doubling, Found, Matrix, Met, State, Trial, Tried},
    report::{words::span, xml::Element},
};

/// The list's entry.
pub const DEF: MatrixReportDef = MatrixReportDef {
    name: "junit",
    file: Some("junit.xml"),
    render,
};

/// A test case.
struct Case {
    name: String,
    class: String,
    end: End,
    output: String,
}

/// How a case ended, and why.
enum End {
    Passed,
    Failed(&'static str, String),
    Errored(String),
    Skipped(String),
}

/// A matrix to bytes.
fn render(matrix: &Matrix) -> Vec<u8> {
    let mut cases = vec![healthy(matrix)];
    cases.extend(
        matrix
            .trials
            .iter()
            .flat_map(|trial| of_trial(matrix, trial)),
    );
    let count = |is: fn(&End) -> bool| cases.iter().filter(|case| is(&case.end)).count();
    let time = format!("{:.3}", matrix.took_us as f64 / 1e6);
    let counted = |element: Element| {
        element
            .with("tests", cases.len())
            .with("failures", count(|end| matches!(end, End::Failed(..))))
            .with("errors", count(|end| matches!(end, End::Errored(_))))
            .with("time", &time)
    };
    let title = format!("{}: matrix", matrix.system);
    let mut suite = counted(Element::new("testsuite").with("name", title))
        .with("skipped", count(|end| matches!(end, End::Skipped(_))))
        .with("timestamp", matrix.began.get(..19).unwrap_or(&matrix.began))
        .with("id", 0);
    suite.extend(cases.iter().map(Case::element));
    let mut root = counted(Element::new("testsuites").with("name", "brownout matrix"));
    root.extend([suite]);
    root.document().into_bytes()
}

fn healthy(matrix: &Matrix) -> Case {
    let end = match &matrix.reference {
        None => End::Errored("the run without faults did not come to its end".to_owned()),
        Some(reference) => match &reference.sick {
            Some(why) => End::Errored(why.clone()),
            None => End::Passed,
        },
    };
    Case {
        name: "the system is healthy without faults".to_owned(),
        class: "matrix".to_owned(),
        end,
        output: String::new(),
    }
}

fn of_trial(matrix: &Matrix, trial: &Trial) -> Vec<Case> {
    let class = format!("matrix.{}", trial.aim.dependency.replace('.', "_"));
    let case = |name: String, end, output| Case {
        name,
        class: class.clone(),
        end,
        output,
    };
    let title = format!("{} {}", trial.aim.dependency, trouble(trial));
    let tried = match &trial.state {
        State::Tried(tried) => tried,
        State::Unmeasured { why } => {
            return vec![case(title, End::Errored(why.clone()), String::new())];
        }
        State::NotTried { why, .. } => {
            return vec![case(title, End::Skipped(why.clone()), String::new())];
        }
    };
    let must_not = |found: Found| matrix.fail_on.contains(&found);
    let of_cell = |cell: &Cell| {
        let name = format!("{}, {title}", cell.load);
        case(name, end(cell, must_not), account(cell))
    };
    let mut cases: Vec<Case> = tried.cells.iter().map(of_cell).collect();
    let after = match tried.restarted {
        true => RESTARTED.to_owned(),
        false => then(tried.aftermath),
    };
    let is_wedged = matches!(tried.aftermath, Aftermath::Wedged { .. });
    let end = match tried.aftermath {
        Aftermath::Unknown => open(must_not(Found::Wedged), &after),
        _ => found(Found::Wedged, is_wedged, &after, must_not),
    };
    cases.push(case(format!("all is as before after {title}"), end, after));
    if !matrix.external {
        let ended = tried.exits.join("; ");
        let end = found(Found::Exited, !tried.exits.is_empty(), &ended, must_not);
        cases.push(case(
            format!("no instance ends by itself in {title}"),
            end,
            ended,
        ));
    }
    cases.extend(
        twice(tried, must_not)
            .map(|(end, text)| case(format!("nothing is done twice in {title}"), end, text)),
    );
    cases
}

/// A case that something was not found.
fn found(what: Found, is_found: bool, said: &str, must_not: impl Fn(Found) -> bool) -> End {
    match is_found && must_not(what) {
        true => End::Failed(what.name(), said.to_owned()),
        false => End::Passed,
    }
}

/// A case of which nothing is known.
fn open(is_required: bool, why: &str) -> End {
    match is_required {
        true => End::Errored(why.to_owned()),
        false => End::Skipped(why.to_owned()),
    }
}

/// Whether something was done twice, where answers were lost.
fn twice(tried: &Tried, must_not: impl Fn(Found) -> bool) -> Option<(End, String)> {
    let known = tried.doubling.as_ref()?;
    Some(match (known, doubling(known)) {
        (Doubling::Doubled { what, .. }, _) => {
            (found(Found::Doubled, true, what, must_not), what.clone())
        }
        (Doubling::Unknown { .. }, Some((_, text))) => {
            (open(must_not(Found::Doubled), &text), String::new())
        }
        (_, text) => (End::Passed, text.map(|(_, text)| text).unwrap_or_default()),
    })
}

fn end(cell: &Cell, must_not: impl Fn(Found) -> bool) -> End {
    match (Found::of(cell), cell.met) {
        (Some(found), _) if must_not(found) => End::Failed(found.name(), met(cell)),
        (_, Met::TooFew | Met::NotReached | Met::DoesNotUseIt) => End::Skipped(met(cell)),
        _ => End::Passed,
    }
}

/// What was measured.
fn account(cell: &Cell) -> String {
    let because = cell.because.as_ref();
    format!(
        "{}: p99 {} ({} before), {}{}",
        met(cell),
        slowest(cell),
        span(cell.steady_p99_us),
        then(cell.aftermath),
        because.map_or_else(String::new, |why| format!("; the first failure: {why}"))
    )
}

impl Case {
    fn element(&self) -> Element {
        let mut case = Element::new("testcase")
            .with("name", &self.name)
            .with("classname", &self.class)
            .with("time", "0.000");
        let ended = |name, kind: &str, message: &str| {
            Element::of_text(name, message)
                .with("type", kind)
                .with("message", message)
        };
        case.extend(match &self.end {
            End::Passed => None,
            End::Failed(kind, message) => Some(ended("failure", kind, message)),
            End::Errored(message) => Some(ended("error", "inconclusive", message)),
            End::Skipped(message) => Some(Element::new("skipped").with("message", message)),
        });
        if !self.output.is_empty() {
            case.extend([Element::of_text("system-out", &self.output)]);
        }
        case
    }
}
