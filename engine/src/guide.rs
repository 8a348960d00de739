//! A guide in eight short chapters, each with code that runs.
//!
//! 1. [`store_and_read`]: entities, transactions, snapshots, collections
//! 2. [`edit_offline`]: datasets, ids that both sides derive, forms
//! 3. [`meet`]: what a session does, and what it proves
//! 4. [`conflicts`]: what is one, what is shown, who decides
//! 5. [`time_travel`]: history, the past, differences
//! 6. [`changes_and_status`]: the change log, live queries, what peers hold
//! 7. [`backup_and_damage`]: copies, verify, repair
//! 8. [`operating`]: opening, errors, clocks, room

#[doc = include_str!("../guide/1_store_and_read.md")]
pub mod store_and_read {}

#[doc = include_str!("../guide/2_edit_offline.md")]
pub mod edit_offline {}

#[doc = include_str!("../guide/3_meet.md")]
pub mod meet {}

#[doc = include_str!("../guide/4_conflicts.md")]
pub mod conflicts {}

#[doc = include_str!("../guide/5_time_travel.md")]
pub mod time_travel {}

#[doc = include_str!("../guide/6_changes_and_status.md")]
pub mod changes_and_status {}

#[doc = include_str!("../guide/7_backup_and_damage.md")]
pub mod backup_and_damage {}

#[doc = include_str!("../guide/8_operating.md")]
pub mod operating {}
