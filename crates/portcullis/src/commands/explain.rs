//! `portcullis explain`: every condition of a decision and its outcome.

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::cli::{Common, Explain};
use crate::failure::Failure;
use crate::output;
use crate::remote::Remote;
use crate::table::Table;

/// As the API answers.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    principal: String,
    server: String,
    database: String,
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

pub(crate) fn run(common: &Common, explain: &Explain) -> Result<(), Failure> {
    let remote = Remote::open(common, format!("explain access of `{}`", explain.principal))?;
    let source = explain.source.map(|source| source.to_string());
    let address = Address::of(&["v1", "explain"])
        .with("principal", &explain.principal)
        .with("server", explain.server.as_str())
        .maybe("database", explain.database.as_deref())
        .maybe("source", source.as_deref());
    let explanation: Explanation = remote.get(&address)?;
    output::show(common.output, &explanation, || text(&explanation))
}

fn text(explanation: &Explanation) -> String {
    let Explanation { principal, server, database, source, allowed, conditions } = explanation;
    let verdict = if *allowed { "may" } else { "may not" };
    let mut text =
        format!("{principal} {verdict} open `{database}` on `{server}` from {source}\n\n");
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
            database: "orders".into(),
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
}
