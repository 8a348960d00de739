//! A store opened or made, loaded, copied.

mod copy;
mod load;
mod opening;

pub(crate) use copy::Target;
pub(crate) use opening::Options;
