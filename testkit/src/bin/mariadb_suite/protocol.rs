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

    /// The one of this name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name() == name)
    }

    /// What it adds to a sentence about how each test ran.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Text => "with statements as text",
            Self::Prepared => "prepared (`--ps-protocol`)",
            Self::Cursor => "with cursors (`--cursor-protocol`)",
        }
    }

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
