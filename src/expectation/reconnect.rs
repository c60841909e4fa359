//! `reconnect`: clients come back soon after a dependency does, and not all in the same moment.
//!
//! Counted are connections at the proxy, in what came after the outage unless `during` says
//! otherwise. How many must come back is the number open for half of the time of the steady phases; they are
//! back when so many are open again, survivors included, and stay so: for half of the next `hold` at least,
//! or of what of it is seen. Where connections come and go so many are open now and then only: there is no
//! failure where as many are back as were open for three quarters of the time. Peak and jitter are of the connections opened anew.
//!
//! The time runs from the end of the outage: the first phase of its aftermath, or, where it has
//! none, the lifting of its last fault. Where no connection was closed since the first fault there
//! is nothing to come back and nothing is said, and so it is of `within` where at no moment fewer
//! were open than must come back.
//!
//! `jitter` has two ways to fail. Clients in lock-step come in waves: more than half of the
//! connections follow another within a quarter of the mean time between them in their fullest
//! second, as would happen by chance in one of a hundred runs at the most (see
//! [`waves`](super::beat::waves)). Jitter that spreads clients over much less than a second is none
//! by that, whatever they call it; connections that come two at a time are no waves. Clients that
//! all wait the same time one after the other make an even beat: the coefficient of variation of
//! the times between connections is less than what is required, by more than its own uncertainty
//! (one-sided, 95 %). Waves are seen of five connections and more, an even beat of six and more; of
//! fewer nothing is said.

use super::{
    Expectation, ExpectationDef, Judgement, Name, Names, Scope, Status,
    beat::{gaps, peak, variation, variation_error, waves},
    names,
    samples::{Quantile, SAMPLES_MIN},
    wire,
};
use crate::{
    history::{Connection, View, Window},
    input::{About, Fields, Key, Problems, Shape},
    policy::connections::{Back, any_closed, back, fewest_open, open_at, seldom_fewer, usual},
    units::{Micros, Rate, format_duration},
};
use std::time::Duration;

/// The stretch over which a peak is counted.
const PEAK_OVER: Duration = Duration::from_secs(1);

/// The fewest gaps of which a variation is claimed.
const GAPS_MIN: usize = 5;

/// So many standard errors above what was measured lies the true value in one of twenty runs.
const ONE_SIDED: f64 = 1.645;

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "reconnect",
    summary: "connections are back in time after a dependency is, without a herd",
    about: About {
        text: "\
            Clients come back soon after the dependency does, and not all in the same moment: \
            `within` for the time, `peak_rate` for the herd, `jitter` for the lock-step.",
        evidence: "\
            Connections at the proxy after the outage, against the number that was open in \
            steady state.",
        doubt: "\
            No connection was closed since the first fault, so that none had to come back; for \
            `jitter`, fewer than six connections.",
        mistakes: &["\
                Only faults that end connections make anybody come back: `restart`, `refuse`, \
                `reset` by connection."],
        related: &["ramp", "restart", "back-off"],
    },
    example: "[[expect]]\nid        = \"MEY21-7\"\nthat      = \"clients come back in time and not in lock-step\"\nkind      = \"reconnect\"\non        = \"object-store\"\nwithin    = \"60s\"\npeak_rate = \"40/s\"\njitter    = 0.5\n",
    keys: &[
        Key::required("on", Shape::Text, "the role or dependency"),
        Key::optional(
            "within",
            Shape::Duration,
            "the time from the end of the outage (its first `aftermath` phase, else its last fault's lifting) until the connections are back",
        ),
        Key::optional(
            "quantile",
            Shape::Text,
            "the part of them that must be back by then: p50, p99 (max)",
        ),
        Key::optional(
            "peak_rate",
            Shape::Rate,
            "the most connections opened in any second",
        ),
        Key::optional(
            "jitter",
            Shape::Number(0.01, 10.0),
            "the least coefficient of variation of the times between new connections, near 0 where they are evenly spaced and about 1 at random; nor may they come in waves (six or more are needed)",
        ),
    ],
    parse,
};

/// See [`DEF`].
#[derive(Debug)]
struct Reconnect {
    on: Name,
    within: Option<Duration>,
    quantile: Quantile,
    peak_rate: Option<Rate>,
    jitter: Option<f64>,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let on = names::dependency(fields, "on", names, problems);
    let within = fields.duration("within", problems);
    let quantile = fields.parsed("quantile", problems, str::parse);
    let peak_rate = fields.rate("peak_rate", problems);
    let jitter = fields.number("jitter", problems);
    if !["within", "peak_rate", "jitter"]
        .iter()
        .any(|key| fields.has(key))
    {
        problems.error(
            fields.source,
            fields.span.clone(),
            format!("{} bounds nothing", fields.name()),
            "say `within = \"60s\"`, `peak_rate = \"40/s\"` or `jitter = 0.5`".to_owned(),
        );
        return None;
    }
    Some(Box::new(Reconnect {
        on: on?,
        within,
        quantile: quantile.unwrap_or(Quantile::MAX),
        peak_rate,
        jitter,
    }))
}

impl Reconnect {
    fn connections<'a>(&self, view: &View<'a>) -> Vec<&'a Connection> {
        let meant = view.dependencies(&self.on);
        let all = view.history.connections.iter();
        all.filter(|one| meant.contains(&&one.dependency)).collect()
    }

    fn back(&self, view: &View<'_>, connections: &[&Connection], bound: Duration) -> Judgement {
        let window = view.window();
        let judgement = |measured: String, count| Judgement::new(window, count, measured);
        let Some(since) = view.outage_ended() else {
            return judgement("nothing".to_owned(), 0).inconclusive("the outage never ended");
        };
        let before = usual(connections, &view.steady());
        let part = |count: usize| (count as f64 * self.quantile.share()).ceil() as usize;
        let wanted = part(before);
        let at_times = part(seldom_fewer(connections, &view.steady()));
        if wanted == 0 {
            return judgement("none open in steady state".to_owned(), 0).inconclusive(
                "no connection was open in the steady phases, so that none can be missed",
            );
        }
        let end = view.history.over();
        let fewest = fewest_open(connections, Window::new(outage_began(view), end));
        if fewest >= at_times.max(1) {
            return judgement(
                format!("at least {fewest} of {before} open all the while"),
                0,
            )
            .inconclusive("so many stayed open that nothing had to come back");
        }
        let after = Window::new(since, end);
        let judged = self.returned(view, connections, after, (wanted, before), bound);
        if judged.status != Status::Fail || at_times == wanted {
            return judged;
        }
        // Where they come and go in steady state, they may be as they were.
        let least = self.returned(view, connections, after, (at_times, before), bound);
        match least.status {
            Status::Fail => judged,
            Status::Pass | Status::Inconclusive => {
                judgement(judged.measured, judged.count).inconclusive(format!(
                    "connections come and go: in steady state {at_times} were open for most of the time, and {wanted} for half of it"
                ))
            }
        }
    }

    /// Whether so many of as many as there were came back in time, and stayed.
    fn returned(
        &self,
        view: &View<'_>,
        connections: &[&Connection],
        after: Window,
        (wanted, before): (usize, usize),
        bound: Duration,
    ) -> Judgement {
        let Window {
            from: since,
            to: end,
        } = after;
        let window = view.window();
        let judgement = |measured: String, count| Judgement::new(window, count, measured);
        let hold = view.scenario.hold;
        let seen = end.since(since);
        let count = before as u64;
        match back(connections, wanted, after, hold) {
            Back::Since(at) => {
                let took = at.since(since);
                let measured = format!("{wanted} of {before} back after {}", format_duration(took));
                let judgement = judgement(measured, count);
                if took > bound {
                    return judgement.fail(format!("it took {}", format_duration(took)));
                }
                judgement
            }
            Back::Unseen(at) if at.since(since) <= bound => {
                let left = format_duration(end.since(at));
                judgement(
                    format!("{wanted} of {before} back {left} before the end"),
                    count,
                )
                .inconclusive(format!("whether they stayed was seen for {left} only"))
            }
            Back::Unseen(_) | Back::Never => {
                let open = open_at(connections, end);
                let measured = format!("{open} of {before} back after {}", format_duration(seen));
                let judgement = judgement(measured, count);
                if seen > bound {
                    judgement.fail(format!(
                        "{wanted} were not back to stay in the {} seen",
                        format_duration(seen)
                    ))
                } else {
                    judgement.inconclusive(format!(
                        "only {} were seen after the outage",
                        format_duration(seen)
                    ))
                }
            }
        }
    }

    fn spread(&self, view: &View<'_>, connections: &[&Connection]) -> Judgement {
        let mut moments: Vec<Micros> = connections
            .iter()
            .map(|one| one.opened)
            .filter(|at| view.contains(*at))
            .collect();
        moments.sort_unstable();
        let count = moments.len() as u64;
        let (at, most) = peak(&moments, PEAK_OVER).unwrap_or_default();
        let between = gaps(&moments);
        let variation = variation(&between);
        let mut measured = format!("{count} opened, at most {most} in a second");
        if let Some(variation) = variation {
            measured.push_str(&format!(", variation {variation:.2}"));
        }
        let judgement = Judgement::new(view.window(), count, measured);
        let is_peak = |rate| wire::is_peak(view, &moments, PEAK_OVER, rate);
        match self.peak_rate.map(|rate| (rate, is_peak(rate))) {
            None | Some((_, Some(false))) => {}
            Some((_, None)) => return judgement.inconclusive(wire::STALLED),
            Some((rate, Some(true))) => {
                return judgement
                    .fail_however_busy(
                        wire::is_storm(&moments, rate.as_per_second()),
                        format!("{most} connections were opened in one second"),
                    )
                    .with([(at, format!("{most} connections in the second from here"))]);
            }
        }
        if count < SAMPLES_MIN {
            return judgement.inconclusive(format!("{count} new connections show nothing"));
        }
        match self.jitter {
            Some(least) => jittered(judgement, &moments, most, least),
            None => judgement,
        }
    }
}

/// When the first fault came into force.
fn outage_began(view: &View<'_>) -> Micros {
    let armed = view.history.faults.iter().map(|span| span.armed);
    armed.min().unwrap_or_default()
}

/// Whether the connections that were opened at these moments came each by itself.
fn jittered(judgement: Judgement, moments: &[Micros], most: usize, least: f64) -> Judgement {
    if let Some(waves) = waves(moments, most, PEAK_OVER) {
        return judgement.fail(format!(
            "they come in lock-step: {} of {} within {} of the one before",
            waves.close,
            moments.len(),
            format_duration(waves.within)
        ));
    }
    let between = gaps(moments);
    if between.len() < GAPS_MIN {
        return judgement.inconclusive(format!(
            "{} times between connections show no jitter, at least {GAPS_MIN} are needed",
            between.len()
        ));
    }
    let found = variation(&between).unwrap_or(0.0);
    let error = variation_error(found, between.len());
    if found >= least {
        judgement
    } else if found + ONE_SIDED * error < least {
        judgement.fail(format!(
            "they come in an even beat: variation {found:.2}, less than {least}"
        ))
    } else {
        judgement.inconclusive(format!(
            "variation {found:.2} of {} times is too uncertain (±{error:.2}) to be called less than {least}",
            between.len()
        ))
    }
}

impl Expectation for Reconnect {
    fn judge(&self, view: &View<'_>) -> Judgement {
        let connections = self.connections(view);
        let since = Window::new(outage_began(view), view.window().to);
        if !connections.is_empty() && !any_closed(&connections, since) {
            let kept = open_at(&connections, since.from);
            let measured = format!("{kept} stayed open");
            return Judgement::new(view.window(), 0, measured).inconclusive(
                "no connection was closed since the first fault, so that none had to come back",
            );
        }
        let back = self
            .within
            .map(|bound| self.back(view, &connections, bound));
        let spread = (self.peak_rate.is_some() || self.jitter.is_some())
            .then(|| self.spread(view, &connections));
        back.into_iter()
            .chain(spread)
            .reduce(Judgement::and)
            .unwrap_or_else(|| {
                Judgement::new(view.window(), 0, "nothing").inconclusive("nothing is bounded")
            })
    }

    fn required(&self) -> String {
        let mut bounds = Vec::new();
        bounds.extend(self.within.map(|within| {
            let part = match self.quantile {
                Quantile::MAX => "back".to_owned(),
                quantile => format!("{quantile} back"),
            };
            format!("{part} within {}", format_duration(within))
        }));
        bounds.extend(self.peak_rate.map(|rate| format!("at most {rate} new")));
        bounds.extend(
            self.jitter
                .map(|jitter| format!("variation at least {jitter}, no waves")),
        );
        format!("connections to `{}` {}", self.on, bounds.join(", "))
    }

    fn scope(&self) -> Scope {
        Scope::Aftermath
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        judge,
        testing::{check, parse, problems},
    };
    use crate::{
        expectation::Status,
        history::{
            History, Observation,
            sample::{self, Story},
        },
        input::Problems,
        scenario::Expect,
        units::Micros,
    };
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const WITHIN: &str = "kind = \"reconnect\"\non = \"queue\"\nwithin = \"5s\"";
    const PEAK: &str = "kind = \"reconnect\"\non = \"queue\"\npeak_rate = \"6/s\"";
    const JITTER: &str = "kind = \"reconnect\"\non = \"queue\"\njitter = 0.5";

    /// Twenty connections from before the run's first second to the outage, and again from these
    /// moments.
    fn back(moments: impl Iterator<Item = u64>) -> Story {
        let story = (0..20).fold(Story::new().healthy(0..60), |story, nth| {
            story.connection("queue", 100 + nth, 10_500)
        });
        moments.fold(story, |story, at| story.connection("queue", at, 60_000))
    }

    #[test]
    fn all_back_in_time_pass_and_a_straggler_fails() {
        let verdict = check(WITHIN, &back((0..20).map(|nth| 30_000 + nth * 200)));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(verdict.measured, "20 of 20 back after 3.8s");
        let late = back((0..20).map(|nth| 30_000 + nth * 300));
        assert_eq!(check(WITHIN, &late).status, Status::Fail);
        let half = format!("{WITHIN}\nquantile = \"p50\"");
        assert_eq!(check(&half, &late).status, Status::Pass);
        let missing = check(WITHIN, &back((0..19).map(|nth| 30_000 + nth)));
        assert_eq!(missing.status, Status::Fail, "{missing:?}");
    }

    #[test]
    fn connections_that_are_closed_again_at_once_are_not_back() {
        let lost = |until: u64| {
            let story = (0..10).fold(Story::new().healthy(0..60), |story, nth| {
                story.connection("queue", 100 + nth, 10_500)
            });
            // Ten each second, for 50 ms.
            (31..until).fold(story, |story, second| {
                (0..10).fold(story, |story, nth| {
                    let at = second * 1_000 + nth;
                    story.connection("queue", at, at + 50)
                })
            })
        };
        let verdict = check(WITHIN, &lost(60));
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        assert!(verdict.measured.starts_with("0 of 10 back"), "{verdict:?}");
        let in_time = (0..10).fold(lost(33), |story, nth| {
            story.connection("queue", 33_000 + nth, 60_000)
        });
        let verdict = check(WITHIN, &in_time);
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(verdict.measured, "10 of 10 back after 3.009s");
        let late = (0..10).fold(lost(37), |story, nth| {
            story.connection("queue", 37_000 + nth, 60_000)
        });
        assert_eq!(check(WITHIN, &late).status, Status::Fail);
        // Seen for half a second.
        let cut = (0..10).fold(lost(32), |story, nth| {
            story.connection("queue", 34_500 + nth, 35_000)
        });
        let verdict = check(WITHIN, &cut.ends(35, Some("interrupted")));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
    }

    #[test]
    fn a_herd_fails_and_a_stream_passes() {
        let stream = back((0..20).map(|nth| 30_000 + nth * 200));
        let verdict = check(PEAK, &stream);
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        let herd = back((0..20).map(|nth| 30_000 + nth * 10));
        assert_eq!(check(PEAK, &herd).status, Status::Fail);
    }

    #[test]
    fn an_even_beat_is_no_jitter() {
        let even = back((0..20).map(|nth| 30_000 + nth * 200));
        assert_eq!(check(JITTER, &even).status, Status::Fail);
        let random = back((0..20).map(|nth: u64| 30_000 + nth * nth * 10));
        assert_eq!(check(JITTER, &random).status, Status::Pass);
        let almost = back([300, 310, 321, 330, 342, 350].iter().map(|at| at * 100));
        let verdict = check(JITTER, &almost);
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        assert!(verdict.reason.unwrap().contains("even beat"));
        // Of so few nobody knows: at random one in ten is like that.
        let perhaps = back([300, 310, 320, 330, 340, 360].iter().map(|at| at * 100));
        let verdict = check(JITTER, &perhaps);
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
    }

    #[test]
    fn waves_are_no_jitter_however_much_the_times_vary() {
        let fails = |moments: &mut dyn Iterator<Item = u64>| {
            let verdict = check(JITTER, &back(moments));
            assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
            let reason = verdict.reason.expect("a reason");
            assert!(reason.contains("lock-step"), "{reason}");
        };
        fails(&mut (0..20).map(|_| 30_000));
        fails(&mut (0..5).map(|nth| 30_000 + nth));
        // Five waves of eight, 1.2 s apart, with a straggler of its own now and then.
        let wave = |nth: u64| 30_000 + nth / 8 * 1_200 + nth % 8 * 2;
        fails(&mut (0..40).map(wave).chain([30_600, 31_700, 33_100]));
        // Thirty-two clients each 250 ms, the last of them 30 ms behind the first.
        fails(&mut (0..320).map(|nth| 30_000 + nth / 32 * 250 + nth % 32));
        // Four in the same moment may be chance.
        let four = check(JITTER, &back((0..4).map(|_| 30_000)));
        assert_eq!(four.status, Status::Inconclusive);
    }

    #[test]
    fn connections_that_come_and_go_are_held_against_how_they_did_before() {
        // Eight that stay, and four more for so many milliseconds of each second.
        let breathing = |before: u64, back_at: u64, after: u64| {
            let stay = (0..8).flat_map(|nth| [(10 + nth, 10_500), (back_at + nth, 60_000)]);
            let more = |from: u64, to: u64, millis: u64| {
                let starts = (from..to).flat_map(|second| [second * 1_000 + 100; 4]);
                starts.map(move |at| (at, at + millis))
            };
            let all = stay
                .chain(more(0, 10, before))
                .chain(more(back_at / 1_000, 60, after));
            all.fold(Story::new().healthy(0..60), |story, (opened, closed)| {
                story.connection("queue", opened, closed)
            })
        };
        let judged = |before, back_at, after| check(WITHIN, &breathing(before, back_at, after));
        assert_eq!(judged(600, 31_000, 600).status, Status::Pass);
        // Half of the time and a little less than half are the same to whoever looks twice.
        let verdict = judged(520, 31_000, 480);
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        assert!(
            verdict
                .reason
                .unwrap()
                .starts_with("connections come and go")
        );
        // Too late is too late, and fewer than ever are too few.
        assert_eq!(judged(520, 36_000, 480).status, Status::Fail);
        assert_eq!(judged(900, 31_000, 480).status, Status::Fail);
    }

    #[test]
    fn a_peak_that_turns_on_a_stall_of_ours_is_not_said() {
        let moments = [30_500, 30_500, 30_500, 30_500, 31_100, 31_200, 31_300];
        let story = back(moments.into_iter());
        assert_eq!(check(PEAK, &story).status, Status::Fail);
        let verdict = check(PEAK, &story.clone().stalled(30_000, 30_500));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let elsewhere = check(PEAK, &story.stalled(33_000, 33_500));
        assert_eq!(elsewhere.status, Status::Fail);
    }

    #[test]
    fn clients_with_true_jitter_pass() {
        for seed in 0..20 {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            // Each of 20 clients comes back within four seconds, at random.
            let one = |_| 30_000 + random.next_u64() % 4_000;
            let verdict = check(JITTER, &back((0..20).map(one)));
            assert_eq!(verdict.status, Status::Pass, "{seed}: {verdict:?}");
        }
    }

    #[test]
    fn without_connections_nothing_is_said() {
        let none = Story::new().healthy(0..60);
        for text in [WITHIN, PEAK, JITTER] {
            assert_eq!(check(text, &none).status, Status::Inconclusive);
        }
        let few = back([30_000, 30_500].into_iter());
        assert_eq!(check(JITTER, &few).status, Status::Inconclusive);
    }

    #[test]
    fn where_nothing_was_closed_nothing_had_to_come_back() {
        let kept = (0..20).fold(Story::new().healthy(0..60), |story, nth| {
            story.connection("queue", 100 + nth, 60_000)
        });
        // A herd of others, which nobody had lost.
        let more = (0..20).fold(kept.clone(), |story, nth| {
            story.connection("queue", 30_000 + nth * 10, 60_000)
        });
        for story in [kept, more] {
            for text in [WITHIN, PEAK, JITTER] {
                let verdict = check(text, &story);
                assert_eq!(verdict.status, Status::Inconclusive, "{text}: {verdict:?}");
                assert!(
                    verdict.measured.starts_with("20 stayed open"),
                    "{verdict:?}"
                );
            }
        }
    }

    #[test]
    fn connections_of_which_enough_stayed_open_all_the_while_say_nothing_of_their_return() {
        let story = |kept: u64| {
            (0..20).fold(Story::new().healthy(0..60), |story, nth| {
                let closed = if nth < kept { 60_000 } else { 10_500 };
                story.connection("queue", 100 + nth, closed)
            })
        };
        let half = format!("{WITHIN}\nquantile = \"p50\"");
        let verdict = check(&half, &story(10));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let verdict = check(&half, &story(9).connection("queue", 31_000, 60_000));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(check(&half, &story(9)).status, Status::Fail);
    }

    /// The same in a run whose aftermath begins at 20 s, with a second fault from there on.
    #[test]
    fn with_an_aftermath_time_counts_from_there_and_else_from_the_last_fault() {
        let story = |first: u64| back((0..20).map(|nth| first + nth * 200));
        let judged = |story: Story, aftermath: bool| {
            let mut scenario = sample::scenario();
            if aftermath {
                let mut phase = sample::scenario().phases.remove(1);
                phase.name = "cold".into();
                phase.aftermath = true;
                phase.faults.clear();
                scenario.phases.insert(2, phase);
            }
            let mut problems = Problems::default();
            let (kind, expectation) = parse(WITHIN, &mut problems).expect("it parses");
            scenario.expects.push(Expect {
                id: "X".into(),
                that: String::new(),
                kind,
                expectation,
                during: Vec::new(),
                span: 0..0,
                extent: 0..0,
            });
            let mut observations = story.observations();
            if aftermath {
                for observation in &mut observations {
                    if let Observation::Phase {
                        index: index @ 2, ..
                    } = observation
                    {
                        *index = 3;
                    }
                }
                let cold = Observation::Phase {
                    at: Micros::from_secs(20),
                    index: 2,
                };
                let at = observations.iter().position(|one| one.at() > cold.at());
                observations.insert(at.expect("later ones"), cold);
            }
            let history = History::from_observations(observations).expect("a header");
            judge(&history, &scenario, &sample::system()).remove(0)
        };
        // Back ten seconds after the aftermath began, and at once when the last fault was lifted.
        let verdict = judged(story(30_000), false);
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        let verdict = judged(story(30_000), true);
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        let verdict = judged(story(20_500), true);
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(verdict.phases, ["cold", "recovery"]);
    }

    #[test]
    fn a_bound_is_needed() {
        assert_eq!(
            problems("kind = \"reconnect\"\non = \"queue\""),
            ["expectation bounds nothing"]
        );
    }
}
