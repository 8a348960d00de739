//! One consistent state of the store: what is durable, and for the writer also what is on its way
//! there.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use heirloom_core::fold::{Dot, Head, Heads, Lines};
use heirloom_core::format::hash::head_term;
use heirloom_core::merge::Policies;
use heirloom_core::model::{
    ChainPrefix, CommitRef, EntityId, Line, LogId, Lsn, Sequence, StateDigest, TypeNumber,
};

use super::cache::Cache;
use super::content::Step;
use super::contents::Contents;
use super::missing::Missing;
use super::read_cache::ReadCache;
use super::seen::Seen;
use crate::error::{Error, Result, Table};
use crate::store::rows::{
    Checkpoint, Directory, PIECE, ReadTable, Record, RecordBytes, Tables, decode_row, dot_key,
    dot_of, hex, log_key, lsn_of, lsn_of_piece, type_number_of, unseal,
};

/// Commits that are folded but not durable yet. Each entry knows the batch that will make it so.
#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) heads: HashMap<EntityId, (Arc<Heads>, u64)>,
    /// By lsn.
    pub(crate) records: BTreeMap<Lsn, Arc<[u8]>>,
    /// (line, first sequence) → lsn.
    pub(crate) dots: BTreeMap<(Line, Sequence), Lsn>,
    /// By lsn: those that come again, and the batch that will put them in place.
    pub(crate) healed: BTreeMap<Lsn, (Arc<[u8]>, u64)>,
    /// Of the records that no batch has taken yet.
    pub(crate) bytes: usize,
}

/// What was read lately, decoded. What comes from the log is immutable, so it is right for every
/// view.
pub(crate) struct Caches {
    /// By lsn.
    records: Cache<Lsn, Arc<Record>>,
    /// Versions as if they were heads.
    pub(crate) heads: Cache<Dot, Arc<Head>>,
    pub(crate) contents: Contents,
    pub(crate) steps: Cache<Dot, Arc<Step>>,
    /// Entity types, by number and by a hash of their names. They hold for good.
    types: Cache<TypeNumber, Arc<str>>,
    type_numbers: Cache<u64, (Arc<str>, TypeNumber)>,
    names: RandomState,
    /// Entities as they are shown now.
    pub(crate) entities: ReadCache,
    /// Number of the last durable commit that put records in place again: what older states have of
    /// them does not belong here.
    healed_at: AtomicU64,
}

impl Caches {
    /// Takes about so many bytes when full.
    pub(crate) fn new(bytes: usize) -> Self {
        let part = (bytes / 6).max(256 << 10);
        Self {
            records: Cache::new(part),
            heads: Cache::new(part),
            contents: Contents::new(part, None),
            steps: Cache::new(part),
            types: Cache::new(part / 8),
            type_numbers: Cache::new(part / 8),
            names: RandomState::new(),
            entities: ReadCache::new(2 * part),
            healed_at: AtomicU64::new(0),
        }
    }

    /// The same for a walk over the whole log: most of it holds versions that later ones build on,
    /// and [`forget`](Self::forget) says when they did.
    pub(crate) fn for_walk(bytes: usize) -> Self {
        let part = bytes / 16;
        Self {
            records: Cache::new(part),
            heads: Cache::keeping(6 * part),
            contents: Contents::new(part, Some(8 * part)),
            entities: ReadCache::new(0),
            ..Self::new(part)
        }
    }

    /// A version that is about to be known better.
    pub(crate) fn forget(&self, dot: Dot) {
        self.heads.remove(&dot);
        self.contents.remove(&dot);
        self.steps.remove(&dot);
    }

    /// From this durable commit on some records are others.
    pub(crate) fn healed(&self, commit: u64) {
        self.healed_at.store(commit, Ordering::Release);
        self.clear();
    }

    /// What is in the tables is right, and what was read before may not be.
    pub(crate) fn clear(&self) {
        self.entities.clear();
        self.records.clear();
        self.heads.clear();
        self.contents.clear();
        self.steps.clear();
    }
}

/// Everything that reading needs. Cheap to make.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) tables: &'a Tables,
    pub(crate) directory: &'a Directory,
    pub(crate) missing: &'a Missing,
    pub(crate) caches: &'a Caches,
    pub(crate) policies: &'a Policies,
    pub(crate) pending: Option<&'a Pending>,
}

/// What a row of `types` says.
pub(crate) fn read_type<'r>(key: &[u8], row: &'r [u8]) -> Result<&'r str> {
    let name = std::str::from_utf8(unseal(Table::Types, key, row)?);
    name.map_err(|_| Error::corrupt(Table::Types, hex(key), "not text"))
}

/// The pieces of a record in the log table.
struct Pieces<'a> {
    table: &'a ReadTable,
    lsn: Lsn,
}

impl RecordBytes for Pieces<'_> {
    fn read(&self, from: usize, to: usize) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut piece = from / PIECE;
        while piece.saturating_mul(PIECE) < to {
            let key = log_key(self.lsn, piece as u32);
            let Some(row) = self.table.get(&key[..])? else { break };
            let bytes = unseal(Table::Log, &key, row.value())?;
            let start = piece * PIECE;
            let (a, b) =
                (from.saturating_sub(start).min(bytes.len()), (to - start).min(bytes.len()));
            out.extend_from_slice(&bytes[a..b]);
            piece += 1;
            if bytes.len() < PIECE {
                break;
            }
        }
        Ok(out)
    }
}

impl<'a> View<'a> {
    /// An entity type by its number.
    pub(crate) fn entity_type(&self, number: TypeNumber) -> Result<Arc<str>> {
        if let Some(name) =
            self.directory.pending_type(number).or_else(|| self.caches.types.get(&number))
        {
            return Ok(name);
        }
        let key = number.get().to_be_bytes();
        let row = self.tables.types.get(&key[..])?;
        let row = row.ok_or_else(|| Error::corrupt(Table::Types, number, "the row is missing"))?;
        let name: Arc<str> = read_type(&key, row.value())?.into();
        self.caches.types.insert(number, name.clone(), 64 + name.len());
        Ok(name)
    }

    /// The number of an entity type; nothing where no entity was ever of it.
    pub(crate) fn type_number(&self, name: &str) -> Result<Option<TypeNumber>> {
        if let Some(pending) = self.directory.pending_type_number(name) {
            return Ok(Some(pending));
        }
        let hash = self.caches.names.hash_one(name);
        if let Some((_, number)) = self.caches.type_numbers.get(&hash).filter(|(n, _)| **n == *name)
        {
            return Ok(Some(number));
        }
        // no type has an empty name
        let Some(row) = self.tables.type_names.get(name.as_bytes())? else { return Ok(None) };
        let unreadable = || Error::corrupt(Table::TypeNames, name, "not a number");
        let number = type_number_of(row.value()).ok_or_else(unreadable)?;
        let named = self.entity_type(number)?;
        if *named != *name {
            return Err(Error::corrupt(Table::TypeNames, name, "the number of another type"));
        }
        self.caches.type_numbers.insert(hash, (named, number), 64 + name.len());
        Ok(Some(number))
    }

    /// The number of an entity type, a new one where there is none yet. Only of the writer's view.
    pub(crate) fn add_type(&self, name: &str) -> Result<TypeNumber> {
        if let Some(known) = self.type_number(name)? {
            return Ok(known);
        }
        // where a row was lost its type would get a second number
        if !self.tables.names_are_whole()? {
            return Err(Error::corrupt(Table::TypeNames, "all", "rows are missing"));
        }
        Ok(self.directory.add_type(name))
    }

    /// The heads of an entity; none if it is unknown.
    pub(crate) fn heads(&self, entity: EntityId) -> Result<Arc<Heads>> {
        if let Some((heads, _)) = self.pending.and_then(|p| p.heads.get(&entity)) {
            return Ok(heads.clone());
        }
        match self.tables.heads.get(&entity.as_bytes()[..])? {
            Some(row) => decode_row(entity.as_bytes(), row.value(), self.directory).map(Arc::new),
            None => Ok(Arc::default()),
        }
    }

    /// An entity as it is shown; nothing if it is unknown. From memory if it was read lately.
    pub(crate) fn entity(&self, id: EntityId) -> Result<Option<Arc<Seen>>> {
        if let Some((heads, _)) = self.pending.and_then(|p| p.heads.get(&id)) {
            return Ok(self.show(id, heads)?.map(Arc::new));
        }
        if let Some(seen) = self.caches.entities.get(id, self.tables.commit) {
            return Ok(Some(seen));
        }
        let seen = self.show(id, &*self.heads(id)?)?.map(Arc::new);
        if let Some(seen) = &seen {
            self.caches.entities.insert(id, seen, self.tables.commit);
        }
        Ok(seen)
    }

    /// Reads of a record's bytes.
    pub(crate) fn with_bytes<T>(
        &self,
        lsn: Lsn,
        read: impl FnOnce(&dyn RecordBytes) -> Result<T>,
    ) -> Result<T> {
        let again = |p: &'a Pending| p.healed.get(&lsn).map(|(bytes, _)| bytes);
        match self.pending.and_then(|p| p.records.get(&lsn).or_else(|| again(p))) {
            Some(bytes) => read(&&bytes[..]),
            None => read(&Pieces { table: &self.tables.log, lsn }),
        }
    }

    /// Whether what it reads is what newer states have.
    pub(crate) fn is_fresh(&self) -> bool {
        self.pending.is_some()
            || self.tables.commit >= self.caches.healed_at.load(Ordering::Acquire)
    }

    pub(crate) fn record(&self, lsn: Lsn) -> Result<Arc<Record>> {
        if !self.is_fresh() || self.pending.is_some_and(|p| p.healed.contains_key(&lsn)) {
            return self.record_uncached(lsn);
        }
        if let Some(record) = self.caches.records.get(&lsn) {
            return Ok(record);
        }
        let record =
            Arc::new(self.with_bytes(lsn, |bytes| Record::load(lsn, bytes, self.directory))?);
        self.caches.records.insert_if(lsn, record.clone(), record.cost(), || self.is_fresh());
        Ok(record)
    }

    /// Lsns of the durable records from one on up to before another. By rows and not by number: a
    /// damaged key may claim any.
    pub(crate) fn lsns(&self, mut from: Lsn, until: Lsn) -> impl Iterator<Item = Result<Lsn>> + '_ {
        let mut over = false;
        std::iter::from_fn(move || {
            let found = (!over).then(|| self.stored_from(from).transpose()).flatten();
            // the same error would come again and again
            over = !matches!(found, Some(Ok(_)));
            from = found.as_ref()?.as_ref().map_or(Lsn::END, |lsn| lsn.next());
            found?.map(|lsn| (lsn < until).then_some(lsn)).transpose()
        })
    }

    /// The first record at or after an lsn.
    pub(crate) fn stored_from(&self, lsn: Lsn) -> Result<Option<Lsn>> {
        let Some(row) = self.tables.log.range(&log_key(lsn, 0)[..]..)?.next() else {
            return Ok(None);
        };
        let (key, _) = row?;
        let found = lsn_of_piece(key.value());
        let misplaced = || Error::corrupt(Table::Log, hex(key.value()), "not an lsn");
        found.filter(|found| (lsn..Lsn::END).contains(found)).map(Some).ok_or_else(misplaced)
    }

    /// Read from the table again, whatever is in memory.
    pub(crate) fn record_uncached(&self, lsn: Lsn) -> Result<Arc<Record>> {
        self.with_bytes(lsn, |bytes| Record::load(lsn, bytes, self.directory)).map(Arc::new)
    }

    /// First sequence and lsn of the commit of a log that has `sequence`, or of the last one before
    /// it.
    pub(crate) fn dot_at(&self, line: Line, sequence: Sequence) -> Result<Option<(Sequence, Lsn)>> {
        let pending = self
            .pending
            .and_then(|p| p.dots.range((line, Sequence::START)..=(line, sequence)).next_back())
            .map(|((_, first), lsn)| (*first, *lsn));
        // those on their way are the last of their line, but for what came back
        let is_last = self.pending.is_none_or(|p| p.healed.is_empty());
        if pending.is_some() && is_last {
            return Ok(pending);
        }
        let (from, to) = (dot_key(line, Sequence::START), dot_key(line, sequence));
        let Some(row) = self.tables.dots.range(&from[..]..=&to[..])?.next_back() else {
            return Ok(pending);
        };
        let (key, value) = row?;
        match (dot_of(key.value()), lsn_of(value.value())) {
            (Some((_, first)), Some(lsn)) => {
                Ok(pending.filter(|(other, _)| *other >= first).or(Some((first, lsn))))
            }
            _ => Err(Error::corrupt(Table::Dots, hex(key.value()), "not an lsn")),
        }
    }

    /// The commit that a row of `dots` names. These rows have no checksum, so the commit must say
    /// the same.
    pub(crate) fn commit_of(
        &self,
        line: Line,
        (first, lsn): (Sequence, Lsn),
    ) -> Result<Arc<Record>> {
        let record = self.record(lsn)?;
        if record.line != line || record.header.first != first {
            return Err(Error::corrupt(
                Table::Dots,
                format!("{line}/{first}"),
                "names another commit",
            ));
        }
        Ok(record)
    }

    /// The commit that holds `sequence` on the path that ends in a line.
    pub(crate) fn commit_at(&self, line: Line, sequence: Sequence) -> Result<Option<Arc<Record>>> {
        self.commit_on(self.directory.line_at(line, sequence), sequence)
    }

    /// The commit that holds `sequence` on this very line.
    pub(crate) fn commit_on(&self, line: Line, sequence: Sequence) -> Result<Option<Arc<Record>>> {
        let Some(dot) = self.dot_at(line, sequence)? else { return Ok(None) };
        Ok(Some(self.commit_of(line, dot)?).filter(|r| r.contains(sequence)))
    }

    /// The fold after the last of `commits` commits.
    pub(crate) fn checkpoint(&self, commits: Lsn) -> Result<Option<Checkpoint>> {
        let Some(last) = commits.before() else { return Ok(None) };
        // one that was in memory before it was written has none yet
        let record = match self.record_uncached(last) {
            Err(e) if e.is_damage() => return self.fold_of_heads().map(Some),
            other => other?,
        };
        let missing = || Error::corrupt(Table::Log, last, "the last record has no checkpoint");
        self.with_bytes(last, |bytes| record.checkpoint(bytes))?.ok_or_else(missing).map(Some)
    }

    /// What the checkpoint would say that is damaged: the digest of the durable heads, and every
    /// line, since a frontier may be wider than it need be.
    fn fold_of_heads(&self) -> Result<Checkpoint> {
        let (mut digest, local) = (StateDigest::ZERO, self.directory.local());
        for row in self.tables.heads.iter()? {
            let (key, value) = row?;
            let id = key
                .value()
                .try_into()
                .map_err(|_| Error::corrupt(Table::Heads, "a key", "not an entity id"))?;
            let heads = decode_row(key.value(), value.value(), self.directory)?;
            for head in heads.list.iter().filter(|h| Some(h.writer.line) != local) {
                digest.add(&head_term(EntityId::from_bytes(id), &head.writer.reference));
            }
        }
        Ok(Checkpoint { digest, frontier: self.directory.all_shared().collect() })
    }

    /// A commit by its ref.
    pub(crate) fn find(&self, reference: &CommitRef) -> Result<Option<Arc<Record>>> {
        let CommitRef { log, sequence, prefix } = *reference;
        let record = self.holding(log, sequence, prefix)?;
        Ok(record.filter(|r| r.header.last() == sequence))
    }

    /// The commit that a version's ref names: it holds the sequence, and its chain has the prefix.
    pub(crate) fn holding(
        &self,
        log: LogId,
        sequence: Sequence,
        prefix: ChainPrefix,
    ) -> Result<Option<Arc<Record>>> {
        let mut damage = None;
        for line in self.directory.lines(log) {
            match self.commit_on(line, sequence) {
                Ok(Some(record)) if record.chain.prefix() == prefix => return Ok(Some(record)),
                Ok(_) => {}
                // it may lie on another
                Err(e) if e.is_damage() => damage = Some(e),
                Err(e) => return Err(e),
            }
        }
        damage.map_or(Ok(None), Err)
    }

    /// The line that a ref leads to. Reads only where the log forked.
    pub(crate) fn line_of(
        &self,
        log: LogId,
        sequence: Sequence,
        prefix: ChainPrefix,
    ) -> Result<Option<Line>> {
        match self.directory.only_line(log) {
            Some(only) => Ok(Some(only)),
            None => Ok(self.holding(log, sequence, prefix)?.map(|r| r.line)),
        }
    }

    /// The last commit of a line.
    pub(crate) fn tip(&self, line: Line) -> Result<Option<Arc<Record>>> {
        self.dot_at(line, Sequence::END)?.map(|dot| self.commit_of(line, dot)).transpose()
    }

    /// The last commit of a line that can be shown to others.
    pub(crate) fn shown_tip(&self, line: Line) -> Result<Option<Arc<Record>>> {
        self.dot_at(line, self.missing.until(line).unwrap_or(Sequence::END))?
            .map(|dot| self.commit_of(line, dot))
            .transpose()
    }
}
