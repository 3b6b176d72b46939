//! What must hold for whatever is a statement's text. The fuzz target calls this function, and so does the test below.

use crate::{Analysis, Engine, Evidence, NAMES_MAX, REASONS_MAX, Whole, analyse, resolve};

/// Any text: bounded, the same behind a comment, and never complete where a catalogue that knows nothing leaves a name
/// open, or where the text was cut.
pub fn affected(data: &[u8]) {
    let (first, text) = data.split_first().unwrap_or((&0, data));
    let whole = if first & 1 == 0 { Whole::Yes } else { Whole::No };
    let engine = if first & 2 == 0 { Engine::PostgreSql } else { Engine::MySql };
    let text = String::from_utf8_lossy(text);
    let analysis = analyse(&text, engine, whole);
    let Analysis { read, written, because } = &analysis;
    assert!(read.len() <= NAMES_MAX && written.len() <= NAMES_MAX, "{analysis:?}");
    assert!(because.len() <= REASONS_MAX, "{analysis:?}");
    assert_eq!(analyse(&format!("/* a comment */ {text}"), engine, whole), analysis);
    let catalogue = |_: &crate::Name| None;
    let known = |name: &crate::Name| {
        name.schema.as_deref().is_some_and(|schema| engine.is_of_system(schema))
    };
    for home in [None, Some("shop")] {
        let (rows_from, because) = (&[], Vec::new());
        let evidence = Evidence { engine, home, rows_from, because, catalogue: &catalogue };
        if resolve(&analysis, &evidence).complete {
            assert!(analysis.because.is_empty() && whole == Whole::Yes, "{analysis:?}");
            assert!(read.iter().chain(written).all(known), "{analysis:?}");
        }
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
                "`b`", "@x", "/*!", "/*M!100100", "*/", "#", "into outfile", "use", "handler", "open", "load data",
                "replace", "drop table", "lock tables", "read", "analyze", "do", "call", ".", "join", "using",
            ]), 0..20),
        ) {
            affected(&[&[whole], words.join(" ").as_bytes()].concat());
        }
    }
}
