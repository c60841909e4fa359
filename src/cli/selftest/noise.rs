//! Processes that keep a core busy each, beside the runs.
//!
//! Each ends when its standard input does, and so however this process ends.

use crate::reference::planted::noise::PROGRAM;
use std::{
    io,
    process::{Child, Command, Stdio},
};

/// The processes. Dropping it ends them.
#[derive(Debug, Default)]
pub struct Noise {
    processes: Vec<Child>,
}

impl Noise {
    /// Starts so many.
    ///
    /// # Errors
    /// One of them cannot be started; then none goes on.
    pub fn start(count: usize) -> io::Result<Self> {
        let brownout = std::env::current_exe()?;
        let mut noise = Self::default();
        for _ in 0..count {
            let process = Command::new(&brownout)
                .args(["reference", PROGRAM])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()?;
            noise.processes.push(process);
        }
        Ok(noise)
    }

    /// Ends them; how many of them were there until now, and so all the while.
    pub fn stop(mut self) -> usize {
        let running = |process: &mut Child| matches!(process.try_wait(), Ok(None));
        self.processes
            .iter_mut()
            .filter_map(|process| running(process).then_some(()))
            .count()
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // One that has ended already is as it should be.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_ended_before_is_not_counted() {
        let start = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments).stdin(Stdio::piped());
            command.spawn().unwrap()
        };
        let mut over = start("true", &[]);
        over.wait().unwrap();
        let processes = vec![start("sleep", &["600"]), over];
        assert_eq!(Noise { processes }.stop(), 1);
    }
}
