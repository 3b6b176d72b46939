//! `portcullis application …`: workloads' credentials.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::address::Address;
use crate::cli::{ApplicationCommand, Common, SecretCommand};
use crate::failure::Failure;
use crate::output;
use crate::remote::Remote;
use crate::table::pairs;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Secret {
    id: String,
    secret: String,
    expires_at: String,
}

pub(crate) fn run(common: &Common, command: &ApplicationCommand) -> Result<(), Failure> {
    match command {
        ApplicationCommand::Secret(SecretCommand::Add { application, lifetime }) => {
            let remote = Remote::open(common, format!("add a secret to `{application}`"))?;
            let address = Address::of(&["v1", "applications", application.as_str(), "secrets"]);
            let secret: Secret = remote.post(&address, &json!({ "lifetime": lifetime }))?;
            output::show(common.output, &secret, || secret_text(&secret))
        }
        ApplicationCommand::Secret(SecretCommand::Remove { application, id }) => {
            let remote = Remote::open(common, format!("remove a secret of `{application}`"))?;
            let address = Address::of(&["v1", "applications", application.as_str(), "secrets", id]);
            remote.delete_for_nothing(&address)?;
            output::line(&format!("secret {id} of {application} is removed"))
        }
        ApplicationCommand::RevokeTokens { application, token, reason } => {
            let remote = Remote::open(common, format!("revoke tokens of `{application}`"))?;
            let body = match token {
                Some(token) => json!({ "token": token, "reason": reason }),
                None => json!({ "principal": application, "reason": reason }),
            };
            remote.post_for_nothing(&Address::of(&["v1", "tokens", "revoke"]), &body)?;
            output::line(&match token {
                Some(token) => format!("token {token} is revoked"),
                None => format!("every token of {application} issued before now is revoked"),
            })
        }
    }
}

fn secret_text(secret: &Secret) -> String {
    let Secret { id, secret, expires_at } = secret;
    let pairs = pairs([
        ("Id", id.clone()),
        ("Secret", secret.clone()),
        ("Valid until", expires_at.clone()),
    ]);
    format!("{pairs}\nThe secret is shown once.\n")
}
