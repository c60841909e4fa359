//! What `{placeholders}` stand for in this run: ports, addresses, files.

use super::ports::ReservedPort;
use crate::scenario::{PusherApp, Start, System, Template};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    path::Path,
};

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
        let brownout = crate::process::program::path()?;
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

    /// Takes over the variables of our own environment that the system's `env` refers to.
    ///
    /// # Errors
    /// The names of those that are not set, in order and each once.
    pub fn set_environment(
        &mut self,
        system: &System,
        variable: &impl Fn(&str) -> Option<String>,
    ) -> Result<(), Vec<String>> {
        let mut templates: Vec<&Template> = system.env.values().collect();
        if let Start::Instances(instances) = &system.start {
            templates.extend(instances.iter().flat_map(|instance| instance.env.values()));
        }
        let names: BTreeSet<&str> = templates
            .iter()
            .flat_map(|template| template.placeholders())
            .filter_map(|name| name.strip_prefix("env."))
            .collect();
        let mut unset = Vec::new();
        for name in names {
            match variable(name) {
                Some(value) => self.set(format!("env.{name}"), value),
                None => unset.push(name.to_owned()),
            }
        }
        if unset.is_empty() { Ok(()) } else { Err(unset) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        input::{Problems, Source},
        scenario::system_from_text,
    };
    use std::path::PathBuf;

    #[test]
    fn variables_of_our_own_environment_are_taken_over_and_the_missing_ones_named() {
        let text =
            "[system]\ncommand = [\"x\"]\nenv = { A = \"u:{env.P}@{env.Q}\", B = \"{env.P}\" }\n";
        let source = Source::new("brownout.toml", text);
        let mut problems = Problems::default();
        let system = system_from_text(source, PathBuf::from("."), &mut problems).expect("a system");
        let mut places = Places::default();
        let missing = places.set_environment(&system, &|_| None);
        assert_eq!(missing, Err(vec!["P".to_owned(), "Q".to_owned()]));
        places
            .set_environment(&system, &|name| Some(format!("{{{name}}}")))
            .expect("all are set");
        // What is filled in is not looked at again.
        assert_eq!(places.fill(&system.env["A"]), "u:{P}@{Q}");
    }
}
