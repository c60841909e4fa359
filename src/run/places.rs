//! What `{placeholders}` stand for in this run: ports, addresses, files.

use super::ports::ReservedPort;
use crate::scenario::{PusherApp, Start, System, Template};
use std::{collections::BTreeMap, io, net::SocketAddr, path::Path};

/// The values of every placeholder of a system's files.
#[derive(Debug, Default)]
pub struct Places {
    values: BTreeMap<String, String>,
    /// Held while the run lasts, so that no other run takes them.
    _ports: Vec<ReservedPort>,
}

impl Places {
    /// Reserves the system's ports and names the files of the run.
    ///
    /// # Errors
    /// No port is free.
    pub fn new(system: &System, folder: &Path, ca: &Path) -> io::Result<Self> {
        let mut places = Self::default();
        let mut random = crate::seed::Seed::fresh().stream(&["ports"]);
        for name in &system.ports {
            let port = ReservedPort::take(&mut random)?;
            places.set(format!("port.{name}"), port.port.to_string());
            places._ports.push(port);
        }
        places.set("url", places.fill(&system.url));
        let brownout = std::env::current_exe()?;
        places.set("brownout", brownout.display().to_string());
        places.set("out", folder.display().to_string());
        places.set("ca", ca.display().to_string());
        if let Start::Instances(instances) = &system.start {
            for instance in instances {
                if let Some(url) = &instance.url {
                    let url = places.fill(url);
                    places.set(format!("instance.{}.url", instance.name), url);
                }
            }
        }
        Ok(places)
    }

    /// Names a dependency's proxy.
    pub fn set_dependency(&mut self, name: &str, url: &str, address: SocketAddr) {
        let mut set =
            |key: &str, value: String| self.set(format!("dependency.{name}.{key}"), value);
        set("url", url.to_owned());
        set("address", address.to_string());
        set("host", address.ip().to_string());
        set("port", address.port().to_string());
    }

    /// Names the door through which other people's load comes in.
    pub fn set_ingress(&mut self, address: SocketAddr) {
        self.set("ingress.url", format!("http://{address}"));
        self.set("ingress.address", address.to_string());
    }

    /// Names the app that the system speaks for.
    pub fn set_app(&mut self, dependency: &str, app: &PusherApp) {
        let parts = [("id", &app.id), ("key", &app.key), ("secret", &app.secret)];
        for (part, value) in parts {
            self.set(format!("dependency.{dependency}.app_{part}"), value.clone());
        }
    }

    /// The text with every placeholder filled in. Templates were checked when they were read, so
    /// that none is left over.
    pub fn fill(&self, template: &Template) -> String {
        template.fill(&|name| self.values.get(name).cloned())
    }

    fn set(&mut self, name: impl Into<String>, value: String) {
        self.values.insert(name.into(), value);
    }
}
