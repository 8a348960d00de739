//! The commits of a repository, parents before children, as compact as a million of them should be.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::git::Repository;
use crate::oid::Oid;

/// A commit's place in the order: greater than its parents' places.
pub(crate) type Place = u32;

/// The commit graph in topological order.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    ids: Vec<Oid>,
    /// The parents of all commits, one after another; those of place `p` end at `ends[p]`.
    parents: Vec<Place>,
    ends: Vec<usize>,
    tips: Vec<Place>,
}

impl Graph {
    /// Reads it from git, which respects shallow boundaries and grafts.
    pub(crate) fn read(repository: &Repository) -> Result<Self> {
        let mut graph = Self::default();
        let mut places = HashMap::new();
        repository.commits(|id, parents| {
            let place = Place::try_from(graph.ids.len())
                .map_err(|_| Error::Git("too many commits".to_owned()))?;
            for parent in parents {
                let parent = places
                    .get(parent)
                    .ok_or_else(|| Error::Git(format!("{parent} comes after {id}")))?;
                // A commit may name one parent twice.
                if !graph.parents[graph.ends.last().copied().unwrap_or(0)..].contains(parent) {
                    graph.parents.push(*parent);
                }
            }
            graph.ids.push(id);
            graph.ends.push(graph.parents.len());
            places.insert(id, place);
            Ok(())
        })?;
        let tips = repository.tips()?;
        graph.tips = tips.iter().filter_map(|tip| places.get(tip).copied()).collect();
        graph.tips.sort_unstable();
        graph.tips.dedup();
        Ok(graph)
    }

    /// How many commits there are.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// All places, parents first.
    pub(crate) fn places(&self) -> std::ops::Range<Place> {
        0..self.ids.len() as Place
    }

    /// The object id of a commit.
    pub(crate) fn id(&self, place: Place) -> Oid {
        self.ids[place as usize]
    }

    /// The parents of a commit, each once, the first one first.
    pub(crate) fn parents(&self, place: Place) -> &[Place] {
        let place = place as usize;
        let start = if place == 0 { 0 } else { self.ends[place - 1] };
        &self.parents[start..self.ends[place]]
    }

    /// Commits without parents.
    pub(crate) fn roots(&self) -> impl Iterator<Item = Place> {
        self.places().filter(|place| self.parents(*place).is_empty())
    }

    /// Commits that a ref or a HEAD names.
    pub(crate) fn tips(&self) -> &[Place] {
        &self.tips
    }
}
