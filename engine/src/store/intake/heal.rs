//! A commit that is damaged here, or whose bodies did not verify, comes again from a peer: it takes
//! its old place, and nothing else changes.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

use heirloom_core::fold::{Bodies, Folded, Head, HeadState, Heads, Incoming, fold, put_line};
use heirloom_core::format::commit::WireParts;
use heirloom_core::format::hash::{branch_name, chain_after};
use heirloom_core::format::header::Header;
use heirloom_core::model::{Chain, CommitRef, EntityId, Line, LogId, Lsn};

use crate::error::{Error, Result};
use crate::store::commit::{LogEntry, LogWriter, Store, Tip};
use crate::store::read::View;
use crate::store::rows::{Gap, Record, log_key};
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
    /// Puts it back if it is proven to be the one that was there. `along`: commits that came with
    /// it, or wait.
    pub(crate) fn heal(
        &self,
        writer: &mut LogWriter,
        (lsn, gap): (Lsn, Gap),
        incoming: &Incoming<'_>,
        entry: &LogEntry<'_>,
        bodies: &[u8],
        along: &[&[u8]],
    ) -> Result<Healed> {
        let view = self.writer_view(writer)?;
        let mut lsn = lsn;
        if gap.damaged {
            // a wrong row of `dots` may have led to a commit that is sound
            let found = view.record_uncached(lsn).ok();
            let is_another = |r: &Record| (r.line, r.header.first) != (gap.line, gap.first);
            if found.is_some_and(|found| is_another(&found))
                || !is_the_one(&view, (lsn, writer.next_lsn), gap, incoming, along)?
            {
                return Ok(Healed::NotYet);
            }
            match self.place_of_lost(&view, (lsn, gap), incoming.header)? {
                Some(place) => lsn = place,
                None => return Ok(Healed::NotYet),
            }
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
        if gap.damaged {
            self.mark_lost_behind(&view, (gap.line, header.last()), lsn)?;
        }
        for index in 0..header.count {
            self.caches.forget((gap.line, header.first.plus(index)));
        }
        // also those whose heads stay as they are: what could not be read stood in no index
        let entities: Vec<EntityId> = header.versions.iter().map(|v| v.entity).collect();
        writer.heal((lsn, (gap.line, gap.first)), entry.record(&folded), heads);
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

/// Whether a commit is the one that is damaged or lost. What is left of its record says it, or what
/// else remembers its chain, or that of a commit that leads on from it among those that came along.
fn is_the_one(
    view: &View<'_>,
    (lsn, end): (Lsn, Lsn),
    gap: Gap,
    incoming: &Incoming<'_>,
    along: &[&[u8]],
) -> Result<bool> {
    if left_of_record(view, lsn, gap.line)?.is_some_and(|left| is_nearly(&left, &incoming.chain)) {
        return Ok(true);
    }
    let memory =
        Memory { view, line: gap.line, log: incoming.log, lsn, end, refs: OnceCell::new() };
    if memory.knows(&incoming.chain, incoming.header)? {
        return Ok(true);
    }
    let along = along.iter().filter_map(|bytes| WireParts::decode(bytes).ok());
    let along = along.filter(|parts| parts.log == incoming.log);
    let along: HashMap<_, _> = along.map(|parts| (parts.before, parts)).collect();
    let (mut chain, mut last) = (incoming.chain, incoming.header.last());
    loop {
        let Some(next) = along.get(&(last, chain.prefix())) else { return Ok(false) };
        let Ok(header) = Header::decode(next.header) else { return Ok(false) };
        chain = chain_after(&chain, next.header);
        if header.first != last.next() {
            return Ok(false);
        }
        last = header.last();
        if memory.knows(&chain, &header)? {
            return Ok(true);
        }
    }
}

/// What remembers the chain of a commit that is not here: the name of a branch, the commit that
/// follows it, heads that it wrote, refs to it.
struct Memory<'a> {
    view: &'a View<'a>,
    line: Line,
    log: LogId,
    /// Where it was, or something before it on its line; and the end.
    lsn: Lsn,
    end: Lsn,
    /// What later commits refer to in the log. A look at each of them.
    refs: OnceCell<HashSet<CommitRef>>,
}

impl Memory<'_> {
    fn knows(&self, chain: &Chain, header: &Header) -> Result<bool> {
        let (view, line, last) = (self.view, self.line, header.last());
        if view.directory.names_place(branch_name(chain), line, header.first) {
            return Ok(true);
        }
        match view.commit_on(line, last.next()) {
            Ok(Some(next)) if next.header.first == last.next() => {
                return Ok(chain_after(chain, &next.header_bytes) == next.chain);
            }
            Ok(_) | Err(Error::Corrupt { .. }) => {}
            Err(e) => return Err(e),
        }
        for (index, version) in (0..).zip(&header.versions) {
            let sequence = header.first.plus(index);
            let wrote = |h: &Head| {
                h.writer.dot() == (line, sequence) && h.writer.reference.prefix == chain.prefix()
            };
            if view.heads(version.entity)?.list.iter().any(wrote) {
                return Ok(true);
            }
        }
        let reference = CommitRef { log: self.log, sequence: last, prefix: chain.prefix() };
        Ok(self.refs()?.contains(&reference))
    }

    fn refs(&self) -> Result<&HashSet<CommitRef>> {
        if let Some(known) = self.refs.get() {
            return Ok(known);
        }
        let mut found = HashSet::new();
        for later in self.view.lsns(self.lsn.next(), self.end) {
            match self.view.record_uncached(later?) {
                Ok(record) => {
                    found.extend(record.header.refs.iter().filter(|r| r.log == self.log));
                }
                Err(e) if e.is_damage() => {}
                Err(e) => return Err(e),
            }
        }
        Ok(self.refs.get_or_init(|| found))
    }
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
