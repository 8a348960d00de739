//! A field that is one value, though it is a struct or a map.
//!
//! Fields of a map merge one by one, so a struct in a field may come out of a merge with one field
//! by one device and another by another. Where only the whole makes sense, say so: on the field, or
//! in its type with [`Atomic`]. Two devices that change it are then in conflict, and one of the two
//! whole values is shown. `Duration`, `SystemTime` and the ranges of the standard library, and
//! variants of enums that carry something, are one value without a word.
//!
//! ```
//! use heirloom::{Atomic, Engine};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, Clone, Copy)]
//! struct Place { lat: f64, lon: f64 }
//!
//! #[derive(Serialize, Deserialize)]
//! struct Photo {
//!     #[serde(with = "heirloom::atomic")]
//!     taken_at: Place,
//!     shown_at: Option<Atomic<Place>>,
//! }
//!
//! let engine = Engine::in_memory()?;
//! let photos = engine.collection::<Photo>("photo");
//! let place = Place { lat: 52.5, lon: 13.4 };
//! let id = photos.create(&Photo { taken_at: place, shown_at: Some(place.into()) })?;
//! photos.update(id, |photo| photo.taken_at.lat = 48.1)?;
//! assert_eq!(photos.get(id)?.expect("it was created").taken_at.lon, 13.4);
//! # Ok::<(), heirloom::Error>(())
//! ```
//!
//! A field that was written before it was made one value stays as it is until it changes. In JSON
//! and other formats it looks as without this.

use core::ops::{Deref, DerefMut};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::names::ATOMIC;

/// Writes it as one value. For `#[serde(with = "heirloom::atomic")]`.
pub fn serialize<T: Serialize + ?Sized, S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_newtype_struct(ATOMIC, value)
}

/// Reads it, be it stored as one value or not. For `#[serde(with = "heirloom::atomic")]`.
pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
    T::deserialize(d)
}

/// Makes one value of what it wraps: see the [module](self).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Atomic<T>(
    /// What it wraps.
    pub T,
);

impl<T> Deref for Atomic<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Atomic<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> From<T> for Atomic<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: Serialize> Serialize for Atomic<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        serialize(&self.0, s)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Atomic<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        T::deserialize(d).map(Self)
    }
}
