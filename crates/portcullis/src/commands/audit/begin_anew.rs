//! `portcullis audit begin-anew`: for a log that is lost for good. What is left of it, and the checkpoint outside, are
//! moved aside and stay; the new log's first words say who, why, and how far the former one reached.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use control::keyring::load_master_key;
use runtime::Clock;
use store::Store;

use crate::failure::Failure;
use crate::installation::{self, checkpoint};
use crate::output;

const WHAT: &str = "cannot begin another audit log";

pub(super) fn run(file: &Path, reason: &str) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(WHAT, error);
    let config = installation::config(file)?;
    let store_file = installation::store_file(&config);
    let store = Store::open(&store_file, installation::clock(&store_file)?)
        .map_err(|error| failed(&error).next("stop the server first"))?;
    // Whoever cannot show the master key has no business here.
    drop(load_master_key(&config.master_key, &store).map_err(|error| failed(&error))?);
    let gateway = config.gateway.name.clone();
    let former = store.read(|reader| reader.record::<checkpoint::Kept>(&gateway));
    let former = former.map_err(|error| failed(&error))?.ok_or_else(|| {
        failed(&format!("no checkpoint of a log of gateway `{gateway}` is kept"))
            .next("start the server; there is nothing to give up")
    })?;
    let suffix = Clock::system().now().seconds();
    let mut detail = BTreeMap::from([
        ("reason".to_owned(), reason.into()),
        ("records".to_owned(), former.checkpoint.sequence.into()),
        ("head".to_owned(), former.checkpoint.head.into()),
    ]);
    let places = [Some(&config.audit.directory), config.audit.checkpoint_file.as_ref()];
    for place in places.into_iter().flatten() {
        if let Some(kept) = move_aside(place, suffix)? {
            let moved = kept.display().to_string();
            detail.insert(place.display().to_string(), moved.clone().into());
            output::line(&format!("{} is kept as {moved}", place.display()))?;
        }
    }
    let key = gateway.clone();
    control::offline(&store, ("auditLogBegunAnew", &gateway), detail, move |transaction| {
        transaction.delete_record::<checkpoint::Kept>(&key).map(drop)
    })
    .map_err(|error| failed(&error))?;
    output::line("the next start begins another log; its first words say so")
}

fn move_aside(place: &Path, suffix: i64) -> Result<Option<PathBuf>, Failure> {
    let mut kept = place.as_os_str().to_owned();
    kept.push(format!(".former-{suffix}"));
    let kept = PathBuf::from(kept);
    match std::fs::rename(place, &kept) {
        Ok(()) => Ok(Some(kept)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(Failure::new(WHAT, format!("`{}` cannot be moved aside: {error}", place.display())))
        }
    }
}
