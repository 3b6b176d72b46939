//! Reads resource files: YAML or JSON, several documents a file, folders of files. Every mistake names file, line,
//! field and the nearest known name.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use model::document::WrittenBy;
use model::{Kind, Resource, suggest};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_saphyr::{Error, Spanned};

use crate::failure::Failure;

/// No file of resources is larger; a larger one is a mistake.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// More mistakes than these are counted, not listed.
const MISTAKES_SHOWN_MAX: usize = 20;

/// One document of a file.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    /// Where it begins.
    pub place: Place,
    /// What it says, defaults filled in.
    pub resource: Resource,
    /// The same as it was written: without the fields that were left out.
    pub value: Value,
}

/// Reads files, folders (their `.yaml`, `.yml` and `.json` files, by name) and `-`, standard input.
pub(crate) fn read_all(paths: &[PathBuf]) -> Result<Vec<Written>, Failure> {
    let mut documents = Vec::new();
    let mut mistakes = Vec::new();
    for path in paths {
        for (name, text) in texts(path)? {
            read_text(&name, &text, &mut documents, &mut mistakes);
        }
    }
    mistakes.extend(named_twice(&documents));
    if mistakes.is_empty() {
        return Ok(documents);
    }
    Err(not_valid(paths, &mistakes))
}

fn not_valid(paths: &[PathBuf], mistakes: &[Mistake]) -> Failure {
    let names: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
    let mut lines: Vec<String> =
        mistakes.iter().take(MISTAKES_SHOWN_MAX).map(Mistake::to_string).collect();
    if mistakes.len() > MISTAKES_SHOWN_MAX {
        lines.push(format!("… and {} more", mistakes.len() - MISTAKES_SHOWN_MAX));
    }
    let next = match mistakes.iter().find_map(|mistake| mistake.kind) {
        Some(kind) => format!(
            "`portcullis schema {}` prints what is allowed",
            kind.name().to_ascii_lowercase()
        ),
        None => "correct the file; nothing was sent".to_owned(),
    };
    Failure::new(format!("{} has mistakes", names.join(", ")), lines.join("\n")).next(next)
}

fn texts(path: &Path) -> Result<Vec<(String, String)>, Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::new(format!("cannot read `{}`", path.display()), error)
    };
    if path.as_os_str() == "-" {
        let text = bounded(std::io::stdin().lock()).map_err(|error| failed(path, error))?;
        return Ok(vec![("standard input".to_owned(), text)]);
    }
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        files = std::fs::read_dir(path)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
            .map_err(|error| failed(path, error))?;
        files.retain(|file: &PathBuf| {
            let extension = file.extension().and_then(|extension| extension.to_str());
            matches!(extension, Some("yaml" | "yml" | "json"))
        });
        files.sort();
    }
    if files.is_empty() {
        return Err(Failure::new(
            format!("`{}` holds no resources", path.display()),
            "there is no .yaml, .yml or .json file in it",
        ));
    }
    let read = |file: PathBuf| {
        let text = File::open(&file).and_then(bounded).map_err(|error| failed(&file, error))?;
        Ok((file.display().to_string(), text))
    };
    files.into_iter().map(read).collect()
}

fn bounded(from: impl std::io::Read) -> std::io::Result<String> {
    let mut text = String::new();
    let bytes = from.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if u64::try_from(bytes).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        let message = format!("it is larger than {FILE_BYTES_MAX} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}

/// A line of a file; both count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    file: String,
    line: u64,
    column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Something in a file that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mistake {
    place: Place,
    kind: Option<Kind>,
    text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

fn read_text(file: &str, text: &str, documents: &mut Vec<Written>, mistakes: &mut Vec<Mistake>) {
    for part in parts(text) {
        match read_part(file, &part) {
            Ok(Some(document)) => documents.push(document),
            Ok(None) => {}
            Err(mistake) => mistakes.push(mistake),
        }
    }
}

/// The documents of a stream, each with as many empty lines before it as put it on its own line number. A line that
/// starts with `---` or `...` is a marker wherever it stands (YAML 1.2 §9.1.2, `c-forbidden`).
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for (number, line) in text.lines().enumerate() {
        let (start, rest) = line.split_at_checked(3).unwrap_or(("", ""));
        let marker =
            matches!(start, "---" | "...") && rest.chars().next().is_none_or(char::is_whitespace);
        if marker {
            parts.push("\n".repeat(number));
        }
        if let Some(part) = parts.last_mut() {
            part.push_str(if marker { rest } else { line });
            part.push('\n');
        }
    }
    parts
}

/// What every document has, with the places of its parts.
#[derive(Deserialize)]
struct Outline {
    kind: Option<Spanned<String>>,
    metadata: Option<Spanned<IgnoredAny>>,
    status: Option<Spanned<IgnoredAny>>,
}

fn read_part(file: &str, text: &str) -> Result<Option<Written>, Mistake> {
    let value: Value = serde_saphyr::from_str(text).map_err(|error| mistake(file, None, &error))?;
    if value.is_null() {
        return Ok(None);
    }
    let outline: Outline =
        serde_saphyr::from_str(text).map_err(|error| mistake(file, None, &error))?;
    let at = |location: serde_saphyr::Location| Place {
        file: file.to_owned(),
        line: location.line(),
        column: location.column(),
    };
    let first_line = text.lines().take_while(|line| line.trim().is_empty()).count() + 1;
    let place = outline.metadata.as_ref().map_or_else(
        || Place {
            file: file.to_owned(),
            line: u64::try_from(first_line).unwrap_or(u64::MAX),
            column: 1,
        },
        |metadata| at(metadata.referenced),
    );
    let Some(named) = outline.kind else {
        return Err(Mistake { place, kind: None, text: "field `kind` is missing".to_owned() });
    };
    let Some(kind) = Kind::ALL.iter().copied().find(|kind| kind.name() == named.value) else {
        let known = Kind::ALL.iter().map(|kind| kind.name());
        let text = format!("`{}` is not a kind{}", named.value, did_you_mean(&named.value, known));
        return Err(Mistake { place: at(named.referenced), kind: None, text });
    };
    if kind.written_by() == WrittenBy::Portcullis {
        let text =
            format!("`{kind}` is a kind that only Portcullis writes; leave it out of the files");
        return Err(Mistake { place: at(named.referenced), kind: None, text });
    }
    if let Some(status) = outline.status {
        let text = "`status` is written by Portcullis only; leave it out of the files".to_owned();
        return Err(Mistake { place: at(status.referenced), kind: None, text });
    }
    let resource = serde_saphyr::with_deserializer_from_str(text, |deserializer| {
        Resource::deserialize_as(kind, deserializer)
    })
    .map_err(|error| mistake(file, Some(kind), &error))?;
    Ok(Some(Written { place, resource, value }))
}

fn mistake(file: &str, kind: Option<Kind>, error: &Error) -> Mistake {
    let error = error.without_snippet();
    let (line, column) =
        error.location().map_or((1, 1), |location| (location.line(), location.column()));
    Mistake { place: Place { file: file.to_owned(), line, column }, kind, text: words(error) }
}

fn words(error: &Error) -> String {
    match error {
        Error::SerdeUnknownField { field, expected, .. } => format!(
            "there is no field `{field}` here{}",
            did_you_mean(field, expected.iter().copied())
        ),
        Error::SerdeUnknownVariant { variant, expected, .. } => format!(
            "`{variant}` is not one of the values here{}",
            did_you_mean(variant, expected.iter().copied())
        ),
        Error::SerdeMissingField { field, .. } => format!("field `{field}` is missing"),
        Error::SerdeInvalidType { unexpected, expected, .. }
        | Error::SerdeInvalidValue { unexpected, expected, .. } => {
            format!("{unexpected} stands where {expected} is wanted")
        }
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("`{key}` stands here twice"),
        Error::Message { msg, .. } => msg.clone(),
        other => {
            let options =
                serde_saphyr::render_options! { snippets: serde_saphyr::SnippetMode::Off };
            let text = other.render_with_options(options);
            // The place stands in front already.
            text.split(" at line ").next().unwrap_or(&text).to_owned()
        }
    }
}

fn did_you_mean<'a>(given: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match suggest::nearest(given, known.clone()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => format!("; known are: {}", known.collect::<Vec<_>>().join(", ")),
    }
}

fn named_twice(documents: &[Written]) -> Vec<Mistake> {
    let mut seen: BTreeMap<(Kind, &str), &Place> = BTreeMap::new();
    let mut mistakes = Vec::new();
    for Written { place, resource, .. } in documents {
        let (kind, name) = (resource.kind(), resource.name());
        if let Some(first) = seen.insert((kind, name), place) {
            let text = format!("{kind} `{name}` stands at {first} already");
            mistakes.push(Mistake { place: place.clone(), kind: None, text });
        }
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> String {
        let (mut documents, mut mistakes) = (Vec::new(), Vec::new());
        read_text("people.yaml", text, &mut documents, &mut mistakes);
        mistakes.extend(named_twice(&documents));
        mistakes.iter().map(Mistake::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_mistake_names_its_line_and_the_nearest_known_name() {
        let text = "\
apiVersion: portcullis.dev/v1
kind: Group
metadata: {name: orders-readers}
spec:
  description: Reads orders
  memebrs: [dev@example.com]
---
apiVersion: portcullis.dev/v1
kind: Gruop
metadata: {name: x}
spec: {}
---
apiVersion: portcullis.dev/v1
kind: AccessRules
metadata: {name: orders-readers}
spec:
  group: orders-readers
  durationMax: 30
  justification: requierd
---
apiVersion: portcullis.dev/v1
kind: User
metadata: {name: 'a b'}
spec: {}
---
kind: User
metadata: {name: eve@example.com}
spec: {displayName: Eve}
---
apiVersion: portcullis.dev/v1
kind: Activation
metadata: {name: x}
---
apiVersion: portcullis.dev/v1
kind: User
metadata: {name: ada@example.com}
spec: {displayName: Ada}
status: {}
---
kind: [
";
        insta::assert_snapshot!(mistakes(text), @r"
        people.yaml:6:3: there is no field `memebrs` here; did you mean `members`?
        people.yaml:9:7: `Gruop` is not a kind; did you mean `Group`?
        people.yaml:18:16: `30` is not a length of time; write it like `90s`, `30m`, `8h`, `1h30m` or `PT2H`
        people.yaml:24:7: field `displayName` is missing
        people.yaml:28:1: field `apiVersion` is missing
        people.yaml:31:7: `Activation` is a kind that only Portcullis writes; leave it out of the files
        people.yaml:38:9: `status` is written by Portcullis only; leave it out of the files
        people.yaml:40:7: unclosed bracket '['
        ");
    }

    #[test]
    fn comments_and_empty_documents_are_no_documents() {
        let (mut documents, mut mistakes) = (Vec::new(), Vec::new());
        let text = "# only words\n---\n---\napiVersion: portcullis.dev/v1\nkind: Group\nmetadata: {name: a}\nspec: {}\n...\n";
        read_text("a.yaml", text, &mut documents, &mut mistakes);
        assert_eq!(mistakes, []);
        let [document] = documents.as_slice() else { panic!("{documents:?}") };
        assert_eq!((document.resource.name(), document.place.line), ("a", 6));
        assert_eq!(document.value["spec"], serde_json::json!({}));
    }

    #[test]
    fn a_name_that_stands_twice_is_a_mistake() {
        let group = "apiVersion: portcullis.dev/v1\nkind: Group\nmetadata: {name: a}\nspec: {}\n";
        insta::assert_snapshot!(mistakes(&format!("{group}---\n{group}")), @"people.yaml:8:11: Group `a` stands at people.yaml:3:11 already");
    }
}
