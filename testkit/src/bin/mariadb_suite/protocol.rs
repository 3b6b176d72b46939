//! How statements are sent.

/// What the test program is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// As text.
    Text,
    /// Each prepared and executed, where that is possible.
    Prepared,
    /// Prepared, and rows fetched from a cursor.
    Cursor,
}

impl Protocol {
    pub(crate) const ALL: [Self; 3] = [Self::Text, Self::Prepared, Self::Cursor];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Prepared => "prepared",
            Self::Cursor => "cursors",
        }
    }

    pub(crate) fn option(self) -> Option<&'static str> {
        match self {
            Self::Text => None,
            Self::Prepared => Some("--ps-protocol"),
            Self::Cursor => Some("--cursor-protocol"),
        }
    }
}
