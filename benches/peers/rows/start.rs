//! From the start of a program to the first answer through it.

use super::{Better, Group, Row, Stand};
use crate::stand::Program;
use std::io;

pub const GROUP: Group = Group {
    name: "start",
    measure,
};

fn measure(stand: &mut Stand) -> io::Result<Vec<Row>> {
    let mut row = Row::new("ms from start to the first answer through it", Better::Less);
    for _ in 0..stand.scale.rounds * 2 {
        for program in Program::ALL {
            // A run first sees whether the system is there.
            if matches!(
                program,
                Program::BrownoutRun | Program::BrownoutBefore | Program::FloorSplice
            ) {
                continue;
            }
            if let Some(running) = stand.start_fresh(program)? {
                row.add(program.name(), program.role(), running.up_after);
            }
        }
    }
    Ok(vec![row])
}
