//! All that can be read of a store, to be compared before and after.

use std::collections::BTreeMap;

use heirloom::{Cursor, Engine, EntityId, Error, Lsn, Result, VersionRef};

use crate::twins;

/// Each piece under its name.
pub type Survey = BTreeMap<String, String>;

/// All of a store; the first error ends it.
pub fn survey(engine: &Engine) -> Result<Survey> {
    let mut out = Survey::new();
    let mut note = |name: String, text: String| drop(out.insert(name, brief(text)));
    let snapshot = engine.snapshot()?;
    note("log root".into(), snapshot.log_root()?.to_string());
    note("state digest".into(), snapshot.state_digest()?.to_string());
    note("clock".into(), format!("{:?}", snapshot.clock()?));
    note("arrivals".into(), snapshot.commits()?.to_string());
    let replication = engine.replication();
    let batch = replication.commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX)?;
    note("commits".into(), format!("{:?}", batch.commits));
    note("peers".into(), format!("{:?}", replication.peers()?));
    let staged = replication.staged(super::PEER)?;
    note("staged".into(), format!("{staged:?} {:?}", replication.staged_bytes(super::PEER)?));
    note("changes".into(), format!("{:?}", changes(engine)?));
    note("indexes".into(), format!("{:?}", engine.indexes()?));
    for entity_type in ["lamp", "draft", "blob"] {
        let listed = snapshot.list(entity_type).include_deleted().entities()?;
        note(format!("all of {entity_type}"), format!("{listed:?}"));
    }
    for room in 0..super::ROOMS {
        let found = snapshot.query("lamp", "room")?.equals(room).entities()?;
        let found: Vec<EntityId> = found.iter().map(|entity| entity.id()).collect();
        note(format!("in room {room}"), format!("{found:?}"));
    }
    let unsettled: Vec<EntityId> = snapshot.unsettled()?.collect::<Result<_>>()?;
    note("unsettled".into(), format!("{unsettled:?}"));
    for id in snapshot.entity_ids()? {
        let id = id?;
        let history: Vec<_> = snapshot.history(id)?.collect::<Result<_>>()?;
        for version in &history {
            let reference = version.reference();
            note(
                format!("content of {reference}"),
                format!("{:?}", snapshot.content_at(&reference)?),
            );
        }
        note(format!("history of {id}"), format!("{history:?}"));
    }
    Ok(out)
}

/// The versions in the change log, as far as it is told.
pub fn changes(engine: &Engine) -> Result<Vec<VersionRef>> {
    engine.changes(Cursor::START).map(|change| change.map(|change| change.version())).collect()
}

/// What differs, to be read by people.
pub fn differences(found: &Survey, wanted: &Survey) -> Vec<String> {
    let names =
        found.keys().chain(wanted.keys()).filter(|name| found.get(*name) != wanted.get(*name));
    names
        .map(|name| format!("{name}: {:?} and not {:?}", found.get(name), wanted.get(name)))
        .collect()
}

/// Panics unless nothing is damaged.
pub fn assert_sound(engine: &Engine, context: &str) {
    let verified = engine.verify().unwrap();
    assert!(verified.is_clean(), "{context}: {:?}", verified.problems);
}

/// What left a store: nobody may find it missing afterwards.
#[derive(Default)]
pub struct Handed {
    commits: Vec<Vec<u8>>,
    changes: Vec<VersionRef>,
}

impl Handed {
    /// All that a store gives now, one that lost its disk too. A part that it can no longer give is
    /// left out.
    pub fn by(engine: &Engine) -> Self {
        let replication = engine.replication();
        let mut commits = Vec::new();
        while let Ok(batch) =
            replication.commits(Lsn::new(commits.len() as u64), Lsn::END, &|_, _, _| true, 1)
        {
            if batch.commits.is_empty() {
                break;
            }
            commits.extend(batch.commits.into_iter().map(|commit| commit.bytes));
        }
        let changes = engine.changes(Cursor::START).map_while(Result::ok);
        Self { commits, changes: changes.map(|change| change.version()).collect() }
    }

    /// Panics if some of it is not there.
    pub fn assert_in(&self, engine: &Engine, context: &str) {
        let commits = twins::commits_of(engine);
        for commit in &self.commits {
            assert!(commits.contains(commit), "{context}: a commit that was handed out is missing");
        }
        let changes = changes(engine).unwrap();
        assert!(changes.starts_with(&self.changes), "{context}: a change that was told is missing");
    }
}

/// The name of the variant.
pub fn kind_of(error: &Error) -> String {
    format!("{error:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// Long texts as their hash.
fn brief(text: String) -> String {
    if text.len() < 200 { text } else { blake3::hash(text.as_bytes()).to_string() }
}
