//! The clients, and what became of each feature in both places.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use testkit::program;

use crate::ground::{Ground, Place};
use crate::install::Program;

/// A client of PostgreSQL's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Psql,
    Libpq18,
    Psycopg,
    Psycopg2,
    Asyncpg,
    Pg8000,
    TokioPostgres,
    Sqlx,
    NodePg,
    PostgresJs,
    Jdbc,
    LibPq,
    Pgx,
}

/// What a client is written in, and so how it is had.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Family {
    Python,
    Node,
    Go,
    Java,
    Rust,
}

impl Client {
    const ALL: [Self; 13] = [
        Self::Psql,
        Self::Libpq18,
        Self::Psycopg,
        Self::Psycopg2,
        Self::Asyncpg,
        Self::Pg8000,
        Self::TokioPostgres,
        Self::Sqlx,
        Self::NodePg,
        Self::PostgresJs,
        Self::Jdbc,
        Self::LibPq,
        Self::Pgx,
    ];

    /// All of them when none is named.
    pub(crate) fn chosen(names: &[&str]) -> Result<Vec<Self>> {
        if names.is_empty() {
            return Ok(Self::ALL.to_vec());
        }
        let find = |name: &&str| {
            let found = Self::ALL.into_iter().find(|client| client.title() == *name);
            found.with_context(|| {
                let known: Vec<&str> = Self::ALL.iter().map(|client| client.title()).collect();
                format!("`{name}` is not one of: {}", known.join(", "))
            })
        };
        names.iter().map(find).collect()
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Psql => "psql",
            Self::Libpq18 => "libpq 18",
            Self::Psycopg => "psycopg 3",
            Self::Psycopg2 => "psycopg 2",
            Self::Asyncpg => "asyncpg",
            Self::Pg8000 => "pg8000",
            Self::TokioPostgres => "tokio-postgres",
            Self::Sqlx => "sqlx",
            Self::NodePg => "node-postgres",
            Self::PostgresJs => "Postgres.js",
            Self::Jdbc => "JDBC",
            Self::LibPq => "Go lib/pq",
            Self::Pgx => "Go pgx",
        }
    }

    pub(crate) fn family(self) -> Family {
        match self {
            Self::Psql
            | Self::Libpq18
            | Self::Psycopg
            | Self::Psycopg2
            | Self::Asyncpg
            | Self::Pg8000 => Family::Python,
            Self::TokioPostgres | Self::Sqlx => Family::Rust,
            Self::NodePg | Self::PostgresJs => Family::Node,
            Self::Jdbc => Family::Java,
            Self::LibPq | Self::Pgx => Family::Go,
        }
    }

    /// Its program in its family's folder.
    pub(crate) fn script(self) -> &'static str {
        match self {
            Self::Psql => "via_psql.py",
            Self::Libpq18 | Self::Psycopg => "via_psycopg.py",
            Self::Psycopg2 => "via_psycopg2.py",
            Self::Asyncpg => "via_asyncpg.py",
            Self::Pg8000 => "via_pg8000.py",
            Self::TokioPostgres => "via_tokio_postgres",
            Self::Sqlx => "via_sqlx",
            Self::NodePg => "via_pg.js",
            Self::PostgresJs => "via_postgres.js",
            Self::Jdbc => "ViaJdbc.java",
            Self::LibPq => "via_lib_pq.go",
            Self::Pgx => "via_pgx.go",
        }
    }

    /// The distribution's package, where it comes from there.
    pub(crate) fn package(self) -> &'static str {
        match self {
            Self::LibPq => "golang-github-lib-pq-dev",
            Self::Pgx => "golang-github-jackc-pgx-v4-dev",
            _ => "",
        }
    }

    /// More of its environment.
    pub(crate) fn environment(self) -> Vec<(&'static str, String)> {
        match self {
            // psycopg's binary brings a libpq of its own.
            Self::Libpq18 => vec![("PSYCOPG_IMPL", "binary".to_owned())],
            Self::Psycopg => vec![("PSYCOPG_IMPL", "python".to_owned())],
            _ => Vec::new(),
        }
    }
}

/// Columns of the table, in its order: the name that programs say, and the heading.
pub(crate) const FEATURES: [(&str, &str); 11] = [
    ("login", "token"),
    ("handle", "handle"),
    ("simple", "simple"),
    ("prepared", "prepared"),
    ("pipeline", "pipeline"),
    ("copyIn", "COPY in"),
    ("copyOut", "COPY out"),
    ("cancel", "cancel"),
    ("largeIn", "large in"),
    ("largeOut", "large out"),
    ("reconnect", "reconnect"),
];

/// What became of a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Works,
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
    pub client: Client,
    pub versions: String,
    gateway: Told,
    directly: Told,
}

impl Compared {
    /// What the table says: through the gateway.
    pub(crate) fn outcome(&self, feature: &str) -> Option<&Outcome> {
        self.gateway.outcome(feature)
    }

    /// Every feature that is not as directly, or works in neither place, which is a mistake of the program's. A handle
    /// exists at a gateway only, and has to work there.
    pub(crate) fn differences(&self) -> Vec<String> {
        let differs = |feature: &str| {
            let here = self.gateway.outcome(feature);
            let there = match feature {
                "handle" => Some(&Outcome::Works),
                _ => self.directly.outcome(feature),
            };
            let same = match here {
                Some(Outcome::Works | Outcome::Absent { .. }) => here == there,
                Some(Outcome::Fails { .. }) | None => false,
            };
            (!same).then(|| {
                let client = self.client.title();
                format!("{client}, {feature}: {here:?} through the gateway, {there:?} directly")
            })
        };
        FEATURES.iter().filter_map(|(feature, _)| differs(feature)).collect()
    }
}

/// Runs the client in both places.
pub(crate) fn compare(client: Client, program: &Program, ground: &Ground) -> Result<Compared> {
    let run = |place: &Place| {
        run(program, place).with_context(|| format!("{}, {}", client.title(), place.name))
    };
    let (gateway, directly) = (run(&ground.gateway)?, run(&ground.directly)?);
    ensure!(gateway.versions == directly.versions, "two versions of {}", client.title());
    let versions = gateway.versions.clone();
    Ok(Compared { client, versions, gateway, directly })
}

fn run(program: &Program, place: &Place) -> Result<Told> {
    let mut command = place.command(&program.command, "orders");
    command.args(&program.arguments);
    command.envs(program.environment.iter().map(|(name, value)| (name, value)));
    let said = program::run(&mut command)?;
    let told = told(&said.stdout).with_context(|| said.to_string())?;
    ensure!(said.ok(), "{said}");
    for (feature, _) in FEATURES {
        let asked = feature != "handle" || place.handle.is_some();
        ensure!(!asked || told.outcome(feature).is_some(), "nothing is said of {feature}: {said}");
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
            "works" => Outcome::Works,
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

    fn of(gateway: &str, directly: &str) -> Vec<String> {
        let all = |cancel: &str| {
            let lines = FEATURES.map(|(feature, _)| match feature {
                "cancel" => cancel.to_owned(),
                _ => format!(r#"{{"feature": "{feature}", "outcome": "works"}}"#),
            });
            told(&format!("{{\"versions\": \"1\"}}\n{}", lines.join("\n"))).unwrap()
        };
        let (gateway, directly) = (all(gateway), all(directly));
        let versions = gateway.versions.clone();
        Compared { client: Client::Psql, versions, gateway, directly }.differences()
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
