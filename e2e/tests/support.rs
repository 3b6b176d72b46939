//! What several stories need.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::stack::{self, Facts, Options, Person, Stack};
use testkit::wait;

/// The stack that tests share when they do not disturb one another.
pub(crate) fn shared() -> &'static Facts {
    stack::shared().unwrap()
}

/// A stack of one's own, for tests that disturb others.
pub(crate) fn own() -> Stack {
    own_with(&Options::default())
}

pub(crate) fn own_with(options: &Options) -> Stack {
    Stack::start(options).unwrap()
}

/// Someone new who is eligible for these groups. Names differ between tests and between runs on one stack.
pub(crate) fn newcomer(facts: &Facts, eligible: &[&str]) -> Person {
    static COUNT: AtomicU32 = AtomicU32::new(0);

    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let user = format!("p{}-{number}@example.com", std::process::id());
    facts.newcomer(&user, eligible).unwrap()
}

/// The moment, for measuring.
pub(crate) fn now() -> Instant {
    wait::now()
}

/// Events of one type in which this text occurs, once there are any.
pub(crate) fn events(facts: &Facts, kind: &str, text: &str) -> Vec<Value> {
    wait::until(Duration::from_secs(10), &format!("a `{kind}` event with `{text}`"), || {
        let events = facts.audit(&["--type", kind, "--text", text]).unwrap();
        (!events.is_empty()).then_some(events)
    })
}

/// A field of a document, as text.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no text at `{pointer}` in {value}"))
}

/// Fails unless all of these occur.
#[track_caller]
pub(crate) fn assert_says(said: &str, expected: &[&str]) {
    for text in expected {
        assert!(said.contains(text), "`{text}` is not in:\n{said}");
    }
}
