//! Words that do not belong where they stand.

use super::source::{File, Tree, codes};

/// A word, and where it may stand.
struct Rule {
    words: &'static [&'static str],
    look_at: Look,
    /// Whether the rule looks at this file.
    applies: fn(&File) -> bool,
    why: &'static str,
}

/// What of a file is looked at.
#[derive(Clone, Copy)]
enum Look {
    /// All of it.
    Text,
    /// What runs in production: without comments, without the tests at its end.
    Code,
}

// The words are cut in two so that this file does not break its own rules.
const RULES: &[Rule] = &[
    Rule {
        words: &[
            concat!("to", "do!("),
            concat!("unimple", "mented!("),
            concat!("FIX", "ME"),
            concat!("TO", "DO"),
            concat!("not imple", "mented"),
            concat!("not yet imple", "mented"),
        ],
        look_at: Look::Text,
        applies: File::rust,
        why: "a stub",
    },
    Rule {
        words: &[concat!("#[al", "low("), concat!("#![al", "low(")],
        look_at: Look::Text,
        applies: File::rust,
        why: "lints are waived with `expect` and a reason",
    },
    Rule {
        words: &[concat!("#[ig", "nore")],
        look_at: Look::Text,
        applies: File::rust,
        why: "a test that never runs",
    },
    Rule {
        words: &[concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")],
        look_at: Look::Text,
        applies: |file| file.path != "Cargo.lock",
        why: "a path of one machine",
    },
    Rule {
        words: &["SystemTime::now", "Instant::now", "OffsetDateTime::now"],
        look_at: Look::Code,
        applies: |file| file.product() && !file.path.starts_with("crates/runtime/"),
        why: "only `runtime::Clock` reads the clock",
    },
    Rule {
        words: &["env::var(", "env::vars(", "env::var_os("],
        look_at: Look::Code,
        applies: |file| file.product() && !file.path.starts_with("crates/runtime/"),
        why: "only `runtime` reads the environment",
    },
    Rule {
        words: &["println!(", "print!(", "eprintln!(", "eprint!("],
        look_at: Look::Code,
        applies: |file| file.product() && !file.path.starts_with("crates/portcullis/"),
        why: "only the binary prints",
    },
    Rule {
        words: &["unsafe {", "unsafe fn", "unsafe impl"],
        look_at: Look::Code,
        applies: |file| {
            // The staging file of the audit log is mapped into memory: the map is `unsafe`, its proof stands beside it.
            file.product()
                && !file.path.starts_with("crates/keys/")
                && file.path != "crates/audit/src/mapping.rs"
        },
        why: "only `keys` and the audit log's `mapping.rs` may ask for `unsafe`",
    },
    Rule {
        words: &[
            "tokio::",
            "TcpStream",
            "TcpListener",
            "UdpSocket",
            "ToSocketAddrs",
            "std::fs",
            "std::env",
            "std::process",
            "std::thread",
            "SystemTime",
            "Instant",
        ],
        look_at: Look::Code,
        applies: |file| file.product() && pure(file),
        why: "the pure core has no input, output or clock",
    },
];

/// Crates without input, output or clock.
const PURE: &[&str] = &[
    "crates/model/",
    "crates/wire/",
    "crates/access/",
    "crates/affected/",
    "crates/admission/",
    "crates/scim/",
];

pub(super) fn breaches(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in &tree.files {
        for rule in RULES.iter().filter(|rule| (rule.applies)(file)) {
            for (number, line) in lines(file, rule.look_at) {
                if let Some(word) = rule.words.iter().find(|word| stands_in(line, word)) {
                    breaches.push(format!("{}:{number}: `{word}`: {}", file.path, rule.why));
                }
            }
        }
    }
    breaches.extend(minted_elsewhere(tree));
    breaches.extend(unsafe_not_forbidden(tree));
    breaches
}

fn lines(file: &File, look: Look) -> Box<dyn Iterator<Item = (usize, &str)> + '_> {
    match look {
        Look::Code => Box::new(file.code()),
        Look::Text => {
            Box::new(file.text.lines().enumerate().map(|(index, line)| (index + 1, line)))
        }
    }
}

/// Whether the word stands there, and not as the end of a longer one (`println!` holds `print!`).
fn stands_in(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let starts_with_letter = word.starts_with(|c: char| c.is_alphanumeric());
        !(starts_with_letter && before.is_some_and(|c| c.is_alphanumeric() || c == '_'))
    })
}

fn pure(file: &File) -> bool {
    PURE.iter().any(|folder| file.path.starts_with(folder))
}

fn minted_elsewhere(tree: &Tree) -> Vec<String> {
    let elsewhere = |file: &&File| file.product() && file.path != "crates/model/src/code.rs";
    let mut breaches = Vec::new();
    for file in tree.files.iter().filter(elsewhere) {
        for (number, line) in file.code() {
            for code in codes(line) {
                breaches.push(format!(
                    "{}:{number}: {code} as text; name it through `model::code`",
                    file.path
                ));
            }
        }
    }
    breaches
}

fn unsafe_not_forbidden(tree: &Tree) -> Vec<String> {
    let roots = tree.files.iter().filter(|file| file.path.ends_with("src/lib.rs") && pure(file));
    roots
        .filter(|file| !file.text.contains("#![forbid(unsafe_code)]"))
        .map(|file| format!("{}: a pure crate forbids unsafe code", file.path))
        .collect()
}
