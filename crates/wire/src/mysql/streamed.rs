//! The values of a long message, as they stream.

use super::limits::{VALUE_BYTES_MAX, VALUES_BYTES_MAX, VALUES_MAX};
use super::value::{Given, Type, Width};
use super::values::{Head, Indicator, KeptGiven, KeptValue, Types, Values};
use crate::part::{Collector, Kept};

/// What follows the values.
pub(super) enum Rest {
    /// The text of a query.
    Text(Collector),
    /// Nothing that counts.
    Ignored,
    /// Another row.
    Rows,
}

/// A place for a value.
struct Slot {
    name: Option<Vec<u8>>,
    kind: Type,
    absent: Option<KeptGiven>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Indicator,
    /// A length of one byte.
    Counted,
    Lenenc,
    Value,
    /// All values are there.
    Rest,
    /// Nothing of what follows can be told apart.
    NotUnderstood,
}

/// Takes values byte by byte, or in larger pieces.
pub(super) struct Streamed {
    slots: Vec<Slot>,
    next: usize,
    field: Field,
    number: Vec<u8>,
    left: u64,
    value: Collector,
    rest: Rest,
    values: Vec<KeptValue>,
    bytes_kept: usize,
    rows: u64,
}

impl std::fmt::Debug for Streamed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Streamed({} values, {:?})", self.values.len(), self.field)
    }
}

impl Streamed {
    fn new(slots: Vec<Slot>, field: Field, rest: Rest) -> Self {
        Self {
            slots,
            next: 0,
            field,
            number: Vec::new(),
            left: 0,
            value: Collector::new(VALUE_BYTES_MAX),
            rest,
            values: Vec::new(),
            bytes_kept: 0,
            rows: 0,
        }
    }

    /// No values at all.
    pub(super) fn none() -> Self {
        Self::new(Vec::new(), Field::Rest, Rest::Ignored)
    }

    /// Nothing can be told apart.
    pub(super) fn not_understood() -> Self {
        Self::new(Vec::new(), Field::NotUnderstood, Rest::Ignored)
    }

    /// The values behind a head.
    pub(super) fn of_head(head: &Head<'_>, rest: Rest) -> Self {
        let mut names = head.names();
        let slot = |(index, kind): (usize, &Type)| Slot {
            name: names.next().flatten().map(<[u8]>::to_vec),
            kind: *kind,
            absent: head.absent(index).map(|given| match given {
                Given::Bytes(part) => KeptGiven::Bytes(part.into()),
                Given::Null | Given::Default | Given::Ignored | Given::NotUnderstood(_) => {
                    KeptGiven::Null
                }
            }),
        };
        let slots = head.types.iter().enumerate().map(slot).collect();
        let mut streamed = Self::new(slots, Field::Rest, rest);
        streamed.advance();
        streamed
    }

    /// Rows of a bulk execute.
    pub(super) fn of_rows(types: &Types) -> Self {
        let slot = |kind: &Type| Slot { name: None, kind: *kind, absent: None };
        let slots: Vec<_> = types.iter().map(slot).collect();
        let field = if slots.is_empty() { Field::NotUnderstood } else { Field::Indicator };
        Self::new(slots, field, Rest::Rows)
    }

    /// What was taken, for a message.
    pub(super) fn values(&self) -> Values<'_> {
        Values::kept(&self.values, self.rows)
    }

    /// Takes the next piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let Some((byte, after)) = rest.split_first() {
            rest = match self.field {
                Field::Indicator => {
                    self.indicated(*byte);
                    after
                }
                Field::Counted | Field::Lenenc => {
                    self.number.push(*byte);
                    self.numbered();
                    after
                }
                Field::Value => self.value(rest),
                Field::NotUnderstood => {
                    self.value.push(rest);
                    return;
                }
                Field::Rest => {
                    if let Rest::Text(text) = &mut self.rest {
                        text.push(rest);
                    }
                    return;
                }
            };
        }
    }

    /// The whole message was pushed: what there is of it, and the text behind the values.
    pub(super) fn finish(mut self) -> (Self, Kept) {
        match self.field {
            Field::Rest => {}
            Field::Indicator if self.next == 0 => {}
            Field::Indicator
            | Field::Counted
            | Field::Lenenc
            | Field::Value
            | Field::NotUnderstood => {
                let value = std::mem::replace(&mut self.value, Collector::new(0)).finish();
                if value.part().length > 0 {
                    let kind = Type { code: 0, unsigned: false };
                    let given = KeptGiven::NotUnderstood(value);
                    self.values.push(KeptValue { name: None, kind, given });
                }
            }
        }
        let text = match std::mem::replace(&mut self.rest, Rest::Ignored) {
            Rest::Text(text) => text.finish(),
            Rest::Ignored | Rest::Rows => Kept::default(),
        };
        (self, text)
    }

    /// Goes on to the next value that has bytes.
    fn advance(&mut self) {
        while let Some(slot) = self.slots.get(self.next) {
            if matches!(self.rest, Rest::Rows) {
                self.field = Field::Indicator;
                return;
            }
            match (slot.absent.clone(), slot.kind.width()) {
                (Some(given), _) => self.take(given),
                (None, Some(Width::Fixed(0))) => self.take(KeptGiven::Bytes(Kept::default())),
                (None, _) => {
                    self.begin();
                    return;
                }
            }
        }
        match self.rest {
            Rest::Rows => {
                self.rows = self.rows.saturating_add(1);
                self.next = 0;
                self.field = Field::Indicator;
            }
            Rest::Text(_) | Rest::Ignored => self.field = Field::Rest,
        }
    }

    fn take(&mut self, given: KeptGiven) {
        let Some(slot) = self.slots.get(self.next) else { return };
        self.next = self.next.saturating_add(1);
        if self.values.len() < VALUES_MAX {
            self.values.push(KeptValue { name: slot.name.clone(), kind: slot.kind, given });
        }
    }

    /// The bytes of the next value begin, or its length does.
    fn begin(&mut self) {
        let room = VALUES_BYTES_MAX.saturating_sub(self.bytes_kept).min(VALUE_BYTES_MAX);
        self.value = Collector::new(if self.values.len() < VALUES_MAX { room } else { 0 });
        let width = self.slots.get(self.next).and_then(|slot| slot.kind.width());
        self.number.clear();
        match width {
            Some(Width::Counted) => self.field = Field::Counted,
            Some(Width::Lenenc) => self.field = Field::Lenenc,
            Some(Width::Fixed(bytes)) => self.sized(u64::try_from(bytes).unwrap_or(u64::MAX)),
            None => self.lost(),
        }
    }

    fn lost(&mut self) {
        self.value = Collector::new(VALUE_BYTES_MAX);
        self.field = Field::NotUnderstood;
    }

    fn sized(&mut self, length: u64) {
        self.left = length;
        self.field = Field::Value;
        if length == 0 {
            self.ends();
        }
    }

    fn indicated(&mut self, byte: u8) {
        let given = match Indicator::from_byte(byte) {
            Some(Indicator::Bytes) => return self.begin(),
            Some(Indicator::Null) => KeptGiven::Null,
            Some(Indicator::Default) => KeptGiven::Default,
            Some(Indicator::Ignored) => KeptGiven::Ignored,
            None => return self.lost(),
        };
        self.take(given);
        self.advance();
    }

    /// A byte of a length has come.
    fn numbered(&mut self) {
        let (first, more) = self.number.split_first().unwrap_or((&0, &[]));
        let wanted = match (self.field, *first) {
            (Field::Counted, _) | (_, 0..=0xfa) => 0,
            (_, 0xfc) => 2,
            (_, 0xfd) => 3,
            (_, 0xfe) => 8,
            (_, 0xfb | 0xff) => return self.lost(),
        };
        if more.len() < wanted {
            return;
        }
        let length = if wanted == 0 {
            u64::from(*first)
        } else {
            more.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte))
        };
        self.sized(length);
    }

    fn value<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(piece.len());
        let (value, rest) = piece.split_at_checked(length).unwrap_or_default();
        self.bytes_kept = self.bytes_kept.saturating_add(self.value.push(value));
        self.left = self.left.saturating_sub(crate::part::length(value));
        if self.left == 0 {
            self.ends();
        }
        rest
    }

    fn ends(&mut self) {
        let value = std::mem::replace(&mut self.value, Collector::new(0)).finish();
        self.take(KeptGiven::Bytes(value));
        self.advance();
    }
}
