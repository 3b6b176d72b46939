//! `portcullis server enroll` and `adopt`. The plan's inputs come from the API, what the server says now from its own
//! host; nothing is changed without `--apply`.

use std::path::PathBuf;

use gateway::enroll::{self, EnrollInput, Host, HostError, Local, Undone};
use model::ServerName;
use serde_json::{Value, json};

use crate::address::Address;
use crate::cli::{Common, Enroll};
use crate::failure::Failure;
use crate::output;
use crate::remote::Remote;

pub(crate) fn run(common: &Common, options: &Enroll) -> Result<(), Failure> {
    let what = format!("enrol server `{}`", options.server);
    let host = host(options);
    if options.undo {
        let Some(host) = host else { return Err(no_host(&what)) };
        let undone = enroll::undo(&host).map_err(|error| failed(&what, &error))?;
        return output::line(&taken_back(options, undone, &host));
    }
    let remote = Remote::open(common, &what)?;
    let name = options.server.as_str();
    let mut input: EnrollInput =
        remote.get(&Address::of(&["v1", "databaseservers", name, "enrollment"]))?;
    input.additional_authorities = authorities(&options.additional_authority)?;
    if let Some(host) = &host {
        observe(&mut input, host).map_err(|error| failed(&what, &error))?;
    }
    let plan = enroll::plan(&input).map_err(|refusal| Failure::refused(cannot(&what), &refusal))?;
    output::show(common.output, &plan, || plan.to_string())?;
    let Some(host) = host else { return Ok(()) };
    if !options.apply {
        output::note("nothing was changed; repeat with --apply to apply this");
        return Ok(());
    }
    enroll::apply(&plan, &host).map_err(|error| failed(&what, &error))?;
    if !plan.is_empty() {
        output::note("applied; --undo takes it back");
    }
    if !plan.restart.is_empty() {
        let settings = plan.restart.join("`, `");
        output::note(&format!("restart the server: until then it does not go by `{settings}`"));
    }
    if options.close_local_door {
        observe(&mut input, &host).map_err(|error| failed(&what, &error))?;
        enroll::close_local_door(&input, &host).map_err(|error| failed(&what, &error))?;
        output::note("the Unix socket is closed too");
    }
    Ok(())
}

fn observe(input: &mut EnrollInput, host: &Host) -> Result<(), HostError> {
    input.observed = Some(enroll::observe(host, &input.server)?);
    Ok(())
}

fn taken_back(options: &Enroll, undone: Undone, host: &Host) -> String {
    let name = &options.server;
    match (undone, &host.local) {
        (Undone::Nothing, _) => format!("nothing was done to server `{name}` here"),
        (Undone::Everything, Local::PostgreSql { .. }) => {
            format!("server `{name}` is as it was before")
        }
        (Undone::Everything, Local::MySql { .. }) => format!(
            "server `{name}` is as it was before; restart it: it reads some of its former settings at its start only"
        ),
    }
}

fn host(options: &Enroll) -> Option<Host> {
    let data_directory = options.data_directory.clone()?;
    let (local, account) = match (&options.socket_directory, &options.socket) {
        (Some(directory), _) => {
            (Local::PostgreSql { socket_directory: directory.clone() }, "postgres")
        }
        (None, Some(socket)) => {
            let way = Local::MySql {
                socket: socket.clone(),
                configuration_directory: options.configuration_directory.clone()?,
                client: options.client.clone(),
            };
            (way, "mysql")
        }
        (None, None) => return None,
    };
    Some(Host {
        data_directory,
        os_user: options.os_user.clone().unwrap_or_else(|| account.to_owned()),
        superuser: options.superuser.clone(),
        local,
    })
}

fn authorities(files: &[PathBuf]) -> Result<Vec<String>, Failure> {
    let read = |file: &PathBuf| {
        std::fs::read_to_string(file)
            .map_err(|error| Failure::new(format!("cannot read `{}`", file.display()), error))
    };
    files.iter().map(read).collect()
}

fn cannot(what: &str) -> String {
    format!("cannot {what}")
}

fn failed(what: &str, error: &HostError) -> Failure {
    Failure::new(cannot(what), error)
}

fn no_host(what: &str) -> Failure {
    Failure::new(cannot(what), "it is not said where the server is on this host")
        .next(
            "add --data-directory and --socket-directory (PostgreSQL), or --data-directory, --socket and \
             --configuration-directory (MariaDB, MySQL)",
        )
}

pub(crate) fn adopt(
    common: &Common,
    server: &ServerName,
    user: &str,
    principal: &str,
) -> Result<(), Failure> {
    let remote = Remote::open(common, format!("adopt database user `{user}`"))?;
    let address = Address::of(&["v1", "databaseservers", server.as_str(), "adopt"]);
    let adopted: Value = remote.post(&address, &json!({ "user": user, "principal": principal }))?;
    output::show(common.output, &adopted, || {
        format!("database user `{user}` on `{server}` is managed for {principal} from now on\n")
    })
}

pub(crate) fn abandon(common: &Common, server: &ServerName, reason: &str) -> Result<(), Failure> {
    let remote = Remote::open(common, format!("give up the former server `{server}`"))?;
    let address = Address::of(&["v1", "databaseservers", server.as_str(), "abandon"]);
    let abandoned: Value = remote.post(&address, &json!({ "reason": reason }))?;
    output::show(common.output, &abandoned, || {
        format!("the users of the former server `{server}` count as gone; its name is free\n")
    })
}
