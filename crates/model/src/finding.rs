//! What `portcullis doctor` looks for: every usual mistake has a stable code, a severity, and the next command.

use serde::{Deserialize, Serialize};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// It works, and should not stay so.
    Warning,
    /// Access fails, or goes around the gateway.
    Error,
}

/// Something to look for. `docs/reference/findings.md` is made from this table.
#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    /// `PH` and three digits; never reused.
    pub id: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What it means, one line.
    pub title: &'static str,
    /// What to do; `{}` stands for the subject's name.
    pub next: &'static str,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The check's.
    pub code: String,
    /// How much it matters.
    pub severity: Severity,
    /// Where: `host`, `installation`, or the name of a server.
    pub subject: String,
    /// What was seen.
    pub message: String,
    /// What to do.
    pub next: String,
}

impl Check {
    /// It was found at the subject.
    pub fn found(&self, subject: impl Into<String>, message: impl Into<String>) -> Finding {
        let (subject, message) = (subject.into(), message.into());
        let next = self.next.replace("{}", &subject);
        Finding { code: self.id.to_owned(), severity: self.severity, subject, message, next }
    }
}

impl Finding {
    /// The same with a next step that knows more than the check's.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }
}

macro_rules! checks {
    ($($name:ident, $id:literal, $severity:ident, $title:literal, $next:literal;)*) => {
        $(
            #[doc = $title]
            pub static $name: Check =
                Check { id: $id, severity: Severity::$severity, title: $title, next: $next };
        )*
        /// All of them, in the order of their numbers.
        pub static ALL: &[&Check] = &[$(&$name,)*];
    };
}

checks! {
    // 1xx: the gateway's own host
    MASTER_KEY_EXPOSED, "PH101", Error, "the master key can be read by others", "chmod 600 the file, look who could read it, then `portcullis master-key rotate --config FILE`";
    MASTER_KEY_UNUSABLE, "PH102", Error, "the master key cannot be used", "put the file back from where it is kept; nothing starts without it";
    AUDIT_DISK_FULL, "PH103", Error, "the audit log's disk is nearly full; when it is, nobody gets in", "make room, or move `audit.directory` to a larger disk (docs/guides/operating.md)";
    CHECKPOINT_OLD, "PH104", Warning, "the checkpoint that is kept outside does not follow the audit log", "look at `audit.checkpointFile`: the place must be writable for the service";
    STORE_DAMAGED, "PH105", Error, "the store is damaged or cannot be read", "stop the server, then `portcullis store restore --config FILE --from BACKUP`";
    STORE_ON_NETWORK, "PH106", Error, "store or audit log lie on a network file system, whose locks and syncs cannot be relied upon", "move `dataDirectory` to a local disk";
    LISTENER_UNREACHABLE, "PH107", Error, "a listener does not answer", "look whether the server runs: `systemctl status portcullis`, `journalctl -u portcullis`";
    NAME_UNRESOLVED, "PH108", Warning, "a name that clients are told to use does not resolve", "add it to DNS, or change `origin` or `serverNames`";
    CERTIFICATE_SHOWN, "PH109", Error, "the certificate that clients are shown is not one that they can trust", "start the server again; hand `ca.pem` to the clients anew if the authority was rotated";
    DATA_EXPOSED, "PH110", Warning, "the data folder can be entered by others", "chmod 700 the folder";
    CLOCKS_DIFFER, "PH111", Error, "this machine's clock and the installation's differ", "synchronise both (`timedatectl status`); codes and certificates depend on it";
    // 2xx: a protected server
    SERVER_UNREACHABLE, "PH201", Error, "the database server cannot be reached", "look whether it runs and listens; compare `spec.host` and `spec.port` in `portcullis get databaseservers {}`";
    SERVER_UNTRUSTED, "PH202", Error, "the database server's certificate cannot be trusted", "compare it with `spec.ca` and `spec.serverName` in `portcullis get databaseservers {}`";
    SERVER_CERTIFICATE_ENDS, "PH203", Warning, "the database server's own certificate is about to end", "renew it on the server under the same authority, or apply the new `spec.ca` first";
    SERVER_TLS_OLD, "PH204", Warning, "the database server accepts TLS below 1.2", "on the server: ALTER SYSTEM SET ssl_min_protocol_version = 'TLSv1.2'; then reload. On MariaDB: tls_version = TLSv1.2,TLSv1.3 in its option files; then restart";
    SERVER_CLOCK, "PH205", Error, "the database server's clock and the gateway's differ", "synchronise both (`timedatectl status`); minted certificates are valid for five minutes either way";
    ADMISSION_WIDE, "PH206", Error, "the database server lets someone in who does not come through the gateway", "portcullis server enroll {} --apply … on the server's host; of MariaDB's accounts it names those that are too wide: ALTER USER … ACCOUNT LOCK, or RENAME USER to one address";
    ADMISSION_UNSEEN, "PH207", Warning, "the rules of pg_hba.conf cannot be looked at", "portcullis server enroll {} --apply … on the server's host";
    PASSWORD_LEFT, "PH208", Error, "a database user has a password", "on the server: ALTER ROLE … PASSWORD NULL; on MariaDB ALTER USER … IDENTIFIED BY ''";
    PASSWORDS_UNSEEN, "PH209", Warning, "it cannot be looked for passwords", "portcullis server enroll {} --apply … on the server's host";
    PUBLIC_CONNECT, "PH210", Error, "every role may connect to a database", "portcullis server enroll {} --apply …, or REVOKE CONNECT ON DATABASE … FROM PUBLIC";
    STRANGER, "PH211", Warning, "a login user was not made by Portcullis", "drop it, make it NOLOGIN, or `portcullis server adopt {} --user … --principal …`";
    GATEWAY_REFUSED, "PH212", Error, "the database server does not let the gateway in", "portcullis server enroll {} --apply … on the server's host: it writes the client authority, and who may come in, anew";
    CLIENT_AUTHORITY_ENDS, "PH213", Warning, "the authority that the database server trusts is about to end", "portcullis authority rotate --server {}, enroll, and rotate once more";
    CONNECTIONS_SCARCE, "PH214", Warning, "the database server has hardly a connection left", "end what is not needed (`portcullis sessions --server {}`), lower `sessions.perServerMax`, or raise max_connections";
    DRIFT, "PH215", Warning, "something on the database server is explained by no resource", "undo it there, or describe it in a resource";
    USER_REVOKING, "PH216", Error, "a database user whose access has ended could not be withdrawn yet", "the server must be reachable; it is tried again every second: `portcullis describe databaseservers {}`";
    ACCOUNT_UNGUARDED, "PH217", Error, "an account opens with a password, or with nothing, and not through the gateway", "on the server: ALTER USER … ACCOUNT LOCK, and give whoever uses it a database role here; or REQUIRE a certificate";
    ACCOUNT_ANONYMOUS, "PH218", Error, "an account without a name lets anybody in", "on the server: DROP USER ''@'…'";
    SERVER_WITHOUT_TLS, "PH219", Error, "the database server speaks no TLS", "ssl_cert and ssl_key in its option files: a certificate that names the host which the gateway dials; then restart it";
    SERVER_OLD, "PH220", Warning, "the database server is older than any that is tested", "upgrade it";
    LOCAL_INFILE, "PH221", Warning, "the database server may ask its clients for files of theirs", "on the server: local_infile = OFF in its option files, and SET GLOBAL local_infile = OFF";
    FILES_OPEN, "PH222", Warning, "whoever holds FILE reads and writes any file that the database server can", "on the server: secure_file_priv = a folder of its own, in its option files; then restart";
    // 3xx: the installation as a whole
    AUTHORITY_ENDS, "PH301", Warning, "the installation's authority is about to end", "portcullis authority rotate, hand the new `ca.pem` to all clients, and rotate once more";
    LISTENER_CERTIFICATE_ENDS, "PH302", Error, "the certificate that clients are shown is about to end and was not renewed", "read the log; restart the server";
    STORE_FAILED, "PH303", Error, "the store has stopped writing, or is out of touch", "read the log; make room or repair the disk, then restart the server";
    AUDIT_FAILED, "PH304", Error, "the audit log cannot be written, so nobody gets in", "make room or repair the disk, then restart the server";
    SIGNING_KEY_MISSING, "PH305", Error, "no key signs tokens now", "portcullis signing-key rotate";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_unique_ordered_and_name_the_next_step_for_their_subject() {
        let ids: Vec<_> = ALL.iter().map(|check| check.id).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(ids, sorted);
        let found = SERVER_UNTRUSTED.found("orders", "it is another's");
        assert_eq!((found.code.as_str(), found.severity), ("PH202", Severity::Error));
        assert!(found.next.ends_with("`portcullis get databaseservers orders`"), "{}", found.next);
        assert!(Severity::Error > Severity::Warning);
    }
}
