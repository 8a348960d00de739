//! Verifying the tables that follow from the log.

use heirloom_core::format::genesis::Genesis;
use heirloom_core::model::{DatasetId, EntityId};

use super::verify_fold::Fold;
use crate::error::{Result, Table};
use crate::read::Snapshot;
use crate::store;
use crate::store::{Verification, decode_row, hex, type_key};

/// Numbers are given without gaps, and lead from names and to them.
pub(super) fn check_types(snapshot: &Snapshot, out: &mut Verification) -> Result<()> {
    let mut count = 0;
    for (expected, row) in (0u32..).zip(snapshot.tables.types.range::<&[u8]>(..)?) {
        let (key, value) = row?;
        count += 1;
        if key.value() != expected.to_be_bytes() {
            out.problem(Table::Types, hex(key.value()), "the row before is missing");
            return Ok(());
        }
        let Some(name) = out.note(store::read_type(key.value(), value.value()))? else { continue };
        let back = snapshot.tables.type_names.get(name.as_bytes())?;
        if back.is_none_or(|row| row.value() != key.value()) {
            out.problem(Table::TypeNames, name, "it does not lead to its number");
        }
    }
    let rows = snapshot.tables.type_names.len()?;
    if rows != count {
        out.problem(Table::TypeNames, "all", format!("{rows} rows for {count} types"));
    }
    Ok(())
}

pub(super) fn check_indexes(snapshot: &Snapshot, out: &mut Verification) -> Result<()> {
    let view = snapshot.view();
    let (mut types, mut unsettled) = (0u64, 0u64);
    for row in snapshot.tables.heads.range::<&[u8]>(..)? {
        let (key, value) = row?;
        let Ok(heads) = decode_row(key.value(), value.value(), view.directory) else { continue };
        let Ok(id) = <[u8; 16]>::try_from(key.value()).map(EntityId::from_bytes) else { continue };
        types += 1;
        let indexed = match heads.type_number() {
            Some(line) => snapshot.tables.by_type.get(&type_key(line, id)[..])?.is_some(),
            None => false,
        };
        if !indexed {
            out.problem(Table::ByType, id, "an entity is missing");
        }
        unsettled += u64::from(heads.unsettled);
        if heads.unsettled != snapshot.tables.unsettled.get(key.value())?.is_some() {
            out.problem(Table::Unsettled, id, "settled or not is wrong");
        }
    }
    for (table, expected, found) in [
        (Table::ByType, types, snapshot.tables.by_type.len()?),
        (Table::Unsettled, unsettled, snapshot.tables.unsettled.len()?),
    ] {
        if expected != found {
            out.problem(table, "all", format!("{found} rows where {expected} belong"));
        }
    }
    Ok(())
}

pub(super) fn check_dots(snapshot: &Snapshot, fold: &Fold, out: &mut Verification) -> Result<()> {
    let rows = snapshot.tables.dots.len()?;
    if rows != out.commits {
        out.problem(Table::Dots, "all", format!("{rows} rows for {} commits", out.commits));
    }
    let view = snapshot.view();
    for (line, (last, chain)) in &fold.ends {
        let tip = out.note(view.tip(*line))?;
        if tip.is_some_and(|t| t.is_none_or(|t| t.header.last() != *last || t.chain != *chain)) {
            out.problem(Table::Dots, line, "the end of the log is not the last commit");
        }
    }
    Ok(())
}

pub(super) fn check_checkpoint(
    snapshot: &Snapshot,
    fold: &Fold,
    out: &mut Verification,
) -> Result<()> {
    let found = out.note(snapshot.state_digest())?;
    if found.is_some_and(|d| d != fold.digest) {
        out.problem(Table::Log, "last", "the state digest is not that of the heads");
    }
    let found = out.note(snapshot.frontier())?;
    // one that was made anew where a record was damaged may be wider
    if found.is_some_and(|f| !fold.frontier.iter().all(|line| f.contains(line))) {
        out.problem(Table::Log, "last", "the frontier is not that of the commits");
    }
    Ok(())
}

/// The local log taken for one that travels would be offered to peers.
pub(super) fn check_datasets(snapshot: &Snapshot, fold: &Fold, out: &mut Verification) {
    let directory = &snapshot.engine.store().directory;
    for line in fold.ends.keys() {
        let of_dataset = if directory.is_local(*line) {
            Some(DatasetId::NONE)
        } else {
            snapshot.engine.dataset()
        };
        let genesis =
            directory.log(*line).and_then(|info| Genesis::of_log(&info.genesis, info.id).ok());
        if genesis.map(|g| g.dataset) != of_dataset {
            out.problem(Table::Logs, line, "its genesis is of another dataset");
        }
    }
}
