//! Declaring indexes, and how far they are.

use heirloom_core::error::Invalid;
use heirloom_core::limits;
use heirloom_core::model::Path;

use crate::builder::Builder;
use crate::engine::Engine;
use crate::error::Result;
use crate::store::{Field, Index, IndexState};

/// How far an index is.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct IndexStatus {
    /// The entity type.
    pub entity_type: String,
    /// The keys that lead to the field.
    pub path: Vec<String>,
    /// Whether queries use it. Until then they look at all entities of the type.
    pub ready: bool,
}

impl Builder {
    /// Keeps an index of a field of an entity type, so that
    /// [`Snapshot::query`](crate::Snapshot::query) finds entities by its value.
    ///
    /// Indexed is what is shown: null, true and false, numbers, timestamps, texts, bytes; an array,
    /// a map or a field that is not there is found by no query, and a variant has no fields of its
    /// own: to write one where the path goes on is [`Invalid::Inside`], and one that another device
    /// wrote there is found by no query. Each commit that changes an entity of the type brings its
    /// rows along: about two rows for each changed value. Other types cost nothing.
    ///
    /// Indexes are a choice of each opening. One that is new for the file is built in the
    /// background by a thread `heirloom-index`, in slices between which others write; closing or
    /// dropping the engine ends it after the slice at hand, and the next opening goes on there. One
    /// that is no longer declared is dropped in the same way.
    ///
    /// ```
    /// use heirloom::{Content, Engine};
    /// let engine = Engine::builder()
    ///     .index("lamp", "brightness")
    ///     .index_at("lamp", ["colour", "hue"])
    ///     .in_memory()?;
    /// engine.write(|tx| {
    ///     for b in [70, 20, 50] {
    ///         tx.create("lamp", &Content::new().with("brightness", b))?;
    ///     }
    ///     Ok::<_, heirloom::Error>(())
    /// })?;
    /// let snapshot = engine.snapshot()?;
    /// let bright = snapshot.query("lamp", "brightness")?.at_least(50).entities()?;
    /// let values: Vec<_> =
    ///     bright.iter().map(|lamp| lamp.get("brightness")).collect::<Result<_, _>>()?;
    /// assert_eq!(values, [Some(50.into()), Some(70.into())]);
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    #[must_use]
    pub fn index(self, entity_type: &str, field: &str) -> Self {
        self.index_at(entity_type, [field])
    }

    /// Keeps an index of a nested field, named by the keys that lead to it: see
    /// [`index`](Self::index). Opening is [`Error::Invalid`](crate::Error::Invalid) with an
    /// entity type or a path that no entity can have.
    #[must_use]
    pub fn index_at<K: AsRef<str>>(
        mut self,
        entity_type: &str,
        path: impl IntoIterator<Item = K>,
    ) -> Self {
        let field = Field { entity_type: entity_type.to_owned(), path: Path::new(path) };
        if !self.indexes.contains(&field) {
            self.indexes.push(field);
        }
        self
    }

    /// Whether a thread builds new indexes and drops those that are no longer declared. Default:
    /// yes, if there is any. Else only [`Engine::build_indexes`] does, so that the application says
    /// when, and no thread is started.
    #[must_use]
    pub fn index_in_background(mut self, yes: bool) -> Self {
        self.index_in_background = yes;
        self
    }
}

/// Fields that entities can have.
pub(crate) fn checked(fields: &[Field]) -> Result<Vec<Field>> {
    for Field { entity_type, path } in fields {
        let keys_fit = path.as_ref().keys().all(|k| k.len() <= limits::KEY);
        if !(1..=limits::TYPE).contains(&entity_type.len())
            || !(1..=limits::DEPTH).contains(&path.depth())
            || !keys_fit
        {
            return Err(Invalid::Field {
                entity_type: entity_type.clone(),
                field: path.to_string(),
            }
            .into());
        }
    }
    Ok(fields.to_vec())
}

impl Engine {
    /// The declared indexes, in the order of their declaration, and how far they are.
    pub fn indexes(&self) -> Result<Vec<IndexStatus>> {
        let tables = self.store().tables()?;
        let status = |declared: &crate::store::Declared| {
            let state = declared.ordinal.map(|o| Index::state(&tables, o)).transpose()?;
            Ok(IndexStatus {
                entity_type: declared.field.entity_type.clone(),
                path: declared.field.path.as_ref().keys().map(str::to_owned).collect(),
                ready: state == Some(IndexState::Ready),
            })
        };
        self.store().declared.iter().map(status).collect()
    }

    /// Builds what is still to be built, and drops what is to be dropped, in this thread; returns
    /// when all indexes are ready. Others read and write meanwhile. Looks once at each entity of
    /// the types concerned.
    ///
    /// After an error what was built so far stands; the next opening, or another call, goes on
    /// there.
    pub fn build_indexes(&self) -> Result<()> {
        while self.store().index_step()? {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::error::Table;
    use heirloom_core::model::{Content, EntityId, Patch};

    use super::*;

    /// More than two slices.
    const COUNT: u16 = 600;

    fn id(n: u16) -> EntityId {
        let mut bytes = [7; 16];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        EntityId::from_bytes(bytes)
    }

    fn open(path: &std::path::Path, fields: &[&str]) -> Engine {
        let builder = Engine::builder().index_in_background(false);
        fields.iter().fold(builder, |b, f| b.index("lamp", f)).open(path).unwrap()
    }

    fn filled(path: &std::path::Path, fields: &[&str]) -> Engine {
        let engine = open(path, fields);
        let write = |tx: &mut crate::Transaction<'_>| {
            for n in 0..COUNT {
                tx.create_with_id(
                    id(n),
                    "lamp",
                    &Content::new().with("v", i32::from(n % 50)).with("w", "x"),
                )?;
            }
            Ok::<_, crate::Error>(())
        };
        engine.write(write).unwrap();
        engine
    }

    fn states(engine: &Engine) -> Vec<(u32, IndexState)> {
        let all = Index::all(&engine.store().tables().unwrap()).unwrap();
        all.into_iter().map(|(ordinal, index)| (ordinal, index.unwrap().state)).collect()
    }

    fn rows(engine: &Engine) -> (u64, u64) {
        let tables = engine.store().tables().unwrap();
        let rows = |table| {
            let table = tables.optional(table).unwrap();
            table.map_or(0, |t| t.len().unwrap())
        };
        (rows(Table::Index), rows(Table::Indexed))
    }

    fn clean(engine: &Engine) {
        let found = engine.verify().unwrap();
        assert!(found.is_clean(), "{:?}", found.problems);
    }

    #[test]
    fn a_build_goes_on_where_it_was_and_misses_no_write() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        filled(&path, &[]).close().unwrap();
        let engine = open(&path, &["v"]);
        assert_eq!(states(&engine), [(0, IndexState::Building(None))]);
        assert!(engine.store().index_step().unwrap());
        let half = states(&engine);
        let [(0, IndexState::Building(Some(cursor)))] = half[..] else { panic!("{half:?}") };
        assert_eq!(rows(&engine), (256, 256));
        for n in [0, 599] {
            engine
                .write(|tx| tx.patch(id(n), Patch::new().set("v", 1_000 + i32::from(n))))
                .unwrap();
        }
        engine.write(|tx| tx.delete(id(1))).unwrap();
        engine.write(|tx| tx.delete(id(598))).unwrap();
        engine.write(|tx| tx.create("lamp", &Content::new().with("v", 2_000))).unwrap();
        clean(&engine);
        engine.close().unwrap();
        let engine = open(&path, &["v"]);
        assert_eq!(states(&engine), [(0, IndexState::Building(Some(cursor)))]);
        engine.build_indexes().unwrap();
        assert_eq!(states(&engine), [(0, IndexState::Ready)]);
        assert_eq!(rows(&engine), (599, 599));
        clean(&engine);
        let snapshot = engine.snapshot().unwrap();
        assert_eq!(snapshot.query("lamp", "v").unwrap().above(900).count().unwrap(), 3);
    }

    #[test]
    fn what_is_not_declared_any_more_leaves_no_row_and_no_number_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let engine = filled(&path, &["v", "w"]);
        assert_eq!(states(&engine), [(0, IndexState::Ready), (1, IndexState::Ready)]);
        assert_eq!(rows(&engine), (1_200, 600));
        engine.close().unwrap();
        let engine = open(&path, &["v"]);
        assert_eq!(states(&engine), [(0, IndexState::Ready), (1, IndexState::Dropping)]);
        assert!(engine.store().index_step().unwrap());
        engine.write(|tx| tx.patch(id(0), Patch::new().set("w", "y"))).unwrap();
        clean(&engine);
        engine.close().unwrap();
        let engine = open(&path, &["w", "v"]);
        let expected =
            [(0, IndexState::Ready), (1, IndexState::Dropping), (2, IndexState::Building(None))];
        assert_eq!(states(&engine), expected);
        engine.build_indexes().unwrap();
        assert_eq!(states(&engine), [(0, IndexState::Ready), (2, IndexState::Ready)]);
        clean(&engine);
        engine.close().unwrap();
        let engine = open(&path, &[]);
        engine.build_indexes().unwrap();
        assert_eq!((states(&engine), rows(&engine)), (vec![], (0, 0)));
        clean(&engine);
        engine.close().unwrap();
        assert_eq!(states(&open(&path, &["v"])), [(3, IndexState::Building(None))]);
    }

    #[test]
    fn a_damaged_definition_is_named_and_its_index_built_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let engine = filled(&path, &["v"]);
        let damage = |tx: &crate::store::RowBatch<'_>| {
            tx.open_table(crate::Table::Meta)?.insert(b"index/0", &[0; 9]);
            Ok(())
        };
        engine.store().transact(damage).unwrap();
        let named: Vec<_> =
            engine.verify().unwrap().problems.into_iter().map(|p| (p.table, p.key)).collect();
        assert!(named.iter().any(|(table, _)| *table == Table::Meta), "{named:?}");
        engine.close().unwrap();
        let engine = open(&path, &["v"]);
        engine.build_indexes().unwrap();
        assert_eq!((states(&engine), rows(&engine)), (vec![(1, IndexState::Ready)], (600, 600)));
        clean(&engine);
    }

    #[test]
    fn an_index_that_has_to_be_built_anew_is_no_longer_used() {
        let directory = tempfile::tempdir().unwrap();
        let engine = filled(&directory.path().join("store"), &["v"]);
        let batch = {
            let mut writer = engine.store().writer().unwrap();
            writer.doubt_indexes();
            writer.batch
        };
        engine.store().flush(batch).unwrap();
        assert_eq!(states(&engine), [(0, IndexState::Building(None))]);
        assert_eq!(
            engine.snapshot().unwrap().query("lamp", "v").unwrap().equals(3).count().unwrap(),
            12
        );
        engine.build_indexes().unwrap();
        assert_eq!(states(&engine), [(0, IndexState::Ready)]);
        clean(&engine);
    }
}
