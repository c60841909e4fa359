//! The environment that instances are given beside the file's own.

use super::places::Places;
use crate::{
    protocol::Protocol,
    scenario::{Dependency, Instance, System, Upstream},
};
use std::{collections::BTreeMap, net::SocketAddr, path::Path};

/// Variables by which common libraries take their trust store. All but the last replace the
/// system's roots, so that the bundle holds those too.
const TRUST: &[&str] = &[
    "AWS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
];

/// Variables by which common libraries find a forward proxy; some read one case alone.
const FORWARD: &[&str] = &["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"];

/// The access key of embedded S3 servers where the system's file sets none.
const ACCESS_KEY: &str = "brownout";
const SECRET_KEY: &str = "brownout-secret";

/// Access key and secret that embedded S3 servers accept: the system's own, where its file sets
/// them, so that what it signs with is what is checked.
pub fn credentials(system: &System, places: &Places) -> (String, String) {
    let own = |name: &str| system.env.get(name).map(|template| places.fill(template));
    (
        own("AWS_ACCESS_KEY_ID").unwrap_or_else(|| ACCESS_KEY.to_owned()),
        own("AWS_SECRET_ACCESS_KEY").unwrap_or_else(|| SECRET_KEY.to_owned()),
    )
}

/// Everything that is put into an instance's environment, the file's own last so that it wins.
pub fn of_instance(
    system: &System,
    instance: &Instance,
    places: &Places,
    ca: Option<&Path>,
    forward: Option<SocketAddr>,
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let mut set = |name: &str, value: &str| {
        env.insert(name.to_owned(), value.to_owned());
    };
    // A proxy of the developer's own must not stand between the system and us.
    for name in ["NO_PROXY", "no_proxy"] {
        set(name, "127.0.0.1,localhost,::1");
    }
    if let Some(forward) = forward {
        let url = format!("http://{forward}");
        for name in FORWARD {
            set(name, &url);
        }
        // Node asks its environment only if told to.
        set("NODE_USE_ENV_PROXY", "1");
    }
    if let Some(ca) = ca {
        let ca = ca.display().to_string();
        for name in TRUST {
            set(name, &ca);
        }
    }
    if system.dependencies.iter().any(is_embedded_s3) {
        let (access, secret) = credentials(system, places);
        set("AWS_ACCESS_KEY_ID", &access);
        set("AWS_SECRET_ACCESS_KEY", &secret);
        set("AWS_SESSION_TOKEN", "");
        set("AWS_REGION", "us-east-1");
        set("AWS_DEFAULT_REGION", "us-east-1");
        set("AWS_EC2_METADATA_DISABLED", "true");
    }
    for (name, template) in system.env.iter().chain(&instance.env) {
        env.insert(name.clone(), places.fill(template));
    }
    env
}

fn is_embedded_s3(dependency: &Dependency) -> bool {
    dependency.protocol == Protocol::S3 && matches!(dependency.upstream, Upstream::Embedded(_))
}
