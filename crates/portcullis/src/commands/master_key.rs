//! `portcullis master-key rotate`: on the server's own host, while the server is stopped. The first event of the next
//! start says that it was done.

use std::path::Path;

use control::keyring::rotate_master_key;
use store::Store;

use crate::failure::Failure;
use crate::installation;
use crate::output;

pub(crate) fn rotate(config: &Path) -> Result<(), Failure> {
    let what = "cannot rotate the master key";
    let config = installation::config(config)?;
    let file = installation::store_file(&config);
    let clock = installation::clock(&file)?;
    let store = Store::open(&file, clock)
        .map_err(|error| Failure::new(what, error).next("stop the server first"))?;
    let sealed =
        rotate_master_key(&config.master_key, &store).map_err(|error| Failure::new(what, error))?;
    output::line(&format!("{sealed} keys and seeds are sealed under a new master key"))?;
    output::note("backups of the store made before still need the former one");
    Ok(())
}
