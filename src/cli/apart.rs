//! Which scenarios cannot be run side by side: those that would meet at an address that their files
//! fix. What one of them does to its system, the others would measure; and a second listener at a
//! port fails, or is taken for the first. Where they would meet at a server that is not started for
//! each of them, one system takes the other's jobs from the queue, and repairs or spoils what the
//! other is judged by.

use crate::scenario::{Start, System, Upstream};
use std::{collections::BTreeSet, net::SocketAddr};

/// The addresses that a run against this system has for itself alone: where load goes, those of its
/// instances, of the real servers that it depends on, and of our own listeners. Ports that Brownout
/// chooses and servers that it starts are not among them.
pub fn addresses(system: &System) -> BTreeSet<String> {
    let instances = match &system.start {
        Start::External => &[][..],
        Start::Instances(instances) => instances,
    };
    let urls = instances.iter().filter_map(|one| one.url.as_ref());
    let urls = urls.chain([&system.url]);
    let fixed = urls.filter(|url| url.placeholders().is_empty());
    let served = fixed.filter_map(|url| of_url(&url.fill(&|_| None)));
    let upstreams = system.dependencies.iter().filter_map(|one| {
        let Upstream::Address { host, port, .. } = &one.upstream else {
            return None;
        };
        Some(place(host, *port))
    });
    let dependencies = system.dependencies.iter().map(|one| one.listen);
    let listeners = dependencies.chain(system.ingress.iter().map(|ingress| ingress.listen));
    let listeners = listeners.flatten().filter(|address| address.port() != 0);
    served
        .chain(upstreams)
        .chain(listeners.map(|address| place(&address.ip().to_string(), address.port())))
        .collect()
}

fn of_url(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    let usual = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    Some(place(uri.host()?, uri.port_u16().unwrap_or(usual)))
}

/// A port of this machine is one, by whichever of its own names; case tells no names apart.
fn place(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_here = bare == "localhost"
        || format!("{host}:0")
            .parse::<SocketAddr>()
            .or_else(|_| format!("[{bare}]:0").parse())
            .is_ok_and(|address| address.ip().is_loopback() || address.ip().is_unspecified());
    match is_here {
        true => format!("127.0.0.1:{port}"),
        false if bare.contains(':') => format!("[{bare}]:{port}"),
        false => format!("{bare}:{port}"),
    }
}

/// Those that must run one after another, each by its place, together with the addresses they share;
/// who shares nothing is alone. In order by the first of each.
pub fn groups(each: &[BTreeSet<String>]) -> Vec<(Vec<usize>, BTreeSet<String>)> {
    let mut groups: Vec<(Vec<usize>, BTreeSet<String>, BTreeSet<String>)> = Vec::new();
    for (index, own) in each.iter().enumerate() {
        let (mut members, mut all, mut shared) = (Vec::new(), own.clone(), BTreeSet::new());
        groups.retain(|(others, theirs, shared_theirs)| {
            let meets = !theirs.is_disjoint(own);
            if meets {
                members.extend(others);
                shared.extend(theirs.intersection(own).cloned());
                shared.extend(shared_theirs.iter().cloned());
                all.extend(theirs.iter().cloned());
            }
            !meets
        });
        members.push(index);
        members.sort_unstable();
        groups.push((members, all, shared));
    }
    groups.sort_by_key(|(members, ..)| members.first().copied());
    let without_all = |(members, _, shared)| (members, shared);
    groups.into_iter().map(without_all).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        input::{Problems, Source},
        scenario::system_from_text,
    };
    use std::path::PathBuf;

    fn of(text: &str) -> Vec<String> {
        let mut problems = Problems::default();
        let source = Source::new("brownout.toml", text);
        let system = system_from_text(source, PathBuf::from("."), &mut problems);
        let system = system.unwrap_or_else(|| panic!("{problems:?}"));
        addresses(&system).into_iter().collect()
    }

    #[test]
    fn what_the_files_fix_is_taken_and_what_we_choose_is_not() {
        let chosen = "[system]\ncommand = [\"x\"]\nurl = \"http://127.0.0.1:{port.api}\"\n\n\
                      [dependency.api]\nprotocol = \"http\"\nupstream = \"embedded:sink\"\n";
        assert!(of(chosen).is_empty());
        let fixed = chosen.replace("{port.api}", "8080") + "listen = \"127.0.0.1:6000\"\n";
        assert_eq!(of(&fixed), ["127.0.0.1:6000", "127.0.0.1:8080"]);
        for url in [
            "http://localhost:8080",
            "http://[::1]:8080",
            "http://0.0.0.0:8080/api",
        ] {
            assert_eq!(
                of(&format!("[system]\nexternal = \"{url}\"\n")),
                ["127.0.0.1:8080"]
            );
        }
        assert_eq!(
            of("[system]\nexternal = \"http://staging\"\n"),
            ["staging:80"]
        );
    }

    #[test]
    fn a_real_server_is_for_one_run_at_a_time_and_one_that_we_start_for_each() {
        let with = |upstream: &str| {
            of(&format!(
                "[system]\ncommand = [\"x\"]\nurl = \"http://127.0.0.1:{{port.api}}\"\n\n\
                 [dependency.db]\nprotocol = \"http\"\nupstream = \"{upstream}\"\n"
            ))
        };
        for (upstream, address) in [
            ("localhost:5432", "127.0.0.1:5432"),
            ("[::1]:5432", "127.0.0.1:5432"),
            ("[fd00::1]:5432", "[fd00::1]:5432"),
            ("https://Api.Example.com", "api.example.com:443"),
        ] {
            assert_eq!(with(upstream), [address], "{upstream}");
        }
        assert!(with("embedded:sink").is_empty());
    }

    #[test]
    fn the_shipped_scenarios_share_nothing() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios/systems");
        let mut systems = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            assert!(of(&text).is_empty(), "{text}");
            systems += 1;
        }
        assert!(systems >= 10, "{systems}");
    }

    #[test]
    fn where_load_goes_counts_whichever_instance_serves_it() {
        let text = "[system]\nurl = \"http://127.0.0.1:8080\"\n\n\
                    [[system.instance]]\nname = \"web\"\ncommand = [\"x\"]\n";
        assert_eq!(of(text), ["127.0.0.1:8080"]);
    }

    #[test]
    fn who_shares_an_address_is_in_one_group_also_by_a_third() {
        let each: Vec<BTreeSet<String>> = [&["a"][..], &["b"], &[], &[], &["a", "b", "c"], &["d"]]
            .iter()
            .map(|own| own.iter().map(ToString::to_string).collect())
            .collect();
        let groups: Vec<(Vec<usize>, Vec<String>)> = groups(&each)
            .into_iter()
            .map(|(members, shared)| (members, shared.into_iter().collect()))
            .collect();
        let shared = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(
            groups,
            [
                (vec![0, 1, 4], shared),
                (vec![2], vec![]),
                (vec![3], vec![]),
                (vec![5], vec![])
            ]
        );
    }
}
