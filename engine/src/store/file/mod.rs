//! What lies below redb: the file of a store, how it comes into being, whether it is still the
//! same.

mod fingerprint;
mod layout;
mod medium;
mod opened;
mod overlay;
mod padded;
mod partial;
mod place;
mod refused;
mod watched;

pub(crate) use fingerprint::{Fingerprint, of_backend, of_file};
pub(crate) use layout::Layout;
pub(crate) use medium::{Medium, Tail};
pub use opened::Opened;
pub(crate) use overlay::Overlay;
pub(crate) use padded::Padded;
pub(crate) use partial::{Partial, room};
pub(crate) use place::keep_name;
pub(crate) use watched::{Process, Wanted, WatchedFile, failed, is_there, open_file};
