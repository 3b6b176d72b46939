//! Every stable refusal: code, SQLSTATE, HTTP status, what it means and what to do next. Minted here and nowhere else.

use std::fmt;

/// A stable kind of refusal. `docs/reference/codes.md` is made from this table.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// `PC` and four digits; never reused.
    pub id: &'static str,
    /// PostgreSQL's error class for it.
    pub sqlstate: &'static str,
    /// HTTP status, where it is refused over HTTP.
    pub http: u16,
    /// What it means, one line.
    pub title: &'static str,
    /// What to do next, one line.
    pub remedy: &'static str,
}

/// A refusal: what the client sees. The cause, which only the log sees, travels beside it.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which kind.
    pub code: &'static Code,
    /// What happened and why, lower case, without a full stop.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal whose hint is the code's remedy.
    pub fn new(code: &'static Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: (!code.remedy.is_empty()).then(|| code.remedy.to_owned()),
        }
    }

    /// The same with a hint that knows more than the code's remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.id, self.message)
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Refusal {}

macro_rules! codes {
    ($($name:ident, $id:literal, $sqlstate:literal, $http:literal, $title:literal, $remedy:literal;)*) => {
        $(
            #[doc = $title]
            pub static $name: Code =
                Code { id: $id, sqlstate: $sqlstate, http: $http, title: $title, remedy: $remedy };
        )*
        /// All of them, in the order of their numbers.
        pub static ALL: &[&Code] = &[$(&$name,)*];
    };
}

codes! {
    // 10xx: network and TLS
    NETWORK_DENIED, "PC1001", "28000", 403, "no rule lets this address reach the server", "ask an owner for a firewall rule that covers your address";
    TLS_REQUIRED, "PC1002", "28000", 400, "the connection is not encrypted", "connect with sslmode=verify-full (or sslmode=require at least)";
    TLS_REFUSED, "PC1003", "08P01", 400, "TLS negotiation was not as the protocol demands", "use an unmodified client; direct TLS needs ALPN `postgresql`";
    TOO_MANY_CONNECTIONS, "PC1004", "53300", 503, "a connection limit is reached", "close sessions you do not need, or ask an owner to raise the limit";
    // 11xx: credential
    CREDENTIAL_MISSING, "PC1101", "28P01", 401, "no token was given as the password", "get one with `portcullis token` and give it as the password";
    CREDENTIAL_MALFORMED, "PC1102", "28P01", 401, "the password is not a token", "get one with `portcullis token` and give it as the password";
    TOKEN_SIGNATURE, "PC1103", "28P01", 401, "the token was not signed by this installation", "get a token from this installation's token service";
    TOKEN_EXPIRED, "PC1104", "28P01", 401, "the token has expired", "get a new one with `portcullis token`";
    TOKEN_NOT_YET_VALID, "PC1105", "28P01", 401, "the token is not valid yet", "check the clock of the machine that issued it";
    TOKEN_AUDIENCE, "PC1106", "28P01", 401, "the token is meant for another service", "ask for a database token: scope `https://ossrdbms-aad.database.windows.net/.default`";
    TOKEN_ISSUER, "PC1107", "28P01", 401, "the token is of another issuer or tenant", "get a token from this installation's token service";
    TOKEN_REVOKED, "PC1108", "28P01", 401, "the token was revoked", "sign in again";
    USER_MISMATCH, "PC1109", "28000", 403, "the user name is not the token's", "connect under your own name; the message names it";
    PRINCIPAL_UNKNOWN, "PC1110", "28000", 403, "the token's principal does not exist here", "ask an owner to create it again";
    PRINCIPAL_DISABLED, "PC1111", "28000", 403, "the principal is disabled", "ask an owner";
    // 12xx: authorisation
    SERVER_UNKNOWN, "PC1201", "3D000", 404, "no server answers to that name here", "check host, port and database name; `portcullis get databaseservers` lists what you can reach";
    DATABASE_UNKNOWN, "PC1202", "3D000", 404, "no reachable database has that name", "check the database name";
    NOT_A_MEMBER, "PC1203", "28000", 403, "no membership gives access now", "ask an owner for an eligibility";
    MEMBERSHIP_ENDED, "PC1204", "57P01", 403, "the membership that gave access has ended", "ask again with `portcullis request`";
    REPLICATION_DENIED, "PC1205", "42501", 403, "no role allows replication connections", "ask an owner for a database role with `replication: true`";
    STATE_STALE, "PC1206", "57P01", 503, "the gateway has lost touch with the store", "wait, then connect again; an operator must look at the gateway";
    SESSION_AGE, "PC1207", "57P01", 403, "the session has reached its greatest age", "connect again";
    ROLES_CHANGED, "PC1208", "57P01", 403, "a role that the session was opened with has ended", "connect again to go on with the roles that remain";
    STARTUP_OPTION_DENIED, "PC1209", "42501", 403, "a start-up option is not allowed through the gateway", "leave the option out";
    NO_SHARED_USER, "PC1210", "28000", 403, "no shared database user stands for your roles", "ask an owner to add one to the server's `upstreamIdentity`";
    CONDITIONAL_ACCESS, "PC1211", "28000", 403, "a conditional access policy forbids it", "`portcullis explain` says which policy and why; an owner can change it";
    SIGN_IN_AGAIN, "PC1212", "28000", 401, "a conditional access policy demands another sign-in", "sign in again with `portcullis login`, then connect with the new token";
    POLICY_ENDED, "PC1213", "57P01", 403, "a conditional access policy forbids the session now", "`portcullis explain` says which policy and why; an owner can change it";
    SIGN_IN_ENDED, "PC1214", "57P01", 401, "a conditional access policy demands another sign-in of the session now", "sign in again with `portcullis login`, then connect with the new token";
    // 13xx: the database
    UPSTREAM_UNREACHABLE, "PC1301", "08006", 502, "the database server cannot be reached", "an operator must look at the server";
    UPSTREAM_UNTRUSTED, "PC1302", "08006", 502, "the database server's certificate cannot be trusted", "an operator must compare the server's certificate with the resource's `ca`";
    UPSTREAM_REFUSED, "PC1303", "08004", 502, "the database server refused the gateway", "an operator must run `portcullis server enroll` again";
    DATABASE_USER_EXISTS, "PC1304", "28000", 409, "a database user of that name exists and is not the gateway's", "an owner can look at it and run `portcullis server adopt`";
    PROVISIONING_FAILED, "PC1305", "08006", 502, "the database user could not be prepared", "an operator must look at the server and its provisioner";
    UPSTREAM_LOST, "PC1306", "08006", 502, "the database server closed the connection", "connect again";
    UPSTREAM_MALFORMED, "PC1307", "08P01", 502, "the database server sent bytes that are not its protocol", "an operator must look at the server";
    UPSTREAM_CREDENTIAL, "PC1308", "08006", 502, "the gateway has no credential for the database server", "an operator must look at the gateway's secret or managed identity";
    // 14xx: protocol
    PROTOCOL_VIOLATION, "PC1401", "08P01", 400, "the bytes are not the protocol's", "use an unmodified client";
    PROTOCOL_UNSUPPORTED, "PC1402", "0A000", 400, "the protocol version is not supported", "use protocol 3.0 or later";
    USER_MISSING, "PC1403", "28000", 400, "the start-up message names no user", "connect with a user name";
    STARTUP_TIMEOUT, "PC1404", "08006", 408, "the connection was not opened in time", "connect again";
    // 15xx: ends
    SESSION_CUT, "PC1501", "57P01", 403, "the session was cut by an administrator", "the message says by whom; connect again if you still may";
    SHUTTING_DOWN, "PC1502", "57P01", 503, "the gateway is stopping", "connect again";
    IDLE, "PC1503", "57P05", 408, "the session was idle for too long", "connect again";
    AUDIT_FAILED, "PC1504", "58030", 503, "the audit log cannot be written; without it there is no access", "an operator must make room for, or repair, the audit log";
    INTERNAL, "PC1505", "XX000", 500, "something failed inside Portcullis", "an operator must look at the log under this session's id";
    FIREWALL_CHANGED, "PC1506", "57P01", 403, "no rule lets this address reach the server any more", "ask an owner for a firewall rule that covers your address";
    SERVER_DELETED, "PC1507", "57P01", 403, "the server is no longer protected here", "ask an owner";
    STATEMENT_TOO_LONG, "PC1508", "57014", 408, "a statement ran for longer than the server's bound", "ask for less at a time, or ask an owner to raise `sessions.statementMax`";
    IDLE_IN_TRANSACTION, "PC1509", "25P03", 408, "the session was idle for too long, in a transaction", "connect again; commit or roll back before you wait";
    DRAINING, "PC1510", "57P03", 503, "the gateway is stopping and opens no more sessions", "connect again in a moment";
    // 20xx: control plane
    UNAUTHENTICATED, "PC2001", "28000", 401, "you are not signed in", "sign in with `portcullis login`";
    FORBIDDEN, "PC2002", "42501", 403, "your role does not allow this", "ask an owner";
    NOT_FOUND, "PC2003", "42704", 404, "there is no such resource", "`portcullis get KIND` lists what there is";
    INVALID, "PC2004", "22023", 400, "the document is not valid", "`portcullis schema KIND` prints what is allowed";
    CONFLICT, "PC2005", "40001", 409, "the resource has changed since it was read", "read it again, then repeat the change";
    REFERENCE_UNKNOWN, "PC2006", "42704", 422, "the document refers to something that does not exist", "create that first";
    REFERENCED, "PC2007", "2BP01", 409, "other resources refer to it", "delete or change those first";
    READ_ONLY_KIND, "PC2008", "42501", 400, "documents of this kind are written by Portcullis only", "leave it out of the files";
    IMMUTABLE, "PC2009", "22023", 409, "the field cannot be changed after creation", "delete and create the resource anew";
    NOT_ELIGIBLE, "PC2010", "42501", 403, "you are not eligible for the group", "ask an owner for an eligibility";
    JUSTIFICATION_REQUIRED, "PC2011", "22023", 400, "the group's rules demand a justification", "say why with `--because`";
    DURATION_TOO_LONG, "PC2012", "22023", 400, "the group's rules allow less time", "ask for less";
    ALREADY_ACTIVE, "PC2013", "23505", 409, "a request or activation of that group is open already", "wait for it, cancel it or deactivate it";
    NOT_AN_APPROVER, "PC2014", "42501", 403, "the group's rules do not name you as an approver", "ask one of the approvers that the rules name";
    OWN_REQUEST, "PC2015", "42501", 403, "nobody decides on their own request", "ask another approver";
    ALREADY_DECIDED, "PC2016", "55000", 409, "the activation has left the state in which this can be done", "look at it with `portcullis describe activation`";
    NO_ACCESS_RULES, "PC2017", "55000", 409, "the group has no access rules, so it cannot be activated", "an owner can add an AccessRules document";
    TOO_LARGE, "PC2018", "54000", 413, "the request is larger than allowed", "send less";
    STORE_UNAVAILABLE, "PC2019", "58030", 503, "the store cannot be written or read", "an operator must look at the store";
    LAST_OWNER, "PC2020", "55000", 409, "the last enabled owner cannot be removed", "make someone else an owner first";
    SIGN_IN_FAILED, "PC2021", "28000", 401, "the sign-in did not succeed", "check user name, key and code; a code counts once";
    SIGN_IN_LOCKED, "PC2022", "28000", 429, "too many failed sign-ins", "wait 15 minutes";
    TEST_STACK_ONLY, "PC2023", "42501", 403, "only a test stack's server can have such a role", "choose reader, writer or admin";
    FILE_CONFLICT, "PC2024", "40001", 409, "files and a change made elsewhere disagree", "decide which is right; the message names the fields";
    RATE_LIMITED, "PC2025", "53400", 429, "too many requests from this address", "wait a little";
    CODE_USED, "PC2026", "28000", 401, "the authenticator's code was used before", "wait for the next code; each counts once";
    SIGNING_KEY_MISSING, "PC2027", "58000", 503, "no key signs tokens now, so nobody can sign in", "an operator must restart the server, which makes the key; its log says why there is none";
    SECRETS_FORBIDDEN, "PC2028", "42501", 403, "the tenant allows no client secrets", "use a certificate, a federated credential or a managed identity, or ask an owner to change the tenant's `clientSecrets`";
    HOST_JOIN_FAILED, "PC2030", "28000", 401, "the machine did not join", "ask an owner for a new token: `portcullis host join-token NAME`";
    HOST_REFUSED, "PC2031", "28000", 401, "the host's certificate does not count, or no longer", "join anew: `portcullis host join-token NAME`, then `portcullis agent join` on the host";
    IDENTITY_NOT_FOUND, "PC2032", "28000", 403, "the process may be no such managed identity", "an owner can add the identity and its callers to the Host";
    IDENTITY_AMBIGUOUS, "PC2033", "28000", 400, "the process may be several managed identities and names none", "name one by its client id, object id or resource id";
    RESOURCE_UNKNOWN, "PC2034", "28000", 400, "nothing of that name takes our tokens", "ask for `https://ossrdbms-aad.database.windows.net`";
    TICKET_REQUIRED, "PC2040", "22023", 400, "the group's rules demand a ticket", "name it with `--ticket`, and its system with `--ticket-system`";
    START_OUT_OF_RANGE, "PC2041", "22023", 400, "membership cannot begin then", "ask for a moment between now and 30 days ahead";
    FORM_STALE, "PC2060", "28000", 403, "the form was not given to this browser, or too long ago", "open the page again; cookies must be allowed";
    LAST_FACTOR, "PC2061", "55000", 409, "the last way to sign in cannot be removed", "add another one first";
    KEY_UNUSABLE, "PC2062", "22023", 400, "the new passkey cannot be used", "try again, with another authenticator if need be";
    PROVISIONED, "PC2090", "42501", 403, "a directory owns it", "change it in the directory, or take it over with `portcullis scim credential remove NAME --release`";
    // 26xx: admission of pods in Kubernetes
    ADMISSION_MALFORMED, "PC2601", "22023", 400, "the admission review is not about a pod", "compare the webhook's configuration with what `portcullis kubernetes manifests` prints";
    SERVICE_ACCOUNT_UNKNOWN, "PC2602", "42704", 400, "the pod's service account cannot be read", "create the service account before the pod";
    POD_ANNOTATION_INVALID, "PC2603", "22023", 400, "an annotation of the pod or of its service account is not valid", "docs/guides/kubernetes.md lists the annotations";
    PROXY_SIDECAR, "PC2604", "42501", 400, "the pod cannot have the proxy sidecar", "docs/guides/kubernetes.md says when it can";
    POD_NOT_MUTATED, "PC2605", "42501", 400, "a pod that asks for a workload identity was not given one", "check that the mutating webhook's configuration stands and selects the pod's namespace, then create the pod again";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_ordered_and_say_what_to_do() {
        let ids: Vec<_> = ALL.iter().map(|code| code.id).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(ids, sorted);
        for code in ALL {
            assert_eq!(code.id.len(), 6, "{}", code.id);
            assert_eq!(code.sqlstate.len(), 5, "{}", code.id);
            assert!(!code.title.ends_with('.') && !code.remedy.is_empty(), "{}", code.id);
        }
    }
}
