//! What became of each client's features in both places.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use testkit::program;

use crate::ground::{Place, Places};
use crate::install::Program;
use crate::known::{At, Client, Feature};

/// What became of a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Works {
        /// What the program saw, which has to be the same in both places.
        saw: String,
    },
    Fails {
        reason: String,
    },
    /// The client has no such feature.
    Absent {
        reason: String,
        source: String,
    },
}

/// One client in one place.
#[derive(Debug)]
struct Told {
    versions: String,
    outcomes: Vec<(String, Outcome)>,
}

impl Told {
    fn outcome(&self, feature: &str) -> Option<&Outcome> {
        self.outcomes.iter().find(|(name, _)| name == feature).map(|(_, outcome)| outcome)
    }
}

/// One client in both places.
#[derive(Debug)]
pub(crate) struct Compared {
    pub client: &'static Client,
    pub versions: String,
    gateway: Told,
    directly: Told,
}

impl Compared {
    /// What the table says: through the gateway.
    pub(crate) fn outcome(&self, feature: &str) -> Option<&Outcome> {
        self.gateway.outcome(feature)
    }

    /// Every feature that is not as directly, or works in neither place, which is a mistake of the program's.
    pub(crate) fn differences(&self) -> Vec<String> {
        let features = self.client.engine.features().iter();
        features.filter_map(|feature| self.difference(feature)).collect()
    }

    fn difference(&self, feature: &Feature) -> Option<String> {
        let name = feature.name;
        let (here, there) = (self.gateway.outcome(name), self.directly.outcome(name));
        let same = match (here, feature.at) {
            (Some(Outcome::Works { .. } | Outcome::Absent { .. }), At::Both) => here == there,
            (Some(Outcome::Works { .. } | Outcome::Absent { .. }), At::Gateway) => true,
            (Some(Outcome::Fails { .. }) | None, _) => false,
        };
        if same {
            return None;
        }
        let title = self.client.title;
        Some(match (here, there) {
            (Some(Outcome::Works { saw }), Some(Outcome::Works { saw: directly })) => {
                format!("{title}, {name}: {}", first_difference(saw, directly))
            }
            _ => format!(
                "{title}, {name}: {} through the gateway, {} directly",
                shown(here),
                shown(there)
            ),
        })
    }
}

fn shown(outcome: Option<&Outcome>) -> String {
    match outcome {
        None => "nothing was said".to_owned(),
        Some(Outcome::Works { .. }) => "works".to_owned(),
        Some(Outcome::Fails { reason }) => format!("fails ({reason})"),
        Some(Outcome::Absent { reason, .. }) => format!("is absent ({reason})"),
    }
}

/// The first line in which two texts differ.
fn first_difference(here: &str, there: &str) -> String {
    let (mut one, mut other) = (here.lines(), there.lines());
    loop {
        match (one.next(), other.next()) {
            (Some(here), Some(there)) if here == there => {}
            (here, there) => {
                let or = |line: Option<&str>| line.unwrap_or("nothing more").to_owned();
                return format!("`{}` through the gateway, `{}` directly", or(here), or(there));
            }
        }
    }
}

/// Runs the client in both places.
pub(crate) fn compare(
    client: &'static Client,
    program: &Program,
    places: &Places,
) -> Result<Compared> {
    let run = |place: &Place| {
        run(client, program, place).with_context(|| format!("{}, {}", client.title, place.name))
    };
    let (gateway, directly) = (run(&places.gateway)?, run(&places.directly)?);
    ensure!(gateway.versions == directly.versions, "two versions of {}", client.title);
    let versions = gateway.versions.clone();
    Ok(Compared { client, versions, gateway, directly })
}

fn run(client: &Client, program: &Program, place: &Place) -> Result<Told> {
    let mut command = place.command(&program.command, "orders");
    command.args(&program.arguments);
    command.envs(program.environment.iter().map(|(name, value)| (name, value)));
    let said = program::run(&mut command)?;
    let told = told(&said.stdout).with_context(|| said.to_string())?;
    ensure!(said.ok(), "{said}");
    for Feature { name, at, .. } in client.engine.features() {
        let asked = *at == At::Both || place.handle.is_some();
        ensure!(!asked || told.outcome(name).is_some(), "nothing is said of {name}: {said}");
    }
    Ok(told)
}

fn told(stdout: &str) -> Result<Told> {
    let mut told = Told { versions: String::new(), outcomes: Vec::new() };
    for line in stdout.lines() {
        let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let text = |name: &str| {
            let value = line.get(name).and_then(Value::as_str);
            value.map(str::to_owned).with_context(|| format!("no `{name}` in {line}"))
        };
        if let Ok(versions) = text("versions") {
            told.versions = versions;
            continue;
        }
        let outcome = match text("outcome")?.as_str() {
            "works" => Outcome::Works { saw: text("saw").unwrap_or_default() },
            "fails" => Outcome::Fails { reason: one_line(&text("reason")?) },
            "absent" => Outcome::Absent { reason: text("reason")?, source: text("source")? },
            other => bail!("`{other}` is no outcome"),
        };
        told.outcomes.push((text("feature")?, outcome));
    }
    ensure!(!told.versions.is_empty(), "it does not say its versions");
    Ok(told)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::known::Engine;

    fn of(gateway: &str, directly: &str) -> Vec<String> {
        let client = &Engine::PostgreSql.clients()[0];
        let all = |cancel: &str| {
            let features = client.engine.features().iter().map(|feature| feature.name);
            let lines = features.map(|feature| match feature {
                "cancel" => cancel.to_owned(),
                _ => format!(r#"{{"feature": "{feature}", "outcome": "works"}}"#),
            });
            let lines: Vec<String> = lines.collect();
            told(&format!("{{\"versions\": \"1\"}}\n{}", lines.join("\n"))).unwrap()
        };
        let (gateway, directly) = (all(gateway), all(directly));
        let versions = gateway.versions.clone();
        Compared { client, versions, gateway, directly }.differences()
    }

    #[test]
    fn a_feature_that_fails_in_any_place_is_a_difference() {
        let works = r#"{"feature": "cancel", "outcome": "works"}"#;
        let fails = r#"{"feature": "cancel", "outcome": "fails", "reason": "port 4711"}"#;
        assert_eq!(of(works, works), Vec::<String>::new());
        assert_eq!(of(fails, works).len(), 1);
        assert_eq!(of(works, fails).len(), 1);
        assert_eq!(of(fails, fails).len(), 1);
    }

    #[test]
    fn what_a_program_saw_must_be_the_same_in_both_places() {
        let saw = |rows: &str| {
            format!(
                r#"{{"feature": "cancel", "outcome": "works", "saw": "columns\n{rows}\nthe end"}}"#
            )
        };
        assert_eq!(of(&saw("1"), &saw("1")), Vec::<String>::new());
        assert_eq!(
            of(&saw("1"), &saw("2")),
            ["psql, cancel: `1` through the gateway, `2` directly"]
        );
    }

    #[test]
    fn what_a_program_may_not_say_is_refused() {
        assert!(told("").is_err());
        assert!(told("{\"versions\": \"1\"}\nnoise").is_err());
        assert!(
            told("{\"versions\": \"1\"}\n{\"feature\": \"x\", \"outcome\": \"skipped\"}").is_err()
        );
        let without_source = "{\"feature\": \"x\", \"outcome\": \"absent\", \"reason\": \"y\"}";
        assert!(told(&format!("{{\"versions\": \"1\"}}\n{without_source}")).is_err());
    }
}
