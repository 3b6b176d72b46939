//! Every test in both places.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};

use crate::ground::Ground;
use crate::place::{Place, Verdict};
use crate::protocol::Protocol;

/// So often is a test whose results differ run again, in both places: what depends on the moment differs directly too.
const AGAIN_MAX: u32 = 2;
/// What a difference shows.
const SHOWN_LINES_MAX: usize = 12;

/// All tests, in one way of speaking.
#[derive(Debug)]
pub(crate) struct Compared {
    pub protocol: Protocol,
    pub gateway: BTreeMap<String, Verdict>,
    pub directly: BTreeMap<String, Verdict>,
    /// Tests whose results differed at first, and which were run again in both places.
    pub again: BTreeSet<String>,
}

impl Compared {
    /// The tests whose results differ.
    pub(crate) fn different(&self) -> Vec<&String> {
        let tests = self.directly.iter();
        tests
            .filter(|(name, said)| self.gateway.get(*name) != Some(said))
            .map(|(name, _)| name)
            .collect()
    }

    /// Each of them, with the first lines that differ.
    pub(crate) fn differences(&self) -> Vec<String> {
        let one = |name: &String| {
            let (here, there) = (self.gateway.get(name)?, self.directly.get(name)?);
            Some(format!("{} `{name}`\n{}", self.protocol.name(), shown(here, there)))
        };
        self.different().into_iter().filter_map(one).collect()
    }

    /// How many of the tests that are equal satisfy this.
    pub(crate) fn count(&self, which: impl Fn(&Verdict) -> bool) -> usize {
        self.directly.values().filter(|verdict| which(verdict)).count()
    }
}

fn shown(here: &Verdict, there: &Verdict) -> String {
    let mut lines =
        vec![format!("  ended with {} through the gateway, {} directly", here.code, there.code)];
    let (mut one, mut other) = (here.said.lines(), there.said.lines());
    while lines.len() < SHOWN_LINES_MAX {
        match (one.next(), other.next()) {
            (None, None) => break,
            (here, there) if here == there => {}
            (here, there) => {
                lines.extend(here.map(|line| format!("  through the gateway: {line}")));
                lines.extend(there.map(|line| format!("  directly:            {line}")));
            }
        }
    }
    lines.join("\n")
}

/// Runs every test in both places at the same time.
pub(crate) fn run(
    protocol: Protocol,
    tests: &BTreeMap<String, PathBuf>,
    ground: &Ground,
) -> Result<Compared> {
    println!("\n── {} tests, {}", tests.len(), protocol.name());
    let (gateway, directly) = ground.places()?;
    let mut compared = Compared {
        protocol,
        gateway: BTreeMap::new(),
        directly: BTreeMap::new(),
        again: BTreeSet::new(),
    };
    for (name, test) in tests {
        let (mut here, mut there) = both(protocol, test, (&gateway, &directly))?;
        for _ in 0..AGAIN_MAX {
            if here == there {
                break;
            }
            compared.again.insert(name.clone());
            (here, there) = both(protocol, test, (&gateway, &directly))?;
        }
        println!("{name}: {} and {} {}", here.code, there.code, there.complaint());
        if here != there {
            println!("{name} differs\n{}", shown(&here, &there));
        }
        compared.gateway.insert(name.clone(), here);
        compared.directly.insert(name.clone(), there);
    }
    Ok(compared)
}

fn both(
    protocol: Protocol,
    test: &Path,
    (gateway, directly): (&Place<'_>, &Place<'_>),
) -> Result<(Verdict, Verdict)> {
    thread::scope(|threads| {
        let there = threads.spawn(|| directly.run(protocol, test).context(directly.name));
        let here = gateway.run(protocol, test).context(gateway.name)?;
        let there = there.join().ok().context("the direct run panicked")??;
        Ok((here, there))
    })
}
