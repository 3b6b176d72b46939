//! `portcullis store backup` and `restore`. Neither needs the master key: what is sealed stays sealed.

use std::path::Path;

use store::Store;

use crate::cli::StoreCommand;
use crate::failure::Failure;
use crate::installation;
use crate::output;

pub(crate) fn run(command: &StoreCommand) -> Result<(), Failure> {
    match command {
        StoreCommand::Backup { config, file } => backup(config, file),
        StoreCommand::Restore { config, file } => restore(config, file),
    }
}

fn backup(config: &Path, file: &Path) -> Result<(), Failure> {
    let what = format!("cannot back the store up to `{}`", file.display());
    if file.try_exists().unwrap_or(false) {
        return Err(Failure::new(what, "the file exists").next("name one that does not"));
    }
    let config = installation::config(config)?;
    let copy = Store::backup_file(&installation::store_file(&config), file)
        .map_err(|error| Failure::new(what, error))?;
    output::line(&format!(
        "{}: revision {}, {} bytes; keep the master key apart from it",
        file.display(),
        copy.revision,
        copy.bytes
    ))
}

fn restore(config: &Path, file: &Path) -> Result<(), Failure> {
    let what = format!("cannot restore the store from `{}`", file.display());
    let config = installation::config(config)?;
    let restored = Store::restore(file, &installation::store_file(&config)).map_err(|error| {
        Failure::new(what, error).next("stop the server first; what was there is kept")
    })?;
    output::line(&format!(
        "the store is at revision {} now; the former one is beside it under .before-restore",
        restored.revision
    ))
}
