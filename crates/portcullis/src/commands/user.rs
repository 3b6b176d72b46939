//! `portcullis user …`: people's sign-in.

use model::UserName;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::address::Address;
use crate::cli::{Common, UserCommand};
use crate::failure::Failure;
use crate::output;
use crate::remote::Remote;

pub(crate) fn run(common: &Common, command: &UserCommand) -> Result<(), Failure> {
    match command {
        UserCommand::Pass { user } => pass(common, user),
        UserCommand::RevokeTokens { user, reason } => {
            let remote = Remote::open(common, format!("revoke the tokens of `{user}`"))?;
            let body = json!({ "principal": user, "reason": reason });
            remote.post_for_nothing(&Address::of(&["v1", "tokens", "revoke"]), &body)?;
            output::line(&format!("every token of {user} issued before now is revoked"))
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Pass {
    pass: String,
    expires_at: String,
}

fn pass(common: &Common, user: &UserName) -> Result<(), Failure> {
    let remote = Remote::open(common, format!("issue a pass for `{user}`"))?;
    let address = Address::of(&["v1", "users", user.as_str(), "pass"]);
    let pass: Pass = remote.post(&address, &json!({}))?;
    output::show(common.output, &pass, || pass_text(user, &pass.pass, &pass.expires_at))
}

/// What people read when a pass was issued; `init` prints the same.
pub(crate) fn pass_text(user: &UserName, pass: &str, expires_at: &str) -> String {
    format!(
        "Temporary Access Pass of {user}, shown once:\n\n    {pass}\n\n\
         It enrols one machine until {expires_at}:\n\n    portcullis login {user} --pass\n"
    )
}
