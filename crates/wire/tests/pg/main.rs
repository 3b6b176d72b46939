//! The protocol's pieces, each by its public face.

#[cfg(test)]
mod backend;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod error;
#[cfg(test)]
mod frontend;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod relations;
mod sasl;
#[cfg(test)]
mod session;
#[cfg(test)]
mod sql;
#[cfg(test)]
mod startup;
#[cfg(test)]
mod statement;
#[cfg(test)]
mod value;

#[cfg(test)]
/// A message: type, length, body.
fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap() + 4;
    [&[tag], length.to_be_bytes().as_slice(), body].concat()
}
