//! `portcullis recover-owner`: the one act beside the API, for root on the server's own host. The server must be
//! stopped, the master key must be there, and the first event of the next start says that it was done.

use control::keyring::load_master_key;
use store::Store;

use super::user::pass_text;
use crate::cli::RecoverOwner;
use crate::failure::Failure;
use crate::installation;
use crate::output;

pub(crate) fn run(options: &RecoverOwner) -> Result<(), Failure> {
    let what = format!("cannot recover `{}`", options.owner);
    let failed = |error: &dyn std::fmt::Display| Failure::new(&what, error);
    let config = installation::config(&options.config)?;
    let file = installation::store_file(&config);
    let clock = installation::clock(&file)?;
    let store =
        Store::open(&file, clock).map_err(|error| failed(&error).next("stop the server first"))?;
    // Whoever cannot show the master key has no business here.
    drop(load_master_key(&config.master_key, &store).map_err(|error| failed(&error))?);
    let (pass, expires_at) = control::recover_owner(&store, options.owner.clone())
        .map_err(|refusal| Failure::refused(&what, &refusal))?;
    output::text(&pass_text(&options.owner, pass.expose(), &expires_at.to_string()))
}
