//! `in-flight`: the system bounds how much of itself hangs on one dependency (a bulkhead).
//!
//! Counted at the proxy: requests from their first byte to their end, or connections from accept to
//! close. What never reached the proxy is not seen, so that a pass is of what is on the wire, and a
//! connection that is still open when the run ends is counted until then.

use super::{
    Expectation, ExpectationDef, Judgement, Name, Names, beat::most_open, names,
    samples::SAMPLES_MIN,
};
use crate::{
    history::{View, Window},
    input::{About, Fields, Key, Problems, Shape},
    units::Micros,
};

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "in-flight",
    summary: "never more than so many requests or connections are open at a dependency (bulkhead)",
    about: About {
        text: "\
            Never more than so many requests or connections are open at a dependency: a \
            bulkhead, a pool with a limit. Without one a dependency that hangs takes every \
            thread of the system with it.",
        evidence: "\
            Requests from their first byte to their end, or connections from accept to close, at \
            the proxy.",
        doubt: "\
            What never reached the proxy is not seen; where nothing acted nothing was tried.",
        mistakes: &["\
                A bound above what the load can reach passes without a bulkhead: the load must be \
                thick enough to hit it."],
        related: &["isolation", "hang", "max-connections"],
    },
    example: "[[expect]]\nid      = \"MEY21-5\"\nthat    = \"connections to the database are bounded\"\nkind    = \"in-flight\"\non      = \"object-store\"\nof      = \"connections\"\nat_most = 20\n",
    keys: &[
        Key::required("on", Shape::Text, "the role or dependency"),
        Key::optional(
            "of",
            Shape::OneOf(KINDS),
            "what is counted: \"requests\" (the default where the protocol shows them) or \"connections\"",
        ),
        Key::optional(
            "operation",
            Shape::TextOrTexts,
            "only requests of this operation, or this HTTP method",
        ),
        Key::required(
            "at_most",
            Shape::Integer(1, 1_000_000),
            "the most that may be open at one time",
        ),
    ],
    parse,
};

const KINDS: &[&str] = &["requests", "connections"];

/// See [`DEF`].
#[derive(Debug)]
struct InFlight {
    on: Name,
    connections: bool,
    operations: Vec<String>,
    at_most: usize,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let connections = fields.word("of", problems).map(|word| word.value) == Some("connections");
    let on = if connections {
        names::dependency(fields, "on", names, problems)
    } else {
        names::dependency_with_requests(fields, "on", names, problems)
    };
    if connections && fields.has("operation") {
        let message = "`operation` is of requests, but connections are counted";
        fields.problem(problems, "operation", message, None);
        return None;
    }
    let at_most = fields.integer("at_most", problems);
    Some(Box::new(InFlight {
        on: on?,
        connections,
        operations: names::operations(fields, "operation", problems),
        at_most: usize::try_from(at_most?).ok()?,
    }))
}

impl InFlight {
    fn what(&self) -> &'static str {
        if self.connections {
            "connections"
        } else {
            "requests"
        }
    }

    /// What was open and when, as far as it reaches into the window.
    fn intervals(&self, view: &View<'_>, window: Window) -> Vec<(Micros, Micros)> {
        let meant = view.dependencies(&self.on);
        let reaches = |from: Micros, to: Micros| from < window.to && to > window.from;
        if self.connections {
            let own = view.history.connections.iter();
            return own
                .filter(|one| meant.contains(&&one.dependency))
                .map(|one| (one.opened, one.closed))
                .filter(|(from, to)| reaches(*from, *to))
                .collect();
        }
        let attempts = meant.iter().flat_map(|name| view.history.attempts_of(name));
        attempts
            .filter(|one| {
                self.operations.is_empty()
                    || self.operations.iter().any(|name| **name == *one.operation)
            })
            .map(|one| (one.began, one.ended))
            .filter(|(from, to)| reaches(*from, *to))
            .collect()
    }
}

impl Expectation for InFlight {
    fn judge(&self, view: &View<'_>) -> Judgement {
        let what = self.what();
        let mut count = 0;
        let mut worst: Option<(Micros, usize)> = None;
        for window in view.windows() {
            let intervals = self.intervals(view, window);
            count += intervals.len() as u64;
            if let Some(found) = most_open(&intervals, window)
                && worst.is_none_or(|(_, most)| found.1 > most)
            {
                worst = Some(found);
            }
        }
        let most = worst.map_or(0, |(_, most)| most);
        let measured = format!("at most {most} {what} open, of {count}");
        let judgement = Judgement::new(view.window(), count, measured);
        match worst {
            Some((at, most)) if most > self.at_most => judgement
                .fail(format!("{most} {what} were open at one time"))
                .with([(at, format!("{most} {what} open at `{}`", self.on))]),
            _ if count < SAMPLES_MIN => judgement.inconclusive(format!(
                "{count} {what} show no bound, at least {SAMPLES_MIN} are needed"
            )),
            _ => judgement,
        }
    }

    fn required(&self) -> String {
        let operations = names::of_operations(&self.operations);
        format!(
            "at most {} {operations}{} open at `{}`",
            self.at_most,
            self.what(),
            self.on
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, problems};
    use crate::{
        expectation::Status,
        history::sample::{Story, attempt},
    };

    const REQUESTS: &str = "kind = \"in-flight\"\non = \"s3\"\nat_most = 3";
    const CONNECTIONS: &str =
        "kind = \"in-flight\"\non = \"queue\"\nof = \"connections\"\nat_most = 3";

    /// So many requests that are held from 12 to 20 s.
    fn held(count: u64) -> Story {
        let one = |nth| attempt("s3", 12_000 + nth, 20_000).hit().gave_up();
        Story::new().healthy(0..60).attempts((0..count).map(one))
    }

    #[test]
    fn as_many_as_allowed_pass_and_one_more_fails() {
        let verdict = check(REQUESTS, &held(3));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(verdict.measured, "at most 3 requests open, of 3");
        let verdict = check(REQUESTS, &held(4));
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(verdict.evidence[0].what, "4 requests open at `s3`");
        let get = format!("{REQUESTS}\noperation = \"GetObject\"");
        assert_eq!(check(&get, &held(4)).status, Status::Inconclusive);
    }

    #[test]
    fn one_after_the_other_are_not_open_at_one_time() {
        let one = |nth: u64| attempt("s3", 12_000 + nth * 100, 12_100 + nth * 100).hit();
        let story = Story::new().healthy(0..60).attempts((0..50).map(one));
        let verdict = check(REQUESTS, &story);
        assert_eq!(verdict.measured, "at most 1 requests open, of 50");
        assert_eq!(verdict.status, Status::Pass);
    }

    #[test]
    fn connections_are_counted_while_they_are_open_also_from_before() {
        let story = |count| {
            let open = |story: Story, nth: u64| story.connection("queue", 5_000 + nth, 25_000);
            (0..count).fold(Story::new().healthy(0..60), open)
        };
        assert_eq!(check(CONNECTIONS, &story(3)).status, Status::Pass);
        assert_eq!(check(CONNECTIONS, &story(4)).status, Status::Fail);
    }

    #[test]
    fn without_requests_there_is_no_bound_to_see() {
        let nothing = Story::new().healthy(0..60);
        assert_eq!(check(REQUESTS, &nothing).status, Status::Inconclusive);
        assert_eq!(check(REQUESTS, &held(2)).status, Status::Inconclusive);
    }

    #[test]
    fn a_protocol_without_requests_has_connections_only() {
        let text = "kind = \"in-flight\"\non = \"queue\"\nat_most = 3";
        assert!(problems(text)[0].contains("single requests are not seen"));
        let both = format!("{CONNECTIONS}\noperation = \"GET\"");
        assert!(problems(&both)[0].contains("connections are counted"));
    }
}
