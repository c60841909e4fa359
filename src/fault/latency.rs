//! `latency`: bytes or requests come later, by a law.
//!
//! On tcp, and on http and s3 where it picks nothing, it delays the bytes of connections: each
//! chunk leaves so long after it arrived, so that throughput stays as it is. On http and s3, as soon
//! as it picks (`when`, `share`, `first` …), it delays single requests: before they are forwarded,
//! or with `direction = "down"` their answers. `by = "connection"` without `when` keeps it on bytes.

use super::{
    Acts, Behaviour, By, ConnectionEvent, Context, Decision, Direction, End, FaultDef, Gate, Group,
    Latency as Shape, StreamShape, Then,
    keys::{self, Delays, Level},
};
use crate::{
    input::About,
    input::Key,
    protocol::{Call, Protocol},
};

const KEYS: [Key; 8] = keys::joined(keys::LAW, &[keys::DIRECTION]);

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "latency",
    group: Group::Stream,
    summary: "bytes or requests come later, by a law; throughput stays",
    about: About {
        text: "\
            Everything takes longer, by a law: always the same, uniform, normal, log-normal, \
            with Pareto's heavy tail, or as it was recorded. Time is counted from the arrival of \
            each chunk, so that throughput stays as it is: it is distance and not narrowness. As \
            soon as it picks requests (`when`, `share`, `first`) it delays single requests \
            instead: those that came together side by side, but with `direction = \"down\"` the \
            answers of a pipeline one after the other.",
        evidence: "\
            Each delayed request, or connection whose bytes were delayed, is an act.",
        doubt: "",
        mistakes: &[
            "\
                A mean says little: an outage is felt in the tail. `log_normal` or `pareto` come \
                nearer to real dependencies than `delay`.",
            "\
                A delay just below the client's time-out is the meanest one: nothing fails and \
                everything piles up.",
        ],
        related: &["late-reply", "bandwidth", "overload", "hang"],
    },
    example: "[[phase.fault]]\nkind       = \"latency\"\non         = \"object-store\"\nlog_normal = { median = \"80ms\", sigma = 0.6 }\n",
    example_protocol: Protocol::Tcp,
    keys: &KEYS,
    refuses: &[],
    ramps: &["delay"],
    carried_by: keys::any_protocol,
    parse: |fields, protocol, gate, problems| {
        let level = level(protocol, gate);
        let default: &[Direction] = match level {
            Level::Connection => &[Direction::Down],
            Level::Request => &[Direction::Up],
        };
        let directions = keys::directions(fields, default, problems);
        Some(Box::new(Latency {
            delays: Delays::parse(fields, gate, problems)?,
            level,
            directions,
        }))
    },
};

fn level(protocol: Protocol, gate: &Gate) -> Level {
    let picks = gate.picks() || gate.by.as_ref().is_some_and(|by| *by != By::Connection);
    if picks {
        keys::level(protocol, gate)
    } else {
        Level::Connection
    }
}

#[derive(Debug)]
struct Latency {
    delays: Delays,
    level: Level,
    directions: &'static [Direction],
}

impl Behaviour for Latency {
    fn request(&self, _: &Call, context: &Context) -> Option<Decision> {
        if self.level == Level::Connection {
            return None;
        }
        let delay = self.delays.draw(context);
        if delay.is_zero() {
            // A ramp that begins with nothing, and what a law draws now and then.
            return None;
        }
        let mut decision = Decision::default();
        if self.directions.contains(&Direction::Up) {
            decision.delay = delay;
        }
        if self.directions.contains(&Direction::Down) {
            decision.end = Some(End::Forward(Then::Late(delay)));
        }
        Some(decision)
    }

    fn stream(&self, _: &ConnectionEvent, context: &Context) -> Vec<(Direction, StreamShape)> {
        if self.level == Level::Request {
            return Vec::new();
        }
        let law = self.delays.at(context.progress);
        let shape = |direction| {
            StreamShape::Latency(Shape {
                law: law.clone(),
                stream: keys::stream_of(context, direction),
            })
        };
        self.directions
            .iter()
            .map(|direction| (*direction, shape(*direction)))
            .collect()
    }

    fn acts(&self) -> Acts {
        match self.level {
            Level::Connection => Acts::STREAMS,
            Level::Request => Acts::REQUESTS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::sample;
    use Protocol::{Http, S3, Tcp};

    use crate::{fault::Law, units::Micros};
    use std::time::Duration;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn law(keys: &str, at: Micros) -> Law {
        let set = sample::set(&format!("kind = 'latency'\non = 'x'\n{keys}"), Tcp);
        let plan = set.streams(&sample::accepted(1), at);
        match &plan.effects[0].shape {
            StreamShape::Latency(latency) => latency.law.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_law_is_read() {
        let zero = Micros(0);
        for (keys, expected) in [
            ("delay = '80ms'", Law::Constant(ms(80))),
            ("uniform = ['10ms', '50ms']", Law::Uniform(ms(10), ms(50))),
            ("exponential = '80ms'", Law::Exponential(ms(80))),
            (
                "normal = { mean = '80ms', deviation = '5ms' }",
                Law::Normal(ms(80), ms(5)),
            ),
            (
                "log_normal = { median = '80ms', sigma = 0.6 }",
                Law::LogNormal(ms(80), 0.6),
            ),
            (
                "pareto = { scale = '20ms', shape = 1.5 }",
                Law::Pareto(ms(20), 1.5),
            ),
            (
                "recorded = ['1ms', '2ms']",
                Law::Recorded([ms(1), ms(2)].into()),
            ),
        ] {
            assert_eq!(law(keys, zero), expected, "{keys}");
        }
    }

    #[test]
    fn a_ramp_moves_the_delay_over_the_phase() {
        let ramp = "ramp = { delay = ['0s', '2s'] }";
        for (at, delay) in [(0, ms(0)), (5, ms(1000)), (10, ms(2000)), (99, ms(2000))] {
            assert_eq!(law(ramp, Micros::from_secs(at)), Law::Constant(delay));
        }
    }

    #[test]
    fn a_delay_of_nothing_acts_on_no_request() {
        let text = "kind = 'latency'\non = 'x'\nby = 'key'\nramp = { delay = ['0s', '2s'] }";
        let set = sample::set(text, S3);
        let call = sample::call(S3, "GET", "/b/k");
        assert!(set.request(&call, Micros(0)).is_pass());
        assert_eq!(set.faults()[0].hits(), 0);
        assert_eq!(set.request(&call, Micros::from_secs(5)).delay, ms(1000));
        assert_eq!(set.faults()[0].hits(), 1);
    }

    #[test]
    fn what_picks_nothing_delays_bytes_and_what_picks_delays_requests() {
        for (keys, on_bytes) in [
            ("", true),
            ("by = 'connection'\nshare = '50%'", true),
            ("share = '50%'", false),
            ("by = 'key'", false),
            ("when = { method = 'GET' }", false),
            ("when = { method = 'GET' }\nby = 'connection'", false),
        ] {
            let text = format!("kind = 'latency'\non = 'x'\ndelay = '1s'\n{keys}");
            let set = sample::set(&text, S3);
            assert_eq!(set.acts_on_streams(), on_bytes, "{keys}");
            assert_eq!(set.acts_on_requests(), !on_bytes, "{keys}");
        }
    }

    #[test]
    fn requests_that_match_come_later_and_others_do_not() {
        let text = "kind = 'latency'\non = 'x'\ndelay = '1s'\nwhen = { method = 'GET' }\n";
        let (get, put) = (
            sample::call(Http, "GET", "/"),
            sample::call(Http, "PUT", "/"),
        );
        let set = sample::set(text, Http);
        assert_eq!(set.request(&get, Micros(0)).delay, ms(1000));
        assert!(set.request(&put, Micros(0)).is_pass());
        let down = sample::set(&format!("{text}direction = 'both'"), Http);
        let decision = down.request(&get, Micros(0));
        assert_eq!(decision.delay, ms(1000));
        assert_eq!(decision.end, Some(End::Forward(Then::Late(ms(1000)))));
    }

    #[test]
    fn a_drawn_delay_belongs_to_the_request_whatever_came_before() {
        let text = "kind = 'latency'\non = 'x'\nuniform = ['0s', '1s']\nby = 'request'";
        let calls = sample::calls(Http, "GET", "/", 20);
        let delays = |calls: &mut dyn Iterator<Item = &Call>| -> Vec<Duration> {
            let set = sample::set(text, Http);
            calls
                .map(|call| set.request(call, Micros(0)).delay)
                .collect()
        };
        let forward = delays(&mut calls.iter());
        let mut backward = delays(&mut calls.iter().rev());
        backward.reverse();
        assert_eq!(forward, backward);
        assert_ne!(forward[0], forward[1]);
    }

    #[test]
    fn a_delay_must_be_given_once() {
        for (keys, said) in [
            ("", "has no delay"),
            ("delay = '1s'\nrecorded = ['1s']", "given 2 times"),
            (
                "delay = '1s'\nramp = { delay = ['0s', '1s'] }",
                "given 2 times",
            ),
            ("uniform = ['2s', '1s']", "backwards"),
            ("uniform = ['2s']", "two durations"),
            ("recorded = []", "at least one"),
            ("recorded = ['1s', '61min']", "too long"),
            ("ramp = { delay = ['2h', '0s'] }", "too long"),
            ("pareto = { scale = '0s', shape = 1.0 }", "above zero"),
            ("exponential = '0s'", "above zero"),
            ("ramp = { delay = ['0s'] }", "two values"),
            (
                "delay = '1s'\nramp = { rate = ['1B/s', '2B/s'] }",
                "cannot ramp",
            ),
        ] {
            let text = format!("kind = 'latency'\non = 'x'\n{keys}");
            let problems = sample::read(&text, Tcp).unwrap_err();
            assert!(problems[0].contains(said), "{keys}: {problems:?}");
        }
    }
}
