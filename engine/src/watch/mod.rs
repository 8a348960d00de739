//! What the application is told: the change log, subscriptions, how far peers are.

mod changes;
mod status;
mod subscription;

pub use changes::{Change, ChangeKind, Changes, Cursor};
pub use status::{ChangeStatus, PeerStatus, Status};
pub use subscription::Subscription;
