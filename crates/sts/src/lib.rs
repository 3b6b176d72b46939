//! The token service: Entra's wire contract at the root of one HTTPS origin, and the sign-in of people.
mod claims;
mod discovery;
mod failure;
mod form;
mod request;
mod respond;
mod scope;
mod tenant;
