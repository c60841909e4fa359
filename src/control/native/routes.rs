//! The routes of the native API: one table, of which requests are answered and the document is made.

use http::Method;

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    ShowServer,
    ShowDocument,
    ListKinds,
    ListDependencies,
    MakeDependency,
    ShowDependency,
    RemoveDependency,
    ListFaults,
    PlaceFault,
    LiftAll,
    ShowFault,
    LiftFault,
    RenewFault,
    ListCalls,
    Stream,
    ListScenarios,
    StartRun,
    ListRuns,
    ShowRun,
    StopRun,
    RunHistory,
    RunReport,
    ShowSession,
    RestartSession,
    SessionScenario,
    SessionFile,
    History,
}

/// What an answer's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Nothing.
    Nothing,
    /// JSON of this schema.
    Json(&'static str),
    /// JSON without a schema of ours.
    AnyJson,
    /// A text of this type.
    Text(&'static str),
}

/// A parameter of a query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) shape: Shape,
}

/// What a parameter holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// A text of at most so many characters.
    Text(usize),
    /// A whole number from 1 to this.
    Count(u64),
}

/// One route.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) method: &'static str,
    /// With `{name}` for what stands for something.
    pub(crate) path: &'static str,
    pub(crate) does: Does,
    /// Its name in the document.
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) query: &'static [Parameter],
    /// The schema of the body that it takes.
    pub(crate) takes: Option<&'static str>,
    /// The status and body of what is done.
    pub(crate) gives: (u16, Content),
    /// What else it may answer; who may not ask is told everywhere.
    pub(crate) failures: &'static [u16],
}

const LIMIT: Parameter = Parameter {
    name: "limit",
    about: "The most calls; 50 unless said.",
    shape: Shape::Count(500),
};

const DEPENDENCY: Parameter = Parameter {
    name: "dependency",
    about: "The calls of this dependency alone.",
    shape: Shape::Text(128),
};

const NAME: Parameter = Parameter {
    name: "name",
    about: "The scenario's title.",
    shape: Shape::Text(120),
};

const fn get(path: &'static str, does: Does, name: &'static str, gives: Content) -> Route {
    Route {
        method: "GET",
        path,
        does,
        name,
        about: "",
        query: &[],
        takes: None,
        gives: (200, gives),
        failures: &[],
    }
}

const fn post(path: &'static str, does: Does, name: &'static str) -> Route {
    Route {
        method: "POST",
        path,
        does,
        name,
        about: "",
        query: &[],
        takes: None,
        gives: (204, Content::Nothing),
        failures: &[],
    }
}

const fn delete(path: &'static str, does: Does, name: &'static str) -> Route {
    Route {
        method: "DELETE",
        path,
        does,
        name,
        about: "",
        query: &[],
        takes: None,
        gives: (204, Content::Nothing),
        failures: &[],
    }
}

/// Every route.
pub(crate) const ROUTES: &[Route] = &[
    Route {
        about: "What this server is, and its bounds.",
        ..get(
            "/api/v1",
            Does::ShowServer,
            "showServer",
            Content::Json("Server"),
        )
    },
    Route {
        about: "This document.",
        ..get(
            "/api/v1/openapi.json",
            Does::ShowDocument,
            "showDocument",
            Content::AnyJson,
        )
    },
    Route {
        about: "The kinds of faults that can be put in force by hand, and their keys.",
        ..get(
            "/api/v1/kinds",
            Does::ListKinds,
            "listKinds",
            Content::Json("Kinds"),
        )
    },
    Route {
        about: "The dependencies, and how each is doing.",
        ..get(
            "/api/v1/dependencies",
            Does::ListDependencies,
            "listDependencies",
            Content::Json("Dependencies"),
        )
    },
    Route {
        about: "Has a dependency stand: a proxy in front of its upstream.",
        takes: Some("NewDependency"),
        gives: (201, Content::Json("Dependency")),
        failures: &[400, 409, 413, 415, 422, 429],
        ..post(
            "/api/v1/dependencies",
            Does::MakeDependency,
            "makeDependency",
        )
    },
    Route {
        about: "One dependency.",
        failures: &[404],
        ..get(
            "/api/v1/dependencies/{name}",
            Does::ShowDependency,
            "showDependency",
            Content::Json("Dependency"),
        )
    },
    Route {
        about: "Removes a dependency that a request made, with the faults on it.",
        failures: &[404, 409],
        ..delete(
            "/api/v1/dependencies/{name}",
            Does::RemoveDependency,
            "removeDependency",
        )
    },
    Route {
        about: "The faults in force.",
        ..get(
            "/api/v1/faults",
            Does::ListFaults,
            "listFaults",
            Content::Json("Faults"),
        )
    },
    Route {
        about: "Puts a fault in force, at once on every connection, until its time is over or its lease is not renewed.",
        takes: Some("NewFault"),
        gives: (201, Content::Json("Fault")),
        failures: &[400, 409, 413, 415, 422, 429],
        ..post("/api/v1/faults", Does::PlaceFault, "placeFault")
    },
    Route {
        about: "Lifts every fault.",
        ..delete("/api/v1/faults", Does::LiftAll, "liftAll")
    },
    Route {
        about: "One fault.",
        failures: &[404],
        ..get(
            "/api/v1/faults/{id}",
            Does::ShowFault,
            "showFault",
            Content::Json("Fault"),
        )
    },
    Route {
        about: "Lifts a fault.",
        failures: &[404],
        ..delete("/api/v1/faults/{id}", Does::LiftFault, "liftFault")
    },
    Route {
        about: "Gives a fault more time, from now: its lease begins anew, and so does its time.",
        takes: Some("Renewal"),
        gives: (200, Content::Json("Fault")),
        failures: &[400, 404, 413, 415],
        ..post("/api/v1/faults/{id}/renew", Does::RenewFault, "renewFault")
    },
    Route {
        about: "The last calls with their attempts, the newest first; and the requests that have no answer yet, the 50 oldest, the oldest first.",
        query: &[DEPENDENCY, LIMIT],
        failures: &[400],
        ..get(
            "/api/v1/calls",
            Does::ListCalls,
            "listCalls",
            Content::Json("Calls"),
        )
    },
    Route {
        about: "What happens, as it happens: `state` once, `changed` with every change, `tick` twice a second, `calls` as they end.",
        failures: &[429],
        ..get(
            "/api/v1/stream",
            Does::Stream,
            "stream",
            Content::Text("text/event-stream"),
        )
    },
    Route {
        about: "The scenarios of the folder that the server was given.",
        ..get(
            "/api/v1/scenarios",
            Does::ListScenarios,
            "listScenarios",
            Content::Json("Scenarios"),
        )
    },
    Route {
        about: "Begins to run a scenario of the folder, against the system that the server was given. One at a time.",
        takes: Some("NewRun"),
        gives: (202, Content::Json("Run")),
        failures: &[400, 404, 409, 413, 415, 422],
        ..post("/api/v1/runs", Does::StartRun, "startRun")
    },
    Route {
        about: "The runs that are remembered.",
        ..get(
            "/api/v1/runs",
            Does::ListRuns,
            "listRuns",
            Content::Json("Runs"),
        )
    },
    Route {
        about: "One run, with its verdicts so far.",
        failures: &[404],
        ..get(
            "/api/v1/runs/{id}",
            Does::ShowRun,
            "showRun",
            Content::Json("Run"),
        )
    },
    Route {
        about: "Stops a run: it heals, stops the system, and is judged as far as it came.",
        gives: (202, Content::Json("Run")),
        failures: &[404],
        ..post("/api/v1/runs/{id}/stop", Does::StopRun, "stopRun")
    },
    Route {
        about: "The history of a run, so far. The files of the run are named at its head, without their texts.",
        failures: &[404],
        ..get(
            "/api/v1/runs/{id}/history",
            Does::RunHistory,
            "showRunHistory",
            Content::Text("application/jsonl"),
        )
    },
    Route {
        about: "The report of a run, once it is over.",
        failures: &[404, 409],
        ..get(
            "/api/v1/runs/{id}/report",
            Does::RunReport,
            "showRunReport",
            Content::Text("text/html"),
        )
    },
    Route {
        about: "What was done by hand.",
        ..get(
            "/api/v1/session",
            Does::ShowSession,
            "showSession",
            Content::Json("Session"),
        )
    },
    Route {
        about: "Begins a new session; what is in force stays.",
        gives: (200, Content::Json("Session")),
        ..post(
            "/api/v1/session/restart",
            Does::RestartSession,
            "restartSession",
        )
    },
    Route {
        about: "A scenario of what was done by hand.",
        query: &[NAME],
        failures: &[400, 409],
        ..get(
            "/api/v1/session/scenario",
            Does::SessionScenario,
            "showSessionScenario",
            Content::Json("Saved"),
        )
    },
    Route {
        about: "The same, as the file.",
        query: &[NAME],
        failures: &[400, 409],
        ..get(
            "/api/v1/session/scenario.toml",
            Does::SessionFile,
            "showSessionFile",
            Content::Text("text/plain"),
        )
    },
    Route {
        about: "What was observed in the last two minutes, as a history's file has it. The system's file is named, without its text.",
        ..get(
            "/api/v1/history",
            Does::History,
            "showHistory",
            Content::Text("application/jsonl"),
        )
    },
];

/// A route with what stands in its path for something.
pub(crate) struct Found<'a> {
    pub(crate) route: &'static Route,
    pub(crate) part: Option<&'a str>,
}

/// What a path leads to.
pub(crate) enum Led<'a> {
    /// This route.
    To(Found<'a>),
    /// Routes of other methods: these.
    Otherwise(String),
    /// Nothing.
    Nowhere,
}

/// Finds the route of a path, its parts taken out of their escapes already.
pub(crate) fn led<'a>(method: &Method, segments: &[&'a str]) -> Led<'a> {
    let wanted = match method.as_str() {
        "HEAD" => "GET",
        other => other,
    };
    let mut others: Vec<&str> = Vec::new();
    for route in ROUTES {
        let Some(part) = matched(route.path, segments) else {
            continue;
        };
        if route.method == wanted {
            return Led::To(Found { route, part });
        }
        others.push(route.method);
        if route.method == "GET" {
            others.push("HEAD");
        }
    }
    if others.is_empty() {
        Led::Nowhere
    } else {
        Led::Otherwise(others.join(", "))
    }
}

/// Whether a path is of this template, and what stands for its `{…}`.
#[expect(
    clippy::option_option,
    reason = "there may be nothing that stands for anything"
)]
fn matched<'a>(template: &str, segments: &[&'a str]) -> Option<Option<&'a str>> {
    let wanted: Vec<&str> = template.split('/').skip(1).collect();
    if wanted.len() != segments.len() {
        return None;
    }
    let mut part = None;
    for (wanted, segment) in wanted.into_iter().zip(segments) {
        if wanted.starts_with('{') {
            part = Some(*segment);
        } else if wanted != *segment {
            return None;
        }
    }
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn paths_lead_to_their_routes() {
        let to = |method: Method, path: &'static str| {
            let segments: Vec<&str> = path.split('/').skip(1).collect();
            match led(&method, &segments) {
                Led::To(found) => format!("{:?} {:?}", found.route.does, found.part),
                Led::Otherwise(others) => others,
                Led::Nowhere => "nowhere".to_owned(),
            }
        };
        assert_eq!(to(Method::GET, "/api/v1/faults/7"), "ShowFault Some(\"7\")");
        assert_eq!(to(Method::HEAD, "/api/v1"), "ShowServer None");
        assert_eq!(to(Method::PUT, "/api/v1/faults"), "GET, HEAD, POST, DELETE");
        assert_eq!(to(Method::GET, "/api/v1/faults/7/renew"), "POST");
        assert_eq!(to(Method::GET, "/api/v1/faults/7/8"), "nowhere");
    }

    #[test]
    fn each_route_has_a_name_of_its_own_and_says_what_it_does() {
        let names: BTreeSet<&str> = ROUTES.iter().map(|route| route.name).collect();
        assert_eq!(names.len(), ROUTES.len());
        assert!(ROUTES.iter().all(|route| route.about.ends_with('.')));
    }
}
