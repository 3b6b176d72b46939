//! `portcullis authority rotate`.

use model::ServerName;
use serde_json::{Value, json};

use crate::address::Address;
use crate::cli::Common;
use crate::failure::Failure;
use crate::output;
use crate::remote::Remote;

pub(crate) fn rotate(
    common: &Common,
    server: Option<&ServerName>,
    hosts: bool,
) -> Result<(), Failure> {
    let whose = match server {
        Some(server) => format!("the client authority of `{server}`"),
        None if hosts => "the authority of hosts".to_owned(),
        None => "the installation's authority".to_owned(),
    };
    let remote = Remote::open(common, format!("rotate {whose}"))?;
    let address = Address::of(&["v1", "authorities", "rotate"]);
    let rotated: Value = remote.post(&address, &json!({ "server": server, "hosts": hosts }))?;
    output::show(common.output, &rotated, || {
        if hosts { text_of_hosts(&rotated) } else { text(&whose, server, &rotated) }
    })
}

/// Nobody but the installation trusts it, so the successor signs at once; the former counts until the second step.
fn text_of_hosts(rotated: &Value) -> String {
    if rotated.get("phase").and_then(Value::as_str) == Some("published") {
        return "the authority of hosts has a successor, which signs from now on\n\
            next: in a day, when every host has renewed its certificate, rotate once more\n"
            .to_owned();
    }
    "the former authority of hosts no longer counts\n\
     next: a host that has not renewed since joins anew: `portcullis host join-token NAME`\n"
        .to_owned()
}

/// Two steps: first the successor is published and everyone learns to trust it, then it takes over.
fn text(whose: &str, server: Option<&ServerName>, rotated: &Value) -> String {
    let published = rotated.get("phase").and_then(Value::as_str) == Some("published");
    let trust = match server {
        Some(server) => {
            format!("run `portcullis server enroll {server} --apply` on the server's host")
        }
        None => "give clients the new ca.pem".to_owned(),
    };
    if published {
        format!(
            "{whose} has a successor, which does not sign yet\nnext: {trust}, then rotate once more\n"
        )
    } else {
        format!("the successor signs; the former one no longer counts\nnext: {trust}\n")
    }
}
