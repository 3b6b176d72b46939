//! Client credentials (RFC 6749 §4.4): a workload asks for itself.

use super::{Exchange, Refused};
use crate::claims::Subject;
use crate::client::Client;
use crate::failure::{CREDENTIAL_NEEDED, Failure};
use crate::issue::{Extras, Issued, Order};
use crate::scope::Asking;

pub(super) async fn grant(exchange: &Exchange<'_>) -> Result<Issued, Refused> {
    let (client, one_time) = exchange.client().await?;
    let asked =
        exchange.asked(Asking::Workload).map_err(|failure| exchange.refused(&client, failure))?;
    let Client::Confidential { workload, id, proof } = client else {
        return Err(Failure::new(
            &CREDENTIAL_NEEDED,
            "A public client has no credentials of its own; the request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        )
        .into());
    };
    let order = Order {
        tenant: exchange.tenant,
        client: id,
        proof,
        subject: Subject::workload(&workload),
        asked,
        grant: "client_credentials",
        refresh_token: None,
        extras: Extras::default(),
    };
    exchange.issue(order, one_time).await
}
