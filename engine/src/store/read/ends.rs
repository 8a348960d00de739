//! Where logs end.

use std::sync::Arc;

use heirloom_core::replica::End;

use super::view::View;
use crate::error::Result;
use crate::store::rows::Record;

/// The ends of all lines that travel, sorted, by what is taken for the last commit of each.
pub(crate) fn ends_by(
    view: &View<'_>,
    tip: impl Fn(u32) -> Result<Option<Arc<Record>>>,
) -> Result<Vec<End>> {
    let mut out = Vec::new();
    for ordinal in view.directory.all_shared() {
        if let Some(tip) = tip(ordinal)? {
            out.push(End {
                log: view.log_id(ordinal)?,
                sequence: tip.header.last(),
                chain: tip.chain,
            });
        }
    }
    out.sort();
    Ok(out)
}
