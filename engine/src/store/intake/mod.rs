//! Commits that come from elsewhere, and how they fill the place of damaged ones.

mod heal;
mod ingest;
