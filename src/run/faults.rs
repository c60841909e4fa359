//! Puts a phase's faults in force and lifts them again.

use super::FaultTick;
use crate::{
    fault::{Active, FaultId, FaultSet, Switch, default_by},
    history::{Observation, Recorder},
    scenario::{FaultSpec, Phase, System, Target},
    seed::Seed,
    units::Micros,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// The switches of all dependencies, in the system's order, and what is in force on them.
/// Dropping it heals: every switch is emptied.
#[derive(Debug)]
pub struct Board {
    switches: Vec<Switch>,
    seed: Seed,
    recorder: Recorder,
    in_force: BTreeMap<FaultId, InForce>,
}

#[derive(Debug)]
struct InForce {
    label: String,
    actives: Vec<Arc<Active>>,
    /// Hits of process faults, which no proxy counts.
    process_hits: u64,
}

impl InForce {
    fn hits(&self) -> u64 {
        self.process_hits + self.actives.iter().map(|active| active.hits()).sum::<u64>()
    }
}

impl Board {
    /// A board on which nothing is in force.
    pub fn new(switches: Vec<Switch>, seed: Seed, recorder: Recorder) -> Self {
        Self {
            switches,
            seed,
            recorder,
            in_force: BTreeMap::new(),
        }
    }

    /// Replaces whatever is in force by the faults of this phase, at once on every dependency.
    /// `lasts` is what ramps are stretched over.
    pub fn arm(&mut self, phase: &Phase, system: &System, at: Micros, lasts: Duration) {
        let mut armed = BTreeMap::new();
        let mut sets: Vec<Vec<Arc<Active>>> = self.switches.iter().map(|_| Vec::new()).collect();
        for (place, spec) in phase.faults.iter().enumerate() {
            self.recorder
                .record(Observation::Armed { at, fault: spec.id });
            let actives = self.activate(phase, place, spec, system, at, lasts, &mut sets);
            armed.insert(
                spec.id,
                InForce {
                    label: spec.label.clone(),
                    actives,
                    process_hits: 0,
                },
            );
        }
        for (switch, set) in self.switches.iter().zip(sets) {
            switch.set(FaultSet::new(set));
        }
        let lifted = std::mem::replace(&mut self.in_force, armed);
        self.record_lifted(&lifted, at);
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one call site; a struct would only name them again"
    )]
    fn activate(
        &self,
        phase: &Phase,
        place: usize,
        spec: &FaultSpec,
        system: &System,
        at: Micros,
        lasts: Duration,
        sets: &mut [Vec<Arc<Active>>],
    ) -> Vec<Arc<Active>> {
        let Target::Dependencies(indices) = &spec.target else {
            return Vec::new();
        };
        let mut actives = Vec::with_capacity(indices.len());
        for (index, behaviour) in indices.iter().zip(&spec.behaviours) {
            let dependency = &system.dependencies[*index];
            let place = place.to_string();
            let active = Arc::new(Active::new(
                spec.id,
                spec.gate.clone(),
                Arc::clone(behaviour),
                self.seed,
                &["fault", &phase.name, &place, &dependency.name],
                at,
                lasts,
                spec.gate
                    .by
                    .unwrap_or_else(|| default_by(dependency.protocol)),
            ));
            sets[*index].push(Arc::clone(&active));
            actives.push(active);
        }
        actives
    }

    /// Lifts everything.
    pub fn heal(&mut self, at: Micros) {
        for switch in &self.switches {
            switch.heal();
        }
        let lifted = std::mem::take(&mut self.in_force);
        self.record_lifted(&lifted, at);
    }

    /// Counts that a process fault acted.
    pub fn count_process_hit(&mut self, fault: FaultId) {
        if let Some(in_force) = self.in_force.get_mut(&fault) {
            in_force.process_hits += 1;
        }
    }

    /// What is in force and how often it acted.
    pub fn ticks(&self) -> Vec<FaultTick> {
        self.in_force
            .values()
            .map(|fault| FaultTick {
                label: fault.label.clone(),
                hits: fault.hits(),
            })
            .collect()
    }

    fn record_lifted(&self, lifted: &BTreeMap<FaultId, InForce>, at: Micros) {
        for (fault, in_force) in lifted {
            self.recorder.record(Observation::Lifted {
                at,
                fault: *fault,
                hits: in_force.hits(),
            });
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        for switch in &self.switches {
            switch.heal();
        }
    }
}
