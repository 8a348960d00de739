//! What the application is told: the change log, subscriptions, how far peers are.

mod change;
mod changes;
mod cursor;
mod scan;
mod status;
mod subscription;

pub use change::{Change, ChangeKind};
pub use changes::Changes;
pub use cursor::Cursor;
pub use status::{ChangeStatus, PeerStatus, Status};
pub use subscription::Subscription;
