//! What a closure that changes an entity says at its end.

use crate::error::{Error, Result};

/// What the closure of [`Collection::update`](crate::Collection::update) and
/// [`Transaction::update`](crate::Transaction::update) returns: nothing, or a [`Result`], whose
/// error leaves the entity as it was. Nothing else, so that no error is ever taken for a value and
/// what led to it written all the same; a closure that has something to return returns it in `Ok`.
#[diagnostic::on_unimplemented(
    message = "a closure that changes an entity returns nothing or a `Result`, not `{Self}`",
    note = "end it with `;`, or return what it has in `Ok`: an error writes nothing"
)]
pub trait Outcome {
    /// What the caller gets.
    type Value;
    /// The closure's error, which must be able to hold one of the engine, too.
    type Error: From<Error>;

    /// The change stands, or not.
    fn into_result(self) -> Result<Self::Value, Self::Error>;
}

impl Outcome for () {
    type Value = ();
    type Error = Error;

    fn into_result(self) -> Result<()> {
        Ok(())
    }
}

impl<T, E: From<Error>> Outcome for Result<T, E> {
    type Value = T;
    type Error = E;

    fn into_result(self) -> Result<T, E> {
        self
    }
}
