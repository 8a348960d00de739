//! Whatever is given to an engine that is not what it should be: files that are none, that are of
//! others, damaged or in use; commits that are none. Each is a typed error that says what to do,
//! damaged data is never returned as good, and nothing is lost.

mod commits;
mod damage;
mod files;
mod pages;
