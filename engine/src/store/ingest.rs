//! Commits that come from elsewhere: framing, place, skip, then fold. Nothing is refused for its meaning.

use super::fold::{Bodies, Incoming, fold};
use super::writer::{PULL, Writer};
use super::{Store, View};
use crate::clock_ahead::ClockAhead;
use crate::error::{Error, Result};
use crate::format::commit::WireParts;
use crate::format::genesis::Genesis;
use crate::format::hash::{chain_after, chain_of_genesis};
use crate::format::header::Header;
use crate::format::{Malformed, body, limits};
use crate::model::{Chain, ChainPrefix, CommitRef, DatasetId, LogId};
use crate::voids::VoidVersion;

/// What an ingest did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Ingested {
    /// Commits that are new here.
    pub added: u64,
    /// Commits that were here already; their chains were checked.
    pub skipped: u64,
    /// Versions in the new commits.
    pub versions: u64,
    /// Entities that have several heads now and had one or none before.
    pub diverged: u64,
    /// Versions that are void, and why (I8).
    pub voids: Vec<VoidVersion>,
    /// Commits whose bodies do not verify here.
    pub unverified: u64,
    /// Logs whose wall is more than five minutes ahead of this device's clock, each once, by how much at most; their walls were ignored (R6).
    pub clocks_ahead: Vec<ClockAhead>,
}

impl Ingested {
    /// Adds another's figures.
    pub fn add(&mut self, other: Ingested) {
        self.added += other.added;
        self.skipped += other.skipped;
        self.versions += other.versions;
        self.diverged += other.diverged;
        self.voids.extend(other.voids);
        self.unverified += other.unverified;
        other.clocks_ahead.into_iter().for_each(|ahead| self.note_clock(ahead));
    }

    fn note_clock(&mut self, ahead: ClockAhead) {
        match self.clocks_ahead.iter_mut().find(|known| known.log == ahead.log) {
            Some(known) => known.by_ms = known.by_ms.max(ahead.by_ms),
            None => self.clocks_ahead.push(ahead),
        }
    }
}

/// What a commit follows: another, or its genesis.
struct Before {
    chain: Chain,
    wall: u64,
}

/// A commit whose place is known.
struct Placed {
    ordinal: u32,
    wall_before: u64,
    chain: Chain,
    /// Ordinals and sequences of what it refers to.
    refs: Vec<(u32, u64)>,
}

impl Store {
    /// Takes one commit in, not durable yet. An error leaves everything as it was.
    pub(crate) fn ingest_one(
        &self,
        writer: &mut Writer,
        dataset: DatasetId,
        bytes: &[u8],
        report: &mut Ingested,
    ) -> Result<()> {
        let parts = WireParts::decode(bytes).map_err(Error::Refused)?;
        let header = Header::decode(parts.header).map_err(Error::Refused)?;
        if parts.before.0.checked_add(1) != Some(header.first) {
            return refuse("a sequence that does not follow");
        }
        // before the place is looked at, so that bad framing is told apart from bad order
        if header.level == limits::LEVEL {
            body::bodies(parts.bodies, &header).map_err(Error::Refused)?;
        }
        let Some(placed) = self.place(writer, dataset, &parts, &header)? else {
            report.skipped += 1;
            return Ok(());
        };
        let ordinal = placed.ordinal;
        let incoming = Incoming {
            log: parts.log,
            ordinal,
            chain: placed.chain,
            header: &header,
            header_bytes: parts.header,
            trailer: parts.trailer,
            wall_before: placed.wall_before,
        };
        let folded = fold(&self.writer_view(writer)?, &incoming, Bodies::Received(parts.bodies))?;
        report.added += 1;
        report.versions += header.count;
        report.unverified += u64::from(folded.unverified);
        let device = self.directory.log(ordinal).map(|info| info.device.clone()).unwrap_or_default();
        let void = |(version, reason)| VoidVersion { version, device: device.clone(), reason };
        report.voids.extend(folded.voids.iter().copied().map(void));
        report.diverged +=
            folded.changes.iter().filter(|c| !c.was_diverged && c.heads.list.len() > 1).count() as u64;
        let before = writer.tip(ordinal);
        self.append(writer, ordinal, placed.chain, &header, &placed.refs, folded);
        self.pull_wall(writer, ordinal, header.wall, report);
        if self.known().own == Some(ordinal) {
            // somebody else goes on with this log: the proof that a copy of this file wrote
            let last =
                before.map(|t| CommitRef { log: parts.log, sequence: t.last, prefix: t.chain.prefix() });
            writer.leave_log(last.or_else(|| self.directory.log(ordinal)?.predecessor));
        }
        Ok(())
    }

    /// Where a commit belongs; nothing if it is here already.
    fn place(
        &self,
        writer: &Writer,
        dataset: DatasetId,
        parts: &WireParts<'_>,
        header: &Header,
    ) -> Result<Option<Placed>> {
        let view = self.writer_view(writer)?;
        let known = self.directory.shared(parts.log).filter(|o| writer.tip(*o).is_some());
        let (before, genesis) = match parts.genesis {
            Some(bytes) => {
                let (before, genesis) = opening(parts, bytes, dataset)?;
                (before, Some((bytes, genesis)))
            }
            None => {
                let ordinal = known.ok_or_else(|| early(parts.log, header))?;
                (self.predecessor(&view, writer, ordinal, parts, header)?, None)
            }
        };
        let chain = chain_after(&before.chain, parts.header);
        if let Some(ordinal) = known
            && writer.tip(ordinal).is_some_and(|t| t.last >= header.first)
        {
            let held = view.commit_at(ordinal, header.last())?.is_some_and(|r| r.chain == chain);
            return if held { Ok(None) } else { Err(Error::Forked { log: parts.log }) };
        }
        let mut refs = Vec::with_capacity(header.refs.len());
        for r in &header.refs {
            let found = self.find(&view, writer, r.log, r.sequence, r.prefix)?;
            refs.push(found.ok_or_else(|| early(parts.log, header))?);
        }
        // a number may have been given by an ingest that failed later
        let ordinal = match (self.directory.ordinal(parts.log), genesis) {
            (Some(ordinal), _) => ordinal,
            (None, Some((bytes, genesis))) => self.directory.add_log(parts.log, bytes, &genesis),
            (None, None) => return Err(early(parts.log, header)),
        };
        Ok(Some(Placed { ordinal, wall_before: before.wall, chain, refs }))
    }

    fn predecessor(
        &self,
        view: &View<'_>,
        writer: &Writer,
        ordinal: u32,
        parts: &WireParts<'_>,
        header: &Header,
    ) -> Result<Before> {
        let (sequence, prefix) = parts.before;
        if let Some(tip) = writer.tip(ordinal) {
            if tip.last == sequence && tip.chain.prefix() == prefix {
                return Ok(Before { chain: tip.chain, wall: tip.wall });
            }
            if tip.last < sequence {
                return Err(early(parts.log, header));
            }
        }
        match view.commit_at(ordinal, sequence)? {
            Some(r) if r.header.last() == sequence && r.chain.prefix() == prefix => {
                Ok(Before { chain: r.chain, wall: r.header.wall })
            }
            _ => Err(Error::Forked { log: parts.log }),
        }
    }

    /// A commit by its ref: its ordinal and last sequence.
    fn find(
        &self,
        view: &View<'_>,
        writer: &Writer,
        log: LogId,
        sequence: u64,
        prefix: ChainPrefix,
    ) -> Result<Option<(u32, u64)>> {
        let Some(ordinal) = self.directory.shared(log) else { return Ok(None) };
        let Some(tip) = writer.tip(ordinal) else { return Ok(None) };
        let found = if tip.last == sequence {
            tip.chain.prefix() == prefix
        } else {
            let record = view.commit_at(ordinal, sequence)?;
            record.is_some_and(|r| r.header.last() == sequence && r.chain.prefix() == prefix)
        };
        Ok(found.then_some((ordinal, sequence)))
    }

    fn pull_wall(&self, writer: &mut Writer, ordinal: u32, wall: u64, report: &mut Ingested) {
        let ahead = wall.saturating_sub((self.now)().saturated());
        if ahead <= PULL {
            writer.wall = writer.wall.max(wall);
        } else if let Some(info) = self.directory.log(ordinal) {
            report.note_clock(ClockAhead::new(info.id, info.device.clone(), ahead));
        }
    }
}

/// The genesis that a log's first commit brings.
fn opening(parts: &WireParts<'_>, bytes: &[u8], dataset: DatasetId) -> Result<(Before, Genesis)> {
    let genesis = Genesis::of_log(bytes, parts.log).map_err(Error::Refused)?;
    if genesis.dataset != dataset {
        return Err(Error::WrongDataset { ours: dataset, theirs: genesis.dataset });
    }
    let chain = chain_of_genesis(bytes);
    if chain.prefix() != parts.before.1 {
        return refuse("a commit that does not follow its genesis");
    }
    Ok((Before { chain, wall: 0 }, genesis))
}

fn refuse<T>(what: &'static str) -> Result<T> {
    Err(Error::Refused(Malformed { what, at: 0 }))
}

fn early(log: LogId, header: &Header) -> Error {
    Error::OutOfOrder { log, first: header.first }
}
