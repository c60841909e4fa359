//! `probe`: a question of the author's own, asked while the run goes on: an HTTP request or a
//! command.
//!
//! | `when` | the samples that count | what must hold of them |
//! |---|---|---|
//! | `before` | of the phases before the first fault | every one, or `min_success` |
//! | `during` | of the phases with faults | the same |
//! | `after` | of the last phase | the same |
//! | `always` | of the whole run | the same |
//! | `until-within` | after the last fault | from `within` on, at the latest, every one, the last and at least 3 |
//! | `never` | of the whole run | not a single one |
//!
//! A probe is made at each beat, whether or not the one before has ended, so that the share of the samples
//! is one of the time. A sample that could not be made (the probe's own trouble) counts for neither side; for `never`
//! one without an answer does not either. Fewer than 3 samples that count are no pass; a single one may be
//! a failure.

use super::{
    Expectation, ExpectationDef, Foresight, Judgement, Names, ProbeAsk, ProbeSpec, Scope,
    samples::{SAMPLES_MIN, part_of, samples_needed},
};
use crate::{
    history::{ProbeSample, View, Window},
    input::{About, Fields, Key, Problems, Shape},
    scenario::{self, Template},
    units::{Share, format_duration},
};
use std::{path::Path, time::Duration};

/// How many probes of one expectation may be under way at once.
pub const PROBES_UNDER_WAY_MAX: u32 = 64;

const WHEN: &[&str] = &[
    "before",
    "during",
    "after",
    "always",
    "until-within",
    "never",
];

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "probe",
    summary: "a question of your own, by HTTP or by a command, answered as it should be",
    about: About {
        text: "\
            A question of your own, asked while the run goes on: an HTTP request or a command, \
            and what must hold of the answer. For everything that no other kind measures.",
        evidence: "Its samples, of the phases that `when` says.",
        doubt: "\
            Fewer than three samples count, none of which shows the contrary: the probe's own trouble \
            counts for neither side. For `until-within`: it did not hold before the bound, and was \
            not asked after it.",
        mistakes: &[
            "`never` and `always` are about the whole run, steady phases included.",
            "A command is an array and never a shell.",
            "\
                One that takes longer than `every` runs beside the next one: it must be fit for that.",
        ],
        related: &["alert", "success-rate"],
    },
    example: "[[expect]]\nid      = \"WARM\"\nthat    = \"models can be read from the cache\"\nkind    = \"probe\"\ncommand = [\"./check-cache\"]\nwhen    = \"during\"\nevery   = \"1s\"\n",
    keys: &[
        Key::optional(
            "http",
            Shape::Text,
            "a URL to GET, `{instance.main.url}/healthz`",
        ),
        Key::optional(
            "answer",
            Shape::Table(scenario::RULE),
            "what must hold of the answer to `http` (any 2xx)",
        ),
        Key::optional(
            "command",
            Shape::Texts,
            "a program with its arguments, never a shell; exit status 0 holds, and what it leaves behind is ended (a relative path counts from where Brownout is started)",
        ),
        Key::optional("when", Shape::OneOf(WHEN), "which samples count (during)"),
        Key::optional(
            "every",
            Shape::Duration,
            "how often it is asked, also while the one before is not answered (1s)",
        ),
        Key::optional(
            "timeout",
            Shape::Duration,
            "how long one may take, at most 64 times `every` (2s)",
        ),
        Key::optional(
            "min_success",
            Shape::Share,
            "the share of the samples that must hold (100%)",
        ),
        Key::optional(
            "max_consecutive_failures",
            Shape::Integer(0, 1_000_000),
            "the most samples in a row that may fail (no limit of its own)",
        ),
        Key::optional(
            "within",
            Shape::Duration,
            "for `until-within`: the time after the last fault",
        ),
    ],
    parse,
};

/// See [`DEF`].
#[derive(Debug)]
struct Probe {
    spec: ProbeSpec,
    when: When,
    min_success: Share,
    max_consecutive_failures: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Before,
    During,
    After,
    Always,
    UntilWithin(Duration),
    Never,
}

fn parse(
    fields: &Fields<'_>,
    _names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let ask = ask(fields, problems);
    let when = when(fields, problems);
    let every = fields.duration("every", problems);
    let timeout = fields.duration("timeout", problems);
    let min_success = fields.share_to_reach("min_success", problems);
    let failures = fields.integer("max_consecutive_failures", problems);
    let every = every.unwrap_or(Duration::from_secs(1));
    if every < Duration::from_millis(10) {
        fields.problem(problems, "every", "`every` is below 10ms", None);
        return None;
    }
    let timeout = timeout.unwrap_or(Duration::from_secs(2));
    if timeout > every.saturating_mul(PROBES_UNDER_WAY_MAX) {
        let least = format_duration(timeout / PROBES_UNDER_WAY_MAX + Duration::from_millis(1));
        fields.problem(
            problems,
            "every",
            format!("more than {PROBES_UNDER_WAY_MAX} probes could be under way at once"),
            format!(
                "ask every {least} or so, or give each less than its {}",
                format_duration(timeout)
            ),
        );
        return None;
    }
    Some(Box::new(Probe {
        spec: ProbeSpec {
            ask: ask?,
            every,
            timeout,
        },
        when: when?,
        min_success: match min_success {
            None if fields.has("min_success") => return None,
            share => share.unwrap_or(Share::ALL),
        },
        max_consecutive_failures: failures.map(i64::unsigned_abs),
    }))
}

fn ask(fields: &Fields<'_>, problems: &mut Problems) -> Option<ProbeAsk> {
    let url = fields.text("http", problems);
    let command = fields.texts("command", problems);
    let rule = fields
        .table("answer", problems)
        .map(|table| scenario::read_plain_rule(&table, problems));
    if fields.has("http") == fields.has("command") {
        problems.error(
            fields.source,
            fields.span.clone(),
            format!("{} needs either `http` or `command`", fields.name()),
            Some("say `http = \"{instance.main.url}/healthz\"`".to_owned()),
        );
        return None;
    }
    if fields.has("command") && fields.has("answer") {
        fields.problem(
            problems,
            "answer",
            "`answer` is for `http`; a command holds when it exits with 0",
            None,
        );
    }
    if let Some(url) = &url
        && url.value.starts_with("https:")
    {
        problems.error(
            fields.source,
            url.span.clone(),
            "a probe cannot ask over TLS".to_owned(),
            Some("give an `http:` URL, or a `command` that asks".to_owned()),
        );
        return None;
    }
    if let Some(url) = url.as_ref().filter(|url| !can_be_asked(&url.value)) {
        problems.error(
            fields.source,
            url.span.clone(),
            format!("`{}` is no address that can be asked", url.value),
            Some(
                "say `http = \"{instance.main.url}/healthz\"` or `http = \"http://127.0.0.1:8080/healthz\"`"
                    .to_owned(),
            ),
        );
        return None;
    }
    match (url, command) {
        (Some(url), _) => Some(ProbeAsk::Http {
            url: Template(url.value),
            rule: rule.unwrap_or_default(),
        }),
        (_, Some(words)) => {
            let Some(program) = words.first() else {
                fields.problem(problems, "command", "`command` is empty", None);
                return None;
            };
            if fields.source.is_file && is_missing(&program.value) {
                problems.error(
                    fields.source,
                    program.span.clone(),
                    format!("there is no program `{}`", program.value),
                    "it is looked for from the folder in which Brownout is started".to_owned(),
                );
                return None;
            }
            let words = words.into_iter().map(|word| Template(word.value));
            Some(ProbeAsk::Command(words.collect()))
        }
        _ => None,
    }
}

/// Whether a program is a relative path that leads nowhere, from where probes are started. Of one whose
/// path is not known yet, and of one that is looked up by its name, that is found out when it is.
fn is_missing(program: &str) -> bool {
    let path = Path::new(program);
    let is_known = program.contains('/') && !program.contains('{');
    is_known && path.is_relative() && !path.is_file()
}

/// Whether a URL of plain HTTP is one, whatever its placeholders stand for: one that ends in `url` for
/// the beginning of a URL, any other for a piece of one.
fn can_be_asked(url: &str) -> bool {
    let mut filled = String::new();
    let mut rest = url;
    while let Some((before, behind)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((name, after)) = behind.split_once('}') else {
            break;
        };
        let is_url = filled.is_empty() && name.ends_with("url");
        filled.push_str(if is_url { "http://127.0.0.1:1" } else { "1" });
        rest = after;
    }
    filled.push_str(rest);
    let Ok(uri) = filled.parse::<http::Uri>() else {
        return false;
    };
    uri.scheme_str() == Some("http")
        && uri.authority().is_some_and(|place| {
            let has_port = place.as_str().len() > place.host().len();
            !place.host().is_empty() && (!has_port || place.port_u16().is_some_and(|port| port > 0))
        })
}

fn when(fields: &Fields<'_>, problems: &mut Problems) -> Option<When> {
    let within = fields.duration("within", problems);
    let word = if fields.has("when") {
        fields.word("when", problems)?.value
    } else {
        "during"
    };
    if (word == "until-within") != fields.has("within") {
        problems.error(
            fields.source,
            fields.place("within"),
            "`within` belongs to `when = \"until-within\"`, and is needed there".to_owned(),
            None,
        );
        return None;
    }
    Some(match word {
        "before" => When::Before,
        "after" => When::After,
        "always" => When::Always,
        "until-within" => When::UntilWithin(within?),
        "never" => When::Never,
        _ => When::During,
    })
}

/// Samples that say something, and what is wrong with the rest.
struct Samples<'a> {
    told: Vec<&'a ProbeSample>,
    unmade: usize,
    /// Whether the last one could not be made.
    ends_unmade: bool,
}

impl<'a> Samples<'a> {
    fn of(view: &View<'a>, meant: impl Fn(&ProbeSample) -> bool) -> Self {
        let own = view
            .history
            .probes
            .iter()
            .filter(|sample| Some(&*sample.probe) == view.expect)
            .filter(|sample| meant(sample));
        let (told, unmade): (Vec<_>, Vec<_>) = own.partition(|sample| sample.held.is_some());
        let last = |list: &[&ProbeSample]| list.last().map(|sample| sample.at);
        Self {
            ends_unmade: last(&unmade) > last(&told),
            told,
            unmade: unmade.len(),
        }
    }

    fn count(&self) -> u64 {
        self.told.len() as u64
    }

    fn held(&self, held: bool) -> impl Iterator<Item = &&'a ProbeSample> {
        self.told
            .iter()
            .filter(move |sample| sample.held == Some(held))
    }

    fn failures_in_a_row(&self) -> u64 {
        self.told
            .chunk_by(|one, other| one.held == other.held)
            .filter(|run| run[0].held == Some(false))
            .map(|run| run.len() as u64)
            .max()
            .unwrap_or(0)
    }

    fn judgement(&self, window: Window, measured: String) -> Judgement {
        let judgement = Judgement::new(window, self.count(), measured);
        match (self.told.is_empty(), self.unmade) {
            (true, 0) => judgement.inconclusive("it was never asked"),
            (true, unmade) => judgement.inconclusive(format!("none of {unmade} could be made")),
            _ => judgement,
        }
    }
}

fn shown(sample: &ProbeSample) -> (crate::units::Micros, String) {
    let seen = sample.seen.as_deref().unwrap_or("nothing said");
    let what = if sample.held == Some(true) {
        "it held".to_owned()
    } else {
        seen.to_owned()
    };
    (sample.at, what)
}

impl Probe {
    fn share(&self, view: &View<'_>) -> Judgement {
        let samples = Samples::of(view, |sample| view.contains(sample.at));
        let (count, held) = (samples.count(), samples.held(true).count() as u64);
        let measured = format!("{} held", part_of(held, count));
        let judgement = samples.judgement(view.window(), measured);
        let needed = samples_needed(self.min_success.fraction());
        let row = samples.failures_in_a_row();
        let judgement =
            if count > 0 && (held as f64) < self.min_success.fraction() * count as f64 - 1e-9 {
                judgement.fail(format!("{} of {count} did not hold", count - held))
            } else if self.max_consecutive_failures.is_some_and(|most| row > most) {
                judgement.fail(format!("{row} in a row did not hold"))
            } else if count < needed {
                judgement.inconclusive(format!(
                    "{count} samples cannot show {}: at least {needed} are needed",
                    self.min_success
                ))
            } else {
                judgement
            };
        judgement.with(samples.held(false).map(|sample| shown(sample)))
    }

    fn never(&self, view: &View<'_>) -> Judgement {
        let mut samples = Samples::of(view, |sample| view.contains(sample.at));
        let all = samples.told.len();
        samples.told.retain(|sample| sample.answered);
        samples.unmade += all - samples.told.len();
        let count = samples.held(true).count();
        let measured = format!("{count} of {} held", samples.count());
        let judgement = samples.judgement(view.window(), measured);
        if count == 0 {
            return match samples.count() {
                told if told < SAMPLES_MIN => judgement.inconclusive(format!(
                    "{told} answers show nothing, at least {SAMPLES_MIN} are needed"
                )),
                _ => judgement,
            };
        }
        judgement
            .fail(format!("it held {count} times"))
            .with(samples.held(true).map(|sample| shown(sample)))
    }

    fn until(&self, view: &View<'_>, within: Duration) -> Judgement {
        let Some(since) = view.recovery_began() else {
            return Judgement::new(view.window(), 0, "nothing")
                .inconclusive("recovery never began");
        };
        let end = view.history.over();
        let samples = Samples::of(view, |sample| sample.at >= since && sample.at < end);
        let window = Window::new(since, end);
        let last_wrong = samples.held(false).last();
        let holds_from = samples
            .held(true)
            .find(|sample| last_wrong.is_none_or(|wrong| sample.at > wrong.at))
            .map(|sample| sample.at);
        let measured = match holds_from {
            Some(at) => format!("holds from {} on", format_duration(at.since(since))),
            None => "does not hold".to_owned(),
        };
        let judgement = samples.judgement(window, measured);
        let limit = since + within;
        let bound = format_duration(within);
        let judgement = match (holds_from, last_wrong) {
            (Some(at), _) if at <= limit => {
                let good = samples.held(true).filter(|sample| sample.at >= at).count() as u64;
                if good < SAMPLES_MIN || samples.ends_unmade {
                    judgement.inconclusive(format!(
                        "it held {good} times in the end; {SAMPLES_MIN} are needed, the very last among them"
                    ))
                } else {
                    judgement
                }
            }
            (_, Some(wrong)) if wrong.at > limit => {
                judgement.fail(format!("it still did not hold after {bound}"))
            }
            _ if end < limit => {
                judgement.inconclusive(format!("the run ended before {bound} were over"))
            }
            (Some(_), _) => judgement.inconclusive("no sample was made between"),
            // From its last sample to the bound it may have come to hold.
            (None, Some(wrong)) if wrong.at < limit => judgement.inconclusive(format!(
                "it did not hold {} after the last fault, and was not asked any more after {bound}",
                format_duration(wrong.at.since(since))
            )),
            (None, Some(_)) => judgement.fail(format!("it did not come to hold within {bound}")),
            (None, None) => judgement,
        };
        judgement.with(last_wrong.map(|sample| shown(sample)))
    }
}

impl Expectation for Probe {
    fn judge(&self, view: &View<'_>) -> Judgement {
        match self.when {
            When::Never => self.never(view),
            When::UntilWithin(within) => self.until(view, within),
            When::Before | When::During | When::After | When::Always => self.share(view),
        }
    }

    fn required(&self) -> String {
        let ask = match &self.spec.ask {
            ProbeAsk::Http { url, .. } => format!("GET {}", url.0),
            ProbeAsk::Command(words) => words
                .iter()
                .map(|word| word.0.as_str())
                .collect::<Vec<_>>()
                .join(" "),
        };
        let share = |when: &str| format!("`{ask}` holds {when}, {} of the time", self.min_success);
        match self.when {
            When::Before => share("before the faults"),
            When::During => share("during the faults"),
            When::After => share("after the faults"),
            When::Always => share("through the whole run"),
            When::UntilWithin(within) => {
                let within = format_duration(within);
                format!("`{ask}` holds from {within} after the last fault on")
            }
            When::Never => format!("`{ask}` never holds"),
        }
    }

    fn scope(&self) -> Scope {
        match self.when {
            When::Before => Scope::Before,
            When::During => Scope::Faulted,
            When::After | When::UntilWithin(_) => Scope::Recovery,
            When::Always | When::Never => Scope::WholeRun,
        }
    }

    fn needs_faults(&self) -> bool {
        self.when != When::Before
    }

    fn probe(&self) -> Option<ProbeSpec> {
        Some(self.spec.clone())
    }

    fn forewarn(&self, plan: &Foresight<'_>) -> Vec<String> {
        if matches!(self.when, When::Never | When::UntilWithin(_)) {
            return Vec::new();
        }
        let seconds: f64 = plan
            .phases
            .iter()
            .map(|(_, length)| length.as_secs_f64())
            .sum();
        let expected = seconds / self.spec.every.as_secs_f64();
        let needed = samples_needed(self.min_success.fraction());
        if expected >= needed as f64 {
            return Vec::new();
        }
        vec![format!(
            "about {expected:.0} samples are made in the judged phases; {} needs at least {needed}",
            self.min_success
        )]
    }

    fn needs_running(&self, _instance: &str) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, problems};
    use super::{can_be_asked, is_missing};
    use crate::{
        expectation::Status,
        history::{Observation, sample::Story},
        units::Micros,
    };

    fn when(word: &str) -> String {
        format!("kind = \"probe\"\nhttp = \"{{instance.main.url}}/healthz\"\nwhen = \"{word}\"")
    }

    /// It fails from 15 s to 20 s.
    fn story() -> Story {
        Story::new()
            .healthy(0..60)
            .probes(0..15, Some(true))
            .probes(15..20, Some(false))
            .probes(20..60, Some(true))
    }

    #[test]
    fn each_time_looks_at_its_own_samples() {
        for (word, status) in [
            ("before", Status::Pass),
            ("during", Status::Fail),
            ("after", Status::Pass),
            ("always", Status::Fail),
            ("never", Status::Fail),
        ] {
            let verdict = check(&when(word), &story());
            assert_eq!(verdict.status, status, "{word}: {verdict:?}");
        }
        let verdict = check(&when("during"), &story());
        assert_eq!(verdict.measured, "75% (15 of 20) held");
        assert_eq!(verdict.evidence[0].what, "status 500");
    }

    #[test]
    fn a_share_or_a_few_in_a_row_may_fail_where_the_file_says_so() {
        let most = format!("{}\nmin_success = \"70%\"", when("during"));
        assert_eq!(check(&most, &story()).status, Status::Pass);
        let row = format!("{most}\nmax_consecutive_failures = 4");
        assert_eq!(check(&row, &story()).status, Status::Fail);
        let row = format!("{most}\nmax_consecutive_failures = 5");
        assert_eq!(check(&row, &story()).status, Status::Pass);
    }

    #[test]
    fn samples_are_in_a_row_as_they_began_however_long_each_took() {
        let mut story = story();
        // Each that does not hold takes six seconds to say so, so that one that holds comes between.
        for observation in &mut story.observations {
            if let Observation::Probe(sample) = observation
                && sample.held == Some(false)
            {
                sample.ended = sample.at + std::time::Duration::from_secs(6);
            }
        }
        let most = format!("{}\nmin_success = \"70%\"", when("during"));
        let row = |most_in_a_row: u32| {
            let expect = format!("{most}\nmax_consecutive_failures = {most_in_a_row}");
            check(&expect, &story).status
        };
        assert_eq!(row(4), Status::Fail);
        assert_eq!(row(5), Status::Pass);
    }

    #[test]
    fn never_passes_when_it_never_held() {
        let story = Story::new().healthy(0..60).probes(0..60, Some(false));
        assert_eq!(check(&when("never"), &story).status, Status::Pass);
    }

    #[test]
    fn never_shows_nothing_where_nobody_answered() {
        let mut story = Story::new().healthy(0..60).probes(0..60, Some(false));
        for observation in &mut story.observations {
            if let Observation::Probe(sample) = observation {
                sample.answered = sample.at < Micros::from_secs(2);
            }
        }
        let verdict = check(&when("never"), &story);
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
    }

    #[test]
    fn until_within_needs_a_few_in_the_end_and_the_last() {
        let until = format!("{}\nwithin = \"28s\"", when("until-within"));
        let story = |from| {
            Story::new()
                .healthy(0..60)
                .probes(0..from, Some(false))
                .probes(from..60, Some(true))
        };
        assert_eq!(check(&until, &story(57)).status, Status::Pass);
        assert_eq!(check(&until, &story(58)).status, Status::Inconclusive);
        let unmade = Story::new()
            .healthy(0..60)
            .probes(0..50, Some(true))
            .probes(50..60, None);
        assert_eq!(check(&until, &unmade).status, Status::Inconclusive);
    }

    #[test]
    fn until_within_must_come_true_in_time_and_stay_so() {
        let until = |seconds: u64| format!("{}\nwithin = \"{seconds}s\"", when("until-within"));
        let story = Story::new()
            .healthy(0..60)
            .probes(0..40, Some(false))
            .probes(40..60, Some(true));
        let verdict = check(&until(10), &story);
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(verdict.measured, "holds from 10s on");
        assert_eq!(check(&until(8), &story).status, Status::Fail);
        let relapse = story.probes(58..59, Some(false));
        assert_eq!(check(&until(10), &relapse).status, Status::Fail);
    }

    #[test]
    fn until_within_fails_only_where_it_was_asked_at_the_bound_or_after_it() {
        // Asked every ten seconds after the lifting, at 30 s.
        let until = |seconds: u64| {
            format!(
                "{}\nevery = \"10s\"\nwithin = \"{seconds}s\"",
                when("until-within")
            )
        };
        let asked = |seconds: &[u64]| {
            let story = Story::new().healthy(0..60).probes(0..1, Some(true));
            let each = seconds.iter();
            each.fold(story, |story, at| story.probes(*at..at + 1, Some(false)))
        };
        let never = asked(&[39, 49, 59]);
        for (within, status) in [
            (12, Status::Fail),
            (29, Status::Fail),
            (30, Status::Inconclusive),
        ] {
            let verdict = check(&until(within), &never);
            assert_eq!(verdict.status, status, "{within}: {verdict:?}");
        }
        // Not asked any more, or in vain.
        let verdict = check(&until(12), &asked(&[39]));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let unmade = asked(&[39]).probes(49..50, None).probes(59..60, None);
        let verdict = check(&until(12), &unmade);
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        assert!(verdict.reason.unwrap().contains("was not asked any more"));
    }

    #[test]
    fn a_single_sample_that_does_not_hold_is_a_failure_and_one_that_does_no_pass() {
        for (held, status) in [(false, Status::Fail), (true, Status::Inconclusive)] {
            let story = Story::new().healthy(0..60).probes(15..16, Some(held));
            assert_eq!(check(&when("during"), &story).status, status);
        }
    }

    #[test]
    fn samples_that_could_not_be_made_show_nothing() {
        let story = Story::new().healthy(0..60).probes(10..30, None);
        let verdict = check(&when("during"), &story);
        assert_eq!(verdict.status, Status::Inconclusive);
        assert_eq!(verdict.reason.unwrap(), "none of 20 could be made");
        let verdict = check(&when("never"), &Story::new().healthy(0..60));
        assert_eq!(verdict.status, Status::Inconclusive);
    }

    #[test]
    fn a_program_with_a_relative_path_must_be_there() {
        for missing in [
            "./check-cache",
            "src/none/check",
            "../brownout-none/check",
            "src/",
        ] {
            assert!(is_missing(missing), "{missing}");
        }
        // Tests are started in the folder of the crate.
        for other in [
            "./Cargo.toml",
            "src/lib.rs",
            "check-cache",
            "/nowhere/check",
            "./{instance.main.name}",
        ] {
            assert!(!is_missing(other), "{other}");
        }
    }

    #[test]
    fn what_does_not_fit_together_is_a_problem() {
        assert_eq!(
            problems("kind = \"probe\"\nwhen = \"during\""),
            ["expectation needs either `http` or `command`"]
        );
        assert_eq!(
            problems(&when("until-within")),
            ["`within` belongs to `when = \"until-within\"`, and is needed there"]
        );
        let tls = "kind = \"probe\"\nhttp = \"https://127.0.0.1/healthz\"";
        assert_eq!(problems(tls), ["a probe cannot ask over TLS"]);
        for url in [
            "not a url",
            "http://x:99999/",
            "http://x:0/",
            "/healthz",
            "ftp://x/",
            "{instance.main.port}",
        ] {
            let wrong = format!("kind = \"probe\"\nhttp = \"{url}\"");
            let message = format!("`{url}` is no address that can be asked");
            assert_eq!(problems(&wrong), [message]);
        }
        for url in [
            "{instance.main.url}/a?b=c",
            "http://{dependency.s3.address}/x",
            "http://127.0.0.1:{port.api}/",
            "http://[::1]:80/",
            "http://localhost",
        ] {
            assert!(can_be_asked(url), "{url}");
        }
        let nothing = format!("{}\nmin_success = \"0%\"", when("during"));
        assert_eq!(
            problems(&nothing),
            ["`min_success` asks for nothing: everything reaches 0%"]
        );
        let many = format!("{}\nevery = \"100ms\"\ntimeout = \"7s\"", when("during"));
        assert_eq!(
            problems(&many),
            ["more than 64 probes could be under way at once"]
        );
        assert_eq!(problems(&when("durring")), ["unknown when `durring`"]);
    }
}
