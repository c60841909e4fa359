//! The timeline of a scenario: its phases and faults, and below them on the same axis what the
//! loads saw, what the dependencies were asked, how the processes fared and what work waited.

use super::{
    heading,
    plot::{Frame, HEIGHT, Plot, Scale, area, axis, line, numbers, times},
    text::{fault_name, moment, prose, short},
};
use crate::{
    report::{
        DependencyReport, DependencySeries, FaultReport, LedgerSeries, Life, LifeSpan, LoadSeries,
        ScenarioReport, State, words::counted,
    },
    units::Micros,
};
use maud::{Markup, PreEscaped, html};
use serde_json::{Value, json};

/// How the values of a chart are written by the script.
const PER_SECOND: &str = "rate";
const COUNT: &str = "count";
const MILLIS: &str = "ms";

/// The whole timeline.
pub fn charts(id: &str, scenario: &ScenarioReport) -> Markup {
    let timeline = &scenario.timeline;
    if timeline.bins == 0 {
        return html! {};
    }
    let frame = Frame { id, timeline };
    let began = scenario.phases.iter().find_map(|phase| phase.began);
    let mut drawing = Drawing {
        frame,
        data: Vec::new(),
        first: frame.x(began.unwrap_or_default()).ceil() as usize,
    };
    let loads: Vec<Markup> = timeline.loads.iter().map(|one| drawing.load(one)).collect();
    let dependencies: Vec<Markup> = timeline
        .dependencies
        .iter()
        .enumerate()
        .map(|(place, one)| drawing.dependency(place, one, scenario))
        .collect();
    let ledgers: Vec<Markup> = timeline
        .ledgers
        .iter()
        .map(|one| drawing.ledger(one))
        .collect();
    let bin = crate::units::format_duration(std::time::Duration::from_micros(timeline.bin_us));
    html! {
        (heading(id, "timeline", "What the system did, over time"))
        p.muted {
            "Each step is " (bin) ". Grey: a fault is in force. Dotted lines: a phase begins. "
            "Requests made before the first phase, while everything was set up, may reach beyond a chart's top."
            span.with-script {
                " Point at a chart to read it; drag across a stretch to look closer."
            }
        }
        section.timeline aria-label={ "timeline of " (scenario.title) } {
            (definitions(frame, scenario))
            script.data type="application/json" { (PreEscaped(drawing.json(scenario))) }
            div.strip {
                (phases(frame, scenario))
                (axis(frame))
            }
            @if !scenario.faults.is_empty() {
                h4 { "Faults in force" }
                @for fault in &scenario.faults { (lane(frame, fault)) }
            }
            @if !loads.is_empty() {
                h4 { "What users saw" }
                @for one in &loads { (one) }
            }
            @if !dependencies.is_empty() {
                h4 { "What the dependencies were asked" }
                @for one in &dependencies { (one) }
            }
            @if !timeline.instances.is_empty() {
                h4 { "How the processes fared" }
                @for one in &timeline.instances { (life(frame, one)) }
            }
            @if !ledgers.is_empty() {
                h4 { "Accepted work that waited" }
                @for one in &ledgers { (one) }
            }
            (axis(frame))
        }
    }
}

/// Charts in the making, with the values that the script shows at the cursor.
struct Drawing<'a> {
    frame: Frame<'a>,
    data: Vec<Value>,
    /// The first bin that belongs to a phase alone.
    first: usize,
}

/// The values, where several equal ones that follow each other are one pair: the value, how often.
/// The script undoes it.
fn shortened(values: &[Value]) -> Value {
    let runs = values.chunk_by(|one, next| one == next);
    runs.flat_map(|run| match run {
        [value, _, _, ..] => vec![json!([value, run.len()])],
        few => few.to_vec(),
    })
    .collect()
}

/// A series as the legend names it: its class, which gives it its looks, and its name.
type Key = (&'static str, &'static str);

impl Drawing<'_> {
    /// Keeps the values of a chart; gives its place.
    fn keep(&mut self, unit: &str, mut series: Value) -> usize {
        for values in series.as_array_mut().into_iter().flatten() {
            *values = shortened(values.as_array().map_or(&[], Vec::as_slice));
        }
        self.data.push(json!({ "unit": unit, "series": series }));
        self.data.len() - 1
    }

    /// What the script needs. No text in it can end the element that it stands in.
    fn json(&self, scenario: &ScenarioReport) -> String {
        let timeline = self.frame.timeline;
        let phases = scenario.phases.iter().filter_map(|phase| {
            let (began, ended) = (phase.began?, phase.ended?);
            Some(json!([
                began.as_secs_f64(),
                ended.as_secs_f64(),
                phase.name
            ]))
        });
        let data = json!({
            "bin": timeline.bin_us as f64 / 1e6,
            "bins": timeline.bins,
            "phases": phases.collect::<Vec<_>>(),
            "charts": self.data,
        });
        data.to_string().replace('<', "\\u003c")
    }

    fn rate(&self, count: u64) -> f64 {
        count as f64 * 1e6 / self.frame.timeline.bin_us as f64
    }

    /// The most that is counted in a bin since the first phase: what is done before it, while
    /// everything is set up, may reach beyond the top.
    fn most(&self, count: impl Fn(usize) -> u64) -> u64 {
        let bins = self.first..self.frame.timeline.bins;
        bins.map(count).max().unwrap_or(0)
    }

    fn load(&mut self, load: &LoadSeries) -> Markup {
        html! { (self.outcomes(load)) (self.latencies(load)) }
    }

    /// Rates by outcome, one upon the other, the bad on top.
    fn outcomes(&mut self, load: &LoadSeries) -> Markup {
        const KEYS: &[Key] = &[
            ("ok", "ok"),
            ("degraded", "degraded"),
            ("indeterminate", "indeterminate"),
            ("failed", "failed"),
        ];
        let layers = [&load.ok, &load.degraded, &load.indeterminate, &load.failed];
        let upto = |layer: usize, bin: usize| -> u64 {
            layers[..=layer].iter().map(|counts| counts[bin]).sum()
        };
        let bins = 0..self.frame.timeline.bins;
        let most = self.most(|bin| upto(3, bin));
        let scale = Scale::linear(self.rate(most));
        let sums: Vec<u64> = layers.iter().map(|counts| counts.iter().sum()).collect();
        let chart = self.keep(PER_SECOND, json!(layers));
        // The highest is drawn first, so that each covers all but its own part of it.
        let drawn = (0..layers.len())
            .rev()
            .filter(|layer| sums[*layer] > 0)
            .map(|layer| {
                let heights = bins
                    .clone()
                    .map(|bin| scale.height(self.rate(upto(layer, bin))));
                (KEYS[layer].0, area(heights))
            });
        let drawn: Vec<_> = drawn.collect();
        let frame = self.frame;
        let plot = Plot {
            chart: Some(chart),
            size: "tall",
            marks: numbers(scale, "/s"),
            shade: Some(format!("{}-faults", frame.id)),
            says: format!(
                "Operations of {} a second over time: in all {} ok, {} degraded, {} indeterminate, {} failed.",
                load.name, sums[0], sums[1], sums[2], sums[3]
            ),
            drawn: html! {
                @for (class, path) in &drawn {
                    path class={ "layer " (class) } d=(path) {}
                    @if *class == "degraded" || *class == "indeterminate" {
                        path d=(path) fill={ "url(#" (frame.id) "-" (class) ")" } {}
                    }
                }
            },
        };
        figure(
            html! { code { (load.name) } " answers" },
            KEYS,
            Look::Area,
            &plot,
            frame,
        )
    }

    /// Latencies on a logarithmic scale.
    fn latencies(&mut self, load: &LoadSeries) -> Markup {
        const KEYS: &[Key] = &[("p50", "p50"), ("p90", "p90"), ("p99", "p99")];
        let series = [&load.p50_us, &load.p90_us, &load.p99_us];
        let known = series.iter().flat_map(|one| one.iter().flatten());
        let scale = Scale::log(known.map(|micros| *micros as f64));
        let millis = |micros: &Option<u64>| micros.map(|micros| three_digits(micros as f64 / 1e3));
        let values = series.map(|one| one.iter().map(millis).collect::<Vec<_>>());
        let chart = self.keep(MILLIS, json!(values));
        let slowest = load.p99_us.iter().flatten().max().copied();
        let plot = Plot {
            chart: Some(chart),
            size: "tall",
            marks: times(scale),
            shade: Some(format!("{}-faults", self.frame.id)),
            says: format!(
                "Time to answer of {} over time: p50, p90 and p99; the highest p99 of a step is {}.",
                load.name,
                super::text::span_or_dash(slowest)
            ),
            drawn: html! {
                @for (place, one) in series.iter().enumerate() {
                    @let heights = one.iter().map(|value| value.map(|micros| scale.height(micros as f64)));
                    path class={ "line " (KEYS[place].0) } d=(line(heights)) {}
                }
            },
        };
        let name = html! { code { (load.name) } " time to answer" };
        figure(name, KEYS, Look::Line, &plot, self.frame)
    }

    fn dependency(
        &mut self,
        place: usize,
        series: &DependencySeries,
        scenario: &ScenarioReport,
    ) -> Markup {
        if series.attempts.iter().all(|count| *count == 0) {
            return html! {
                p.never-asked { code { (series.name) } span.muted { " was never asked" } }
            };
        }
        let report = scenario.dependencies.get(place);
        let role = report.and_then(|one| one.role.as_deref());
        let shade = format!("{}-d{place}", self.frame.id);
        html! {
            (self.requests(series, role, &shade))
            (self.in_flight(series, &shade))
        }
    }

    fn requests(&mut self, one: &DependencySeries, role: Option<&str>, shade: &str) -> Markup {
        const KEYS: &[Key] = &[
            ("calls", "calls"),
            ("attempts", "attempts"),
            ("errors", "of these errors"),
        ];
        let series = [&one.calls, &one.attempts, &one.errors];
        let sums = series.map(|counts| counts.iter().sum::<u64>());
        let most = self.most(|bin| one.attempts[bin].max(one.calls[bin]));
        let scale = Scale::linear(self.rate(most));
        let chart = self.keep(PER_SECOND, json!(series));
        let heights = |counts: &Vec<u64>| -> Vec<i64> {
            let heights = counts.iter().map(|count| scale.height(self.rate(*count)));
            heights.collect()
        };
        let plot = Plot {
            chart: Some(chart),
            size: "short",
            marks: numbers(scale, "/s"),
            shade: Some(shade.to_owned()),
            says: format!(
                "Requests to {} a second over time: in all {}, {}, of these {}.",
                one.name,
                counted(sums[0], "call"),
                counted(sums[1], "attempt"),
                counted(sums[2], "error")
            ),
            drawn: html! {
                @if sums[2] > 0 { path.layer.errors d=(area(heights(&one.errors))) {} }
                path.line.attempts d=(line(heights(&one.attempts).into_iter().map(Some))) {}
                path.line.calls d=(line(heights(&one.calls).into_iter().map(Some))) {}
            },
        };
        let name = html! {
            code { (one.name) } " requests"
            @if let Some(role) = role.filter(|role| *role != one.name) {
                span.muted { " (" (role) ")" }
            }
        };
        figure(name, KEYS, Look::Line, &plot, self.frame)
    }

    fn in_flight(&mut self, one: &DependencySeries, shade: &str) -> Markup {
        const KEYS: &[Key] = &[("in-flight", "most at one moment")];
        let most = one.in_flight.iter().max().copied().unwrap_or(0);
        let scale = Scale::linear(most as f64);
        let chart = self.keep(COUNT, json!([one.in_flight]));
        let heights = one
            .in_flight
            .iter()
            .map(|count| scale.height(*count as f64));
        let plot = Plot {
            chart: Some(chart),
            size: "tiny",
            marks: bounds(scale),
            shade: Some(shade.to_owned()),
            says: format!(
                "Requests to {} in flight over time: at most {most}.",
                one.name
            ),
            drawn: html! { path.layer.in-flight d=(area(heights)) {} },
        };
        let name = html! { code { (one.name) } " in flight" };
        figure(name, KEYS, Look::Area, &plot, self.frame)
    }

    fn ledger(&mut self, ledger: &LedgerSeries) -> Markup {
        const KEYS: &[Key] = &[("waiting", "waiting")];
        let most = ledger.waiting.iter().max().copied().unwrap_or(0);
        let scale = Scale::linear(most as f64);
        let chart = self.keep(COUNT, json!([ledger.waiting]));
        let heights = ledger
            .waiting
            .iter()
            .map(|count| scale.height(*count as f64));
        let plot = Plot {
            chart: Some(chart),
            size: "short",
            marks: numbers(scale, ""),
            shade: Some(format!("{}-faults", self.frame.id)),
            says: format!(
                "Backlog of {} over time: at most {}, {} left at the end.",
                ledger.name, ledger.peak.0, ledger.left
            ),
            drawn: html! { path.layer.waiting d=(area(heights)) {} },
        };
        let name = html! { code { (ledger.name) } " backlog" };
        figure(name, KEYS, Look::Area, &plot, self.frame)
    }
}

/// The top mark alone, for plots that have room for no more.
fn bounds(scale: Scale) -> Vec<(i64, String)> {
    numbers(scale, "").into_iter().skip(2).collect()
}

/// How the legend draws a series.
#[derive(Debug, Clone, Copy)]
enum Look {
    Area,
    Line,
}

fn figure(name: Markup, keys: &[Key], look: Look, plot: &Plot, frame: Frame<'_>) -> Markup {
    html! {
        figure.chart {
            figcaption {
                span.name { (name) }
                ul.legend {
                    @for (series, (class, text)) in keys.iter().enumerate() {
                        li { (swatch(class, look)) (text) " " b.value data-series=(series) {} }
                    }
                }
            }
            (plot.markup(frame))
        }
    }
}

fn swatch(class: &str, look: Look) -> Markup {
    html! {
        svg.swatch viewBox="0 0 20 10" aria-hidden="true" {
            @match (look, class) {
                (Look::Line, "errors") | (Look::Area, _) => {
                    rect class={ "layer " (class) } width="20" height="10" {}
                    @if class == "degraded" { path d="M3 10L9 0H13L7 10zM13 10L19 0H20V5L17 10z" class="mark" {} }
                    @if class == "indeterminate" { path d="M0 0H20V3H0zM0 6H20V9H0z" class="mark" {} }
                }
                (Look::Line, _) => path class={ "line " (class) } d="M0 5H20" {},
            }
        }
    }
}

/// What the plots of a scenario share: patterns, phase borders, and the spans of faults, of all
/// and of each dependency's own.
fn definitions(frame: Frame<'_>, scenario: &ScenarioReport) -> Markup {
    let id = frame.id;
    // As wide as it is high at the width of a desktop's page.
    let step = frame.timeline.bins as f64 / 130.0;
    let all: Vec<&FaultReport> = scenario.faults.iter().collect();
    let begun = scenario.phases.iter().filter_map(|phase| phase.began);
    html! {
        svg.definitions width="0" height="0" aria-hidden="true" focusable="false" {
            defs {
                pattern id={ (id) "-degraded" } width=(short(step)) height="14" patternUnits="userSpaceOnUse" {
                    path.mark d=(format!("M0 14L{} 0H{}L{} 14z", short(step * 0.5), short(step * 0.9), short(step * 0.4))) {}
                }
                pattern id={ (id) "-indeterminate" } width=(short(step)) height="12" patternUnits="userSpaceOnUse" {
                    rect.mark width=(short(step)) height="5" {}
                }
                g id={ (id) "-borders" } {
                    @for at in begun.skip(1) {
                        path.border d={ "M" (short(frame.x(at))) " 0V" (HEIGHT) } {}
                    }
                }
                (shade(frame, "faults", &all))
                @for (place, one) in scenario.dependencies.iter().enumerate() {
                    (shade(frame, &format!("d{place}"), &of_dependency(scenario, one)))
                }
            }
        }
    }
}

/// The faults on one dependency, by its name or its role.
fn of_dependency<'a>(scenario: &'a ScenarioReport, one: &DependencyReport) -> Vec<&'a FaultReport> {
    let on_it = |fault: &&FaultReport| fault.on == one.name || Some(&fault.on) == one.role.as_ref();
    scenario.faults.iter().filter(on_it).collect()
}

/// When any of these faults was in force, as shaded spans.
fn shade(frame: Frame<'_>, name: &str, faults: &[&FaultReport]) -> Markup {
    html! {
        g id={ (frame.id) "-" (name) } {
            @for (from, to) in in_force(faults) {
                rect.shade x=(short(frame.x(from))) width=(short(frame.x(to) - frame.x(from))) height=(HEIGHT) {}
            }
        }
    }
}

/// The times at which at least one of these faults was in force, joined where they touch.
fn in_force(faults: &[&FaultReport]) -> Vec<(Micros, Micros)> {
    let spans = faults
        .iter()
        .filter_map(|fault| fault.armed.zip(fault.lifted));
    let mut spans: Vec<(Micros, Micros)> = spans.collect();
    spans.sort_unstable();
    let mut joined: Vec<(Micros, Micros)> = Vec::new();
    for (from, to) in spans {
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}

/// The phases as bands.
fn phases(frame: Frame<'_>, scenario: &ScenarioReport) -> Markup {
    html! {
        ol.bands {
            @for (nth, phase) in scenario.phases.iter().enumerate() {
                @if let (Some(began), Some(ended)) = (phase.began, phase.ended) {
                    @let (left, right) = (frame.percent(began), frame.percent(ended));
                    li data-from=(short(frame.x(began))) data-to=(short(frame.x(ended)))
                        style=(format!("left:{}%;width:{}%", short(left), short(right - left)))
                        title=(phase.name) {
                        b { (nth + 1) } " " (phase.name)
                    }
                }
            }
        }
    }
}

/// A fault's time in force.
fn lane(frame: Frame<'_>, fault: &FaultReport) -> Markup {
    let acted = match fault.hits {
        0 => "never acted".to_owned(),
        1 => "acted once".to_owned(),
        hits => format!("acted {hits} times"),
    };
    let span = fault.armed.zip(fault.lifted);
    let when = span.map_or_else(
        || "never in force".to_owned(),
        |(armed, lifted)| format!("in force {} – {}", moment(armed), moment(lifted)),
    );
    let plot = Plot {
        chart: None,
        size: "lane",
        marks: Vec::new(),
        shade: None,
        says: format!("{}: {when}, {acted}", fault.label),
        drawn: html! {
            @if let Some((armed, lifted)) = span {
                rect.fault x=(short(frame.x(armed))) width=(short(frame.x(lifted) - frame.x(armed))) height=(HEIGHT) {}
            }
        },
    };
    html! {
        figure.chart.narrow {
            figcaption {
                span.name { b { (fault_name(fault.id)) } " " (prose(&fault.label)) }
                span.muted { (acted) }
            }
            (plot.markup(frame))
        }
    }
}

/// An instance's states, the fuller the better it was.
fn life(frame: Frame<'_>, life: &Life) -> Markup {
    let told: Vec<String> = life
        .spans
        .iter()
        .map(|span| format!("{} at {}", span.because, moment(span.from)))
        .collect();
    let plot = Plot {
        chart: None,
        size: "lane",
        marks: Vec::new(),
        shade: None,
        says: format!("{}: {}", life.instance, told.join(", ")),
        drawn: html! { @for span in &life.spans { (state(frame, span)) } },
    };
    html! {
        figure.chart.narrow {
            figcaption {
                span.name { code { (life.instance) } }
                span.muted { (told.join(" · ")) }
            }
            (plot.markup(frame))
        }
    }
}

fn state(frame: Frame<'_>, span: &LifeSpan) -> Markup {
    let (class, height) = match span.state {
        State::Ready => ("ready", HEIGHT),
        State::NotReady => ("not-ready", HEIGHT / 2),
        State::Paused => ("paused", HEIGHT / 2),
        State::Starting | State::Stopping => ("starting", HEIGHT / 2),
        State::Gone => ("gone", HEIGHT / 10),
    };
    html! {
        rect class={ "state " (class) } x=(short(frame.x(span.from))) y=(HEIGHT - height)
            width=(short(frame.x(span.to) - frame.x(span.from))) height=(height) {}
    }
}

/// A number with three digits that count, so that the page stays small.
fn three_digits(value: f64) -> f64 {
    if value <= 0.0 {
        return 0.0;
    }
    let unit = 10f64.powi(value.log10().floor() as i32 - 2);
    let rounded = (value / unit).round() * unit;
    // Away with what binary fractions add.
    (rounded * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_force_are_joined_where_they_touch() {
        let fault = |armed: u64, lifted: u64| FaultReport {
            id: 0,
            label: String::new(),
            kind: "hang".to_owned(),
            on: "s3".to_owned(),
            phase: String::new(),
            hits: 0,
            armed: Some(Micros(armed)),
            lifted: Some(Micros(lifted)),
        };
        let faults = [fault(20, 30), fault(5, 10), fault(7, 20)];
        let all: Vec<&FaultReport> = faults.iter().collect();
        assert_eq!(in_force(&all), [(Micros(5), Micros(30))]);
        assert_eq!(in_force(&all[..2]).len(), 2);
    }

    #[test]
    fn numbers_keep_three_digits() {
        assert_eq!(three_digits(2.104_4), 2.1);
        assert_eq!(three_digits(61_049.0), 61_000.0);
        assert_eq!(three_digits(0.012_345), 0.0123);
        assert_eq!(three_digits(0.0), 0.0);
    }
}
