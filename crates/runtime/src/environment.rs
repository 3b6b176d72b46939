//! The only reader of environment variables.

use std::path::PathBuf;

use crate::Secret;

/// What the environment says, as Azure's SDKs and Portcullis' own commands understand it. An empty variable counts as
/// absent.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `AZURE_CLIENT_ID`.
    pub azure_client_id: Option<String>,
    /// `AZURE_CLIENT_SECRET`.
    pub azure_client_secret: Option<Secret<String>>,
    /// `AZURE_CLIENT_CERTIFICATE_PATH`: PEM with certificate and private key.
    pub azure_client_certificate_path: Option<PathBuf>,
    /// `AZURE_TENANT_ID`.
    pub azure_tenant_id: Option<String>,
    /// `AZURE_AUTHORITY_HOST`.
    pub azure_authority_host: Option<String>,
    /// `AZURE_FEDERATED_TOKEN_FILE`.
    pub azure_federated_token_file: Option<PathBuf>,
    /// `PORTCULLIS_URL`: the installation's origin.
    pub url: Option<String>,
    /// `PORTCULLIS_CA`: PEM of the installation's authority.
    pub ca: Option<PathBuf>,
    /// `PORTCULLIS_HOME`, else `$XDG_CONFIG_HOME/portcullis`, else `$HOME/.config/portcullis`: token cache and device
    /// key.
    pub home: Option<PathBuf>,
    /// `PORTCULLIS_LOG`: filter of the process's own log.
    pub log: Option<String>,
    /// `NOTIFY_SOCKET`: where systemd is told of our state (sd_notify(3)).
    pub notify_socket: Option<String>,
    /// `WATCHDOG_USEC`: systemd wants to hear from us this often, in microseconds.
    pub watchdog_micros: Option<u64>,
    /// `CREDENTIALS_DIRECTORY`: where systemd puts credentials (systemd.exec(5)).
    pub credentials_directory: Option<PathBuf>,
}

impl Environment {
    /// Of this process.
    #[expect(clippy::disallowed_methods, reason = "the one reader of the environment")]
    pub fn read() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Of any source: for tests.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let text = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let path = |name: &str| text(name).map(PathBuf::from);
        let home = path("PORTCULLIS_HOME")
            .or_else(|| path("XDG_CONFIG_HOME").map(|folder| folder.join("portcullis")))
            .or_else(|| path("HOME").map(|folder| folder.join(".config/portcullis")));
        Self {
            azure_client_id: text("AZURE_CLIENT_ID"),
            azure_client_secret: text("AZURE_CLIENT_SECRET").map(Secret::new),
            azure_client_certificate_path: path("AZURE_CLIENT_CERTIFICATE_PATH"),
            azure_tenant_id: text("AZURE_TENANT_ID"),
            azure_authority_host: text("AZURE_AUTHORITY_HOST"),
            azure_federated_token_file: path("AZURE_FEDERATED_TOKEN_FILE"),
            url: text("PORTCULLIS_URL"),
            ca: path("PORTCULLIS_CA"),
            home,
            log: text("PORTCULLIS_LOG"),
            notify_socket: text("NOTIFY_SOCKET"),
            watchdog_micros: text("WATCHDOG_USEC").and_then(|micros| micros.parse().ok()),
            credentials_directory: path("CREDENTIALS_DIRECTORY"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::from_lookup(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_home_is_found_in_the_order_that_is_documented() {
        let all = [("PORTCULLIS_HOME", "/p"), ("XDG_CONFIG_HOME", "/x"), ("HOME", "/h")];
        for (skip, home) in [(0, "/p"), (1, "/x/portcullis"), (2, "/h/.config/portcullis")] {
            assert_eq!(environment(&all[skip..]).home, Some(PathBuf::from(home)));
        }
        assert_eq!(environment(&[]).home, None);
    }

    #[test]
    fn an_empty_variable_counts_as_absent_and_a_secret_is_not_printed() {
        let read = environment(&[("AZURE_CLIENT_ID", ""), ("AZURE_CLIENT_SECRET", "hunter2")]);
        assert_eq!(read.azure_client_id, None);
        assert_eq!(read.azure_client_secret, Some(Secret::new("hunter2".to_owned())));
        assert!(!format!("{read:?}").contains("hunter2"));
    }
}
