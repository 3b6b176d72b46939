//! `portcullis scim …`: credentials of directories that push people and groups.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::address::Address;
use crate::cli::{Common, ScimCommand, ScimCredentialCommand};
use crate::failure::Failure;
use crate::output;
use crate::remote::Remote;
use crate::table::{Table, pairs};

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    name: String,
    token: String,
    expires_at: String,
    base: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    name: String,
    created_at: String,
    expires_at: String,
}

#[derive(Deserialize)]
struct List {
    items: Vec<Known>,
}

pub(crate) fn run(common: &Common, command: &ScimCommand) -> Result<(), Failure> {
    let ScimCommand::Credential(command) = command;
    let all = || Address::of(&["v1", "scim", "credentials"]);
    match command {
        ScimCredentialCommand::Add { name, lifetime } => {
            let remote = Remote::open(common, format!("make a credential for `{name}`"))?;
            let made: Made = remote.post(&all(), &json!({ "name": name, "lifetime": lifetime }))?;
            output::show(common.output, &made, || made_text(&made))
        }
        ScimCredentialCommand::List => {
            let remote = Remote::open(common, "list credentials of directories")?;
            let List { items } = remote.get(&all())?;
            output::show(common.output, &items, || table(&items))
        }
        ScimCredentialCommand::Remove { name, release } => {
            let remote = Remote::open(common, format!("remove the credential of `{name}`"))?;
            let release = if *release { "true" } else { "false" };
            let address =
                Address::of(&["v1", "scim", "credentials", name]).with("release", release);
            remote.delete_for_nothing(&address)?;
            output::line(&format!("no token of {name} counts any more"))
        }
    }
}

fn made_text(made: &Made) -> String {
    let Made { name, token, expires_at, base } = made;
    let pairs = pairs([
        ("Directory", name.clone()),
        ("Tenant URL", base.clone()),
        ("Secret token", token.clone()),
        ("Valid until", expires_at.clone()),
    ]);
    format!("{pairs}\nThe token is shown once.\n")
}

fn table(items: &[Known]) -> String {
    let mut table = Table::new(&["DIRECTORY", "CREATED", "VALID UNTIL"]);
    for Known { name, created_at, expires_at } in items {
        table.row([name.clone(), created_at.clone(), expires_at.clone()]);
    }
    table.render()
}
