//! Step-up: what the `claims` parameter asks of a sign-in (OpenID Connect Core §5.5), and what each authentication
//! context demands.

use std::time::Duration;

use model::Timestamp;
use serde_json::{Value, json};

use crate::claims::SignedIn;
use crate::failure::{Failure, REQUEST_INVALID, STEP_UP};

/// Two factors, no longer ago than [`RECENT`].
const TWO_FACTORS: &str = "c1";
/// The same with a passkey, which no imitation of our pages can use.
const PHISHING_RESISTANT: &str = "c2";

/// What `claims` may ask for.
pub(crate) const KNOWN: [&str; 2] = [TWO_FACTORS, PHISHING_RESISTANT];

/// How long a sign-in counts for a context.
const RECENT: Duration = Duration::from_mins(15);

/// More than this in one request is not a request.
const CLAIMS_BYTES_MAX: usize = 4_096;

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Contexts that must hold.
    pub(crate) essential: Vec<String>,
    /// The client can be told that its token was revoked, and will ask anew (`xms_cc`: `CP1`).
    pub(crate) revocable: bool,
}

impl Asked {
    /// Reads the parameter. Members that nobody here knows are ignored, as the standard has it.
    pub(crate) fn parse(claims: Option<&str>) -> Result<Self, Failure> {
        let Some(claims) = claims else { return Ok(Self::default()) };
        let invalid = || Failure::new(&REQUEST_INVALID, "The parameter 'claims' is not valid.");
        if claims.len() > CLAIMS_BYTES_MAX {
            return Err(invalid());
        }
        let json: Value = serde_json::from_str(claims).map_err(|_| invalid())?;
        let token = json.get("access_token");
        let texts = |claim: Option<&Value>| -> Vec<String> {
            let one = claim.and_then(|claim| claim.get("value")).into_iter();
            let many = claim.and_then(|claim| claim.get("values")).and_then(Value::as_array);
            let all = one.chain(many.into_iter().flatten());
            all.filter_map(|value| value.as_str().map(str::to_owned)).collect()
        };
        let capabilities = texts(token.and_then(|token| token.get("xms_cc")));
        let contexts = token.and_then(|token| token.get("acrs"));
        let essential = contexts.and_then(|it| it.get("essential")).is_some_and(|it| *it == true);
        let essential = if essential { texts(contexts) } else { Vec::new() };
        if let Some(unknown) = essential.iter().find(|it| !KNOWN.contains(&it.as_str())) {
            let unknown: String = unknown.chars().take(20).collect();
            return Err(Failure::new(
                &REQUEST_INVALID,
                format!("The authentication context '{unknown}' is not known here."),
            ));
        }
        let revocable = capabilities.iter().any(|it| it.eq_ignore_ascii_case("CP1"));
        Ok(Self { essential, revocable })
    }

    /// Refuses with a claims challenge what only a person at a browser can mend.
    pub(crate) fn check(&self, signed_in: &SignedIn, now: Timestamp) -> Result<(), Failure> {
        match self.essential.iter().find(|context| !holds(context, signed_in, now)) {
            None => Ok(()),
            Some(context) => {
                Err(Failure::new(&STEP_UP, demand(context)).claims(challenge(context)))
            }
        }
    }
}

/// Whether a sign-in is what the context demands.
pub(crate) fn holds(context: &str, signed_in: &SignedIn, now: Timestamp) -> bool {
    let by = |method: &str| signed_in.methods.iter().any(|known| known == method);
    let recent = now < signed_in.at.plus(RECENT);
    match context {
        TWO_FACTORS => recent && by("mfa"),
        PHISHING_RESISTANT => recent && by("fido"),
        _ => false,
    }
}

/// What a person must do, in words.
pub(crate) fn demand(context: &str) -> &'static str {
    match context {
        PHISHING_RESISTANT => "This needs a sign-in with a passkey in the last 15 minutes.",
        _ => "This needs a sign-in in the last 15 minutes.",
    }
}

/// What the client passes on, unchanged, to the authorize endpoint.
pub(crate) fn challenge(context: &str) -> String {
    json!({ "access_token": { "acrs": { "essential": true, "value": context } } }).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signed_in(methods: &[&str], at: i64) -> SignedIn {
        let methods = methods.iter().map(|method| (*method).to_owned()).collect();
        SignedIn { at: Timestamp::from_seconds(at), methods, session: uuid::Uuid::nil() }
    }

    #[test]
    fn contexts_are_read_as_clients_send_them() {
        let asked = |claims| Asked::parse(Some(claims)).unwrap();
        let one = asked(
            r#"{"access_token":{"acrs":{"essential":true,"value":"c1"},"xms_cc":{"values":["cp1"]}}}"#,
        );
        assert_eq!(one, Asked { essential: vec!["c1".to_owned()], revocable: true });
        let many = asked(r#"{"access_token":{"acrs":{"essential":true,"values":["c1","c2"]}}}"#);
        assert_eq!(many.essential, ["c1", "c2"]);
        let wish = asked(r#"{"access_token":{"acrs":{"value":"c77"}},"id_token":{"x":null}}"#);
        assert_eq!(wish, Asked::default());
        assert_eq!(Asked::parse(None), Ok(Asked::default()));
        for wrong in [
            "{",
            r#"{"access_token":{"acrs":{"essential":true,"value":"c77"}}}"#,
            &format!("\"{}\"", "x".repeat(5_000)),
        ] {
            assert_eq!(Asked::parse(Some(wrong)).unwrap_err().code(), "AADSTS90023", "{wrong}");
        }
        assert_eq!(asked(&challenge("c1")).essential, ["c1"], "what we send back comes back");
    }

    #[test]
    fn a_context_holds_for_fifteen_minutes_after_the_sign_in_that_it_demands() {
        let passkey = signed_in(&["fido", "mfa"], 1_000);
        let code = signed_in(&["otp", "mfa"], 1_000);
        let at = Timestamp::from_seconds;
        assert!(holds("c1", &passkey, at(1_899)) && holds("c2", &passkey, at(1_899)));
        assert!(holds("c1", &code, at(1_000)) && !holds("c2", &code, at(1_000)));
        assert!(!holds("c1", &passkey, at(1_900)) && !holds("c3", &passkey, at(1_000)));
        let asked = Asked { essential: vec!["c2".to_owned()], revocable: false };
        let refused = asked.check(&code, at(1_000)).unwrap_err();
        assert_eq!(
            (refused.code().as_str(), refused.kind.error),
            ("AADSTS50076", "interaction_required")
        );
        assert_eq!(asked.check(&passkey, at(1_000)), Ok(()));
    }

    proptest! {
        #[test]
        fn any_text_is_a_request_or_a_refusal(text in "\\PC{0,200}") {
            if let Err(failure) = Asked::parse(Some(&text)) {
                prop_assert_eq!(failure.code(), "AADSTS90023");
            }
        }
    }
}
