//! The reference pages: refusal codes, command line, kinds, API, metrics, findings. Written from the code, so that they cannot differ from it.

use std::path::Path;

use clap::CommandFactory;
use model::document::WrittenBy;
use model::finding::{self, Check, Severity};
use model::{Kind, code};
use runtime::metrics::{Described, Registry};
use serde_json::Value;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::server::figures;

const MADE: &str = "<!-- Made by `cargo xtask docs`; do not edit. -->\n";

pub(crate) fn run(directory: &Path) -> Result<(), Failure> {
    let pages = [
        ("codes.md", codes()),
        ("cli.md", cli()),
        ("kinds.md", kinds()),
        ("api.md", routes()),
        ("metrics.md", metrics()),
        ("findings.md", findings()),
    ];
    for (name, text) in pages {
        let file = directory.join(name);
        std::fs::create_dir_all(directory)
            .and_then(|()| std::fs::write(&file, text))
            .map_err(|error| Failure::new(format!("cannot write `{}`", file.display()), error))?;
    }
    Ok(())
}

fn finished(lines: &[String]) -> String {
    format!("{}\n", lines.join("\n"))
}

fn codes() -> String {
    let mut page = vec![format!(
        "# Refusal codes\n\n{MADE}\n\
         Every refusal carries one of these codes: in the error of a database client, in the `code` of a \
         `problem+json`, on the command line, and in the audit log. A code never changes its meaning.\n\n\
         | Code | SQLSTATE | HTTP | What it means | What to do next |\n|---|---|---|---|---|"
    )];
    for code in code::ALL {
        page.push(format!(
            "| {} | {} | {} | {} | {} |",
            code.id,
            code.sqlstate,
            code.http,
            cell(code.title),
            cell(code.remedy)
        ));
    }
    finished(&page)
}

fn routes() -> String {
    let mut page = vec![format!(
        "# REST API\n\n{MADE}\n\
         One origin serves token service and API over HTTPS. Requests carry `Authorization: Bearer` with a token for \
         `api://portcullis`; `portcullis login` gets one. Bodies and answers are JSON; an unknown field is an error. \
         Refusals are `application/problem+json` with a stable `code` ([codes](codes.md)) and a `hint`. A write answers \
         when every live gateway acts on it; one that does not within two seconds is named in the header \
         `portcullis-lag`. `{{kind}}` is a plural such as `databaseservers` ([kinds](kinds.md)).\n\n\
         | Method | Address | What it is for |\n|---|---|---|"
    )];
    for api::Route { method, path, what } in api::ROUTES {
        page.push(format!("| {method} | `{path}` | {what} |"));
    }
    finished(&page)
}

fn metrics() -> String {
    let mut page = vec![format!(
        "# Metrics\n\n{MADE}\n\
         `GET /metrics` answers in OpenMetrics text: to this host, and elsewhere to a token of an auditor or owner. Words \
         in backquotes are labels. A histogram has samples `_bucket`, `_sum` and `_count`.\n\n\
         | Name | Type | Unit | What it means |\n|---|---|---|---|"
    )];
    let registry = Registry::new();
    figures::describe(&registry);
    for Described { name, kind, unit, help } in registry.described() {
        page.push(format!("| `{name}` | {kind} | {unit} | {} |", cell(help)));
    }
    finished(&page)
}

fn findings() -> String {
    let mut page = vec![format!(
        "# Findings of `portcullis doctor`\n\n{MADE}\n\
         Every usual mistake has a code, which never changes its meaning. `{{}}` stands for the server's name. Exit code 6 \
         says that something was found.\n\n\
         | Code | Severity | What it means | What to do |\n|---|---|---|---|"
    )];
    for Check { id, severity, title, next } in finding::ALL {
        let severity = match severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        page.push(format!("| {id} | {severity} | {} | {} |", cell(title), cell(next)));
    }
    finished(&page)
}

fn cli() -> String {
    let mut page = vec![format!(
        "# Command line\n\n{MADE}\n\
         Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage, \
         3 refused by the rules, 4 not signed in, 5 unreachable, 6 `doctor` found something."
    )];
    let mut root = Cli::command().term_width(110);
    root.build();
    help("portcullis", &root, &mut page);
    finished(&page)
}

fn help(name: &str, command: &clap::Command, page: &mut Vec<String>) {
    let text = command.clone().bin_name(name).render_help().to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    page.push(format!("\n## `{name}`\n\n```text\n{}\n```", lines.join("\n").trim_end()));
    let subcommands = command
        .get_subcommands()
        .filter(|subcommand| !subcommand.is_hide_set() && subcommand.get_name() != "help");
    for subcommand in subcommands {
        help(&format!("{name} {}", subcommand.get_name()), subcommand, page);
    }
}

fn kinds() -> String {
    let mut page = vec![format!(
        "# Kinds of resources\n\n{MADE}\n\
         Every document has `apiVersion: portcullis.dev/v1`, `kind`, `metadata.name` and `spec`. `portcullis schema KIND` \
         prints the JSON Schema of one kind. An unknown field is an error that names the nearest known one."
    )];
    for kind in Kind::ALL {
        let schema = kind.schema();
        page.push(format!("\n## {kind}\n\n{}", description(&schema)));
        match kind.written_by() {
            WrittenBy::People => {}
            WrittenBy::Portcullis => {
                page.push("\nWritten by Portcullis only; files cannot hold it.".to_owned());
            }
        }
        page.push("\n| Field | Type | | What it is |\n|---|---|---|---|".to_owned());
        fields("", &schema, &schema, &mut page);
    }
    finished(&page)
}

fn fields(path: &str, schema: &Value, root: &Value, page: &mut Vec<String>) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let needed = if required.contains(&name.as_str()) { "required" } else { "" };
        let name = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let resolved = resolve(field, root);
        let text = match description(field) {
            text if text.is_empty() => description(resolved),
            text => text,
        };
        let kind = cell(&type_of(field, root));
        page.push(format!("| `{name}` | {kind} | {needed} | {} |", cell(&text)));
        if resolved["properties"].is_object() {
            fields(&name, resolved, root, page);
        }
    }
}

fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let reference = schema["$ref"].as_str().or_else(|| {
        let options = schema["anyOf"].as_array()?;
        options.iter().find_map(|option| option["$ref"].as_str())
    });
    match reference.and_then(|reference| reference.strip_prefix("#/$defs/")) {
        Some(name) => root["$defs"].get(name).unwrap_or(schema),
        None => schema,
    }
}

fn type_of(field: &Value, root: &Value) -> String {
    let schema = resolve(field, root);
    if let Some(options) = schema["oneOf"].as_array() {
        return options.iter().filter_map(option).collect::<Vec<_>>().join(" · ");
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" · ");
    }
    let named = match &schema["type"] {
        Value::String(name) => name.clone(),
        Value::Array(names) => {
            names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or("").into()
        }
        _ => String::new(),
    };
    match named.as_str() {
        "array" => format!("list of {}", type_of(&schema["items"], root)),
        _ => named,
    }
}

fn option(option: &Value) -> Option<String> {
    if let Some(value) = option["const"].as_str() {
        return Some(format!("`{value}`"));
    }
    if let Some(values) = option["enum"].as_array() {
        let values: Vec<String> =
            values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
        return Some(values.join(" · "));
    }
    let (name, _) = option["properties"].as_object()?.iter().next()?;
    Some(format!("`{name}: …`"))
}

fn description(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().replace('\n', " ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_kind_and_verb_has_its_place() {
        for code in code::ALL {
            assert!(codes().contains(&format!("| {} | {}", code.id, code.sqlstate)));
        }
        for kind in Kind::ALL {
            assert!(kinds().contains(&format!("\n## {kind}\n")));
        }
        let page = cli();
        for verb in Cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            assert!(page.contains(&format!("\n## `portcullis {}`\n", verb.get_name())));
        }
        assert!(page.contains("\n## `portcullis audit verify`\n"));
    }

    #[test]
    fn fields_say_type_need_and_meaning() {
        let page = kinds();
        for line in [
            "| `justification` | `required` · `optional` |  | Whether a request must say why. |",
            "| `audit.mode` | `durable` · `gated` · `bounded` |  | When a statement counts as recorded. |",
            "| `principal` | `group: …` · `application: …` · `managedIdentity: …` | required | Who gets it. |",
            "| `durationMax` | string | required | The longest activation. |",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
    }
}
