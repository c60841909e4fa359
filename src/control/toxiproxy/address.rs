//! The address that a proxy is asked to listen on, and what is wrong with it in the words that
//! clients compare with.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{net::lookup_host, time::timeout};

/// How long a name may take to be looked up.
const LOOKUP_WITHIN: Duration = Duration::from_secs(5);

/// Finds the address that `listen` means. Nothing at all means some free port; a port alone means
/// it on `unnamed`.
///
/// # Errors
/// What is wrong with it, like `address db: missing port in address`.
pub(super) async fn resolved(listen: &str, unnamed: IpAddr) -> Result<SocketAddr, String> {
    if listen.is_empty() {
        return Ok(SocketAddr::new(unnamed, 0));
    }
    let (host, port) = split(listen)?;
    let port = port_of(port)?;
    if host.is_empty() {
        return Ok(SocketAddr::new(unnamed, port));
    }
    if let Ok(ip) = host.parse() {
        return Ok(SocketAddr::new(ip, port));
    }
    let nowhere = || format!("lookup {host}: no such host");
    let found = timeout(LOOKUP_WITHIN, lookup_host((host, port))).await;
    let found: Vec<SocketAddr> = match found {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(_)) => return Err(nowhere()),
        Err(_) => return Err(format!("lookup {host}: i/o timeout")),
    };
    let first_of = |wants_v4| found.iter().find(|one| one.is_ipv4() == wants_v4);
    let first = first_of(true).or_else(|| first_of(false)).copied();
    first.ok_or_else(nowhere)
}

/// What could not be bound, and why.
pub(super) fn unbound(address: SocketAddr, error: &io::Error) -> String {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => "address already in use".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::AddrNotAvailable => "cannot assign requested address".to_owned(),
        _ => error.to_string(),
    };
    format!("listen tcp {address}: bind: {why}")
}

/// Why nothing is to listen there: others than this machine's programs could connect.
pub(super) fn refused(address: SocketAddr) -> String {
    format!(
        "listen tcp {address}: others could connect: take an address of 127.0.0.0/8 or [::1], name the proxy in the file of --config, or give the server a token (BROWNOUT_TOKEN)"
    )
}

/// Where a proxy listens that names no address, by where the API does.
pub(crate) fn unnamed(api: IpAddr) -> IpAddr {
    if api.is_loopback() {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    }
}

fn split(listen: &str) -> Result<(&str, &str), String> {
    let wrong = |why: &str| Err(format!("address {listen}: {why}"));
    if let Some(rest) = listen.strip_prefix('[') {
        return match rest.split_once(']') {
            None => wrong("missing ']' in address"),
            Some((host, port)) => match port.strip_prefix(':') {
                Some(port) => Ok((host, port)),
                None => wrong("missing port in address"),
            },
        };
    }
    match listen.rsplit_once(':') {
        None => wrong("missing port in address"),
        Some((host, _)) if host.contains(':') => wrong("too many colons in address"),
        Some(parts) => Ok(parts),
    }
}

fn port_of(port: &str) -> Result<u16, String> {
    if port.is_empty() {
        return Ok(0);
    }
    if let Ok(port) = port.parse() {
        return Ok(port);
    }
    if port.parse::<i64>().is_ok() {
        return Err(format!("address {port}: invalid port"));
    }
    Err(format!("lookup tcp/{port}: unknown port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    async fn text(listen: &str) -> String {
        match resolved(listen, LOOPBACK).await {
            Ok(address) => address.to_string(),
            Err(why) => why,
        }
    }

    #[tokio::test]
    async fn addresses_are_found_and_mistakes_named() {
        for (listen, expected) in [
            ("127.0.0.1:3310", "127.0.0.1:3310"),
            ("localhost:3310", "127.0.0.1:3310"),
            ("[::1]:80", "[::1]:80"),
            (":80", "127.0.0.1:80"),
            ("", "127.0.0.1:0"),
            ("127.0.0.1:", "127.0.0.1:0"),
            ("local373", "address local373: missing port in address"),
            ("::1:80", "address ::1:80: too many colons in address"),
            ("[::1]", "address [::1]: missing port in address"),
            ("[::1", "address [::1: missing ']' in address"),
            ("127.0.0.1:99999", "address 99999: invalid port"),
            ("127.0.0.1:redis?", "lookup tcp/redis?: unknown port"),
        ] {
            assert_eq!(text(listen).await, expected, "{listen}");
        }
    }

    #[test]
    fn only_an_api_that_was_told_otherwise_opens_proxies_to_others() {
        assert_eq!(unnamed(LOOPBACK), LOOPBACK);
        let all = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        assert_eq!(unnamed(all), all);
    }
}
