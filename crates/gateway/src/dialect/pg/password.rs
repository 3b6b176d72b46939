//! Proving to a server who we are, where it asks for a password (PostgreSQL, "Message Flow: Start-up"): SCRAM-SHA-256,
//! bound to the TLS channel where the server offers it, MD5, or clear text. All of it inside TLS.

use std::io;

use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use postgres_protocol::message::frontend;
use runtime::Secret;
use rustls::pki_types::CertificateDer;
use wire::pg::backend::Authentication;

use crate::dialect::trouble::{malformed, not_taken};
use crate::outcome::Denied;
use crate::upstream::Proof;

/// Who we are, and to whom.
#[derive(Clone, Copy)]
pub(crate) struct Ours<'a> {
    /// The database user.
    pub user: &'a str,
    /// What we have for the server.
    pub proof: &'a Proof,
    /// What the server has shown of itself.
    pub certificate: Option<&'a CertificateDer<'static>>,
}

/// How far it has come.
enum Stage {
    /// Nothing was asked for.
    Begun,
    /// A password was sent.
    Sent,
    /// SCRAM: our first message was sent, then the proof.
    Scram(Box<ScramSha256>),
    ScramProved(Box<ScramSha256>),
    /// The server has proved that it knows the password too.
    ScramOver,
}

/// The conversation with a server that asks for a password.
pub(super) struct Proving<'a> {
    pub(super) ours: Ours<'a>,
    stage: Stage,
}

impl<'a> Proving<'a> {
    pub(super) fn of(ours: Ours<'a>) -> Self {
        Self { ours, stage: Stage::Begun }
    }

    /// What is answered; nothing to SCRAM's last message.
    pub(super) fn answer(
        &mut self,
        method: &Authentication<'_>,
    ) -> Result<Option<Secret<Vec<u8>>>, Denied> {
        let Ours { user, proof, certificate } = self.ours;
        let stage = std::mem::replace(&mut self.stage, Stage::Begun);
        let (stage, answer) = match (proof, method, stage) {
            (
                Proof::Password(secret) | Proof::Token(secret),
                Authentication::CleartextPassword,
                Stage::Begun,
            ) => (Stage::Sent, Some(password(secret.expose())?)),
            (Proof::Password(secret), Authentication::Md5Password(salt), Stage::Begun) => {
                let hash = md5_hash(user.as_bytes(), secret.expose(), *salt);
                (Stage::Sent, Some(password(hash.as_bytes())?))
            }
            (Proof::Password(secret), Authentication::Sasl(mechanisms), Stage::Begun) => {
                let (mechanism, binding) = scram(proof, mechanisms, certificate)?;
                let scram = Box::new(ScramSha256::new(secret.expose(), binding));
                let message = written(|buffer| {
                    frontend::sasl_initial_response(mechanism, scram.message(), buffer)
                })?;
                (Stage::Scram(scram), Some(message))
            }
            (_, Authentication::SaslContinue(data), Stage::Scram(mut scram)) => {
                scram.update(data).map_err(|error| malformed(&error))?;
                let message = written(|buffer| frontend::sasl_response(scram.message(), buffer))?;
                (Stage::ScramProved(scram), Some(message))
            }
            (_, Authentication::SaslFinal(data), Stage::ScramProved(mut scram)) => {
                // A server that does not know the password is not the one that it was set on.
                scram.finish(data).map_err(|error| malformed(&error))?;
                (Stage::ScramOver, None)
            }
            (_, method, _) => {
                return Err(
                    not_taken(proof).because(format_args!("it asked for {method:?} instead"))
                );
            }
        };
        self.stage = stage;
        Ok(answer)
    }

    /// It let us in. Not before it has proved what it must prove.
    pub(super) fn end(&self) -> Result<(), Denied> {
        match (self.ours.proof, &self.stage) {
            (_, Stage::Scram(_) | Stage::ScramProved(_)) => {
                Err(malformed(&"it let us in in the middle of SCRAM"))
            }
            (_, Stage::Begun | Stage::Sent | Stage::ScramOver) => Ok(()),
        }
    }
}

/// The strongest mechanism that the server offers.
fn scram(
    proof: &Proof,
    mechanisms: &[u8],
    certificate: Option<&CertificateDer<'static>>,
) -> Result<(&'static str, ChannelBinding), Denied> {
    let offers = |name: &str| mechanisms.split(|byte| *byte == 0).any(|it| it == name.as_bytes());
    let hash = certificate.and_then(keys::authority::end_point_hash);
    match hash {
        Some(hash) if offers(SCRAM_SHA_256_PLUS) => {
            Ok((SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(hash)))
        }
        // We could have bound it, so whoever has taken the offer away is found out (RFC 5802 §6).
        Some(_) if offers(SCRAM_SHA_256) => Ok((SCRAM_SHA_256, ChannelBinding::unrequested())),
        None if offers(SCRAM_SHA_256) => Ok((SCRAM_SHA_256, ChannelBinding::unsupported())),
        _ => Err(not_taken(proof).because(format_args!(
            "it offers `{}` only",
            mechanisms.strip_suffix(&[0, 0]).unwrap_or(mechanisms).escape_ascii()
        ))),
    }
}

fn password(password: &[u8]) -> Result<Secret<Vec<u8>>, Denied> {
    written(|buffer| frontend::password_message(password, buffer))
}

fn written(write: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> Result<Secret<Vec<u8>>, Denied> {
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    write(&mut buffer).map_err(|error| malformed(&error))?;
    let message = Secret::new(buffer.to_vec());
    zeroize::Zeroize::zeroize(&mut *buffer);
    Ok(message)
}
