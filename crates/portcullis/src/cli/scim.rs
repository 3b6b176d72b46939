//! The words of `portcullis scim`.

use clap::Subcommand;
use model::Lifetime;

/// What directories that push people and groups need.
#[derive(Debug, Subcommand)]
pub(crate) enum ScimCommand {
    /// Credentials of directories
    #[command(subcommand)]
    Credential(ScimCredentialCommand),
}

/// `portcullis scim credential`.
#[derive(Debug, Subcommand)]
pub(crate) enum ScimCredentialCommand {
    /// Make a token with which a directory may push people and groups, printed once
    Add {
        /// Names the directory, such as entra or okta
        name: String,
        /// How long it is valid
        #[arg(long, value_name = "DURATION", default_value = "365d")]
        lifetime: Lifetime,
    },
    /// List the credentials that count
    List,
    /// Remove every token of a directory
    Remove {
        /// The directory
        name: String,
        /// Its people and groups become yours to manage; without it they wait for another credential of that name
        #[arg(long)]
        release: bool,
    },
}
