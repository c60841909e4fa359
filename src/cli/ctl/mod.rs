//! `brownout ctl`: what can be done with a running server by hand. It asks through Toxiproxy's API,
//! so that it serves for a `toxiproxy-server` too.

mod client;

use super::{
    Exit, Failure,
    args::{Ctl as Args, CtlCommand, ToxicCommand},
    say,
};
use client::Client;
use serde_json::{Map, Value, json};

/// Carries it out.
pub fn ctl(args: &Args) -> Result<Exit, Failure> {
    let client = Client::of(&args.host, args.token.as_deref())?;
    let lines = match &args.command {
        CtlCommand::List => list(&client.ask("GET", &["proxies"], &Value::Null)?),
        CtlCommand::Inspect(one) => {
            inspect(&client.ask("GET", &["proxies", &one.proxy], &Value::Null)?)
        }
        CtlCommand::Create(new) => {
            let mut body = json!({
                "name": new.proxy,
                "listen": new.listen,
                "upstream": new.upstream,
                "enabled": !new.disabled,
            });
            if let Some(protocol) = &new.protocol {
                body["protocol"] = json!(protocol);
            }
            let made = client.ask("POST", &["proxies"], &body)?;
            vec![format!(
                "created {}, listening on {}",
                new.proxy,
                text(&made["listen"])
            )]
        }
        CtlCommand::Toggle(one) => vec![toggle(&client, &one.proxy)?],
        CtlCommand::Delete(one) => {
            client.ask("DELETE", &["proxies", &one.proxy], &Value::Null)?;
            vec![format!("deleted {}", one.proxy)]
        }
        CtlCommand::Reset => {
            client.ask("POST", &["reset"], &Value::Null)?;
            vec!["enabled every proxy, removed every toxic".to_owned()]
        }
        CtlCommand::Toxic(command) => vec![toxic(&client, command)?],
    };
    let data: String = lines.iter().map(|line| format!("{line}\n")).collect();
    say::data(data.as_bytes())?;
    Ok(Exit::Pass)
}

fn toggle(client: &Client, proxy: &str) -> Result<String, Failure> {
    let path = ["proxies", proxy];
    let is_enabled = client.ask("GET", &path, &Value::Null)?["enabled"] == true;
    client.ask("POST", &path, &json!({ "enabled": !is_enabled }))?;
    let now = if is_enabled { "disabled" } else { "enabled" };
    Ok(format!("{proxy} is now {now}"))
}

fn toxic(client: &Client, command: &ToxicCommand) -> Result<String, Failure> {
    match command {
        ToxicCommand::Add(new) => {
            let mut body = json!({
                "type": new.kind,
                "stream": if new.upstream { "upstream" } else { "downstream" },
                "toxicity": new.toxicity,
                "attributes": attributes(&new.attributes)?,
            });
            if let Some(name) = &new.name {
                body["name"] = json!(name);
            }
            let path = ["proxies", &new.proxy, "toxics"];
            let made = client.ask("POST", &path, &body)?;
            Ok(format!("added {} to {}", text(&made["name"]), new.proxy))
        }
        ToxicCommand::Update(change) => {
            let mut body = json!({ "attributes": attributes(&change.attributes)? });
            // What is not said stays.
            if let Some(toxicity) = change.toxicity {
                body["toxicity"] = json!(toxicity);
            }
            let path = ["proxies", &change.proxy, "toxics", &change.name];
            client.ask("POST", &path, &body)?;
            Ok(format!("updated {} of {}", change.name, change.proxy))
        }
        ToxicCommand::Remove(old) => {
            let path = ["proxies", &old.proxy, "toxics", &old.name];
            client.ask("DELETE", &path, &Value::Null)?;
            Ok(format!("removed {} from {}", old.name, old.proxy))
        }
    }
}

/// `key=value` each. A value that is JSON is that, any other a text.
fn attributes(said: &[String]) -> Result<Value, Failure> {
    let mut attributes = Map::new();
    for one in said {
        let Some((key, value)) = one.split_once('=') else {
            return Err(Failure::usage(
                format!("`{one}` is no attribute"),
                "write it like latency=1000",
            ));
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
        attributes.insert(key.to_owned(), value);
    }
    Ok(Value::Object(attributes))
}

/// A line for each proxy: its name, where it listens, where it leads, its state, its toxics.
fn list(proxies: &Value) -> Vec<String> {
    let each = proxies.as_object().into_iter().flatten();
    each.map(|(_, proxy)| head(proxy)).collect()
}

/// The line of a proxy, then one for each of its toxics.
fn inspect(proxy: &Value) -> Vec<String> {
    let toxics = proxy["toxics"].as_array().into_iter().flatten();
    std::iter::once(head(proxy))
        .chain(toxics.map(of_toxic))
        .collect()
}

fn head(proxy: &Value) -> String {
    let state = if proxy["enabled"] == true {
        "enabled"
    } else {
        "disabled"
    };
    let toxics = proxy["toxics"].as_array().map_or(0, Vec::len);
    let [name, listen, upstream] = ["name", "listen", "upstream"].map(|key| text(&proxy[key]));
    format!("{name}\t{listen}\t{upstream}\t{state}\t{toxics}")
}

fn of_toxic(toxic: &Value) -> String {
    let [name, kind, stream] = ["name", "type", "stream"].map(|key| text(&toxic[key]));
    let attributes = toxic["attributes"].as_object().into_iter().flatten();
    let attributes: Vec<String> = attributes
        .map(|(key, value)| format!("{key}={}", text(value)))
        .collect();
    format!(
        "{name}\ttype={kind}\tstream={stream}\ttoxicity={:.2}\tattributes=[{}]",
        toxic["toxicity"].as_f64().unwrap_or_default(),
        attributes.join(" ")
    )
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_json_where_they_can_be() {
        let said = [
            "latency=1000",
            "error=SlowDown",
            "close=true",
            "after=2s",
            "a=b=c",
            r#"when={"path":"/a"}"#,
        ];
        let read = attributes(&said.map(str::to_owned)).map_err(|failure| failure.message);
        assert_eq!(
            read,
            Ok(json!({
                "latency": 1000, "error": "SlowDown", "close": true, "after": "2s", "a": "b=c",
                "when": {"path": "/a"},
            }))
        );
        assert!(attributes(&["latency".to_owned()]).is_err());
    }

    #[test]
    fn a_proxy_and_its_toxics_are_lines_of_columns() {
        let proxy = json!({
            "name": "web", "listen": "127.0.0.1:1", "upstream": "x:2", "enabled": false,
            "toxics": [{"name": "t", "type": "latency", "stream": "upstream", "toxicity": 0.5,
                "attributes": {"latency": 5, "jitter": 0}}],
        });
        assert_eq!(
            inspect(&proxy),
            [
                "web\t127.0.0.1:1\tx:2\tdisabled\t1",
                "t\ttype=latency\tstream=upstream\ttoxicity=0.50\tattributes=[jitter=0 latency=5]"
            ]
        );
        assert_eq!(list(&json!({ "web": proxy })).len(), 1);
    }
}
