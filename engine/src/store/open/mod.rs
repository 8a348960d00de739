//! A store opened or made, loaded, copied.

mod copy;
mod load;
mod opening;
mod replay;

pub(crate) use copy::Target;
pub(crate) use opening::Options;
