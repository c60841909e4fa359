//! `alert`: somebody is told in time, and told the right thing.

use super::{Expectation, ExpectationDef, Foresight, Judgement, Name, Names, Status, names};
use crate::{
    history::{Message, View, Window},
    input::{About, Fields, Key, Problems, Shape},
    scenario::Upstream,
    units::{Micros, format_duration},
};
use std::time::Duration;

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "alert",
    summary: "a message reaches a sink in time and names the dependency that failed",
    about: About {
        text: "\
            Somebody is told in time, and told the right thing: a message reaches the sink that \
            stands for the pager, and names the dependency that failed.",
        evidence: "\
            Messages at a dependency with `upstream = \"embedded:sink\"`, from the arming of the \
            first judged fault on. Of what the sink refused nobody is told, but who sent it has \
            said it.",
        doubt: "\
            The fault never acted, the phase is shorter than `within`, or it turns on what a \
            message may have said that is not kept as a whole: it was too long, or held something \
            called after a secret, which no history keeps.",
        mistakes: &[
            "\
                Of an alert that carries a secret in its body, as some providers want their token, \
                not all is kept, and `not_names` can tell nothing by it: let the sink's client send \
                the token in a header.",
            "\
                `not_names` catches the alert that blames the web site for what the database did.",
            "\
                Whoever sounds the alarm whenever anything changes is right in every outage: \
                `not_before` says how soon it can be known at all.",
        ],
        related: &["cadence", "probe"],
    },
    example: "[[expect]]\nid        = \"ADA-15\"\nthat      = \"the pager names the object store\"\nkind      = \"alert\"\non        = \"alerts\"\nwithin    = \"40s\"\nnames     = [\"s3\", \"object store\"]\nnot_names = \"website\"\n",
    keys: &[
        Key::required("on", Shape::Text, "the role or dependency that is the sink"),
        Key::required(
            "within",
            Shape::Duration,
            "the time from the first judged fault's arming",
        ),
        Key::optional(
            "not_before",
            Shape::Duration,
            "the soonest, from the same moment, that it can be known: a message that names it sooner was guessed (0s)",
        ),
        Key::optional(
            "names",
            Shape::TextOrTexts,
            "texts of which the message must hold one, in any case",
        ),
        Key::optional(
            "not_names",
            Shape::TextOrTexts,
            "texts that no message may hold while the fault lasts",
        ),
    ],
    parse,
};

/// See [`DEF`].
#[derive(Debug)]
struct Alert {
    on: Name,
    within: Duration,
    not_before: Duration,
    names: Vec<String>,
    not_names: Vec<String>,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let on = names::dependency_with_requests(fields, "on", names, problems);
    let within = fields.duration("within", problems);
    let not_before = fields.duration("not_before", problems).unwrap_or_default();
    let mut texts = |key| -> Vec<String> {
        let texts = fields.texts(key, problems).unwrap_or_default();
        texts.into_iter().map(|text| text.value).collect()
    };
    let (wanted, unwanted) = (texts("names"), texts("not_names"));
    let within = within?;
    if not_before >= within {
        let message = "nobody can be told neither before it nor after `within`";
        fields.problem(problems, "not_before", message, None);
        return None;
    }
    Some(Box::new(Alert {
        on: on?,
        within,
        not_before,
        names: wanted,
        not_names: unwanted,
    }))
}

fn holds(message: &Message, texts: &[String]) -> bool {
    let whole = format!("{} {}", message.request, message.body).to_lowercase();
    texts
        .iter()
        .any(|text| whole.contains(&text.to_lowercase()))
}

fn shown(message: &Message) -> (Micros, String) {
    let body: String = message.body.chars().take(200).collect();
    let refused = if message.taken {
        ""
    } else {
        " (sent and refused)"
    };
    (message.at, format!("{}: {body}{refused}", message.request))
}

/// It turns on what a message said of which only a part is kept.
fn in_doubt(judgement: Judgement, message: &Message, what: &str) -> Judgement {
    judgement
        .inconclusive(format!(
            "a message of which not all is kept, as it was too long or held a secret, may have {what}"
        ))
        .with([shown(message)])
}

impl Alert {
    /// Whether what is not kept of a message may be what makes it right.
    fn may_be_right(&self, message: &Message) -> bool {
        message.cut && !self.right(message)
    }

    /// Whether what is not kept of a message may name what had not failed.
    fn may_be_wrong(&self, message: &Message, window: Window) -> bool {
        message.cut && !self.not_names.is_empty() && window.contains(message.at)
    }

    fn right(&self, message: &Message) -> bool {
        self.names.is_empty() || holds(message, &self.names)
    }

    fn is_sink(&self, view: &View<'_>) -> bool {
        let meant = view.dependencies(&self.on);
        let mut all = view.system.dependencies.iter();
        all.any(|one| one.upstream == Upstream::Embedded("sink") && meant.contains(&&one.name))
    }

    fn messages<'a>(&self, view: &View<'a>) -> Vec<&'a Message> {
        let sinks = view.dependencies(&self.on);
        let all = view.history.messages.iter();
        all.filter(|message| sinks.contains(&&message.dependency))
            .collect()
    }

    fn weigh(&self, view: &View<'_>, armed: Micros, messages: &[&Message]) -> Judgement {
        let until = view.window().to.max(armed + self.within);
        let window = Window::new(armed, until.min(view.history.over()));
        let after: Vec<&&Message> = messages.iter().filter(|one| one.at >= armed).collect();
        let said = after.iter().find(|one| self.right(one));
        let first = after.iter().find(|one| self.right(one) && one.taken);
        let took = first.map(|one| one.at.since(armed));
        let measured = match (took, said) {
            (Some(took), _) => format!("told after {}", format_duration(took)),
            (None, Some(_)) => format!("{} messages, those that are right refused", after.len()),
            (None, None) => format!("{} messages, none of them right", after.len()),
        };
        let judgement = Judgement::new(window, after.len() as u64, measured);
        let wrong: Vec<_> = after
            .iter()
            .filter(|one| window.contains(one.at) && holds(one, &self.not_names))
            .collect();
        if !wrong.is_empty() {
            return judgement
                .fail(format!("{} messages name what had not failed", wrong.len()))
                .with(wrong.iter().map(|one| shown(one)));
        }
        let in_part: Vec<&&&Message> = after.iter().filter(|one| self.may_be_right(one)).collect();
        let within = format_duration(self.within);
        if let Some(said) = said.filter(|one| one.at.since(armed) < self.not_before) {
            return judgement
                .fail(format!(
                    "it was said before it could be known, which is after {}",
                    format_duration(self.not_before)
                ))
                .with([shown(said)]);
        }
        let early = |one: &&&&Message| one.at.since(armed) < self.not_before;
        let may_be_wrong = after.iter().find(|one| self.may_be_wrong(one, window));
        let may_be_guessed = in_part.iter().copied().find(|one| early(one));
        let in_time = |one: &&&&Message| one.taken && one.at.since(armed) <= self.within;
        let may_be_told = in_part
            .iter()
            .copied()
            .find(|one| !early(one) && in_time(one));
        match (took, may_be_told) {
            (Some(took), _) if took <= self.within => {
                let told = judgement.with(first.map(|one| shown(one)));
                match (may_be_wrong, may_be_guessed) {
                    (Some(message), _) => in_doubt(told, message, "named what had not failed"),
                    (_, Some(message)) => {
                        in_doubt(told, message, "said it before it could be known")
                    }
                    (None, None) => told,
                }
            }
            (_, Some(message)) => in_doubt(judgement, message, "told somebody in time"),
            (Some(_), None) => judgement
                .fail(format!("nothing right came within {within}"))
                .with(first.map(|one| shown(one))),
            (None, None) if view.history.over() < armed + self.within => {
                judgement.inconclusive(format!("the run ended before {within} were over"))
            }
            (None, None) => judgement
                .fail("nobody was told")
                .with(after.iter().map(|one| shown(one))),
        }
    }
}

impl Expectation for Alert {
    fn judge(&self, view: &View<'_>) -> Judgement {
        let Some((span, _)) = view.faults().first().copied() else {
            return Judgement::new(view.window(), 0, "nothing")
                .inconclusive("no fault was armed in the judged phases");
        };
        if !self.is_sink(view) {
            return Judgement::new(view.window(), 0, "nothing").inconclusive(format!(
                "`{}` is no `embedded:sink`, and messages are seen nowhere else",
                self.on
            ));
        }
        let messages = self.messages(view);
        let judgement = self.weigh(view, span.armed, &messages);
        // Whoever cries all the time is right in every outage.
        let steady = view.steady();
        let is_steady = |one: &&&Message| steady.iter().any(|window| window.contains(one.at));
        let early = || messages.iter().filter(is_steady);
        if let Some(message) = early().find(|one| self.right(one)) {
            return judgement
                .inconclusive("the same was said in steady state, so it says nothing now")
                .with([shown(message)]);
        }
        match early().find(|one| self.may_be_right(one)) {
            Some(message) if judgement.status == Status::Pass => {
                in_doubt(judgement, message, "said the same in steady state")
            }
            _ => judgement,
        }
    }

    fn required(&self) -> String {
        let quoted = |texts: &[String]| {
            let list: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
            list.join(" or ")
        };
        let mut text = format!(
            "a message to `{}` within {}",
            self.on,
            format_duration(self.within)
        );
        if !self.not_before.is_zero() {
            text.push_str(&format!(
                " and not before {}",
                format_duration(self.not_before)
            ));
        }
        if !self.names.is_empty() {
            text.push_str(&format!(" that names {}", quoted(&self.names)));
        }
        if !self.not_names.is_empty() {
            text.push_str(&format!(", none that names {}", quoted(&self.not_names)));
        }
        text
    }

    fn forewarn(&self, plan: &Foresight<'_>) -> Vec<String> {
        let judged: Duration = plan.phases.iter().map(|(_, length)| *length).sum();
        if judged >= self.within {
            return Vec::new();
        }
        vec![format!(
            "the faults last {} in all, an alert may take {}",
            format_duration(judged),
            format_duration(self.within)
        )]
    }

    fn needs_running(&self, _instance: &str) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, problems};
    use crate::{expectation::Status, history::sample::Story};

    const EXPECT: &str = "kind = \"alert\"\non = \"alerts\"\nwithin = \"15s\"\nnames = [\"s3\", \"object store\"]\nnot_names = \"website\"";

    fn story() -> Story {
        Story::new().healthy(0..60)
    }

    #[test]
    fn the_right_name_in_time_passes() {
        let story = story()
            .message(12_000, "something is wrong")
            .message(25_000, "S3 does not answer");
        let verdict = check(EXPECT, &story);
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(verdict.measured, "told after 15s");
    }

    #[test]
    fn too_late_wrong_or_nobody_fails() {
        for late in [
            story().message(25_001, "S3 does not answer"),
            story().message(12_000, "the database is down"),
            story(),
        ] {
            assert_eq!(check(EXPECT, &late).status, Status::Fail);
        }
    }

    #[test]
    fn what_the_sink_refused_told_nobody() {
        let refused = story().message(12_000, "s3 is down").refused();
        let verdict = check(EXPECT, &refused);
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        assert_eq!(verdict.measured, "1 messages, those that are right refused");
        let said = &verdict.evidence[0].what;
        assert_eq!(said, "POST /alerts: s3 is down (sent and refused)");
        // Whoever sends it again until it is taken tells somebody then.
        let again = refused.clone().message(14_000, "s3 is down");
        let verdict = check(EXPECT, &again);
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(verdict.measured, "told after 4s");
        let late = refused.message(25_001, "s3 is down");
        assert_eq!(check(EXPECT, &late).status, Status::Fail);
        // A guess is one, and a wrong name is wrong, whoever hears of it.
        let expect = format!("{EXPECT}\nnot_before = \"2s\"");
        let guessed = story().message(10_500, "s3 is down").refused();
        let guessed = guessed.message(13_000, "s3 is down");
        assert_eq!(check(&expect, &guessed).status, Status::Fail);
        let wrong = story().message(12_000, "the website").refused();
        let wrong = wrong.message(13_000, "s3 is down");
        assert_eq!(check(EXPECT, &wrong).status, Status::Fail);
    }

    #[test]
    fn what_is_not_kept_of_a_message_decides_nothing() {
        let judged = |expect: &str, story: &Story, status, said: &str| {
            let verdict = check(expect, story);
            assert_eq!(verdict.status, status, "{verdict:?}");
            let reason = verdict.reason.unwrap_or_default();
            assert!(reason.contains(said), "{said}: {reason}");
        };
        let in_part = |millis| story().message(millis, "{\"token\": \"***\"}").in_part();
        let told = |story: Story| story.message(14_000, "s3 is down");
        // It may have named the neighbour; where it is asked for none, or after it, it is as it was.
        let unknown = told(in_part(12_000));
        judged(
            EXPECT,
            &unknown,
            Status::Inconclusive,
            "may have named what had not failed",
        );
        let names = EXPECT
            .replace("not_names", "names_not")
            .replace("names_not = \"website\"", "");
        judged(&names, &unknown, Status::Pass, "");
        judged(EXPECT, &told(in_part(31_000)), Status::Pass, "");
        // The right name may have been in it.
        for late in ["", "s3 is down"] {
            let later = |story: Story| story.message(26_000, late);
            judged(
                EXPECT,
                &later(in_part(12_000)),
                Status::Inconclusive,
                "may have told somebody in time",
            );
            judged(EXPECT, &later(in_part(25_001)), Status::Fail, "");
            judged(EXPECT, &later(in_part(12_000).refused()), Status::Fail, "");
            judged(EXPECT, &later(story()), Status::Fail, "");
        }
        // So is a guess one only where it is seen, but nothing is shown where it may be.
        let soon = format!("{names}\nnot_before = \"3s\"");
        judged(
            &soon,
            &unknown,
            Status::Inconclusive,
            "may have said it before it could be known",
        );
        judged(&soon, &in_part(12_000), Status::Fail, "nobody was told");
        // What is seen is seen.
        let wrong = told(in_part(12_000)).message(15_000, "the website");
        judged(EXPECT, &wrong, Status::Fail, "");
        let whole = story().message(12_000, "s3 is down").in_part();
        judged(&names, &whole, Status::Pass, "");
        // In steady state.
        let before = told(in_part(5_000));
        judged(
            EXPECT,
            &before,
            Status::Inconclusive,
            "may have said the same in steady state",
        );
        judged(EXPECT, &in_part(5_000), Status::Fail, "");
    }

    #[test]
    fn naming_a_neighbour_fails_even_beside_the_right_name() {
        let story = story()
            .message(12_000, "s3 is down")
            .message(14_000, "the Website vendor is down");
        let verdict = check(EXPECT, &story);
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(
            verdict.evidence[0].what,
            "POST /alerts: the Website vendor is down"
        );
    }

    #[test]
    fn who_says_it_before_it_can_be_known_has_guessed() {
        let expect = format!("{EXPECT}\nnot_before = \"2s\"");
        let told = |millis| check(&expect, &story().message(millis, "s3 is down"));
        assert_eq!(told(12_000).status, Status::Pass);
        let guessed = told(11_999);
        assert_eq!(guessed.status, Status::Fail);
        assert!(guessed.reason.unwrap().contains("before it could be known"));
        // Also where it is said again in time.
        let both = story()
            .message(10_500, "s3 is down")
            .message(13_000, "s3 is down");
        assert_eq!(check(&expect, &both).status, Status::Fail);
        assert_eq!(told(25_001).status, Status::Fail);
        let never = format!("{EXPECT}\nnot_before = \"15s\"");
        assert!(problems(&never)[0].contains("nobody can be told"));
    }

    #[test]
    fn what_is_no_sink_shows_no_messages() {
        let expect = EXPECT.replace("alerts", "backup");
        let verdict = check(&expect, &story());
        assert_eq!(verdict.status, Status::Inconclusive);
        assert!(verdict.reason.unwrap().contains("no `embedded:sink`"));
    }

    #[test]
    fn an_alert_that_came_before_the_outage_says_nothing() {
        let story = story()
            .message(5_000, "s3 is down")
            .message(12_000, "s3 is down");
        assert_eq!(check(EXPECT, &story).status, Status::Inconclusive);
    }

    #[test]
    fn a_run_that_ended_too_soon_cannot_tell() {
        let story = story().ends(20, Some("interrupted"));
        assert_eq!(check(EXPECT, &story).status, Status::Inconclusive);
    }
}
