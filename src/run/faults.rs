//! Puts a phase's faults in force and lifts them again.

use super::FaultTick;
use crate::{
    fault::{Active, FaultId, FaultSet, Lane, Member, Memory, Switch, default_by},
    history::{Intervention, Observation, Recorder},
    scenario::{FaultSpec, Phase, System, Target},
    seed::{Seed, name_hash},
    units::{Micros, Share},
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
    memory: Memory,
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
            memory: Memory::default(),
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
        &mut self,
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
            let armed = behaviour.armed(&mut self.memory, &dependency.name, at);
            let active = Active::new(
                spec.id,
                spec.gate.clone(),
                armed.unwrap_or_else(|| Arc::clone(behaviour)),
                self.seed,
                &["fault", &phase.name, &place, &dependency.name],
                at,
                lasts,
                spec.gate
                    .by
                    .clone()
                    .unwrap_or_else(|| default_by(dependency.protocol)),
            );
            let active = Arc::new(active.in_lane(lane(phase, spec, &dependency.name)));
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
        self.record_notes(&self.in_force);
        self.in_force
            .values()
            .map(|fault| FaultTick {
                label: fault.label.clone(),
                hits: fault.hits(),
            })
            .collect()
    }

    /// Records what the faults have noted since.
    fn record_notes(&self, faults: &BTreeMap<FaultId, InForce>) {
        for (fault, in_force) in faults {
            let notes = in_force.actives.iter();
            for (at, what) in notes.flat_map(|active| active.behaviour.notes()) {
                self.recorder.record(Observation::Acted(Intervention {
                    at,
                    fault: *fault,
                    count: 0,
                    what,
                }));
            }
        }
    }

    fn record_lifted(&self, lifted: &BTreeMap<FaultId, InForce>, at: Micros) {
        self.record_notes(lifted);
        for (fault, in_force) in lifted {
            self.recorder.record(Observation::Lifted {
                at,
                fault: *fault,
                hits: in_force.hits(),
            });
        }
    }
}

/// A fault's part of the draw of its group on this dependency.
fn lane(phase: &Phase, spec: &FaultSpec, dependency: &str) -> Option<Lane> {
    let group = spec.gate.one_of.as_ref()?;
    let specs: Vec<&FaultSpec> = phase
        .faults
        .iter()
        .filter(|other| other.gate.one_of.as_ref() == Some(group))
        .collect();
    let members: Vec<Member> = specs
        .iter()
        .map(|other| Member {
            share: other.gate.share.map_or(0.0, Share::fraction),
            is_unseen: other.behaviours.iter().any(|one| one.acts().listener),
        })
        .collect();
    let stream = name_hash(&["one of", &phase.name, group, dependency]);
    let at = specs.iter().position(|other| other.id == spec.id)?;
    Lane::of_group(stream, &members).get(at).copied()
}

impl Drop for Board {
    fn drop(&mut self) {
        for switch in &self.switches {
            switch.heal();
        }
    }
}
