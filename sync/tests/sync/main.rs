//! Sessions and transports through their public API, one module a subject.

mod admission;
mod engines;
mod read_only;
mod session;
mod support;
mod transports;
