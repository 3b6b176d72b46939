//! Scopes and resources → audiences. What was asked for stands in `aud` byte for byte.

use access::token::{CONTROL_AUDIENCE, DATABASE_AUDIENCE};

use crate::failure::{
    Failure, RESOURCE_UNKNOWN, SCOPE_INVALID, SCOPE_MISSING, SCOPE_MIXED, quoted,
};

/// Scopes of OpenID Connect: they ask for parts of the answer, not for a resource.
const RESERVED: &[&str] = &["openid", "profile", "email", "offline_access"];

const DEFAULT: &str = "/.default";

/// Audience of tokens that were asked for with OpenID Connect's own scopes alone: good for userinfo, for nothing else.
pub(crate) const USERINFO_AUDIENCE: &str = "api://portcullis-userinfo";

/// The permission of people's tokens, as Entra names it.
const USER_PERMISSION: &str = "user_impersonation";

/// What a token is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// `aud`, verbatim.
    pub(crate) audience: String,
    /// Whether a refresh token was asked for.
    pub(crate) offline: bool,
}

impl Asked {
    /// The `scope` member of the answer; MSAL finds the token again under these.
    pub(crate) fn granted(&self) -> String {
        if self.audience == USERINFO_AUDIENCE {
            return "openid profile email".to_owned();
        }
        format!("{0}/{USER_PERMISSION} {0}{DEFAULT}", self.audience)
    }
}

/// Who asks; a workload's permissions are never named one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    Workload,
    Person,
}

/// Reads `scope` (v2.0): a set, in any order.
pub(crate) fn of_scope(scope: Option<&str>, asking: Asking) -> Result<Asked, Failure> {
    let mut words = scope.unwrap_or_default().split_whitespace().peekable();
    if words.peek().is_none() {
        return Err(Failure::new(
            &SCOPE_MISSING,
            "The required field 'scope' is missing from the request.",
        ));
    }
    let (mut audience, mut offline) = (None::<&str>, false);
    for word in words {
        offline |= word == "offline_access";
        if RESERVED.contains(&word) {
            continue;
        }
        let named = audience_of(word, asking)?;
        if audience.is_some_and(|known| known != named) {
            return Err(Failure::new(
                &SCOPE_MIXED,
                format!(
                    "The scopes {} name more than one resource.",
                    quoted(scope.unwrap_or_default())
                ),
            ));
        }
        audience = Some(named);
    }
    let audience = match audience {
        Some(audience) => audience,
        // Who only wants to know who a person is gets a token that tells that, and opens nothing.
        None if asking == Asking::Person && is_openid(scope.unwrap_or_default()) => {
            return Ok(Asked { audience: USERINFO_AUDIENCE.to_owned(), offline });
        }
        None => return Err(not_a_scope(scope.unwrap_or_default())),
    };
    known(audience)?;
    Ok(Asked { audience: audience.to_owned(), offline })
}

fn is_openid(scope: &str) -> bool {
    scope.split_whitespace().any(|word| word == "openid")
}

/// Whether a refresh token was asked for.
pub(crate) fn is_offline(scope: &str) -> bool {
    scope.split_whitespace().any(|word| word == "offline_access")
}

/// Reads `resource` (v1): already the audience.
pub(crate) fn of_resource(resource: &str) -> Result<Asked, Failure> {
    known(resource)?;
    Ok(Asked { audience: resource.to_owned(), offline: true })
}

/// Everything before the last `/.default`, or, for people, before the last `/user_impersonation`.
fn audience_of(word: &str, asking: Asking) -> Result<&str, Failure> {
    let found = match asking {
        Asking::Workload => word.strip_suffix(DEFAULT),
        Asking::Person => word
            .strip_suffix(DEFAULT)
            .or_else(|| word.strip_suffix(USER_PERMISSION).and_then(|rest| rest.strip_suffix('/'))),
    };
    found.ok_or_else(|| not_a_scope(word))
}

fn not_a_scope(word: &str) -> Failure {
    Failure::new(
        &SCOPE_INVALID,
        format!(
            "The provided value for scope {} is not valid. It must be a resource identifier with '/.default' at its end, such as '{DATABASE_AUDIENCE}/.default'.",
            quoted(word)
        ),
    )
}

/// Resources that accept our tokens. Compared with one trailing slash trimmed, as validators do.
fn known(audience: &str) -> Result<(), Failure> {
    let trimmed = audience.strip_suffix('/').unwrap_or(audience);
    if [DATABASE_AUDIENCE, CONTROL_AUDIENCE].contains(&trimmed) {
        return Ok(());
    }
    Err(Failure::new(
        &RESOURCE_UNKNOWN,
        format!("The resource principal named {} was not found in this tenant.", quoted(audience)),
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn audience(scope: &str, asking: Asking) -> Result<String, String> {
        of_scope(Some(scope), asking).map(|asked| asked.audience).map_err(|failure| failure.code())
    }

    #[test]
    fn the_audience_is_what_stands_before_the_last_default_verbatim() {
        use Asking::{Person, Workload};
        let database = "https://ossrdbms-aad.database.windows.net";
        for (scope, asking, expected) in [
            (format!("{database}/.default"), Workload, Ok(database)),
            (
                format!("{database}//.default"),
                Workload,
                Ok("https://ossrdbms-aad.database.windows.net/"),
            ),
            (format!("openid {database}/.default  profile"), Workload, Ok(database)),
            (format!("{database}/.default offline_access openid profile"), Person, Ok(database)),
            (format!("{database}/user_impersonation"), Person, Ok(database)),
            (format!("{database}/user_impersonation {database}/.default"), Person, Ok(database)),
            (format!("{database}/user_impersonation"), Workload, Err("AADSTS1002012")),
            ("api://portcullis/.default".to_owned(), Person, Ok("api://portcullis")),
            (database.to_owned(), Workload, Err("AADSTS1002012")),
            ("openid profile".to_owned(), Person, Ok("api://portcullis-userinfo")),
            ("openid profile".to_owned(), Workload, Err("AADSTS1002012")),
            ("profile".to_owned(), Person, Err("AADSTS1002012")),
            ("https://vault.azure.net/.default".to_owned(), Workload, Err("AADSTS500011")),
            (format!("{database}/.default/.default"), Workload, Err("AADSTS500011")),
            (format!("{database}///.default"), Workload, Err("AADSTS500011")),
            (format!("{database}/.default api://portcullis/.default"), Person, Err("AADSTS28000")),
            ("  ".to_owned(), Workload, Err("AADSTS90014")),
        ] {
            assert_eq!(
                audience(&scope, asking),
                expected.map(str::to_owned).map_err(str::to_owned),
                "{scope}"
            );
        }
        assert_eq!(of_scope(None, Workload).unwrap_err().code(), "AADSTS90014");
    }

    #[test]
    fn a_resource_of_v1_is_the_audience() {
        for resource in [DATABASE_AUDIENCE, "https://ossrdbms-aad.database.windows.net/"] {
            assert_eq!(of_resource(resource).unwrap().audience, resource);
        }
        assert_eq!(of_resource("https://graph.test").unwrap_err().code(), "AADSTS500011");
    }

    proptest! {
        #[test]
        fn the_order_of_scopes_does_not_matter(order in Just(vec![
            "openid", "profile", "offline_access", "https://ossrdbms-aad.database.windows.net/.default",
        ]).prop_shuffle()) {
            let asked = of_scope(Some(&order.join(" ")), Asking::Person).unwrap();
            prop_assert_eq!(asked, Asked { audience: DATABASE_AUDIENCE.to_owned(), offline: true });
        }

        #[test]
        fn whatever_is_asked_for_only_our_own_resources_come_out(scope in "\\PC{0,80}") {
            if let Ok(asked) = of_scope(Some(&scope), Asking::Person) {
                prop_assert!(known(&asked.audience).is_ok());
            }
        }
    }
}
