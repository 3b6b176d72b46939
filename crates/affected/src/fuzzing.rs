//! What must hold for whatever is a statement's text. The fuzz target calls this function, and so does the test below.

use crate::{Analysis, Evidence, NAMES_MAX, REASONS_MAX, Whole, analyse, resolve};

/// Any text: bounded, the same behind a comment, and never complete where a catalogue that knows nothing leaves a name
/// open, or where the text was cut.
pub fn affected(data: &[u8]) {
    let (first, text) = data.split_first().unwrap_or((&0, data));
    let whole = if first & 1 == 0 { Whole::Yes } else { Whole::No };
    let text = String::from_utf8_lossy(text);
    let analysis = analyse(&text, whole);
    let Analysis { read, written, because } = &analysis;
    assert!(read.len() <= NAMES_MAX && written.len() <= NAMES_MAX, "{analysis:?}");
    assert!(because.len() <= REASONS_MAX, "{analysis:?}");
    assert_eq!(analyse(&format!("/* a comment */ {text}"), whole), analysis);
    let nothing = |_: &crate::Name| None;
    let evidence = Evidence { rows_from: &[], because: Vec::new(), catalogue: &nothing };
    let affected = resolve(&analysis, &evidence);
    if affected.complete {
        assert!(read.is_empty() && written.is_empty() && because.is_empty(), "{analysis:?}");
        assert_eq!(whole, Whole::Yes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_fuzzing_kept_still_holds() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus");
        let kept = std::fs::read(format!("{folder}/affected.inputs")).unwrap();
        let mut rest = kept.as_slice();
        while let Some((length, after)) = rest.split_first_chunk() {
            let (input, next) = after.split_at(u32::from_be_bytes(*length) as usize);
            affected(input);
            rest = next;
        }
    }

    proptest! {
        #[test]
        fn whatever_the_text_nothing_is_complete_that_is_not_known(
            whole in any::<u8>(),
            words in proptest::collection::vec(proptest::sample::select(vec![
                "select", "*", "from", "a.b", "t", ",", "(", ")", "insert into", "values", "'x'", "1",
                "where", "update", "set", "=", "delete", "with", "as", ";", "f(1)", "$1", "\"Q\"", "--",
            ]), 0..20),
        ) {
            affected(&[&[whole], words.join(" ").as_bytes()].concat());
        }
    }
}
