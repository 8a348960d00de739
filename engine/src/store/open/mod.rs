//! A store opened or made, loaded, copied.

mod copy;
mod load;
mod open;

pub(crate) use copy::Target;
pub(crate) use open::Options;
