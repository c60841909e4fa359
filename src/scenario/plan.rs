//! What a run will do and when, before anything is started.

use super::{Arrivals, Lasts, Load, Pace, Phase, RequestTemplate, Scenario, System};
use crate::{
    expectation::judged_phases,
    fault::FaultId,
    input::without_secrets,
    units::{Micros, Rate, format_duration},
};
use std::{fmt, sync::Arc, time::Duration};

/// The shortest a phase can become by `--speed`.
const PHASE_MIN: Duration = Duration::from_millis(1);

/// What happens when. Times are counted from the start of the first phase, when the system is
/// ready.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// The scenario's title.
    pub title: String,
    /// The system's name.
    pub system: String,
    /// The factor by which phases of a fixed length are shortened.
    pub speed: f64,
    /// The phases, in order, without gaps.
    pub phases: Vec<PlannedPhase>,
    /// The loads, all of them from the first phase to the last.
    pub loads: Vec<PlannedLoad>,
    /// What is required.
    pub expects: Vec<PlannedExpect>,
}

/// A phase with its times.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedPhase {
    /// Its place, from 0.
    pub index: usize,
    /// Its name.
    pub name: Arc<str>,
    /// When it begins.
    pub begins: Micros,
    /// When it ends; the latest moment where `at_most`.
    pub ends: Micros,
    /// Whether it may end earlier.
    pub at_most: bool,
    /// Whether it is the baseline.
    pub steady: bool,
    /// Whether the outage is over and its faults are what the recovery meets.
    pub aftermath: bool,
    /// What it stands for on the real clock.
    pub happened: Option<String>,
    /// Loads whose rate it changes, and the factor.
    pub loads: Vec<(Arc<str>, f64)>,
    /// Its faults: number and label.
    pub faults: Vec<(FaultId, String)>,
    /// The ids of the expectations that are judged over this phase.
    pub expects: Vec<Arc<str>>,
}

impl PlannedPhase {
    /// How long it lasts, at most.
    pub fn lasts(&self) -> Duration {
        self.ends.since(self.begins)
    }
}

/// A load as planned.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedLoad {
    /// Its name.
    pub name: Arc<str>,
    /// Operations a second.
    pub rate: Rate,
    /// When they begin.
    pub arrivals: Arrivals,
    /// `POST /bots/{bot}/ask`.
    pub request: String,
}

/// An expectation as planned.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedExpect {
    /// Its id.
    pub id: Arc<str>,
    /// What it says.
    pub that: String,
    /// What is required, in words.
    pub required: String,
    /// The phases that it is judged over.
    pub during: Vec<Arc<str>>,
}

/// When a run of this scenario does what. `speed` shortens phases of a fixed length and nothing
/// else; a factor that is not above zero counts as 1.
pub fn plan(scenario: &Scenario, system: &System, speed: f64) -> Timeline {
    let speed = if speed.is_finite() && speed > 0.0 {
        speed
    } else {
        1.0
    };
    let mut begins = Micros(0);
    let mut phases = Vec::with_capacity(scenario.phases.len());
    for (index, phase) in scenario.phases.iter().enumerate() {
        let ends = begins + shortened(phase.lasts, speed);
        phases.push(planned_phase(scenario, index, phase, begins, ends));
        begins = ends;
    }
    Timeline {
        title: scenario.title.clone(),
        system: system.name.clone(),
        speed,
        phases,
        loads: system.loads.iter().map(planned_load).collect(),
        expects: planned_expects(scenario),
    }
}

fn shortened(lasts: Lasts, speed: f64) -> Duration {
    match lasts {
        Lasts::For(length) => Duration::try_from_secs_f64(length.as_secs_f64() / speed)
            .unwrap_or(length)
            .max(PHASE_MIN),
        Lasts::UntilSteady { at_most } => at_most,
    }
}

fn planned_phase(
    scenario: &Scenario,
    index: usize,
    phase: &Phase,
    begins: Micros,
    ends: Micros,
) -> PlannedPhase {
    let judged = |expect: &&super::Expect| judged_phases(expect, scenario).contains(&index);
    PlannedPhase {
        index,
        name: Arc::clone(&phase.name),
        begins,
        ends,
        at_most: matches!(phase.lasts, Lasts::UntilSteady { .. }),
        steady: phase.steady,
        aftermath: phase.aftermath,
        happened: phase.happened.clone(),
        loads: phase.loads.clone(),
        faults: phase
            .faults
            .iter()
            .map(|fault| (fault.id, fault.label.clone()))
            .collect(),
        expects: scenario
            .expects
            .iter()
            .filter(judged)
            .map(|expect| Arc::clone(&expect.id))
            .collect(),
    }
}

fn planned_load(load: &Load) -> PlannedLoad {
    let RequestTemplate { method, path, .. } = &load.request;
    PlannedLoad {
        name: Arc::clone(&load.name),
        rate: load.rate,
        arrivals: load.arrivals,
        request: without_secrets(&format!("{method} {}", path.0)),
    }
}

fn planned_expects(scenario: &Scenario) -> Vec<PlannedExpect> {
    let name = |index: &usize| {
        scenario
            .phases
            .get(*index)
            .map(|phase| Arc::clone(&phase.name))
    };
    scenario
        .expects
        .iter()
        .map(|expect| PlannedExpect {
            id: Arc::clone(&expect.id),
            that: expect.that.clone(),
            required: expect.expectation.required(),
            during: judged_phases(expect, scenario)
                .iter()
                .filter_map(name)
                .collect(),
        })
        .collect()
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        writeln!(f, "system {}{}", self.system, self.length())?;
        writeln!(f, "\n{:>9}  {:>9}  phase", "from", "to")?;
        for phase in &self.phases {
            write_phase(f, phase)?;
        }
        if !self.loads.is_empty() {
            writeln!(f, "\nload")?;
        }
        for load in &self.loads {
            let arrivals = match load.arrivals {
                Arrivals::Constant => "evenly spaced",
                Arrivals::Poisson => "Poisson",
            };
            writeln!(
                f,
                "  {}: {} {arrivals}, {}",
                load.name, load.rate, load.request
            )?;
        }
        writeln!(f, "\nrequired")?;
        for expect in &self.expects {
            write_expect(f, expect, self.phases.len())?;
        }
        Ok(())
    }
}

impl Timeline {
    /// How the rate of a load changes.
    pub fn pace(&self, load: &str) -> Pace {
        let changes = |phase: &PlannedPhase| {
            let named = phase.loads.iter().find(|(name, _)| **name == *load);
            named.map(|(_, factor)| (phase.begins, phase.ends, *factor))
        };
        let seconds = |at: Micros| at.since(Micros(0)).as_secs_f64();
        self.phases.iter().filter_map(changes).fold(
            Pace::default(),
            |pace, (begins, ends, factor)| {
                pace.from(seconds(begins), factor).from(seconds(ends), 1.0)
            },
        )
    }

    /// The whole length in words: `, 55s, at most 60s more for the recovery, at speed 4x`.
    fn length(&self) -> String {
        let at_most: Duration = self
            .phases
            .iter()
            .filter(|phase| phase.at_most)
            .map(PlannedPhase::lasts)
            .sum();
        let whole: Duration = self.phases.iter().map(PlannedPhase::lasts).sum();
        let mut text = format!(", {}", format_duration(whole.saturating_sub(at_most)));
        if !at_most.is_zero() {
            text += &format!(" and at most {} of recovery", format_duration(at_most));
        }
        if self.speed != 1.0 {
            text += &format!(", at speed {}x", self.speed);
        }
        text
    }
}

fn write_phase(f: &mut fmt::Formatter<'_>, phase: &PlannedPhase) -> fmt::Result {
    let moment = |at: Micros| format_duration(at.since(Micros(0)));
    let to = if phase.at_most {
        format!("≤ {}", moment(phase.ends))
    } else {
        moment(phase.ends)
    };
    write!(f, "{:>9}  {to:>9}  {}", moment(phase.begins), phase.name)?;
    if phase.steady {
        write!(f, " (the baseline)")?;
    }
    if phase.aftermath {
        write!(f, " (the outage is over)")?;
    }
    if let Some(happened) = &phase.happened {
        write!(f, " [{happened}]")?;
    }
    writeln!(f)?;
    for (load, factor) in &phase.loads {
        writeln!(f, "{:22}- {factor} times the load {load}", "")?;
    }
    for (_, label) in &phase.faults {
        writeln!(f, "{:22}- {label}", "")?;
    }
    if !phase.expects.is_empty() {
        writeln!(f, "{:22}judged: {}", "", phase.expects.join(", "))?;
    }
    Ok(())
}

fn write_expect(
    f: &mut fmt::Formatter<'_>,
    expect: &PlannedExpect,
    phase_count: usize,
) -> fmt::Result {
    writeln!(f, "  {}: {}", expect.id, expect.that)?;
    write!(f, "    {}", expect.required)?;
    if expect.during.len() == phase_count {
        writeln!(f, "; all the time")
    } else {
        writeln!(f, "; during {}", expect.during.join(", "))
    }
}
