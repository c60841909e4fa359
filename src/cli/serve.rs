//! `brownout serve`: proxies that somebody else's tests, or a hand, make fail.

use super::{Exit, Failure, args::Serve as Args, interrupt::Signals, paths::in_words, say};
use crate::{
    control::{self, Level, Metrics, Options, Tell},
    seed::Seed,
};
use std::{
    fs::File,
    io::Read,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    pin::pin,
    thread,
};
use tokio::sync::oneshot;

/// The largest configuration file that is read, in bytes.
const CONFIG_BYTES_MAX: u64 = 8 << 20;

/// The shortest token: less is soon guessed.
const TOKEN_MIN: usize = 16;

/// Carries it out.
pub fn serve(args: &Args) -> Result<Exit, Failure> {
    if args.version {
        let line = format!("toxiproxy-server version {}\n", control::TOXIPROXY_VERSION);
        say::data(line.as_bytes())?;
        return Ok(Exit::Pass);
    }
    let listen = addresses(&args.host, args.port)?;
    check(&listen, args)?;
    let tell = tell();
    let given = args.seed.map(|seed| Seed(seed).exact());
    let seed = given.unwrap_or_else(Seed::fresh);
    let options = Options {
        listen,
        token: args.token.clone(),
        seed,
        run_seed: given,
        metrics: Metrics {
            proxies: args.proxy_metrics,
            runtime: args.runtime_metrics,
        },
        config: args.config.as_deref().and_then(|file| read(file, &tell)),
        system: args.system.clone(),
        scenarios: args.scenarios.as_deref().map(folder).transpose()?,
        runs: args.runs.clone(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let exit = runtime.block_on(until_asked(options, &tell, args));
    // A name that is being looked up cannot be given up, and nobody waits for it any more.
    runtime.shutdown_background();
    exit
}

async fn until_asked(options: Options, tell: &Tell, args: &Args) -> Result<Exit, Failure> {
    let mut signals = Signals::new()?;
    let mut closed = pin!(closed(args.until_stdin_closes));
    let seed = options.seed;
    let started = tokio::select! {
        started = control::serve(options, tell.clone()) => started,
        // The ports are freed as the process ends.
        () = signals.next() => return Ok(Exit::Pass),
        () = &mut closed => return Ok(Exit::Pass),
    };
    let server = match started {
        Ok(server) => server,
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            return Err(Failure::usage(
                format!("the system's file is wrong\n{error}"),
                "`brownout check` looks at files",
            ));
        }
        // What a dependency of the file says, and not the API's own address.
        Err(error) if error.kind() == std::io::ErrorKind::Other => {
            return Err(Failure {
                exit: Exit::NotStarted,
                message: error.to_string(),
                hint: None,
            });
        }
        Err(error) => {
            return Err(Failure {
                exit: Exit::NotStarted,
                message: format!(
                    "cannot listen on {}:{}: {}",
                    args.host,
                    args.port,
                    in_words(&error)
                ),
                hint: Some("name another with --port, or 0 for one that is free".to_owned()),
            });
        }
    };
    say::data(format!("listening on http://{}, seed {seed}\n", server.address()).as_bytes())?;
    tokio::select! {
        () = signals.next() => {}
        () = &mut closed => {}
    }
    tokio::select! {
        () = server.stop() => {}
        // Again, to hurry: the ports are freed as the process ends.
        () = signals.next() => {}
    }
    Ok(Exit::Pass)
}

/// Until standard input is at its end, where that is to be heeded: whoever holds its other end is gone
/// then, however it ended. What comes in is passed over.
async fn closed(is_heeded: bool) {
    if !is_heeded {
        return std::future::pending().await;
    }
    let (ended, end) = oneshot::channel::<()>();
    // A thread of its own: nothing else can wait for standard input, and nobody waits for the thread.
    let reading = thread::Builder::new()
        .name("standard input".to_owned())
        .spawn(move || {
            // What cannot be read any more is at its end too.
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            drop(ended);
        });
    // Where it cannot be heeded nobody is to rely on it.
    if reading.is_ok() {
        let _ = end.await;
    }
}

/// The addresses that a host means. `localhost` is both of its addresses, as clients try either.
fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    let at = |ip: IpAddr| SocketAddr::new(ip, port);
    if host.eq_ignore_ascii_case("localhost") {
        let both = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        return Ok(both.map(at).to_vec());
    }
    if host.is_empty() {
        return Ok(vec![at(Ipv4Addr::UNSPECIFIED.into())]);
    }
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let found = (name, port).to_socket_addrs();
    let mut found: Vec<SocketAddr> = found.into_iter().flatten().collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.truncate(1);
    if found.is_empty() {
        return Err(Failure::usage(
            format!("there is no host `{host}`"),
            "name an address of this machine, like 127.0.0.1",
        ));
    }
    Ok(found)
}

/// A folder that is there.
fn folder(path: &Path) -> Result<PathBuf, Failure> {
    if path.is_dir() {
        return Ok(path.to_owned());
    }
    Err(Failure::usage(
        format!("there is no folder `{}`", path.display()),
        "name the folder that scenarios are in",
    ))
}

/// Others than this machine's programs need a token.
fn check(listen: &[SocketAddr], args: &Args) -> Result<(), Failure> {
    let is_loopback = listen.iter().all(|address| address.ip().is_loopback());
    match &args.token {
        None if !is_loopback => Err(Failure::usage(
            format!(
                "`{}` can be reached by others, who could then make this machine connect anywhere",
                args.host
            ),
            "set BROWNOUT_TOKEN to a secret, and give clients http://any:SECRET@HOST:PORT",
        )),
        Some(token) if token.len() < TOKEN_MIN => Err(Failure::usage(
            "the token is too short",
            format!("take {TOKEN_MIN} characters or more, like those of `openssl rand -hex 16`"),
        )),
        _ => Ok(()),
    }
}

/// Reads the configuration file. Without it the server starts all the same, as its users know it.
fn read(file: &Path, tell: &Tell) -> Option<Vec<u8>> {
    let mut config = Vec::new();
    let reading = File::open(file).and_then(|open| {
        open.take(CONFIG_BYTES_MAX + 1)
            .read_to_end(&mut config)
            .map(|_| ())
    });
    let why = match reading {
        Ok(()) if config.len() as u64 <= CONFIG_BYTES_MAX => return Some(config),
        Ok(()) => "it is too large".to_owned(),
        Err(error) => in_words(&error).to_string(),
    };
    tell.error(format_args!("cannot read {}: {why}", file.display()));
    None
}

/// Lines to standard error, as many as `LOG_LEVEL` wants.
fn tell() -> Tell {
    let level = std::env::var("LOG_LEVEL").unwrap_or_default();
    let least = match level.to_ascii_lowercase().as_str() {
        "warn" | "error" => Some(Level::Error),
        "fatal" | "panic" | "disabled" => None,
        _ => Some(Level::Info),
    };
    Tell::new(move |level, line| match level {
        _ if least.is_none_or(|least| level < least) => {}
        Level::Info => say::note(line),
        Level::Error => say::error(line, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_names_or_everything() {
        let text = |host| match addresses(host, 8474) {
            Ok(found) => found
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" "),
            Err(failure) => failure.message,
        };
        assert_eq!(text("localhost"), "127.0.0.1:8474 [::1]:8474");
        assert_eq!(text("127.0.0.2"), "127.0.0.2:8474");
        assert_eq!(text("[::1]"), "[::1]:8474");
        assert_eq!(text("0.0.0.0"), "0.0.0.0:8474");
        assert_eq!(text(""), "0.0.0.0:8474");
        assert_eq!(text("no such host"), "there is no host `no such host`");
    }
}
