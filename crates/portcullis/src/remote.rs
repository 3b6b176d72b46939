//! The installation as commands use it: one token, one sentence of what is being done, every failure told with both.

use std::io::{BufRead, BufReader};

use client::{ClientError, Home, Installation, Method, Sent, Token};
use runtime::{Clock, Environment};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::address::Address;
use crate::cli::Common;
use crate::failure::{Exit, Failure};
use crate::output;

/// A response header that says who may not act on a write yet.
const LAG_HEADER: &str = "portcullis-lag";

/// The API of the installation, as the signed-in person.
#[derive(Debug)]
pub(crate) struct Remote {
    installation: Installation,
    token: Token,
    what: String,
}

impl Remote {
    /// Gets ready to do something, such as `list users`.
    pub(crate) fn open(common: &Common, what: impl Into<String>) -> Result<Self, Failure> {
        let what = what.into();
        let failed = |error: ClientError| failure(&what, &error);
        let environment = environment(common);
        let installation = installation(&environment).map_err(failed)?;
        let home =
            Home::open(environment.home.as_deref(), installation.origin()).map_err(failed)?;
        let now = Clock::system().now();
        let token = client::control_token(&installation, &home, now).map_err(failed)?;
        Ok(Self { installation, token, what })
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, address: &Address) -> Result<T, Failure> {
        self.call(&Method::GET, address, None)
    }

    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        address: &Address,
        body: &Value,
    ) -> Result<T, Failure> {
        self.call(&Method::POST, address, Some(body))
    }

    pub(crate) fn delete<T: DeserializeOwned>(&self, address: &Address) -> Result<T, Failure> {
        self.call(&Method::DELETE, address, None)
    }

    /// For routes that answer with nothing.
    pub(crate) fn post_for_nothing(&self, address: &Address, body: &Value) -> Result<(), Failure> {
        self.send(&Method::POST, address, Some(body)).map(drop)
    }

    /// For routes that answer with nothing.
    pub(crate) fn delete_for_nothing(&self, address: &Address) -> Result<(), Failure> {
        self.send(&Method::DELETE, address, None).map(drop)
    }

    /// Hands over an answer of lines as they arrive.
    pub(crate) fn lines(
        &self,
        address: &Address,
        mut each: impl FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let answer = self.send(&Method::GET, address, None)?;
        for line in BufReader::new(answer.stream()).lines() {
            let line = line.map_err(|error| {
                Failure::new(cannot(&self.what), format!("the answer broke off: {error}"))
                    .exit(Exit::Unreachable)
            })?;
            if let Some(refused) = client::refusal_in_line(&line) {
                return Err(failure(&self.what, &refused));
            }
            each(&line)?;
        }
        Ok(())
    }

    fn call<T: DeserializeOwned>(
        &self,
        method: &Method,
        address: &Address,
        body: Option<&Value>,
    ) -> Result<T, Failure> {
        let answer = self.send(method, address, body)?;
        answer.json().map_err(|error| failure(&self.what, &error))
    }

    fn send(
        &self,
        method: &Method,
        address: &Address,
        body: Option<&Value>,
    ) -> Result<client::Answer, Failure> {
        let sent = Sent { body, token: Some(&self.token.text) };
        let answer = self
            .installation
            .send(method, address.as_str(), sent)
            .and_then(client::Answer::accepted)
            .map_err(|error| failure(&self.what, &error))?;
        if let Some(lag) = answer.header(LAG_HEADER) {
            output::note(&format!("done, but not in force everywhere yet: {lag}"));
        }
        Ok(answer)
    }
}

/// The process's environment, with what the command line says instead.
pub(crate) fn environment(common: &Common) -> Environment {
    let mut environment = Environment::read();
    if common.url.is_some() {
        environment.url.clone_from(&common.url);
    }
    if common.ca.is_some() {
        environment.ca.clone_from(&common.ca);
    }
    environment
}

/// The installation that the environment names.
pub(crate) fn installation(environment: &Environment) -> Result<Installation, ClientError> {
    Installation::new(environment.url.as_deref(), environment.ca.as_deref())
}

/// What the person is told when the client's side fails.
pub(crate) fn failure(what: &str, error: &ClientError) -> Failure {
    if let ClientError::Refused(refusal) = error {
        return Failure::refused(cannot(what), refusal);
    }
    let failure = Failure::new(cannot(what), error).exit(exit(error));
    match error.remedy() {
        Some(remedy) => failure.next(remedy),
        None => failure,
    }
}

fn cannot(what: &str) -> String {
    format!("cannot {what}")
}

fn exit(error: &ClientError) -> Exit {
    match error {
        ClientError::AddressMissing
        | ClientError::AddressInvalid { .. }
        | ClientError::AuthorityMissing
        | ClientError::AuthorityInvalid { .. }
        | ClientError::HomeMissing
        | ClientError::Environment { .. } => Exit::Usage,
        ClientError::Unreachable { .. }
        | ClientError::Untrusted { .. }
        | ClientError::OtherOrigin { .. }
        | ClientError::AgentAway { .. } => Exit::Unreachable,
        ClientError::TokenRefused { .. }
        | ClientError::NotSignedIn { .. }
        | ClientError::SignInOver { .. }
        | ClientError::NotEnrolled { .. }
        | ClientError::CodeNeeded => Exit::NotSignedIn,
        ClientError::Refused(_)
        | ClientError::AgentRefused { .. }
        | ClientError::NotJoined { .. }
        | ClientError::NoClient { .. }
        | ClientError::Unstartable { .. }
        | ClientError::Unbindable { .. }
        | ClientError::Unfinished { .. }
        | ClientError::Unintelligible { .. }
        | ClientError::File { .. }
        | ClientError::Exposed { .. }
        | ClientError::Malformed { .. }
        | ClientError::Cryptography { .. } => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_s_failures_say_what_to_do_and_exit_as_documented() {
        let missing = failure("list users", &ClientError::AddressMissing);
        insta::assert_snapshot!(missing, @r"
        portcullis: cannot list users
          why:  the address of the installation is not known
          next: set PORTCULLIS_URL, or add --url https://host:port
        ");
        assert_eq!(missing.exit, Exit::Usage);
        let origin = "https://localhost:8443".to_owned();
        let stranger = failure("list users", &ClientError::NotSignedIn { origin: origin.clone() });
        insta::assert_snapshot!(stranger, @r"
        portcullis: cannot list users
          why:  nobody is signed in to https://localhost:8443 on this machine
          next: sign in with `portcullis login`
        ");
        assert_eq!(stranger.exit, Exit::NotSignedIn);
        let cause = "connection refused".to_owned();
        let silent = failure("list users", &ClientError::Unreachable { origin, cause });
        assert_eq!(silent.exit, Exit::Unreachable);
    }
}
