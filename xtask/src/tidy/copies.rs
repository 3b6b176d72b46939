//! The same lines in two places.

use std::collections::HashMap;

use super::source::{File, Tree};

/// Longer runs of equal lines are one thing written twice; imports, attributes, comments and lone brackets do not count.
const LINES_MAX: usize = 12;

/// How what does not count begins and ends, over however many lines.
const SILENT: &[(&str, &str)] =
    &[("use ", ";"), ("pub use ", ";"), ("pub(crate) use ", ";"), ("#[", "]"), ("#![", "]")];

pub(super) fn breaches(tree: &Tree) -> Vec<String> {
    let mut first: HashMap<Vec<&str>, (&str, usize)> = HashMap::new();
    let mut breaches = Vec::new();
    for file in tree.files.iter().filter(|file| file.rust()) {
        let lines = telling(file);
        let mut reported_until = 0;
        for (start, window) in lines.windows(LINES_MAX + 1).enumerate() {
            let text: Vec<&str> = window.iter().map(|(_, line)| *line).collect();
            let Some((number, _)) = window.first().copied() else { continue };
            match first.get(&text) {
                Some((path, at)) if start >= reported_until => {
                    breaches.push(format!("{}:{number} repeats {path}:{at}", file.path));
                    reported_until = start + LINES_MAX + 1;
                }
                Some(_) => {}
                None => {
                    first.insert(text, (&file.path, number));
                }
            }
        }
    }
    breaches
}

fn telling(file: &File) -> Vec<(usize, &str)> {
    let bare = |line: &str| line.chars().all(|c| "{}()[];,. ".contains(c));
    let mut until = None;
    file.code()
        .filter(|(_, line)| {
            let end = until.or_else(|| {
                SILENT.iter().find(|(start, _)| line.starts_with(start)).map(|(_, end)| *end)
            });
            until = end.filter(|end| !line.ends_with(end));
            end.is_none() && !bare(line)
        })
        .collect()
}
