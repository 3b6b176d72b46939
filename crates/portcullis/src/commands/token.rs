//! `portcullis token`: what clients give as their password. Only the token goes to standard output.

use runtime::Clock;

use crate::cli::{Common, Format, Token};
use crate::failure::Failure;
use crate::output;
use crate::remote;

pub(crate) fn run(common: &Common, options: &Token) -> Result<(), Failure> {
    let what = "get a database token";
    let environment = remote::environment(common);
    let (installation, token) = client::database_token(&environment, Clock::system().now())
        .map_err(|error| remote::failure(what, &error))?;
    let (text, expires_at) = if options.handle {
        let handle = client::handle(&installation, &token, options.server.as_ref())
            .map_err(|error| remote::failure("get a handle", &error))?;
        (handle.handle, handle.expires_at)
    } else {
        (token.text, token.expires_at)
    };
    if common.output == Format::Table {
        return output::line(text.expose());
    }
    let printed = serde_json::json!({
        "token": text.expose(),
        "expiresAt": expires_at,
        "user": token.owner,
    });
    output::show(common.output, &printed, String::new)
}
