use wire::mysql::Malformed;
use wire::mysql::packet::{Header, PAYLOAD_BYTES_MAX, Step, encode, login};

#[test]
fn a_packet_is_asked_for_byte_by_byte_and_no_further() {
    let packet = encode(2, b"abc");
    assert_eq!(packet, b"\x03\0\0\x02abc");
    assert_eq!(login(&packet[..3], 2, 100), Ok(Step::Need(4)));
    assert_eq!(login(&packet[..4], 2, 100), Ok(Step::Need(7)));
    let more = [packet.as_slice(), b"\x16\x03\x01"].concat();
    assert_eq!(login(&more, 2, 100), Ok(Step::Packet { length: 7, payload: b"abc" }));
}

#[test]
fn a_packet_with_another_number_is_refused() {
    let malformed = login(b"\x03\0\0\x02", 1, 100);
    assert_eq!(malformed, Err(Malformed::Sequence { expected: 1, found: 2 }));
}

#[test]
fn a_packet_that_declares_too_much_is_refused_before_it_arrives() {
    let message = "login packet";
    let malformed = login(b"\x65\0\0\x01", 1, 100);
    assert_eq!(malformed, Err(Malformed::Length { message, length: 101, max: 100 }));
    let (length, max) = (PAYLOAD_BYTES_MAX, usize::MAX);
    let malformed = login(b"\xff\xff\xff\x01", 1, max);
    assert_eq!(malformed, Err(Malformed::Length { message, length, max }));
}

#[test]
fn a_long_message_is_split_and_one_that_fills_its_packets_ends_with_an_empty_one() {
    for (length, sizes) in [
        (PAYLOAD_BYTES_MAX - 1, vec![PAYLOAD_BYTES_MAX - 1]),
        (PAYLOAD_BYTES_MAX, vec![PAYLOAD_BYTES_MAX, 0]),
        (PAYLOAD_BYTES_MAX + 5, vec![PAYLOAD_BYTES_MAX, 5]),
    ] {
        let packets = encode(255, &vec![7; length]);
        let (mut rest, mut found) = (packets.as_slice(), Vec::new());
        while let Some(header) = Header::read(rest) {
            let number = u8::try_from((255 + found.len()) % 256).unwrap();
            assert_eq!(header.sequence, number);
            found.push(header.length);
            rest = &rest[4 + header.length..];
        }
        assert_eq!((found, rest), (sizes, [].as_slice()));
    }
}
