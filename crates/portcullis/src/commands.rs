//! What each verb does, one file each.

mod activation;
mod agent;
mod application;
mod apply;
mod audit;
mod authority;
mod completions;
mod conditional_access;
mod connect;
mod docs;
mod doctor;
mod enroll;
mod explain;
mod get;
mod host;
mod init;
mod kubernetes;
mod login;
mod master_key;
mod proxy;
mod recover_owner;
mod schema;
mod scim;
mod sessions;
mod signals;
mod signing_key;
mod store;
mod token;
mod user;

use self::activation::Step;
use crate::cli::{
    AuthorityCommand, Cli, Command, Common, ConditionalAccessCommand, MasterKeyCommand, Server,
    ServerCommand, SigningKeyCommand,
};
use crate::failure::Failure;
use crate::server;

/// Does what the command line asks for.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    let Cli { common, command } = cli;
    let common = &common;
    match command {
        Command::Server(Server { config, command }) => match (command, config) {
            (Some(command), _) => database_server(common, &command),
            (None, Some(config)) => server::run(&config),
            (None, None) => Err(Failure::new("cannot run the server", "it is not said how")
                .next("add --config FILE")),
        },
        Command::Init(options) => init::run(common, &options),
        Command::Login(options) => login::login(common, &options),
        Command::Logout => login::logout(common),
        Command::Token(options) => token::run(common, &options),
        Command::Connect(options) => connect::run(common, &options),
        Command::Proxy(options) => proxy::run(common, &options),
        Command::Apply(options) => apply::run(common, &options),
        Command::Get(options) => get::get(common, &options),
        Command::Describe(named) => get::describe(common, &named),
        Command::Delete(named) => get::delete(common, &named),
        Command::Schema { kind } => schema::run(kind),
        Command::Explain(options) => explain::run(common, &options),
        Command::ConditionalAccess(ConditionalAccessCommand::WhatIf(asked)) => {
            conditional_access::what_if(common, &asked)
        }
        Command::Request(options) => activation::request(common, &options),
        Command::Approve(decide) => activation::step(common, Step::Approve, &decide),
        Command::Deny(decide) => activation::step(common, Step::Deny, &decide),
        Command::Cancel(decide) => activation::step(common, Step::Cancel, &decide),
        Command::Deactivate(decide) => activation::step(common, Step::Deactivate, &decide),
        Command::Revoke(decide) => activation::step(common, Step::Revoke, &decide),
        Command::User(command) => user::run(common, &command),
        Command::Application(command) => application::run(common, &command),
        Command::Scim(command) => scim::run(common, &command),
        Command::Host(command) => host::run(common, &command),
        Command::Agent(command) => agent::run(common, &command),
        Command::Sessions(options) => sessions::list(common, &options),
        Command::Cut(options) => sessions::cut(common, &options),
        Command::Why { session } => sessions::why(common, session),
        Command::Doctor(options) => doctor::run(common, &options),
        Command::Audit(options) => match &options.command {
            Some(command) => audit::run(common, command),
            None => audit::search(common, &options.search),
        },
        Command::Store(command) => store::run(&command),
        Command::Authority(AuthorityCommand::Rotate { server, hosts }) => {
            authority::rotate(common, server.as_ref(), hosts)
        }
        Command::SigningKey(SigningKeyCommand::Rotate { at_once }) => {
            signing_key::rotate(common, at_once)
        }
        Command::MasterKey(MasterKeyCommand::Rotate { config }) => master_key::rotate(&config),
        Command::Kubernetes(command) => kubernetes::run(common, &command),
        Command::RecoverOwner(options) => recover_owner::run(&options),
        Command::Completions { shell } => completions::run(shell),
        Command::Docs { directory } => docs::run(&directory),
    }
}

fn database_server(common: &Common, command: &ServerCommand) -> Result<(), Failure> {
    match command {
        ServerCommand::Enroll(options) => enroll::run(common, options),
        ServerCommand::Abandon { server, reason } => enroll::abandon(common, server, reason),
        ServerCommand::Adopt { server, user, principal } => {
            enroll::adopt(common, server, user, principal)
        }
    }
}
