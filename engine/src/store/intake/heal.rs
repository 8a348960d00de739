//! A commit that is damaged here, or whose bodies did not verify, comes again from a peer: it takes
//! its old place, and nothing else changes.

use heirloom_core::fold::{Bodies, Folded, Head, HeadState, Heads, Incoming, fold, put_line};
use heirloom_core::format::hash::{branch_name, chain_after};
use heirloom_core::model::{Chain, CommitRef, EntityId, Line, Lsn};

use crate::error::{Error, Result};
use crate::store::commit::{LogEntry, LogWriter, Store, Tip};
use crate::store::read::View;
use crate::store::rows::{Gap, log_key};
use crate::traced::TRACED;

/// What came of a commit that may be one that is not here as it should be.
pub(crate) enum Healed {
    /// It is whole again.
    Yes,
    /// It would not be any better.
    No,
    /// It is another, cannot be proven to be the one, or builds on what is damaged, too.
    NotYet,
}

impl Store {
    /// Puts it back if it is proven to be the one that was there.
    pub(crate) fn heal(
        &self,
        writer: &mut LogWriter,
        (lsn, gap): (Lsn, Gap),
        incoming: &Incoming<'_>,
        entry: &LogEntry<'_>,
        bodies: &[u8],
    ) -> Result<Healed> {
        let view = self.writer_view(writer)?;
        if gap.damaged && !is_the_one(&view, (lsn, writer.next_lsn), gap, incoming)? {
            return Ok(Healed::NotYet);
        }
        let folded = match fold(&view, incoming, Bodies::Received(bodies)) {
            // what it builds on is damaged, too
            Err(Error::Corrupt { .. }) => return Ok(Healed::NotYet),
            other => other?,
        };
        if folded.unverified && !gap.damaged {
            return Ok(Healed::No);
        }
        let heads = found_contents(&view, &folded)?;
        let left =
            (folded.unverified && folded.voids.is_empty()).then_some(Gap { damaged: false, ..gap });
        let header = incoming.header;
        for index in 0..header.count {
            self.caches.forget((gap.line, header.first.plus(index)));
        }
        // also those whose heads stay as they are: what could not be read stood in no index
        let entities: Vec<EntityId> = header.versions.iter().map(|v| v.entity).collect();
        writer.heal(lsn, entry.record(&folded), heads);
        if writer.tip(gap.line).is_none_or(|tip| tip.last < header.last()) {
            let (chain, wall, is_newer) = (incoming.chain, header.wall, header.is_newer());
            writer.tips[gap.line.index()] =
                Some(Tip { last: header.last(), chain, wall, is_newer });
        }
        self.missing.set(lsn, left);
        tracing::info!(target: TRACED, lsn = lsn.get(), "a damaged commit is back");
        self.index_now(writer, &entities);
        Ok(Healed::Yes)
    }
}

/// Whether a commit is the one whose record is damaged. Several things here remember its chain:
/// what is left of the record, the name of a branch, the commit that follows it, heads that it
/// wrote, refs to it.
fn is_the_one(
    view: &View<'_>,
    (lsn, end): (Lsn, Lsn),
    gap: Gap,
    incoming: &Incoming<'_>,
) -> Result<bool> {
    let chain = incoming.chain;
    let header = incoming.header;
    if left_of_record(view, lsn, gap.line)?.is_some_and(|left| is_nearly(&left, &chain))
        || view.directory.names_place(branch_name(&chain), gap.line, gap.first)
    {
        return Ok(true);
    }
    match view.commit_on(gap.line, header.last().next()) {
        Ok(Some(next)) if next.header.first == header.last().next() => {
            return Ok(chain_after(&chain, &next.header_bytes) == next.chain);
        }
        Ok(_) | Err(Error::Corrupt { .. }) => {}
        Err(e) => return Err(e),
    }
    for (index, version) in (0..).zip(&header.versions) {
        let sequence = header.first.plus(index);
        let heads = view.heads(version.entity)?;
        let wrote = |w: &heirloom_core::model::Writer| {
            (w.line, w.reference.sequence) == (gap.line, sequence)
        };
        if heads
            .list
            .iter()
            .any(|h| wrote(&h.writer) && h.writer.reference.prefix == chain.prefix())
        {
            return Ok(true);
        }
    }
    let reference =
        CommitRef { log: incoming.log, sequence: header.last(), prefix: chain.prefix() };
    for later in view.lsns(lsn.next(), end) {
        match view.record_uncached(later?) {
            Ok(record) if record.header.refs.contains(&reference) => return Ok(true),
            Ok(_) => {}
            Err(e) if e.is_damage() => {}
            Err(e) => return Err(e),
        }
    }
    Ok(false)
}

/// Bits of a chain that may have rotted. To find another commit whose chain comes as near would
/// still take 2^170 attempts.
const ROTTEN: u32 = 16;

fn is_nearly(left: &Chain, chain: &Chain) -> bool {
    let bits = left.as_bytes().iter().zip(chain.as_bytes()).map(|(a, b)| (a ^ b).count_ones());
    bits.sum::<u32>() <= ROTTEN
}

/// The chain that stands in the damaged row, though its checksum does not fit.
fn left_of_record(view: &View<'_>, lsn: Lsn, line: Line) -> Result<Option<Chain>> {
    let Some(row) = view.tables.log.get(&log_key(lsn, 0)[..])? else { return Ok(None) };
    // checksum and flags, then the number of the line: its length is that of the right number,
    // since one that rotted may claim to be longer than it is
    let mut before = vec![0; 5];
    put_line(&mut before, line);
    let left = row.value().get(before.len()..).and_then(|rest| rest.first_chunk());
    Ok(left.map(|chain| Chain::from_bytes(*chain)))
}

/// Heads whose contents were absent and are known now.
fn found_contents(view: &View<'_>, folded: &Folded) -> Result<Vec<(EntityId, Heads)>> {
    let mut out = Vec::new();
    for change in &folded.changes {
        let is_new = |h: &&Head| h.writer.reference == change.new && h.state != HeadState::Absent;
        let Some(found) = change.heads.list.iter().find(is_new) else { continue };
        let mut heads = Heads::clone(&*view.heads(change.entity)?);
        let absent = heads
            .list
            .iter_mut()
            .find(|h| h.writer == found.writer && h.state == HeadState::Absent);
        let Some(absent) = absent else { continue };
        *absent = found.clone();
        heads.unsettled = change.undecided || heads.list.len() > 1;
        out.push((change.entity, heads));
    }
    Ok(out)
}
