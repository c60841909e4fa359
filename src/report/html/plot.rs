//! Drawing: numbers to the paths and frames of inline SVG.
//!
//! Every plot of a scenario has the same axis: one unit across is one bin. A plot is stretched to
//! the width of the page while its lines keep theirs, and all text stands beside it as HTML, so that
//! it is as sharp and as large on a telephone as on paper.

use super::text::short;
use crate::{
    report::Timeline,
    units::{Micros, format_duration},
};
use maud::{Markup, html};
use std::{fmt::Write, time::Duration};

/// How high a plot is, in its own units.
pub const HEIGHT: i64 = 200;

/// The most marks of the time axis.
const MARKS_MAX: u64 = 8;

/// The distances that marks may have, in seconds.
const MARK_STEPS_S: &[u64] = &[
    1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400,
    172_800, 432_000,
];

/// The axis that all plots of a scenario share.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// What the ids of the scenario's elements begin with.
    pub id: &'a str,
    /// The run.
    pub timeline: &'a Timeline,
}

impl Frame<'_> {
    /// Where a moment lies, in bins.
    pub fn x(self, at: Micros) -> f64 {
        at.0 as f64 / self.timeline.bin_us.max(1) as f64
    }

    /// Where a moment lies, as a share of the width in percent.
    pub fn percent(self, at: Micros) -> f64 {
        (self.x(at) / self.timeline.bins.max(1) as f64 * 100.0).min(100.0)
    }

    /// The moments that the axis marks.
    pub fn marks(self) -> Vec<Micros> {
        let length_us = self.timeline.bin_us * self.timeline.bins as u64;
        let fits = |step: &&u64| length_us / (**step * 1_000_000) <= MARKS_MAX;
        let step = MARK_STEPS_S.iter().find(fits);
        let step_us = step.map_or(length_us.max(1), |seconds| seconds * 1_000_000);
        (0..=length_us / step_us)
            .map(|nth| Micros(nth * step_us))
            .collect()
    }
}

/// How values become heights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// From nothing to a round number.
    Linear {
        /// The value at the top.
        top: f64,
    },
    /// Each power of ten as high as the next.
    Log {
        /// The exponent at the bottom.
        from: i32,
        /// The exponent at the top.
        to: i32,
    },
}

impl Scale {
    /// A linear scale that has room for `most`.
    pub fn linear(most: f64) -> Self {
        let least = most.max(1.0);
        let power = 10f64.powf(least.log10().floor());
        let steps = [1.0, 2.0, 4.0, 5.0, 10.0];
        let fits = |step: &&f64| **step * power >= least * 0.999_999;
        let step = steps.iter().find(fits).copied().unwrap_or(10.0);
        Self::Linear { top: step * power }
    }

    /// A logarithmic scale that has room for all of these.
    pub fn log(values: impl Iterator<Item = f64>) -> Self {
        let values = values.filter(|value| *value > 0.0).map(f64::log10);
        let (least, most) = values.fold((f64::MAX, f64::MIN), |(least, most), value| {
            (least.min(value), most.max(value))
        });
        if least > most {
            return Self::Log { from: 0, to: 1 };
        }
        let from = least.floor() as i32;
        Self::Log {
            from,
            to: (most.ceil() as i32).max(from + 1),
        }
    }

    /// The height of a value.
    pub fn height(self, value: f64) -> i64 {
        let share = match self {
            Self::Linear { top } => value / top,
            Self::Log { from, to } => {
                (value.max(1e-9).log10() - f64::from(from)) / f64::from(to - from)
            }
        };
        (share.clamp(0.0, 1.0) * HEIGHT as f64).round() as i64
    }

    /// The heights that are marked, with their values.
    fn ticks(self) -> Vec<(i64, f64)> {
        let values: Vec<f64> = match self {
            Self::Linear { top } => vec![0.0, top / 2.0, top],
            Self::Log { from, to } => (from..=to).map(|power| 10f64.powi(power)).collect(),
        };
        let heights = values.into_iter().map(|value| (self.height(value), value));
        heights.collect()
    }
}

/// A line of steps, one a bin, that has gaps where there is no value.
pub fn line(heights: impl IntoIterator<Item = Option<i64>>) -> String {
    let mut path = String::new();
    let (mut now, mut run) = (None, 0u32);
    let put = |path: &mut String, run: &mut u32| {
        if *run > 0 {
            let _ = write!(path, "h{run}");
        }
        *run = 0;
    };
    for (x, height) in heights.into_iter().enumerate() {
        match (now, height) {
            (Some(before), Some(after)) if before != after => {
                put(&mut path, &mut run);
                let _ = write!(path, "v{}", before - after);
            }
            (None, Some(height)) => {
                let _ = write!(path, "M{x} {}", HEIGHT - height);
            }
            (_, None) => put(&mut path, &mut run),
            (Some(_), Some(_)) => {}
        }
        run += u32::from(height.is_some());
        now = height;
    }
    put(&mut path, &mut run);
    path
}

/// The area below a line of steps.
pub fn area(heights: impl IntoIterator<Item = i64>) -> String {
    let line = line(heights.into_iter().map(Some));
    if line.is_empty() {
        return line;
    }
    format!("{line}V{HEIGHT}H0z")
}

/// What a plot shows.
#[derive(Debug)]
pub struct Plot {
    /// Its place among the plots of its scenario that have values.
    pub chart: Option<usize>,
    /// How high it is drawn: `tall`, `short`, `lane`.
    pub size: &'static str,
    /// What the marks at its left say.
    pub marks: Vec<(i64, String)>,
    /// The id of the fault spans drawn behind.
    pub shade: Option<String>,
    /// In one sentence, for those who do not see it.
    pub says: String,
    /// The marks on it.
    pub drawn: Markup,
}

impl Plot {
    /// The plot within its frame.
    pub fn markup(&self, frame: Frame<'_>) -> Markup {
        let id = frame.id;
        html! {
            div class={ "plot " (self.size) } {
                div.marks aria-hidden="true" {
                    @for (height, text) in &self.marks {
                        span style=(format!("bottom:{}%", short(*height as f64 * 100.0 / HEIGHT as f64))) { (text) }
                    }
                }
                div.area data-chart=[self.chart] {
                    svg.drawn viewBox={ "0 0 " (frame.timeline.bins) " " (HEIGHT) }
                        preserveAspectRatio="none" role="img" aria-label=(self.says) {
                        @if let Some(shade) = &self.shade { use href={ "#" (shade) } {} }
                        use href={ "#" (id) "-borders" } {}
                        @for (height, _) in &self.marks {
                            path.grid d={ "M0 " (HEIGHT - height) "H" (frame.timeline.bins) } {}
                        }
                        (self.drawn)
                    }
                }
            }
        }
    }
}

/// The marks of a scale of numbers.
pub fn numbers(scale: Scale, unit: &str) -> Vec<(i64, String)> {
    let ticks = scale.ticks().into_iter();
    ticks
        .map(|(height, value)| (height, format!("{}{unit}", short(value))))
        .collect()
}

/// The marks of a scale of microseconds.
pub fn times(scale: Scale) -> Vec<(i64, String)> {
    let text = |micros: f64| format_duration(Duration::from_micros(micros as u64));
    let ticks = scale.ticks().into_iter();
    ticks.map(|(height, value)| (height, text(value))).collect()
}

/// The time axis.
pub fn axis(frame: Frame<'_>) -> Markup {
    html! {
        div.axis aria-hidden="true" {
            @for at in frame.marks() {
                span style=(format!("left:{}%", short(frame.percent(at)))) {
                    (format_duration(Duration::from_micros(at.0)))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_steps_are_one_stroke_and_gaps_stay_open() {
        let heights = [Some(10), Some(10), Some(30), None, Some(0)];
        assert_eq!(line(heights), "M0 190h2v-20h1M4 200h1");
        assert_eq!(line([]), "");
        assert_eq!(area([100, 200]), "M0 100h1v-100h1V200H0z");
    }

    #[test]
    fn scales_have_room_for_everything_and_round_marks() {
        for (most, top) in [
            (0.0, 1.0),
            (3.2, 4.0),
            (20.0, 20.0),
            (101.0, 200.0),
            (51.0, 100.0),
        ] {
            assert_eq!(Scale::linear(most), Scale::Linear { top }, "{most}");
        }
        let scale = Scale::log([2_104.0, 61_000.0].into_iter());
        assert_eq!(scale, Scale::Log { from: 3, to: 5 });
        assert_eq!(scale.height(10_000.0), 100);
        let marks = times(scale);
        let texts: Vec<_> = marks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["1ms", "10ms", "100ms"]);
        assert_eq!(Scale::log([].into_iter()), Scale::Log { from: 0, to: 1 });
    }

    #[test]
    fn the_axis_has_few_round_marks() {
        for (bin_us, bins, step) in [(500_000, 147, 10), (1_000_000, 240, 30), (500_000, 3, 1)] {
            let timeline = Timeline {
                bin_us,
                bins,
                ..Timeline::default()
            };
            let frame = Frame {
                id: "s1",
                timeline: &timeline,
            };
            let marks = frame.marks();
            assert!(marks.len() <= MARKS_MAX as usize + 1);
            assert_eq!(marks.get(1), Some(&Micros::from_secs(step)));
        }
    }
}
