//! What a network goes through, told from the outside: one file a story.

mod a_device_ten_years_ahead;
mod a_disk_that_fills_up;
mod a_file_that_was_copied;
mod a_forgetful_hub;
mod a_frame_that_rotted;
mod a_link_that_breaks;
mod a_member_that_forges;
mod a_newer_version_wrote_here;
mod a_peer_that_mints_logs;
mod bit_rot;
mod network;
