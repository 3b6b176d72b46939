//! A cursor over one message's body. Every read is checked; nothing is copied. Numbers are little-endian.

use super::Malformed;

/// What is left of one body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    message: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'static str, body: &'a [u8]) -> Self {
        Self { rest: body, message }
    }

    pub(crate) fn malformed(&self, what: &'static str) -> Malformed {
        Malformed::Body { message: self.message, what }
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| self.malformed("it ends early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) =
            self.rest.split_first_chunk::<N>().ok_or_else(|| self.malformed("it ends early"))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

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

    /// Bytes up to a NUL, which is consumed and not returned.
    pub(crate) fn cstring(&mut self) -> Result<&'a [u8], Malformed> {
        let end = self
            .rest
            .iter()
            .position(|byte| *byte == 0)
            .ok_or_else(|| self.malformed("a string has no end"))?;
        let text = self.take(end)?;
        self.take(1)?;
        Ok(text)
    }

    /// As [`cstring`](Self::cstring), of a string that may end with the packet.
    pub(crate) fn last_cstring(&mut self) -> &'a [u8] {
        self.cstring().unwrap_or_else(|_| std::mem::take(&mut self.rest))
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed("bytes follow its end")) }
    }
}
