//! `brownout serve` as a process, and somebody who asks it things.

#![allow(dead_code, reason = "not every test file uses everything")]

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// Longer than anything that is waited for.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running server; ended when dropped.
pub struct Server {
    pub child: Child,
    pub address: SocketAddr,
}

/// What it answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// `name: value`, the names in lower case.
    pub headers: Vec<String>,
    pub body: String,
}

impl Server {
    /// On a free port, with these options.
    pub fn start(options: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
        command.args(["serve", "--port", "0"]).args(options);
        Self::of(command)
    }

    /// What this command starts.
    pub fn of(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output"))
            .read_line(&mut line)
            .expect("it says where it listens");
        let address = line
            .strip_prefix("listening on http://")
            .and_then(|rest| rest.split(',').next())
            .and_then(|address| address.parse().ok());
        let Some(address) = address else {
            let _ = child.kill();
            panic!("it does not say where it listens: {line:?}");
        };
        Self { child, address }
    }

    /// Asks as a client does that says nothing of itself.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        self.ask_with(method, path, body, &format!("Host: {}\r\n", self.address))
    }

    /// Asks with these header lines.
    pub fn ask_with(&self, method: &str, path: &str, body: &str, headers: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("it is set");
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .expect("it is sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        Answer {
            status: status
                .and_then(|status| status.parse().ok())
                .expect("a status"),
            headers: lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase()))
                .collect(),
            body: body.to_owned(),
        }
    }

    /// Asks for what must succeed, and gives what came as JSON.
    #[track_caller]
    pub fn done(&self, method: &str, path: &str, body: &str) -> Value {
        let answer = self.ask(method, path, body);
        assert!(
            (200..300).contains(&answer.status),
            "{method} {path} {body}: {answer:?}"
        );
        answer.json()
    }

    /// Makes a proxy in front of this server, and gives where it listens.
    pub fn proxy(&self, name: &str, upstream: SocketAddr) -> SocketAddr {
        let body = format!(r#"{{"name":"{name}","upstream":"{upstream}"}}"#);
        let made = self.done("POST", "/proxies", &body);
        listen_of(&made)
    }

    /// Adds a toxic to a proxy.
    #[track_caller]
    pub fn toxic(&self, proxy: &str, said: &str) {
        self.done(
            "POST",
            &format!("/proxies/{proxy}/toxics"),
            &format!("{{{said}}}"),
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    /// The body as JSON; null for none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let start = format!("{name}: ");
        self.headers
            .iter()
            .find_map(|line| line.strip_prefix(&*start))
    }
}

/// Where a proxy listens.
#[track_caller]
pub fn listen_of(proxy: &Value) -> SocketAddr {
    let listen = proxy["listen"].as_str().expect("it listens");
    listen.parse().unwrap_or_else(|_| panic!("{listen}"))
}

/// A server that sends back what it gets, and when a client has sent all, ` bye` and its own end.
pub fn echo() -> SocketAddr {
    served(|mut stream| {
        let mut buffer = [0; 64 * 1024];
        while let Ok(count) = stream.read(&mut buffer) {
            if count == 0 {
                let _ = stream.write_all(b" bye");
                return;
            }
            if stream.write_all(&buffer[..count]).is_err() {
                return;
            }
        }
    })
}

/// A server that does this with every connection.
pub fn served(serve: impl Fn(TcpStream) + Send + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// A connection that gives up waiting in the end.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is set");
    stream.set_nodelay(true).expect("it is set");
    stream
}

/// Sends this, and reads as many bytes back.
pub fn round_trip(stream: &mut TcpStream, text: &str) -> std::io::Result<String> {
    stream.write_all(text.as_bytes())?;
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back)?;
    Ok(String::from_utf8_lossy(&back).into_owned())
}

/// Sends this and that it is all, and reads all that comes.
pub fn whole_answer(mut stream: TcpStream, text: &str) -> std::io::Result<String> {
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut back = String::new();
    stream.read_to_string(&mut back)?;
    Ok(back)
}
