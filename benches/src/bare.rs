//! The same work on bare redb tables: what the layout above it costs is the ratio to this.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use heirloom::EntityId;

use crate::data::{Appliance, Item};

const NOW: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("now");
const OLD: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("old");

pub(crate) struct Bare {
    database: Database,
}

fn encode(content: &Appliance) -> Vec<u8> {
    bincode::serde::encode_to_vec(content, bincode::config::standard()).expect("plain data")
}

fn decode(bytes: &[u8]) -> Appliance {
    bincode::serde::decode_from_slice(bytes, bincode::config::standard())
        .expect("written by encode")
        .0
}

impl Bare {
    pub(crate) fn create(path: &Path) -> Self {
        let database =
            Database::builder().set_cache_size(64 << 20).create(path).expect("a fresh file");
        Self { database }
    }

    pub(crate) fn create_all(&self, items: &[Item], per_commit: usize) {
        for chunk in items.chunks(per_commit) {
            let tx = self.database.begin_write().expect("write");
            let mut table = tx.open_table(NOW).expect("table");
            for item in chunk {
                table.insert(&item.id.as_bytes()[..], &encode(&item.content)[..]).expect("insert");
            }
            drop(table);
            tx.commit().expect("commit");
        }
    }

    pub(crate) fn create_one(&self, id: EntityId, content: &Appliance) {
        let tx = self.database.begin_write().expect("write");
        let mut table = tx.open_table(NOW).expect("table");
        table.insert(&id.as_bytes()[..], &encode(content)[..]).expect("insert");
        drop(table);
        tx.commit().expect("commit");
    }

    /// Old contents go to a second table.
    pub(crate) fn update(&self, picks: &[(usize, i64)], items: &[Item], per_commit: usize) {
        let mut number = 0u64;
        for chunk in picks.chunks(per_commit) {
            let tx = self.database.begin_write().expect("write");
            let mut now = tx.open_table(NOW).expect("table");
            let mut old = tx.open_table(OLD).expect("table");
            for (index, brightness) in chunk {
                let id = items[*index].id;
                let mut content =
                    decode(now.get(&id.as_bytes()[..]).expect("get").expect("there").value());
                content.brightness = *brightness;
                let before = now
                    .insert(&id.as_bytes()[..], &encode(&content)[..])
                    .expect("insert")
                    .expect("there");
                number += 1;
                let key = [&id.as_bytes()[..], &number.to_be_bytes()].concat();
                old.insert(&key[..], before.value()).expect("insert");
            }
            drop((now, old));
            tx.commit().expect("commit");
        }
    }

    pub(crate) fn count(&self) -> u64 {
        let tx = self.database.begin_read().expect("read");
        tx.open_table(NOW).expect("table").len().expect("len")
    }

    pub(crate) fn read_all(&self, picks: &[usize], items: &[Item]) -> i64 {
        let tx = self.database.begin_read().expect("read");
        let table = tx.open_table(NOW).expect("table");
        let read = |i: &usize| {
            decode(table.get(&items[*i].id.as_bytes()[..]).expect("get").expect("there").value())
        };
        picks.iter().map(|i| read(i).brightness).sum()
    }

    /// An empty table takes over all rows of another.
    pub(crate) fn pull(&self, from: &Bare, per_commit: usize) {
        let source = from.database.begin_read().expect("read");
        let rows = source.open_table(NOW).expect("table");
        let mut rows = rows.iter().expect("iter").peekable();
        while rows.peek().is_some() {
            let tx = self.database.begin_write().expect("write");
            let mut table = tx.open_table(NOW).expect("table");
            for row in rows.by_ref().take(per_commit) {
                let (key, value) = row.expect("row");
                table.insert(key.value(), value.value()).expect("insert");
            }
            drop(table);
            tx.commit().expect("commit");
        }
    }

    /// Without a digest kept, equality is a scan of both sides.
    pub(crate) fn equals(&self, other: &Bare) -> bool {
        let (a, b) =
            (self.database.begin_read().expect("read"), other.database.begin_read().expect("read"));
        let (a, b) = (a.open_table(NOW).expect("table"), b.open_table(NOW).expect("table"));
        let (mut a, mut b) = (a.iter().expect("iter"), b.iter().expect("iter"));
        loop {
            match (a.next(), b.next()) {
                (None, None) => return true,
                (Some(Ok((k, v))), Some(Ok((l, w))))
                    if k.value() == l.value() && v.value() == w.value() => {}
                _ => return false,
            }
        }
    }
}
