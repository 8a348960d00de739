//! What follows from the log, made again from it: `dots`, heads and what stands beside them, the
//! checkpoint.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use heirloom_core::fold::{Head, HeadState, HeadWriters, Heads, Lines, Stored};
use heirloom_core::format::hash::head_term;
use heirloom_core::merge::conflicts;
use heirloom_core::model::{EntityId, Line, Lsn, Sequence, StateDigest};

use super::look::mend_missing;
use super::part::part_of;
use super::peers::mend_peers;
use crate::error::{Error, Result, Table};
use crate::store::commit::{LogWriter, Store, drop_record, put_record};
use crate::store::read::{Caches, View, read_type};
use crate::store::rows::{
    Bytes, Checkpoint, Gap, LOST, ReadTable, Record, RowBatch, Tables, WriteTable, WriteTables,
    add_checkpoint, decode_row, dot_key, seal, tables, type_key,
};

/// Memory for what is read on the way.
const CACHE: usize = 32 << 20;

impl Store {
    /// Makes derived tables again. Each step is one durable commit that leaves the store as right
    /// as it was, or more so.
    ///
    /// While records are damaged only what needs none of them: rows of `dots`, and what stands
    /// beside heads.
    pub(crate) fn repair(&self, entities: u64) -> Result<()> {
        // from here on until they are built, queries scan
        let doubt = |writer: &mut LogWriter| {
            writer.doubt_indexes();
            // over a damaged journal nobody else could write, and this may not yet
            self.journal.lock().check().is_ok()
        };
        self.alone(doubt, |writer| Ok(self.repair_in_turn(writer, entities)?.then_some(())))?;
        let batch = self.writer.lock().batch;
        self.flush(batch)
    }

    /// Makes tables anew whose trees are broken, from their rows that can be read; what is not
    /// among them shows afterwards as missing. How many there were.
    ///
    /// The broken tree stays in the file under another name: were it dropped, redb would free pages
    /// that it may never have had, and give them away while another table still needs them.
    pub(crate) fn mend_trees(&self) -> Result<u64> {
        // a commit may need a table that is broken: none is made that need not be
        self.alone(
            |writer| is_writing(writer),
            |writer| {
                if is_writing(writer) {
                    return Ok(None);
                }
                let tables = self.tables()?;
                let mut mended = 0;
                for (table, _, checked) in tables.check_trees() {
                    match checked {
                        Err(Error::Corrupt { .. }) => self.mend_tree(&tables, table)?,
                        other => {
                            other?;
                            continue;
                        }
                    }
                    mended += 1;
                }
                if mended > 0 {
                    let tables = self.read_anew(writer)?;
                    self.caches.clear();
                    match self.load_writer(writer, &tables, self.durable()) {
                        Ok(()) => writer.damage = self.check_journal(&tables).err(),
                        Err(damage @ Error::Corrupt { .. }) => writer.damage = Some(damage),
                        other => other?,
                    }
                    // what is gone without a trace is not written again
                    self.leave_own_log(writer);
                }
                Ok(Some(mended))
            },
        )
    }

    fn mend_tree(&self, tables: &Tables, table: Table) -> Result<()> {
        let broken = match tables.optional(table) {
            // of what cannot even be opened nothing is left
            Err(Error::Corrupt { .. }) => None,
            other => other?,
        };
        self.rewrite_beneath(|tx| {
            let mut made = tx.set_aside(table)?;
            let Some(broken) = broken else { return Ok(()) };
            let own =
                |key: &Bytes, value: &Bytes| tables::can_hold(table, key.value(), value.value());
            // from both ends up to the broken place
            for row in broken.iter().into_iter().flatten().map_while(Result::ok) {
                if own(&row.0, &row.1) {
                    made.insert(row.0.value(), row.1.value())?;
                }
            }
            for row in broken.iter().into_iter().flat_map(Iterator::rev).map_while(Result::ok) {
                if own(&row.0, &row.1) && made.insert(row.0.value(), row.1.value())?.is_some() {
                    break;
                }
            }
            if table == Table::Log {
                self.look_up_records(tables, &broken, &mut made)?;
            }
            Ok(())
        })
    }

    /// The records between, which are found where somebody knows of them.
    fn look_up_records(
        &self,
        tables: &Tables,
        broken: &ReadTable,
        made: &mut WriteTable<'_>,
    ) -> Result<()> {
        for row in tables.dots.iter().into_iter().flatten().map_while(Result::ok) {
            let Some(lsn) = tables::lsn_of(row.1.value()) else { continue };
            for piece in 0.. {
                let key = tables::log_key(lsn, piece);
                let Ok(Some(found)) = broken.get(&key) else { break };
                if tables::can_hold(Table::Log, &key, found.value()) && made.get(&key)?.is_none() {
                    made.insert(&key, found.value())?;
                }
            }
        }
        Ok(())
    }

    /// Does something while nobody writes. `first` says before each attempt whether what is on its
    /// way has to be durable; nothing comes of one while commits are on their way.
    fn alone<T>(
        &self,
        mut first: impl FnMut(&mut LogWriter) -> bool,
        mut act: impl FnMut(&mut LogWriter) -> Result<Option<T>>,
    ) -> Result<T> {
        self.check_not_held()?;
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        loop {
            if self.group.is_broken() {
                return Err(self.broken());
            }
            let batch = {
                let mut writer = self.writer.lock();
                first(&mut writer).then_some(writer.batch)
            };
            if let Some(batch) = batch {
                self.flush(batch)?;
            }
            if let Some(done) = self.group.in_turn(|| act(&mut self.writer.lock()))? {
                return Ok(done);
            }
        }
    }

    /// False if commits are on their way. `entities`: heads of so many are held at a time.
    fn repair_in_turn(&self, writer: &mut LogWriter, entities: u64) -> Result<bool> {
        if is_writing(writer) {
            return Ok(false);
        }
        let logged = self.durable();
        // what the journal has lost follows from no other place: all else is made to fit
        self.mend(|_| Ok(()))?;
        let tables = self.read_anew(writer)?;
        // first: all else asks for the numbers of types
        let tables = self.mend_rows(writer, |tx| mend_type_names(&tables, tx))?;
        let mut damaged = self.mend_dots(&tables, logged)?;
        let tables = self.read_anew(writer)?;
        self.mark_lost(&self.view(&tables), logged)?;
        damaged |= self.missing.first_damaged().is_some();
        let caches = Caches::new(CACHE);
        let view = View { caches: &caches, ..self.view(&tables) };
        let end = if damaged { None } else { Some(self.mend_heads(&view, logged, entities)?) };
        let tables = self.read_anew(writer)?;
        let view = View { caches: &caches, ..self.view(&tables) };
        self.mend_beside(&view)?;
        let tables = self.read_anew(writer)?;
        let mut tables = self.mend_rows(writer, |tx| {
            mend_missing(&tables, logged, tx)?;
            mend_peers(&tables, tx)
        })?;
        if let Some(end) = end {
            let view = View { caches: &caches, ..self.view(&tables) };
            if let Some((last, bytes)) = checkpoint_to_mend(&view, logged, &end)? {
                tables = self.mend_rows(writer, |tx| {
                    let mut log = tx.open_table(Table::Log)?;
                    drop_record(&mut log, last)?;
                    put_record(&mut log, last, &bytes);
                    Ok(())
                })?;
            }
        }
        self.caches.clear();
        // an end that a lost row of `dots` had hidden
        self.load_writer(writer, &tables, logged)?;
        writer.damage = None;
        if self.meta(&tables, LOST)?.is_some() {
            writer.set_meta(LOST, None);
        }
        // and what no row speaks of any more may have been sent: its sequences are not used again
        self.leave_own_log(writer);
        writer.doubt_indexes();
        Ok(true)
    }

    fn read_anew(&self, writer: &mut LogWriter) -> Result<Arc<Tables>> {
        let before = self.tables()?;
        let tables = self.read_tables(before.commit)?.under(before.delta.clone(), before.commit);
        let tables = Arc::new(tables);
        self.show(writer, tables.clone());
        Ok(tables)
    }

    fn mend_rows(
        &self,
        writer: &mut LogWriter,
        write: impl FnOnce(&RowBatch<'_>) -> Result<()>,
    ) -> Result<Arc<Tables>> {
        let tables = self.write_beside(write)?;
        self.show(writer, tables.clone());
        Ok(tables)
    }

    fn mend(&self, write: impl FnOnce(&WriteTables) -> Result<()>) -> Result<()> {
        self.rewrite(write)
    }

    /// Whether records cannot be read, so that no heads follow from the log. What `dots` says of
    /// those stays.
    fn mend_dots(&self, tables: &Tables, logged: Lsn) -> Result<bool> {
        let view = self.view(tables);
        let readable = |lsn| match view.record_uncached(lsn) {
            Ok(record) => Ok(Some(record)),
            Err(e) if e.is_damage() => Ok(None),
            Err(e) => Err(e),
        };
        let mut damaged = false;
        self.mend(|tx| {
            let mut dots = tx.open_table(Table::Dots)?;
            for row in tables.dots.iter()? {
                let (key, value) = row?;
                let stays = match tables::lsn_of(value.value()).filter(|lsn| *lsn < logged) {
                    None => false,
                    Some(lsn) => readable(lsn)?
                        .is_none_or(|r| dot_key(r.line, r.header.first)[..] == *key.value()),
                };
                if !stays {
                    dots.remove(key.value())?;
                }
            }
            for lsn in view.lsns(Lsn::START, logged) {
                let lsn = lsn?;
                match readable(lsn)? {
                    Some(r) => {
                        // a wrong row of `dots` led there from elsewhere
                        if self.missing.is_damaged(lsn)
                            && self.missing.at(r.line, r.header.first).is_none_or(|g| g.0 != lsn)
                        {
                            self.missing.set(lsn, None);
                        }
                        self.mark_unverified(&r);
                        dots.insert(
                            &dot_key(r.line, r.header.first)[..],
                            &lsn.get().to_be_bytes()[..],
                        )?;
                    }
                    None => damaged = true,
                }
            }
            Ok(())
        })?;
        Ok(damaged)
    }

    /// Peers are asked for bodies that do not verify, and for no others.
    fn mark_unverified(&self, r: &Record) {
        if r.lacks_bodies() != self.missing.is_unverified(r.lsn) && !self.missing.is_damaged(r.lsn)
        {
            let gap = Gap { line: r.line, first: r.header.first, damaged: false };
            self.missing.set(r.lsn, r.lacks_bodies().then_some(gap));
        }
    }

    /// Writes each row of `heads` that is not what the log gives. Returns what a checkpoint at the
    /// end must say.
    fn mend_heads(&self, view: &View<'_>, logged: Lsn, entities: u64) -> Result<Checkpoint> {
        let rows = view.tables.heads.len()?;
        let parts = rows.div_ceil(entities).max(1);
        let mut digest = StateDigest::ZERO;
        self.mend(|tx| {
            let mut table = tx.open_table(Table::Heads)?;
            for part in 0..parts {
                let mine = |id: &EntityId| part_of(id, parts) == part;
                let mut fold = fold_heads(view, logged, &mine)?;
                for row in view.tables.heads.iter()? {
                    let (key, value) = row?;
                    let id = key.value().try_into().ok().map(EntityId::from_bytes);
                    if id.map_or(part == 0, |id| mine(&id) && !fold.contains_key(&id)) {
                        table.remove(key.value())?;
                    }
                    let Some(dots) = id.and_then(|id| fold.remove(&id).map(|dots| (id, dots)))
                    else {
                        continue;
                    };
                    let heads = heads_of(view, dots)?;
                    count(view, &heads, &mut digest);
                    if decode_row(key.value(), value.value(), view.directory).ok().as_ref()
                        != Some(&heads.1)
                    {
                        table.insert(key.value(), &seal(key.value(), &heads.1.encode())[..])?;
                    }
                }
                for (id, dots) in fold {
                    let heads = heads_of(view, (id, dots))?;
                    count(view, &heads, &mut digest);
                    table
                        .insert(&id.as_bytes()[..], &seal(id.as_bytes(), &heads.1.encode())[..])?;
                }
            }
            Ok(())
        })?;
        Ok(Checkpoint { digest, frontier: frontier(view, logged)? })
    }

    /// `by_type` and `unsettled`, from the rows of `heads` that can be read. What belongs to others
    /// stays.
    fn mend_beside(&self, view: &View<'_>) -> Result<()> {
        let heads_row = |id: &[u8]| -> Result<Option<Result<Heads>>> {
            let row = view.tables.heads.get(id)?;
            Ok(row.map(|row| decode_row(id, row.value(), view.directory)))
        };
        self.mend(|tx| {
            let mut by_type = tx.open_table(Table::ByType)?;
            for row in view.tables.by_type.iter()? {
                let (key, _) = row?;
                let id = key.value().get(4..).unwrap_or_default();
                let type_of = |heads: Heads| heads.type_number().map(|n| n.get().to_be_bytes());
                let fits =
                    |heads: Heads| type_of(heads).is_some_and(|t| key.value().starts_with(&t));
                if !heads_row(id)?.is_some_and(|heads| heads.map_or(true, fits)) {
                    by_type.remove(key.value())?;
                }
            }
            // each by itself: lists that lead to rows of a table that is gone would stand for them
            for table in [Table::Index, Table::Indexed] {
                if view.tables.optional(table)?.is_some() {
                    tx.delete_table(table)?;
                }
            }
            let mut unsettled = tx.open_table(Table::Unsettled)?;
            for row in view.tables.unsettled.iter()? {
                let (key, _) = row?;
                if !heads_row(key.value())?.is_some_and(|heads| heads.map_or(true, |h| h.unsettled))
                {
                    unsettled.remove(key.value())?;
                }
            }
            for row in view.tables.heads.iter()? {
                let (key, value) = row?;
                let Ok(heads) = decode_row(key.value(), value.value(), view.directory) else {
                    continue;
                };
                if let (Some(number), Ok(id)) = (heads.type_number(), key.value().try_into()) {
                    by_type.insert(&type_key(number, EntityId::from_bytes(id))[..], &[][..])?;
                }
                if heads.unsettled {
                    unsettled.insert(key.value(), &[][..])?;
                }
            }
            Ok(())
        })
    }
}

/// The last record and its bytes with the right checkpoint, where it has another.
fn checkpoint_to_mend(
    view: &View<'_>,
    logged: Lsn,
    end: &Checkpoint,
) -> Result<Option<(Lsn, Vec<u8>)>> {
    let Some(last) = logged.before() else { return Ok(None) };
    if view.checkpoint(logged).ok().flatten().as_ref() == Some(end) {
        return Ok(None);
    }
    let record = view.record_uncached(last)?;
    let mut bytes = view.with_bytes(last, |bytes| record.without_checkpoint(bytes))?;
    add_checkpoint(&mut bytes, end);
    Ok(Some((last, bytes)))
}

/// `type_names`, from the rows of `types` that can be read.
fn mend_type_names(tables: &Tables, tx: &RowBatch<'_>) -> Result<()> {
    let mut names = tx.open_table(Table::TypeNames)?;
    for row in tables.type_names.iter()? {
        let (name, number) = row?;
        let named = tables.types.get(number.value())?;
        let fits = named.is_some_and(|row| {
            read_type(number.value(), row.value()).is_ok_and(|n| n.as_bytes() == name.value())
        });
        if !fits {
            names.remove(name.value());
        }
    }
    for row in tables.types.iter()? {
        let (number, row) = row?;
        if let Ok(name) = read_type(number.value(), row.value())
            && names.get(name.as_bytes())?.is_none_or(|found| found.value() != number.value())
        {
            names.insert(name.as_bytes(), number.value());
        }
    }
    Ok(())
}

/// Whether commits are on their way.
fn is_writing(writer: &LogWriter) -> bool {
    !writer.pending.records.is_empty() || !writer.pending.healed.is_empty()
}

/// The heads of each entity.
type Folded = HashMap<EntityId, HeadWriters>;

/// Which versions are heads.
fn fold_heads(view: &View<'_>, logged: Lsn, mine: &dyn Fn(&EntityId) -> bool) -> Result<Folded> {
    let mut out = Folded::new();
    let local = view.directory.local();
    for lsn in view.lsns(Lsn::START, logged) {
        let record = view.record(lsn?)?;
        for (index, version) in record.header.versions.iter().enumerate() {
            if !mine(&version.entity) || record.void_of(index).is_some() {
                continue;
            }
            let at = view.place(&record, index)?;
            let parents = view.parents(&at)?;
            let heads = out.entry(version.entity).or_default();
            heads.see(at.writer, version.kind(), &parents, local);
        }
    }
    Ok(out)
}

/// The row that these versions give.
fn heads_of(view: &View<'_>, (id, found): (EntityId, HeadWriters)) -> Result<(EntityId, Heads)> {
    let HeadWriters { list: writers, created_twice } = found;
    let mut list = Vec::with_capacity(writers.len());
    let mut undecided = false;
    for writer in writers {
        let (line, sequence) = writer.dot();
        let missing =
            || Error::corrupt(Table::Log, format!("{line}/{sequence}"), "a version is missing");
        let at = view.version((line, sequence))?.ok_or_else(missing)?;
        let mut head = Head::clone(&*view.as_head(&at)?);
        if head.state == HeadState::InLog {
            match view.content(&at)? {
                Stored::Live(state) => {
                    head.state = HeadState::of(&state, &at.writer);
                    undecided |= !conflicts(&state, 1, 0).is_empty();
                }
                Stored::Tombstone | Stored::Absent => head.state = HeadState::Absent,
            }
        }
        list.push(head);
    }
    list.sort_by_key(|h| h.writer.reference);
    let unsettled = undecided || list.len() > 1;
    Ok((id, Heads { list, unsettled, created_twice }))
}

fn count(view: &View<'_>, (id, heads): &(EntityId, Heads), digest: &mut StateDigest) {
    let local = view.directory.local();
    for head in heads.list.iter().filter(|h| Some(h.writer.line) != local) {
        digest.add(&head_term(*id, &head.writer.reference));
    }
}

/// Lines whose ends no commit refers to.
fn frontier(view: &View<'_>, logged: Lsn) -> Result<Vec<Line>> {
    let mut ends: HashMap<Line, Sequence> = HashMap::new();
    let mut out = BTreeSet::new();
    for lsn in view.lsns(Lsn::START, logged) {
        let record = view.record(lsn?)?;
        for r in &record.header.refs {
            let line = view.line_of(r.log, r.sequence, r.prefix)?;
            if let Some(line) = line.filter(|line| ends.get(line) == Some(&r.sequence)) {
                out.remove(&line);
            }
        }
        ends.insert(record.line, record.header.last());
        if !view.directory.is_local(record.line) {
            out.insert(record.line);
        }
    }
    Ok(out.into_iter().collect())
}
