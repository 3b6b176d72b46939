use wire::mysql::greeting::{Greeting, scramble};
use wire::mysql::{Capabilities, Malformed};

use crate::hex;

/// As MariaDB 10.11 sends it.
fn mariadb() -> Vec<u8> {
    hex("0a352e352e352d31302e31312e31392d4d6172696144422d302b6465623132753100040000003e4372396469653d
         00fef7080200ff81150000000000001d00000042734021232b4d256f7e5052006d7973716c5f6e61746976655f70
         617373776f726400")
}

#[test]
fn mariadbs_greeting_is_read_with_its_extended_flags_and_written_as_it_was() {
    let greeting = Greeting::parse(&mariadb()).unwrap();
    assert_eq!(
        greeting,
        Greeting {
            version: "5.5.5-10.11.19-MariaDB-0+deb12u1".to_owned(),
            connection_id: 4,
            scramble: b">Cr9die=Bs@!#+M%o~PR".to_vec(),
            capabilities: Capabilities::from_bits(0x1d_81ff_f7fe),
            collation: 8,
            status: 2,
            plugin: "mysql_native_password".to_owned(),
        }
    );
    assert!(greeting.capabilities.contains(Capabilities::CACHE_METADATA));
    assert!(!greeting.capabilities.contains(Capabilities::SSL));
    assert_eq!(greeting.encode(), mariadb());
}

#[test]
fn mysqls_greeting_has_no_extended_flags_whatever_stands_in_their_place() {
    let mut greeting = Greeting::parse(&mariadb()).unwrap();
    greeting.version = "8.4.3".to_owned();
    greeting.capabilities = Capabilities::from_bits(0xdfff_ffff);
    let payload = greeting.encode();
    assert_eq!(Greeting::parse(&payload), Ok(greeting.clone()));
    let reserved = 1 + 6 + 4 + 8 + 1 + 2 + 1 + 2 + 2 + 1 + 6;
    assert_eq!(payload[reserved..reserved + 4], [0; 4]);
    let mut noise = payload;
    noise[reserved..reserved + 4].fill(0xff);
    assert_eq!(Greeting::parse(&noise), Ok(greeting));
}

#[test]
fn a_greeting_of_another_version_without_plugins_or_cut_is_refused() {
    let refused = |payload: &[u8]| match Greeting::parse(payload) {
        Err(Malformed::Body { message: "greeting", what }) => what,
        other => panic!("{other:?}"),
    };
    let good = mariadb();
    assert_eq!(refused(b"\x09"), "its version is not 10");
    let mut plain = good.clone();
    let high = 1 + 33 + 4 + 8 + 1 + 2 + 1 + 2;
    plain[high] &= !0x08;
    assert_eq!(refused(&plain), "the server knows no authentication plugins");
    let mut endless = good.clone();
    endless[good.len() - 23] = b'x';
    assert_eq!(refused(&endless), "a scramble has no end");
    for end in 1..good.len() - 22 {
        assert!(Greeting::parse(&good[..end]).is_err(), "{end}");
    }
}

#[test]
fn a_scramble_has_neither_nul_nor_dollar_nor_the_eighth_bit() {
    let mut random = [0; 20];
    for first in 0..=255_u8 {
        random[0] = first;
        let byte = scramble(random)[0];
        assert!(byte != 0 && byte != b'$' && byte < 128, "{first} became {byte}");
    }
}
