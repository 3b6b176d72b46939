//! Values that must not be printed, compared byte by byte or left in memory.

use std::fmt;

use serde::{Deserialize, Deserializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A value that cannot be printed, is zeroised when dropped and compares in constant time.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes the value in.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value: the name that a review looks for.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// The value, to be changed in place.
    pub const fn expose_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Constant in the contents; the lengths are not secret.
impl<T: Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        bool::from(self.0.as_ref().ct_eq(other.0.as_ref()))
    }
}

impl<T: Zeroize + AsRef<[u8]>> Eq for Secret<T> {}

impl<'de, T: Zeroize + Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_nothing_but_its_kind() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(format!("{secret:?}"), "[secret]");
        assert_eq!(format!("{:?}", Some(&secret)), "Some([secret])");
    }

    #[test]
    fn secrets_compare_by_their_whole_contents() {
        let secret = Secret::new(vec![1_u8, 2, 3]);
        assert_eq!(secret, Secret::new(vec![1, 2, 3]));
        assert_ne!(secret, Secret::new(vec![1, 2, 4]));
        assert_ne!(secret, Secret::new(vec![1, 2]));
        assert_ne!(Secret::new("a".to_owned()), Secret::new("b".to_owned()));
    }

    #[test]
    fn a_dropped_secret_is_zeroised() {
        struct Witness<'a>(&'a std::cell::Cell<bool>);
        impl Zeroize for Witness<'_> {
            fn zeroize(&mut self) {
                self.0.set(true);
            }
        }
        let zeroised = std::cell::Cell::new(false);
        drop(Secret::new(Witness(&zeroised)));
        assert!(zeroised.get());
    }
}
