//! The files of the checkout, and how their text is looked at.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Folders that hold nothing written by people.
const SKIPPED: &[&str] = &[".git", "target", "proptest-regressions", "corpus", "artifacts"];

pub(super) struct Tree {
    pub(super) files: Vec<File>,
}

pub(super) struct File {
    /// Relative to the checkout, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

impl Tree {
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self { files: Vec::new() };
        tree.walk(root, root)?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    fn walk(&mut self, root: &Path, folder: &Path) -> Result<()> {
        let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            if SKIPPED.iter().any(|skipped| name == *skipped) {
                continue;
            }
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                self.walk(root, &path)?;
            } else if let Ok(text) = fs::read_to_string(&path) {
                // What is not UTF-8 is captured bytes, not writing.
                let relative = path.strip_prefix(root)?.to_string_lossy().into_owned();
                self.files.push(File { path: relative, text });
            }
        }
        Ok(())
    }

    /// Rust files of one crate: its folder, `crates/access` or `testkit`.
    pub(super) fn rust_of<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |file| {
            let inside = file.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
            file.rust() && inside
        })
    }
}

impl File {
    pub(super) fn rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|extension| extension == "rs")
    }

    /// Whether it is compiled into a product crate, and not only into tests.
    pub(super) fn product(&self) -> bool {
        let test_file = self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
            || self.path.contains("/benches/");
        self.rust() && self.path.starts_with("crates/") && !test_file
    }

    /// Its lines with their numbers, up to the tests at its end, without comments.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.trim()))
            .take_while(|(_, line)| *line != "#[cfg(test)]")
            .filter(|(_, line)| !line.starts_with("//"))
    }
}

/// Every refusal code that stands in quotes: `PC` and four digits.
pub(super) fn codes(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').filter(|word| {
        word.strip_prefix("PC")
            .is_some_and(|rest| rest.len() == 4 && rest.bytes().all(|byte| byte.is_ascii_digit()))
    })
}
