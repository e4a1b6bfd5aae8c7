//! [`Bounded`]: a list with a maximum length in its type. Deserialisation stops at the maximum.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A list of at most `MAX` items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Bounded<T, const MAX: usize>(Vec<T>);

/// A list has more items than its type allows.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("list has {length} items, at most {max} are allowed")]
pub struct TooManyItems {
    pub length: usize,
    pub max: usize,
}

impl<T, const MAX: usize> Bounded<T, MAX> {
    /// Returns the empty list.
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// Returns the first `MAX` items of `items`.
    pub fn first_of(items: impl IntoIterator<Item = T>) -> Self {
        Self(items.into_iter().take(MAX).collect())
    }

    /// Returns the items.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize> Default for Bounded<T, MAX> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T, const MAX: usize> TryFrom<Vec<T>> for Bounded<T, MAX> {
    type Error = TooManyItems;

    fn try_from(items: Vec<T>) -> Result<Self, TooManyItems> {
        if items.len() > MAX { Err(TooManyItems { length: items.len(), max: MAX }) } else { Ok(Self(items)) }
    }
}

impl<T, const MAX: usize> Deref for Bounded<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Bounded<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T, const MAX: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
            type Value = Bounded<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX} items")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    if list.len() == MAX {
                        return Err(A::Error::custom(format_args!("more than {MAX} items in a list")));
                    }
                    list.push(item);
                }
                Ok(Bounded(list))
            }
        }

        deserializer.deserialize_seq(Items(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_reading_at_its_bound() {
        assert!(serde_json::from_str::<Bounded<u8, 2>>("[1,2]").is_ok());
        assert!(serde_json::from_str::<Bounded<u8, 2>>("[1,2,3]").is_err());
        assert!(Bounded::<u8, 2>::try_from(vec![1, 2, 3]).is_err());
    }
}
