//! Numbers and strings in a packet's payload, as MySQL writes them: the lowest byte first.

use super::Malformed;
use crate::reader::{self, Broken};

/// What is left of one payload.
pub(crate) type Reader<'a> = reader::Reader<'a, Malformed>;

impl From<Broken> for Malformed {
    fn from(Broken { message, what }: Broken) -> Self {
        Self::Body { message, what }
    }
}

impl<'a> reader::Reader<'a, Malformed> {
    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    /// A number of one, three, four or nine bytes.
    pub(crate) fn lenenc(&mut self) -> Result<u64, Malformed> {
        match self.u8()? {
            0xfb => Err(self.malformed("a NULL stands where a number belongs")),
            0xfc => self.u16().map(u64::from),
            0xfd => self.array().map(|[a, b, c]| u64::from(u32::from_le_bytes([a, b, c, 0]))),
            0xfe => self.array().map(u64::from_le_bytes),
            0xff => Err(self.malformed("a number begins with 0xff")),
            small => Ok(u64::from(small)),
        }
    }

    /// Bytes with their length before them.
    pub(crate) fn lenenc_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.lenenc()?;
        let length = usize::try_from(length).map_err(|_| self.malformed("it ends early"))?;
        self.take(length)
    }

    /// As `cstring`, of a string that may end with the packet.
    pub(crate) fn last_cstring(&mut self) -> &'a [u8] {
        let rest = self.rest();
        self.cstring().unwrap_or_else(|_| {
            *self = Self::new("", &[]);
            rest
        })
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }
}
