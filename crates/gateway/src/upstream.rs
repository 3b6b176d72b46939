//! 6 Opens the database as the person: user prepared, TLS verified in full, a certificate minted for this session. Or, where
//! the server's users are shared, as the user that stands for the person's roles.

mod certificate;
mod dial;
mod entra;
mod open;
mod proof;
mod secrets;
mod stop;

pub(crate) use certificate::SessionKeys;
pub use dial::dial;
pub(crate) use dial::{
    Contexts, Dialled, dial_anonymous, dial_greeted, greeting, server_certificate,
};
pub(crate) use open::open;
pub(crate) use proof::{Credentials, Proof};
pub(crate) use stop::stop_shared;

#[cfg(test)]
pub(crate) use dial::tests;
