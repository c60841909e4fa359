//! System calls, counted by `strace`. It slows a program down, so that more bytes come together than
//! without it: the figures for bulk are lower bounds for all.

use super::{Better, Group, Row, Running, Stand, at};
use crate::{client, process::find};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs, io,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

pub const GROUP: Group = Group {
    name: "calls",
    measure,
};

/// Bytes of the stream.
const STREAM: usize = 64 * 1024 * 1024;

/// Requests, one after the other.
const REQUESTS: usize = 1_000;

/// The time that `strace` has to attach itself.
const ATTACHED_WITHIN: Duration = Duration::from_secs(2);

fn measure(stand: &mut Stand) -> io::Result<Vec<Row>> {
    let mut bulk = Row::new("system calls per MiB of bulk", Better::Less);
    let mut bytes = Row::new("system calls per request, as bytes", Better::Less);
    let mut calls = Row::new("system calls per request, HTTP-aware", Better::Less);
    let Some(strace) = find("strace") else {
        for row in [&mut bulk, &mut bytes, &mut calls] {
            row.notes.push("missing: strace".to_owned());
        }
        return Ok(vec![bulk, bytes, calls]);
    };
    let (stream, requests) = (stand.scale.of(STREAM), stand.scale.of(REQUESTS));
    let report = stand.file("strace.txt");
    for running in &stand.running {
        let traced = |row: &mut Row, per: f64, work: &mut dyn FnMut() -> io::Result<()>| {
            match count(&strace, running, &report, work) {
                Ok(Some(count)) => {
                    let program = running.program;
                    row.add(program.name(), program.role(), count / per);
                }
                Ok(None) => {
                    let note = format!("strace cannot attach to {}", running.program.name());
                    row.notes.push(note);
                }
                Err(error) => return Err(at(&row.what, running, &error)),
            }
            Ok(())
        };
        if let Some(port) = running.bytes() {
            let mib = stream as f64 / f64::from(1 << 20);
            traced(&mut bulk, mib, &mut || {
                client::stream(port, stream).map(drop)
            })?;
            let mut one = client::warm(port, 1)?;
            traced(&mut bytes, requests as f64, &mut || ask(&mut one, requests))?;
        }
        if let Some(port) = running.calls() {
            let mut one = client::warm(port, 1)?;
            traced(&mut calls, requests as f64, &mut || ask(&mut one, requests))?;
        }
    }
    Ok(vec![bulk, bytes, calls])
}

fn ask(streams: &mut [TcpStream], requests: usize) -> io::Result<()> {
    let mut streams = streams.iter_mut();
    streams.try_for_each(|stream| (0..requests).try_for_each(|_| client::ask(stream)))
}

/// How many system calls the process makes for some work; `None` where it cannot be traced.
fn count(
    strace: &Path,
    running: &Running,
    report: &Path,
    work: &mut dyn FnMut() -> io::Result<()>,
) -> io::Result<Option<f64>> {
    let mut tracer = Command::new(strace)
        .args(["-f", "-c", "-q", "-o"])
        .arg(report)
        .args(["-p", &running.process.id().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let deadline = Instant::now() + ATTACHED_WITHIN;
    while !running.process.is_traced()? {
        if Instant::now() > deadline || tracer.try_wait()?.is_some() {
            end(&mut tracer)?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(1));
    }
    let done = work();
    end(&mut tracer)?;
    done?;
    Ok(total(&fs::read_to_string(report)?))
}

/// Ends it in the way in which it says what it saw.
fn end(tracer: &mut Child) -> io::Result<()> {
    if let Some(id) = i32::try_from(tracer.id()).ok().and_then(Pid::from_raw) {
        // Fails only on one that has ended.
        let _ = kill_process(id, Signal::INT);
    }
    tracer.wait().map(drop)
}

/// The calls of its last line: `100.00 0.012345 12 1234 5 total`.
fn total(report: &str) -> Option<f64> {
    let mut lines = report.lines();
    let line = lines.find(|line| line.ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}
