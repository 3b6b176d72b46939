//! `portcullis explain`: every condition of a decision and its outcome.

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::cli::{Common, Explain};
use crate::failure::{Exit, Failure};
use crate::output;
use crate::remote::Remote;
use crate::table::Table;

/// As the API answers.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    principal: String,
    server: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    source: String,
    allowed: bool,
    conditions: Vec<Condition>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    name: String,
    met: bool,
    detail: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// Documents; of each, its name is enough here.
#[derive(Debug, Deserialize)]
struct List {
    items: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    metadata: Named,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

pub(crate) fn run(common: &Common, explain: &Explain) -> Result<(), Failure> {
    let what = match &explain.principal {
        Some(principal) => format!("explain access of `{principal}`"),
        None => "explain your access".to_owned(),
    };
    let remote = Remote::open(common, what)?;
    let server = match &explain.server {
        Some(server) => server.to_string(),
        None => only_server(remote.get(&Address::of(&["v1", "databaseservers"]))?)?,
    };
    let source = explain.source.map(|source| source.to_string());
    let address = Address::of(&["v1", "explain"])
        .with("server", &server)
        .maybe("principal", explain.principal.as_deref())
        .maybe("database", explain.database.as_deref())
        .maybe("source", source.as_deref());
    let explanation: Explanation = remote.get(&address)?;
    output::show(common.output, &explanation, || text(&explanation))
}

/// The server that is meant when none is named.
fn only_server(servers: List) -> Result<String, Failure> {
    let mut names: Vec<String> = servers.items.into_iter().map(|it| it.metadata.name).collect();
    match (names.pop(), names.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(Failure::new("cannot explain", "you see no database server")
            .next("ask an owner for an eligibility, or name the server: --server NAME")),
        (Some(last), false) => {
            names.push(last);
            let why = format!("you see several database servers: {}", names.join(", "));
            Err(Failure::new("cannot explain", why).exit(Exit::Usage).next("add --server NAME"))
        }
    }
}

fn text(explanation: &Explanation) -> String {
    let Explanation { principal, server, database, source, allowed, conditions } = explanation;
    let verdict = if *allowed { "may" } else { "may not" };
    let database = match database {
        Some(database) => format!("`{database}`"),
        None => "any database".to_owned(),
    };
    let mut text = format!("{principal} {verdict} open {database} on `{server}` from {source}\n\n");
    let mut table = Table::new(&["", "CONDITION", "FOUND"]);
    for Condition { name, met, detail, code, hint: _ } in conditions {
        let mark = if *met { "yes" } else { "NO" };
        let found = match code {
            Some(code) => format!("{code}: {detail}"),
            None => detail.clone(),
        };
        table.row([mark.to_owned(), name.clone(), found]);
    }
    text.push_str(&table.render());
    let first_hint = conditions.iter().filter(|it| !it.met).find_map(|it| it.hint.as_ref());
    if let Some(hint) = first_hint {
        text.push_str("\nnext: ");
        text.push_str(hint);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_shows_each_condition_and_what_would_help() {
        let condition = |name: &str, met, detail: &str, code: Option<&str>| Condition {
            name: name.into(),
            met,
            detail: detail.into(),
            code: code.map(Into::into),
            hint: code.map(|_| "you are eligible; ask with `portcullis request`".into()),
        };
        let explanation = Explanation {
            principal: "dev@example.com".into(),
            server: "orders".into(),
            database: Some("orders".into()),
            source: "127.0.0.1".into(),
            allowed: false,
            conditions: vec![
                condition("network", true, "the gateway's own host", None),
                condition("membership", false, "no membership gives access now", Some("PC1203")),
            ],
        };
        insta::assert_snapshot!(text(&explanation), @r"
        dev@example.com may not open `orders` on `orders` from 127.0.0.1

             CONDITION   FOUND
        yes  network     the gateway's own host
        NO   membership  PC1203: no membership gives access now

        next: you are eligible; ask with `portcullis request`
        ");
    }

    #[test]
    fn where_any_database_is_reachable_none_is_named() {
        let explanation = Explanation {
            principal: "dev@example.com".into(),
            server: "orders".into(),
            database: None,
            source: "127.0.0.1".into(),
            allowed: true,
            conditions: Vec::new(),
        };
        let expected = "dev@example.com may open any database on `orders` from 127.0.0.1";
        assert!(text(&explanation).starts_with(expected));
    }

    #[test]
    fn a_server_is_meant_when_it_is_the_only_one() {
        let servers = |names: &[&str]| {
            let items: Vec<_> =
                names.iter().map(|name| serde_json::json!({"metadata": {"name": name}})).collect();
            only_server(serde_json::from_value(serde_json::json!({ "items": items })).unwrap())
        };
        assert_eq!(servers(&["orders"]).unwrap(), "orders");
        assert!(servers(&[]).is_err());
        assert!(servers(&["orders", "people"]).unwrap_err().to_string().contains("orders, people"));
    }
}
