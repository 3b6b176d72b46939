//! Any text as a handle, and any change to a good one: refused without a panic. Only the text that was sealed opens.
#![no_main]

use std::sync::LazyLock;

use keys::handle::{HandleKey, HandleRecord};
use model::{PrincipalId, ServerName, Timestamp, TokenId};
use uuid::Uuid;

struct Known {
    key: HandleKey,
    servers: [ServerName; 2],
    good: [String; 2],
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let key = HandleKey::from_bytes(&[7; 32]).expect("32 bytes");
    let servers = ["billing", "orders"].map(|name| ServerName::new(name).expect("a name"));
    let issued_at = Timestamp::from_seconds(1_795_514_400);
    let good = [None, Some(servers[1].clone())].map(|server| {
        let record = HandleRecord {
            principal: PrincipalId(Uuid::from_u128(7)),
            token: TokenId(Uuid::from_u128(8)),
            server,
            issued_at,
            not_after: issued_at.plus(std::time::Duration::from_secs(3600)),
        };
        key.seal(&record).expect("a handle")
    });
    Known { key, servers, good }
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Known { key, servers, good } = &*KNOWN;
    let text = String::from_utf8_lossy(data);
    assert!(key.open(&text, servers).is_err());
    let Some((&which, changes)) = data.split_first() else { return };
    let good = &good[usize::from(which & 1)];
    let mut changed = good.clone().into_bytes();
    for change in changes.chunks_exact(2).take(4) {
        let at = usize::from(change[0]) % changed.len();
        changed[at] = change[1];
    }
    let changed = String::from_utf8_lossy(&changed);
    assert_eq!(key.open(&changed, servers).is_ok(), changed == good.as_str());
});
