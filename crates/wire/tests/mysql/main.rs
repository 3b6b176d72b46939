//! The protocol's pieces, each by its public face.

#[cfg(test)]
mod authentication;
#[cfg(test)]
mod backend;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod capabilities;
#[cfg(test)]
mod command;
#[cfg(test)]
mod error;
#[cfg(test)]
mod frontend;
#[cfg(test)]
mod greeting;
#[cfg(test)]
mod handshake;
#[cfg(test)]
mod packet;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod session;
#[cfg(test)]
mod sql;
#[cfg(test)]
mod statement;
#[cfg(test)]
mod value;

#[cfg(test)]
/// Bytes from hexadecimal digits; spaces are for people.
fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<char> = digits.chars().filter(|digit| !digit.is_whitespace()).collect();
    let pair = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}
