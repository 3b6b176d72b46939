//! Numbers and values in a message's body, as PostgreSQL writes them: the highest byte first.

use super::Malformed;
use crate::reader::{self, Broken};

/// What is left of one body.
pub(crate) type Reader<'a> = reader::Reader<'a, Malformed>;

impl From<Broken> for Malformed {
    fn from(Broken { message, what }: Broken) -> Self {
        Self::Body { message, what }
    }
}

impl<'a> reader::Reader<'a, Malformed> {
    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    /// A value with its length before it; −1 is NULL, anything else below zero is malformed.
    pub(crate) fn value(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let length =
                    usize::try_from(length).map_err(|_| self.malformed("a length is negative"))?;
                self.take(length).map(Some)
            }
        }
    }
}
