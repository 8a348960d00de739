//! Where logs end.

use heirloom_core::model::Line;
use std::sync::Arc;

use heirloom_core::replica::End;

use super::view::View;
use crate::error::Result;
use crate::store::rows::Record;

/// The ends of all lines that travel, sorted, by what is taken for the last commit of each.
pub(crate) fn ends_by(
    view: &View<'_>,
    tip: impl Fn(Line) -> Result<Option<Arc<Record>>>,
) -> Result<Vec<End>> {
    let mut out = Vec::new();
    for line in view.directory.all_shared() {
        if let Some(tip) = tip(line)? {
            out.push(End {
                log: view.log_id(line)?,
                sequence: tip.header.last(),
                chain: tip.chain,
            });
        }
    }
    out.sort();
    Ok(out)
}
