//! `portcullis signing-key rotate`.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::address::Address;
use crate::cli::Common;
use crate::failure::Failure;
use crate::output;
use crate::remote::Remote;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct NextKey {
    kid: String,
    signs_from: String,
}

pub(crate) fn rotate(common: &Common, at_once: bool) -> Result<(), Failure> {
    let remote = Remote::open(common, "rotate the key that signs tokens")?;
    let address = Address::of(&["v1", "signingkeys", "rotate"]);
    let next: NextKey = remote.post(&address, &json!({ "atOnce": at_once }))?;
    output::show(common.output, &next, || {
        let NextKey { kid, signs_from } = &next;
        let former = if at_once {
            "every token, handle and session of before has ended; people sign in again, workloads get new tokens by themselves"
        } else {
            "what the present key signed stays good to its end"
        };
        format!("key {kid} signs from {signs_from}\n{former}\n")
    })
}
