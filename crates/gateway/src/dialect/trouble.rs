//! What goes wrong while a server is logged in to, whatever its protocol.

use std::fmt::Display;
use std::io;

use model::code;

use crate::outcome::Denied;
use crate::tls::Broken;
use crate::upstream::Proof;

/// The server wants something else than the certificate.
pub(super) fn unenrolled() -> Denied {
    Denied::new(
        &code::UPSTREAM_REFUSED,
        "the database server does not take the gateway's certificate",
    )
}

/// The server does not let us in with what we have for it.
pub(super) fn not_taken(proof: &Proof) -> Denied {
    let what = match proof {
        Proof::Certificate => return unenrolled(),
        Proof::Password(_) => "the password that the gateway has for it",
        Proof::Token(_) => "the token of the gateway's managed identity",
    };
    let message = format!("the database server does not take {what}");
    Denied::new(&code::UPSTREAM_CREDENTIAL, message)
}

/// What it said does not belong here.
pub(super) fn malformed(what: &dyn Display) -> Denied {
    Denied::new(&code::UPSTREAM_MALFORMED, "the database server does not speak its protocol")
        .because(what)
}

/// A server that does not like our certificate may say so only now (TLS 1.3).
pub(super) fn lost(error: &io::Error) -> Denied {
    let alert = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Broken>())
        .is_some_and(|inner| matches!(inner, Broken::Alert(_)));
    if alert {
        return unenrolled().because(error);
    }
    Denied::new(&code::UPSTREAM_LOST, "the database server closed the connection during login")
        .because(error)
}
