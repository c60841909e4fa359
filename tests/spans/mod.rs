//! Somebody who receives spans, as OTLP over HTTP in JSON.

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

/// Receives spans: each as it came.
pub fn receiver() -> (SocketAddr, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let (told, spans) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let body: Value = serde_json::from_slice(&posted(&mut stream)).expect("it is JSON");
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
            let scope = &body["resourceSpans"][0]["scopeSpans"][0];
            for span in scope["spans"].as_array().expect("spans") {
                let _ = told.send(span.clone());
            }
        }
    });
    (address, spans)
}

/// The body of a request.
fn posted(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = BufReader::new(stream);
    let mut length = 0;
    let mut line = String::new();
    while read.read_line(&mut line).expect("a head") > 2 {
        let said = line.to_ascii_lowercase();
        if let Some(value) = said.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        line.clear();
    }
    let mut body = vec![0; length];
    read.read_exact(&mut body).expect("a body");
    body
}
