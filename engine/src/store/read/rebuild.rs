//! What a version was, made again from the nearest ones in its past that say it whole. No walk is
//! long, because a full body comes every so often (FORMAT.md, 2.1).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use heirloom_core::bytes::{Malformed, Read, Reader};
use heirloom_core::fold::{Derived, Dot, Head, HeadState, Note, Stored, derive};
use heirloom_core::format::body::{PatchBody, Tag, leaves, named_writers};
use heirloom_core::merge::{Live, apply, merge};
use heirloom_core::model::{Kind, State, Writer};

use super::content::At;
use super::view::View;
use crate::error::{Error, Result, Table};

/// What a version says of something.
enum Said<T, P> {
    /// All of it.
    Whole(T),
    /// What it is other than that of its parents.
    Change(P),
}

impl View<'_> {
    /// The content of a version in the log.
    pub(crate) fn content(&self, at: &At) -> Result<Stored> {
        let kept = |dot| self.caches.contents.get(&dot, self.directory);
        let apply = |at: &At, patch, parents: &[_]| self.patched(at, patch, parents);
        self.rebuilt(at, kept, |at| self.said_content(at), apply)
    }

    /// A version in the log as if it were a head.
    pub(crate) fn as_head(&self, at: &At) -> Result<Arc<Head>> {
        let kept = |dot| self.caches.heads.get(&dot);
        let derive = |at: &At, (), parents: &[_]| self.derived(at, parents);
        self.rebuilt(at, kept, |at| self.said_head(at), derive)
    }

    /// Walks back to versions that are kept in memory or say the whole, then forward again. What is
    /// not needed any more on the way is let go of, so that memory holds a few contents, not all of
    /// the walk.
    fn rebuilt<T: Clone, P>(
        &self,
        wanted: &At,
        kept: impl Fn(Dot) -> Option<T>,
        said: impl Fn(&At) -> Result<Said<T, P>>,
        make: impl Fn(&At, P, &[(Dot, T)]) -> Result<T>,
    ) -> Result<T> {
        if let Some(known) = kept(wanted.dot()) {
            return Ok(known);
        }
        // in the order of arrival, which puts each behind its parents
        let mut found = BTreeMap::new();
        let mut known: HashMap<Dot, T> = HashMap::new();
        let mut uses: HashMap<Dot, usize> = HashMap::new();
        let mut todo = vec![wanted.clone()];
        while let Some(at) = todo.pop() {
            let Entry::Vacant(entry) = found.entry((at.record.lsn, at.index)) else { continue };
            let said = said(&at)?;
            let parents = match said {
                Said::Whole(_) => Vec::new(),
                Said::Change(_) => self.parents(&at)?,
            };
            for dot in &parents {
                *uses.entry(*dot).or_default() += 1;
                if known.contains_key(dot) {
                    continue;
                }
                match kept(*dot) {
                    Some(value) => drop(known.insert(*dot, value)),
                    None => todo.push(self.known(*dot)?),
                }
            }
            entry.insert((at, said, parents));
        }
        for (at, said, parents) in found.into_values() {
            let value = match said {
                Said::Whole(value) => value,
                Said::Change(change) => {
                    let from = parents.iter().map(|p| Some((*p, known.get(p)?.clone())));
                    // rows of `dots` have no checksum: they may lead forward
                    let from = from.collect::<Option<Vec<_>>>().ok_or_else(|| {
                        Error::corrupt(Table::Log, at.record.lsn, "older than its parent")
                    })?;
                    make(&at, change, &from)?
                }
            };
            if at.dot() == wanted.dot() {
                return Ok(value);
            }
            for parent in parents {
                let uses = uses.entry(parent).or_default();
                *uses = uses.saturating_sub(1);
                if *uses == 0 {
                    known.remove(&parent);
                }
            }
            known.insert(at.dot(), value);
        }
        Err(Error::corrupt(Table::Log, wanted.record.lsn, "a version that leads nowhere"))
    }

    fn said_content(&self, at: &At) -> Result<Said<Stored, Vec<u8>>> {
        let void = at.record.void_of(at.index).is_some();
        if at.header().is_deletion() && !void {
            return Ok(Said::Whole(Stored::Tombstone));
        }
        if at.record.unverified || void {
            return Ok(Said::Whole(Stored::Absent));
        }
        let (tag, payload) =
            self.with_bytes(at.record.lsn, |bytes| at.record.body(at.index, bytes))?;
        Ok(match tag {
            Tag::Patch => Said::Change(payload),
            Tag::Full => {
                let state = self.read_full(&payload, &at.writer);
                Said::Whole(self.kept(at, state.map_err(|e| unreadable(at, e))?))
            }
            _ => Said::Whole(Stored::Absent),
        })
    }

    /// What a patch makes of the merge of the parents; absent where one of these is.
    fn patched(&self, at: &At, payload: Vec<u8>, parents: &[(Dot, Stored)]) -> Result<Stored> {
        let mut live = Vec::new();
        for (parent, content) in parents {
            match content {
                Stored::Live(state) => live.push((parent, state)),
                Stored::Tombstone => {}
                Stored::Absent => return Ok(Stored::Absent),
            }
        }
        let merged;
        let base = match &live[..] {
            [(_, only)] if parents.len() == 1 => &**only,
            _ => {
                let heads = live.iter().map(|(parent, _)| self.head_at(**parent));
                let heads = heads.collect::<Result<Vec<_>>>()?;
                let live: Vec<_> = live
                    .iter()
                    .zip(&heads)
                    .map(|((_, state), head)| Live { state, clock: &head.derived.clock })
                    .collect();
                merged = merge(&live);
                &merged
            }
        };
        let patch = PatchBody::decode(&payload, base).map_err(|e| unreadable(at, e))?;
        Ok(self.kept(at, apply(base, &patch, at.writer)))
    }

    /// A content, which the caches keep as well.
    fn kept(&self, at: &At, state: State) -> Stored {
        let state = Arc::new(state);
        self.caches.contents.insert(&at.writer, state.clone());
        Stored::Live(state)
    }

    /// A full body whose writers are known here.
    fn read_full(&self, payload: &[u8], own: &Writer) -> Read<State> {
        let mut r = Reader::new(payload);
        let mut table = vec![*own];
        for (reference, stamp) in named_writers(&mut r)? {
            let line = self.line_of(reference.log, reference.sequence, reference.prefix);
            let Some(line) = line.ok().flatten() else {
                return r.bad("a writer of an unknown log");
            };
            table.push(Writer { line, stamp, reference });
        }
        leaves(&mut r, &table)
    }

    fn said_head(&self, at: &At) -> Result<Said<Arc<Head>, ()>> {
        if let Some(Note::Derived(derived)) = at.record.notes.get(at.index) {
            return Ok(Said::Whole(self.kept_head(at, derived.clone(), 0)));
        }
        match at.header().kind() {
            Some(Kind::Create) => Ok(Said::Whole(self.derived(at, &[])?)),
            _ => Ok(Said::Change(())),
        }
    }

    /// Of a creation from itself; of a patch from its parents.
    fn derived(&self, at: &At, parents: &[(Dot, Arc<Head>)]) -> Result<Arc<Head>> {
        let own_type = at.header().entity_type.as_deref();
        let own_type = own_type.map(|t| self.type_number(t)).transpose()?.flatten();
        let before = parents.iter().map(|(_, head)| &head.derived);
        let derived = derive(self.directory, &at.writer, before, own_type)
            .ok_or_else(|| Error::corrupt(Table::Log, at.record.lsn, "a version without a type"))?;
        let depth = parents.iter().map(|(_, head)| head.depth + 1).max().unwrap_or(0);
        Ok(self.kept_head(at, derived, depth))
    }

    /// A version as a head, which the caches keep as well.
    fn kept_head(&self, at: &At, derived: Derived, depth: u64) -> Arc<Head> {
        let state = if at.header().is_deletion() {
            HeadState::Tombstone
        } else if at.record.unverified {
            HeadState::Absent
        } else {
            HeadState::InLog
        };
        let head = Arc::new(Head { writer: at.writer, derived, depth, state });
        let cost = 256 + head.derived.clock.iter().len() * 16;
        self.caches.heads.insert_if(at.dot(), head.clone(), cost, || self.is_fresh());
        head
    }
}

fn unreadable(at: &At, e: Malformed) -> Error {
    Error::corrupt(Table::Log, at.record.lsn, e)
}
