//! `docs/security.md` says which test proves what: each that it names must exist.

use std::collections::BTreeSet;

use super::source::{File, Tree};

const PAGE: &str = "docs/security.md";
/// Names with fewer are settings and functions, not sentences.
const UNDERSCORES_MIN: usize = 3;

pub(super) fn breaches(tree: &Tree) -> Vec<String> {
    let Some(page) = tree.files.iter().find(|file| file.path == PAGE) else {
        return vec![format!("{PAGE} is missing")];
    };
    let tests: BTreeSet<&str> =
        tree.files.iter().filter(|file| file.rust()).flat_map(functions).collect();
    named(&page.text)
        .filter(|name| !tests.contains(name))
        .map(|name| format!("{PAGE} names `{name}`, and there is no such test"))
        .collect()
}

/// What stands between backticks and reads like a test's name.
fn named(page: &str) -> impl Iterator<Item = &str> {
    page.split('`').skip(1).step_by(2).filter(|name| {
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        name.chars().all(letters) && name.matches('_').count() >= UNDERSCORES_MIN
    })
}

fn functions(file: &File) -> impl Iterator<Item = &str> {
    file.text.lines().filter_map(|line| {
        let (_, after) = line.split_once("fn ")?;
        after.split(['(', '<']).next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tests_are_told_from_other_words_in_backticks() {
        let page = "| `a_test_is_a_sentence` | `pg_signal_backend`, `mode: bounded` | `another_one_of_these` |";
        assert_eq!(
            named(page).collect::<Vec<_>>(),
            ["a_test_is_a_sentence", "another_one_of_these"]
        );
    }
}
