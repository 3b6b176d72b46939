//! The option file that is ours alone.

use std::fmt::Write as _;

use model::{Refusal, code};

/// What it must say.
pub(super) struct Wanted {
    /// The server's own section: `mariadbd`, `mysqld`.
    pub(super) section: &'static str,
    /// Path of the file with the client authorities.
    pub(super) client_authority: String,
}

/// All of it.
pub(super) fn text(wanted: &Wanted) -> Result<String, Refusal> {
    let settings = [
        ("ssl_ca", value(&wanted.client_authority)?),
        ("require_secure_transport", "ON".to_owned()),
        ("skip_name_resolve", "ON".to_owned()),
    ];
    let mut text = format!(
        "# Written by `portcullis server enroll`, which writes it anew; `--undo` takes it back.\n[{}]\n",
        wanted.section
    );
    for (name, value) in settings {
        // Writing into a String never fails.
        let _written = writeln!(text, "{name} = {value}");
    }
    Ok(text)
}

/// Between quotes where it has to be: `#` begins a comment, a backslash an escape, and blanks at the ends are cut.
fn value(path: &str) -> Result<String, Refusal> {
    if path.chars().any(char::is_control) {
        let message = format!("the path {path:?} cannot stand in an option file");
        return Err(Refusal::new(&code::INVALID, message).hint("move the data directory"));
    }
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+@:,".contains(letter);
    if path.chars().all(plain) {
        return Ok(path.to_owned());
    }
    Ok(format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_what_must_hold_and_whose_it_is() {
        let wanted =
            Wanted { section: "mysqld", client_authority: "/var/lib/mysql/ca.pem".to_owned() };
        assert_eq!(
            text(&wanted).unwrap(),
            "# Written by `portcullis server enroll`, which writes it anew; `--undo` takes it back.\n\
             [mysqld]\n\
             ssl_ca = /var/lib/mysql/ca.pem\n\
             require_secure_transport = ON\n\
             skip_name_resolve = ON\n"
        );
    }

    #[test]
    fn paths_with_a_meaning_are_quoted_and_lines_cannot_be_added() {
        assert_eq!(value("/srv/my data#1/ca.pem").unwrap(), "\"/srv/my data#1/ca.pem\"");
        assert_eq!(value("/srv/a\\b\"c").unwrap(), "\"/srv/a\\\\b\\\"c\"");
        assert_eq!(value("/srv/a\nskip_grant_tables").unwrap_err().code, &code::INVALID);
    }
}
