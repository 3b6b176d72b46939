//! A cursor over one message's body. Every read is checked; nothing is copied. Numbers are read in each protocol's own
//! order of bytes, in `pg/reader.rs` and `mysql/reader.rs`.

use std::marker::PhantomData;

/// A body that is not as the protocol says: the message, and what is wrong.
pub(crate) struct Broken {
    pub(crate) message: &'static str,
    pub(crate) what: &'static str,
}

/// What is left of one body; `M` is the protocol's word for a broken one.
#[derive(Debug)]
pub(crate) struct Reader<'a, M> {
    rest: &'a [u8],
    message: &'static str,
    malformed: PhantomData<fn() -> M>,
}

impl<M> Clone for Reader<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Reader<'_, M> {}

impl<'a, M: From<Broken>> Reader<'a, M> {
    pub(crate) fn new(message: &'static str, body: &'a [u8]) -> Self {
        Self { rest: body, message, malformed: PhantomData }
    }

    pub(crate) fn malformed(&self, what: &'static str) -> M {
        Broken { message: self.message, what }.into()
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], M> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| self.malformed("it ends early"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], M> {
        let (taken, rest) =
            self.rest.split_first_chunk::<N>().ok_or_else(|| self.malformed("it ends early"))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, M> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Bytes up to a NUL, which is consumed and not returned.
    pub(crate) fn cstring(&mut self) -> Result<&'a [u8], M> {
        let end = self
            .rest
            .iter()
            .position(|byte| *byte == 0)
            .ok_or_else(|| self.malformed("a string has no end"))?;
        let text = self.take(end)?;
        self.take(1)?;
        Ok(text)
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn end(&self) -> Result<(), M> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed("bytes follow its end")) }
    }
}
