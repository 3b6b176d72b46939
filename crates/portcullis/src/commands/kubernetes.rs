//! `portcullis kubernetes`: the admission webhooks, and what installs them.

mod manifests;
mod webhook;

use crate::cli::{Common, KubernetesCommand};
use crate::failure::Failure;

pub(crate) fn run(common: &Common, command: &KubernetesCommand) -> Result<(), Failure> {
    match command {
        KubernetesCommand::Webhook { config } => webhook::run(config),
        KubernetesCommand::Manifests(options) => manifests::run(common, options),
    }
}
