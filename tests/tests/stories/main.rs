//! What a network goes through, told from the outside: one file a story.

mod a_device_ten_years_ahead;
mod a_member_that_forges;
mod a_newer_version_wrote_here;
mod a_peer_that_mints_logs;
mod network;
