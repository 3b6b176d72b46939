//! `portcullis host …`: what an owner does about machines.

use model::HostName;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::address::Address;
use crate::cli::{Common, HostCommand};
use crate::failure::Failure;
use crate::output;
use crate::remote::Remote;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct JoinToken {
    token: String,
    expires_at: String,
}

pub(crate) fn run(common: &Common, command: &HostCommand) -> Result<(), Failure> {
    let HostCommand::JoinToken { host } = command;
    let remote = Remote::open(common, format!("issue a join token for `{host}`"))?;
    let address = Address::of(&["v1", "hosts", host.as_str(), "join-token"]);
    let issued: JoinToken = remote.post(&address, &json!({}))?;
    output::show(common.output, &issued, || text(host, &issued))
}

fn text(host: &HostName, issued: &JoinToken) -> String {
    let JoinToken { token, expires_at } = issued;
    format!(
        "Join token of {host}, shown once:\n\n    {token}\n\n\
         It joins one machine until {expires_at}; there, with the token on standard input:\n\n    \
         portcullis agent join {host}\n"
    )
}
