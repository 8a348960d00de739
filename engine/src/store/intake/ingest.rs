//! Commits that come from elsewhere: framing, place, skip, then fold. Nothing is refused for its
//! meaning.

use std::collections::VecDeque;

use heirloom_core::bytes::Malformed;
use heirloom_core::fold::{Bodies, Dot, Incoming, Spot, fold, spot};
use heirloom_core::format::body;
use heirloom_core::format::commit::WireParts;
use heirloom_core::format::genesis::Genesis;
use heirloom_core::format::hash::{branch_name, chain_after, chain_of_genesis};
use heirloom_core::format::header::Header;
use heirloom_core::limits;
use heirloom_core::model::{Chain, CommitRef, Dataset, DatasetId, Line, LogId, Lsn, Sequence};
use heirloom_core::replica::{ClockAhead, Ingested, VoidVersion};

use super::heal::Healed;
use crate::error::{Error, Result, Table};
use crate::store::commit::{LogEntry, LogWriter, Store, Tip};
use crate::store::read::View;
use crate::store::rows::{Gap, fork_of};
use crate::traced::TRACED;

/// What a commit follows: another, or its genesis.
struct Before {
    /// The line that holds it; of a genesis the first of its log, if there is one.
    line: Option<Line>,
    sequence: Sequence,
    chain: Chain,
    wall: u64,
}

/// Where a commit belongs.
enum Belongs {
    To(Spot),
    /// Its log begins with it.
    New,
    /// One that is damaged may be it.
    Damaged(Lsn, Gap),
}

/// A commit whose place is known.
struct Placed {
    line: Line,
    /// It is the first of a branch.
    forked: bool,
    wall_before: u64,
    chain: Chain,
    /// Where what it refers to is.
    refs: Vec<Dot>,
    /// Its place, where it is not here as it should be.
    gap: Option<(Lsn, Gap)>,
}

/// Bytes of records that are not durable yet, beyond which nothing more is taken in: a patch of a
/// few bytes may be kept as a content of megabytes.
const HELD: usize = 32 << 20;

impl Store {
    /// Takes those of some commits in whose turn is `next`, not durable yet, until one is an error,
    /// or so much is held that it must be made durable first. What must wait for a damaged one is
    /// tried again once that is healed: a peer's order of arrival is not ours.
    pub(crate) fn ingest(
        &self,
        writer: &mut LogWriter,
        dataset: DatasetId,
        commits: &[&[u8]],
        next: &mut VecDeque<usize>,
        report: &mut Ingested,
    ) -> Result<()> {
        while writer.pending.bytes < HELD
            && let Some(at) = next.pop_front()
        {
            let healed = report.healed;
            // Only where something is damaged, or waits for what is: elsewhere a commit out of
            // order is the peer's fault, and to keep it waiting would hide that.
            let may_wait = self.missing.first_damaged().is_some() || !report.waiting.is_empty();
            match self.ingest_one(writer, dataset, (commits[at], commits), report) {
                Ok(true) => {}
                Ok(false) => report.waiting.push(at),
                Err(e) if may_wait && (e.is_damage() || matches!(e, Error::OutOfOrder { .. })) => {
                    report.waiting.push(at);
                }
                Err(e) => return Err(e),
            }
            if report.healed > healed {
                report.waiting.drain(..).rev().for_each(|at| next.push_front(at));
            }
        }
        Ok(())
    }

    /// Takes one commit in. False if it must wait: it follows what a damaged one follows and is not
    /// proven to be that, so that nobody can say yet whether it is another branch. An error leaves
    /// everything as it was.
    fn ingest_one(
        &self,
        writer: &mut LogWriter,
        dataset: DatasetId,
        (bytes, along): (&[u8], &[&[u8]]),
        report: &mut Ingested,
    ) -> Result<bool> {
        // Framing first, which needs nothing of the store: so bytes that are no commit are refused
        // alike by every replica, and never look like a commit that came too early.
        let parts = WireParts::decode(bytes).map_err(Error::Refused)?;
        let header = Header::decode(parts.header).map_err(Error::Refused)?;
        if parts.before.0.next() != header.first {
            return refuse("a sequence that does not follow");
        }
        // of a newer level nobody here knows how bodies frame: they are kept as one block
        if header.level == limits::LEVEL {
            body::bodies(parts.bodies, &header).map_err(Error::Refused)?;
        }
        let Some(placed) = self.place(writer, dataset, &parts, &header)? else {
            report.skipped += 1;
            return Ok(true);
        };
        let Placed { line, forked, .. } = placed;
        let incoming = Incoming {
            log: parts.log,
            line,
            chain: placed.chain,
            header: &header,
            wall_before: placed.wall_before,
        };
        let entry = LogEntry {
            line,
            chain: placed.chain,
            header: &header,
            header_bytes: parts.header,
            trailer: parts.trailer,
            refs: &placed.refs,
        };
        if let Some(gap) = placed.gap {
            return match self.heal(writer, gap, &incoming, &entry, parts.bodies, along)? {
                Healed::Yes => {
                    report.healed += 1;
                    Ok(true)
                }
                Healed::No => {
                    report.skipped += 1;
                    Ok(true)
                }
                Healed::NotYet => Ok(false),
            };
        }
        let folded = fold(&self.writer_view(writer)?, &incoming, Bodies::Received(parts.bodies))?;
        report.added += 1;
        report.versions += header.count;
        report.unverified += u64::from(folded.unverified);
        let device = self.directory.log(line).map(|info| info.device.clone()).unwrap_or_default();
        let void = |(version, reason)| VoidVersion::new(version, device.clone(), reason);
        report.voids.extend(folded.voids.iter().copied().map(void));
        report.diverged +=
            folded.changes.iter().filter(|c| !c.was_diverged && c.heads.list.len() > 1).count()
                as u64;
        // before it is appended, while the own tip is still our own
        let own = writer.known.own.filter(|own| self.directory.log_id(*own) == Some(parts.log));
        let before = own.and_then(|own| writer.tip(own));
        if folded.unverified && folded.voids.is_empty() {
            let gap = Gap { line, first: header.first, damaged: false };
            self.missing.set(writer.next_lsn, Some(gap));
        }
        self.append(writer, &entry, folded);
        self.pull_wall(writer, line, header.wall, report);
        if forked {
            report.forks.extend(fork_of(&self.directory, line));
        }
        if let Some(own) = own {
            // somebody else goes on with this log: the proof that a copy of this file wrote
            let last = before.map(|t| CommitRef {
                log: parts.log,
                sequence: t.last,
                prefix: t.chain.prefix(),
            });
            writer.leave_log(last.or_else(|| self.directory.log(own)?.predecessor));
            report.left = Some(parts.log);
            tracing::warn!(target: TRACED, log = %parts.log, "a copy of this file wrote on");
        }
        Ok(true)
    }

    /// Where a commit belongs; nothing if it is here already.
    fn place(
        &self,
        writer: &LogWriter,
        dataset: DatasetId,
        parts: &WireParts<'_>,
        header: &Header,
    ) -> Result<Option<Placed>> {
        let view = self.writer_view(writer)?;
        let (before, genesis) = match parts.genesis {
            Some(bytes) => {
                let (chain, genesis) = opening(parts, bytes, &self.named(dataset))?;
                let line = self.directory.shared(parts.log);
                (Before { line, sequence: Sequence::START, chain, wall: 0 }, Some((bytes, genesis)))
            }
            None => (self.predecessor(&view, writer, parts, header)?, None),
        };
        // From what is here and the bytes that came: a header that was altered anywhere gets
        // another chain, and so is another commit, which what follows it does not continue.
        let chain = chain_after(&before.chain, parts.header);
        let belongs = self.belongs(&view, writer, &before, &chain)?;
        let again = |gap: (Lsn, Gap)| Placed {
            line: gap.1.line,
            forked: false,
            wall_before: before.wall,
            chain,
            refs: Vec::new(),
            gap: Some(gap),
        };
        match belongs {
            Belongs::To(Spot::Here(line)) => {
                return Ok(self.missing.at(line, header.first).map(again));
            }
            Belongs::Damaged(lsn, gap) => return Ok(Some(again((lsn, gap)))),
            _ => {}
        }
        // All that it refers to must be here (I3): parents are named by way of refs, and whoever
        // gets this commit from here must be able to place it.
        let mut refs = Vec::with_capacity(header.refs.len());
        for r in &header.refs {
            let found = self.find(&view, writer, r)?;
            refs.push(found.ok_or_else(|| early(parts.log, header))?.0);
        }
        // a number is given as late as can be: one that was given in vain stays, and harms nobody
        let forked = matches!(belongs, Belongs::To(Spot::Branch(_)));
        let unknown = || early(parts.log, header);
        let line = match belongs {
            Belongs::To(Spot::End(line)) => line,
            Belongs::To(Spot::Branch(fork)) => {
                self.directory.add_branch(fork).ok_or_else(unknown)?
            }
            Belongs::New | Belongs::To(Spot::Here(_)) | Belongs::Damaged(..) => {
                let (bytes, genesis) = genesis.ok_or_else(unknown)?;
                self.directory.add_log(parts.log, bytes, &genesis)
            }
        };
        Ok(Some(Placed { line, forked, wall_before: before.wall, chain, refs, gap: None }))
    }

    /// Where a commit with this chain belongs.
    fn belongs(
        &self,
        view: &View<'_>,
        writer: &LogWriter,
        before: &Before,
        chain: &Chain,
    ) -> Result<Belongs> {
        let Some(line) = before.line else { return Ok(Belongs::New) };
        let place = (line, before.sequence);
        let gaps = self.missing.damaged_after(view.directory, line, before.sequence);
        if let Some(first) = gaps.first() {
            return Ok(among(view, (*first, &gaps), place, chain));
        }
        // a line may have been given its number by an ingest that failed later: it has no tip
        let is_end = writer.tip(line).is_none_or(|tip| tip.last == before.sequence);
        let next = if is_end {
            None
        } else {
            let missing = || {
                let key = format!("{line}/{}", before.sequence);
                Error::corrupt(Table::Dots, key, "its successor is missing")
            };
            let next = view.commit_on(line, before.sequence.next())?;
            Some(next.ok_or_else(missing)?.chain)
        };
        let branch = |name| self.directory.branch(name).filter(|b| writer.tip(*b).is_some());
        Ok(Belongs::To(spot(place, chain, next.as_ref(), branch)))
    }

    fn predecessor(
        &self,
        view: &View<'_>,
        writer: &LogWriter,
        parts: &WireParts<'_>,
        header: &Header,
    ) -> Result<Before> {
        let (sequence, prefix) = parts.before;
        let reference = CommitRef { log: parts.log, sequence, prefix };
        let found = self.find(view, writer, &reference)?;
        let ((line, _), tip) = found.ok_or_else(|| early(parts.log, header))?;
        Ok(Before { line: Some(line), sequence, chain: tip.chain, wall: tip.wall })
    }

    /// A commit by its ref: its line and last sequence, and what follows it must know.
    fn find(
        &self,
        view: &View<'_>,
        writer: &LogWriter,
        reference: &CommitRef,
    ) -> Result<Option<((Line, Sequence), Tip)>> {
        let CommitRef { log, sequence, prefix } = *reference;
        if self.directory.shared(log).is_none() {
            return Ok(None);
        }
        let one = |line: Line| -> Result<Option<Tip>> {
            let Some(tip) = writer.tip(line).filter(|tip| sequence <= tip.last) else {
                return Ok(None);
            };
            if tip.last == sequence {
                return Ok(Some(tip));
            }
            let record = view.commit_on(line, sequence)?.filter(|r| r.header.last() == sequence);
            Ok(record.map(|r| Tip::of(&r)))
        };
        let mut damage = None;
        for line in self.directory.lines(log) {
            match one(line) {
                Ok(Some(tip)) if tip.chain.prefix() == prefix => {
                    return Ok(Some(((line, sequence), tip)));
                }
                Ok(_) => {}
                // it may lie on another
                Err(e) if e.is_damage() => damage = Some(e),
                Err(e) => return Err(e),
            }
        }
        damage.map_or(Ok(None), Err)
    }

    fn pull_wall(&self, writer: &mut LogWriter, line: Line, wall: u64, report: &mut Ingested) {
        let ahead = wall.saturating_sub((self.now)().saturated());
        // one that is further ahead is ignored, or one wrong clock would move all (I5)
        if ahead <= limits::CLOCK_SKEW {
            writer.wall = writer.wall.max(wall);
        } else if let Some(info) = self.directory.log(line) {
            report.note_clock(ClockAhead::new(info.id, info.device.clone(), ahead));
        }
    }
}

/// The genesis that a log's first commit brings.
fn opening(parts: &WireParts<'_>, bytes: &[u8], dataset: &Dataset) -> Result<(Chain, Genesis)> {
    let genesis = Genesis::of_log(bytes, parts.log).map_err(Error::Refused)?;
    if genesis.dataset != dataset.id {
        return Err(Error::WrongDataset { ours: dataset.clone(), theirs: genesis.dataset.into() });
    }
    let chain = chain_of_genesis(bytes);
    if chain.prefix() != parts.before.1 {
        return refuse("a commit that does not follow its genesis");
    }
    Ok((chain, genesis))
}

fn refuse<T>(what: &'static str) -> Result<T> {
    Err(Error::Refused(Malformed { what, at: 0 }))
}

fn early(log: LogId, header: &Header) -> Error {
    Error::OutOfOrder { log, first: header.first }
}

/// Where commits that follow one place are damaged, which of them one with this chain is: the one
/// that has its name, none where it is here whole, else the first.
fn among(
    view: &View<'_>,
    (first, gaps): ((Lsn, Gap), &[(Lsn, Gap)]),
    (line, after): (Line, Sequence),
    chain: &Chain,
) -> Belongs {
    let name = branch_name(chain);
    let damaged = |gap: &(Lsn, Gap)| Belongs::Damaged(gap.0, gap.1);
    if let Some(named) =
        gaps.iter().find(|(_, g)| view.directory.names_place(name, g.line, g.first))
    {
        return damaged(named);
    }
    let is_here = |line: &Line| {
        view.commit_on(*line, after.next())
            .is_ok_and(|next| next.is_some_and(|n| n.chain == *chain))
    };
    match std::iter::once(line).chain(view.directory.leaving(line, after)).find(is_here) {
        Some(here) => Belongs::To(Spot::Here(here)),
        None => damaged(&first),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Content, Engine, Error, Lsn};

    fn open(label: &str) -> Engine {
        Engine::builder().label(label).dataset_name("home").in_memory().unwrap()
    }

    /// Three commits of one log, as they travel.
    fn three() -> (Engine, Vec<Vec<u8>>) {
        let phone = open("phone");
        for n in 0..3 {
            phone.write(|tx| tx.create("lamp", &Content::new().with("n", n))).unwrap();
        }
        let all = &|_, _, _| true;
        let batch = phone.replication().commits(Lsn::START, Lsn::END, all, usize::MAX).unwrap();
        (phone, batch.commits.into_iter().map(|c| c.bytes).collect())
    }

    #[test]
    fn what_comes_too_early_leaves_everything_as_it_was() {
        let (phone, commits) = three();
        let hub = open("hub");
        let early = hub.replication().ingest(&[&commits[1]]);
        assert!(matches!(early, Err(Error::OutOfOrder { first, .. }) if first.get() == 2));
        {
            let writer = hub.store().writer().unwrap();
            assert_eq!((writer.next_lsn, writer.frontier.len()), (Lsn::START, 0));
            assert!(writer.pending.records.is_empty());
        }
        // of a batch what comes before it is kept
        let early = hub.replication().ingest(&[&commits[0], &commits[2], &commits[1]]);
        assert!(matches!(early, Err(Error::OutOfOrder { first, .. }) if first.get() == 3));
        assert_eq!(hub.snapshot().unwrap().commits().unwrap(), 1);
        let all: Vec<_> = commits.iter().map(|c| &c[..]).collect();
        let ingested = hub.replication().ingest(&all).unwrap();
        assert_eq!((ingested.skipped, ingested.added), (1, 2));
        assert_eq!(hub.log_root().unwrap(), phone.log_root().unwrap());
    }

    #[test]
    fn a_header_that_says_another_place_than_its_frame_is_no_commit() {
        let (_, commits) = three();
        let mut altered = commits[1].clone();
        // the sequence before it, behind the id of the log
        altered[16] = 7;
        let refused = open("hub").replication().ingest(&[&commits[0], &altered]);
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    }
}
