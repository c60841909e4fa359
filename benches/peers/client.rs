//! The client: the same work, whoever stands between it and the server.

use super::server::{ANSWER, STREAM};
use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    fd::AsFd,
};
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

/// A request as a client of S3 makes it, without its credentials.
const REQUEST: &[u8] = b"GET /models/dir/k%201 HTTP/1.1\r\nHost: 127.0.0.1:31385\r\n\
    Accept-Encoding: identity\r\nUser-Agent: Boto3/1.44.5 cfg/retry-mode#standard\r\n\
    x-amz-checksum-mode: ENABLED\r\nX-Amz-Date: 20261121T231815Z\r\n\r\n";

/// The longest that an answer is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The bytes after an answer's head.
const BODY: &[u8] = b"0123456789abcdef";

/// A connection to the server, or to whoever stands before it.
pub fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    Ok(stream)
}

/// Asks once. A proxy that speaks HTTP may have added headers to the answer.
pub fn ask(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(REQUEST)?;
    let mut answer = [0; 1024];
    let mut length = 0;
    while !is_answered(&answer[..length]) {
        match stream.read(&mut answer[length..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => length += read,
        }
    }
    Ok(())
}

/// Whether this is the whole of the server's answer.
fn is_answered(bytes: &[u8]) -> bool {
    bytes.len() + 32 >= ANSWER.len() && bytes.ends_with(BODY)
}

/// Takes a stream of so many bytes, and says how long it took.
pub fn stream(port: u16, bytes: usize) -> io::Result<Duration> {
    let mut stream = connect(port)?;
    let began = Instant::now();
    stream.write_all(format!("{}{bytes}\n", char::from(STREAM)).as_bytes())?;
    let mut buffer = vec![0; 256 * 1024];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 if total == bytes => return Ok(began.elapsed()),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => total += read,
        }
    }
}

/// So many connections, each of which has had an answer.
pub fn warm(port: u16, connections: usize) -> io::Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut stream = connect(port)?;
        ask(&mut stream)?;
        streams.push(stream);
    }
    Ok(streams)
}

/// Asks so often in all over these connections, on each as soon as it has its answer.
pub fn ask_all(streams: &mut [TcpStream], requests: usize) -> io::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut answers = vec![Vec::with_capacity(1024); streams.len()];
    let (mut sent, mut answered) = (0, 0);
    for (at, stream) in streams.iter_mut().enumerate() {
        let data = EventData::new_u64(at as u64);
        epoll::add(&epoll, stream.as_fd(), data, EventFlags::IN)?;
        stream.write_all(REQUEST)?;
        sent += 1;
    }
    let mut events = Vec::with_capacity(streams.len());
    let mut buffer = [0; 4096];
    while answered < sent {
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            let at = event.data.u64() as usize;
            let answer = &mut answers[at];
            let read = streams[at].read(&mut buffer)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            answer.extend_from_slice(&buffer[..read]);
            if !is_answered(answer) {
                continue;
            }
            answer.clear();
            answered += 1;
            if sent < requests {
                streams[at].write_all(REQUEST)?;
                sent += 1;
            }
        }
    }
    Ok(())
}

/// Makes so many connections in all, a few at a time, each for one request.
pub fn come_and_go(port: u16, connections: usize) -> io::Result<()> {
    const SIDE_BY_SIDE: usize = 4;
    let one = |count: usize| -> io::Result<()> {
        for _ in 0..count {
            ask(&mut connect(port)?)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let share = connections / SIDE_BY_SIDE;
        let all: Vec<_> = (0..SIDE_BY_SIDE)
            .map(|_| scope.spawn(move || one(share)))
            .collect();
        all.into_iter().try_for_each(|one| {
            one.join()
                .map_err(|_| io::Error::other("a client panicked"))?
        })
    })
}

/// Asks so often at this rate, over connections in turn: the median time to the answer, in seconds.
pub fn paced(streams: &mut [TcpStream], rate: u32, requests: usize) -> io::Result<f64> {
    let gap = Duration::from_secs(1) / rate;
    let mut next = Instant::now();
    let mut took = Vec::with_capacity(requests);
    for at in 0..requests {
        next += gap;
        thread::sleep(next.saturating_duration_since(Instant::now()));
        let stream = at % streams.len();
        let began = Instant::now();
        ask(&mut streams[stream])?;
        took.push(began.elapsed().as_secs_f64());
    }
    took.sort_by(f64::total_cmp);
    Ok(took[took.len() / 2])
}
