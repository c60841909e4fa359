//! What stands behind the proxies: a server of one thread that answers requests of HTTP/1.1 and does
//! nothing else, and sends streams of bytes to who asks for them.

use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    fd::{AsFd, OwnedFd},
};
use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

/// The role.
pub const ROLE: &str = "server";

/// What it answers to every request.
pub const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\
    ETag: \"a\"\r\nContent-Length: 16\r\n\r\n0123456789abcdef";

/// Whoever begins with this, a number and a line's end is sent so many bytes.
pub const STREAM: u8 = b'*';

/// Bytes of a stream that are written at once.
const CHUNK: usize = 256 * 1024;

/// Serves on these ports until it is ended.
pub fn serve(ports: &[&str]) -> io::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut listeners = Vec::new();
    for (at, port) in ports.iter().enumerate() {
        let port: u16 = port.parse().map_err(io::Error::other)?;
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        epoll::add(
            &epoll,
            listener.as_fd(),
            EventData::new_u64(at as u64),
            EventFlags::IN,
        )?;
        listeners.push(listener);
    }
    let mut clients: HashMap<u64, (TcpStream, Vec<u8>)> = HashMap::new();
    let mut next = listeners.len() as u64;
    let mut events = Vec::with_capacity(256);
    let mut bytes = vec![0; 64 * 1024];
    loop {
        wait(&epoll, &mut events)?;
        for event in events.drain(..) {
            let at = event.data.u64();
            if let Some(listener) = listeners.get(at as usize) {
                let (client, _) = listener.accept()?;
                client.set_nodelay(true)?;
                epoll::add(
                    &epoll,
                    client.as_fd(),
                    EventData::new_u64(next),
                    EventFlags::IN,
                )?;
                clients.insert(next, (client, Vec::new()));
                next += 1;
                continue;
            }
            let Some((client, head)) = clients.get_mut(&at) else {
                continue;
            };
            let is_open = match client.read(&mut bytes) {
                Ok(0) | Err(_) => false,
                Ok(read) => answer(client, head, &bytes[..read]),
            };
            if is_open {
                continue;
            }
            if let Some((client, head)) = clients.remove(&at)
                && head.first() == Some(&STREAM)
            {
                epoll::delete(&epoll, client.as_fd())?;
                thread::spawn(move || stream(client, &head));
            }
        }
    }
}

/// Answers what is a whole request; whether the connection goes on here.
fn answer(client: &mut TcpStream, head: &mut Vec<u8>, read: &[u8]) -> bool {
    if !head.is_empty() || !read.ends_with(b"\r\n\r\n") {
        head.extend_from_slice(read);
        if head.first() == Some(&STREAM) {
            return !head.ends_with(b"\n");
        }
        if !head.ends_with(b"\r\n\r\n") {
            return true;
        }
        head.clear();
    }
    client.write_all(ANSWER).is_ok()
}

/// Sends as many bytes as were asked for.
fn stream(mut client: TcpStream, asked: &[u8]) {
    let number = String::from_utf8_lossy(&asked[1..]);
    let mut left: usize = number.trim().parse().unwrap_or_default();
    let chunk = vec![7; CHUNK];
    while left > 0 {
        let Ok(written) = client.write(&chunk[..left.min(CHUNK)]) else {
            return;
        };
        left -= written;
    }
}

/// Waits until something happens. Who is traced is interrupted.
pub fn wait(epoll: &OwnedFd, events: &mut Vec<epoll::Event>) -> io::Result<()> {
    match epoll::wait(epoll, spare_capacity(events), None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
