//! The node packages that `tests/run` installed: pusher-js, driven line by line, and scripts that
//! say what they found when they are done.

#![allow(dead_code, reason = "not every test file uses everything")]

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

/// Longer than anything that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of the packages. A missing one is a failure and not a skip.
pub fn modules() -> PathBuf {
    std::env::var_os("BROWNOUT_TEST_NODE_MODULES")
        .map(PathBuf::from)
        .or_else(|| {
            let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
                || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"),
                PathBuf::from,
            );
            Some(target.join("tests-node/node_modules"))
        })
        .filter(|path| path.exists())
        .expect("the tests' node packages are missing: run tests/run, which installs them")
}

/// What a script of `tests/clients` said when it was done.
pub fn run(script: &str, arguments: &[&Path]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(script);
    let output = Command::new("node")
        .arg(script)
        .args(arguments)
        .env("NODE_PATH", modules())
        .stdin(Stdio::null())
        .output()
        .expect("node starts");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    serde_json::from_slice(&output.stdout).expect("what it found is JSON")
}

/// A client; ended when dropped.
pub struct Client {
    child: Child,
    stdin: ChildStdin,
    said: Receiver<Value>,
    /// Everything it said so far.
    pub log: Vec<Value>,
    /// How much of it was looked at.
    seen: usize,
}

impl Client {
    /// Starts it; it connects at once.
    pub fn start(options: &Value, ca: Option<&Path>) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/pusher_client.js");
        let mut command = Command::new("node");
        command
            .arg(script)
            .arg(options.to_string())
            .env("NODE_PATH", modules())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(ca) = ca {
            command.env("NODE_EXTRA_CA_CERTS", ca);
        }
        let mut child = command.spawn().expect("node starts");
        let stdin = child.stdin.take().expect("its input");
        let stdout = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, said) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or_else(|_| json!({ "odd": line }));
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            stdin,
            said,
            log: Vec::new(),
            seen: 0,
        }
    }

    /// Tells it to do something.
    pub fn tell(&mut self, command: Value) {
        writeln!(self.stdin, "{command}").expect("it listens");
    }

    /// Waits until it says something that fits, after what was waited for before.
    pub fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while self.seen < self.log.len() {
                self.seen += 1;
                if fits(&self.log[self.seen - 1]) {
                    return self.log[self.seen - 1].clone();
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.said.recv_timeout(left) {
                Ok(said) => self.log.push(said),
                Err(_) => panic!("it never said so: {:#?}", self.log),
            }
        }
    }

    /// Listens for a time.
    pub fn listen(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while let Ok(said) = self
            .said
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            self.log.push(said);
        }
    }

    /// Waits until its connection is in this state; gives the milliseconds at which it was.
    pub fn until_state(&mut self, state: &str) -> f64 {
        let said = self.until(|said| said["what"] == "state" && said["current"] == state);
        said["at"].as_f64().expect("a time")
    }

    /// Waits for an event; gives it without its time.
    pub fn until_event(&mut self, event: &str) -> Value {
        let mut said = self.until(|said| said["what"] == "event" && said["event"] == event);
        said.as_object_mut().expect("an object").remove("at");
        said
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
