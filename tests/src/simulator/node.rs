//! One device: an engine, a clock of its own, chance of its own, and what its application does with
//! it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use heirloom::replication::End;
use heirloom::{
    Builder, Clock, Content, Engine, Entity, EntityId, FieldConflict, LogId, Patch, Sequence,
    Snapshot, Timestamp, Transaction, VersionRef,
};

use super::canary::{Canary, Lies, Tampered};
use super::ledger::{Op, Shown};
use super::link::Seam;
use super::naive::{Leaves, leaves};
use super::policy::{Rule, Rules, patch};
use super::spoil::spoilt;
use crate::disk::{Disk, Faults};
use crate::random::Random;

/// The dataset that all nodes share.
pub(crate) const DATASET: &str = "simulation";

/// The true time, of which every device has its own idea.
#[derive(Clone, Default)]
pub(crate) struct Time(Arc<AtomicI64>);

impl Time {
    pub(crate) fn at(millis: i64) -> Self {
        Self(Arc::new(AtomicI64::new(millis)))
    }

    pub(crate) fn pass(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::Relaxed);
    }

    pub(crate) fn millis(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) engine: Engine,
    pub(crate) disk: Disk,
    /// What will go wrong with the disk while the engine is at work on it.
    pub(crate) trouble: Faults,
    /// The ends of its logs, when it was last asked: durable, since it told them.
    pub(crate) told: Vec<End>,
    /// How many syncs its disk had seen then: without another nothing more is durable.
    told_at: Option<u64>,
    /// How many commits it held before the disk could fail.
    pub(crate) held: u64,
    /// A file that its backup made, at some time.
    pub(crate) backup: Option<Vec<u8>>,
    /// What its disk held, at some time.
    pub(crate) image: Option<(Disk, BTreeSet<VersionRef>)>,
    /// What it wrote in its log, or the copy that it goes on with: a line, where others may go on
    /// with another one.
    pub(crate) line: BTreeSet<VersionRef>,
    builder: Builder,
    time: Time,
    skew: Arc<AtomicI64>,
    /// The latest time that it heard of, where it goes by that.
    latest: Arc<AtomicI64>,
    /// Its clock was never off by more than minutes.
    pub(crate) is_right: bool,
    canary: Option<Canary>,
    lies: Lies,
    /// Forms that were opened at some time and may come back.
    pub(crate) forms: Vec<Entity>,
    /// Log, sequence and wall of its last version, if it knows them, and its last version of each
    /// entity.
    pub(crate) place: Option<(LogId, Sequence)>,
    pub(crate) wall: Timestamp,
    pub(crate) last: BTreeMap<EntityId, VersionRef>,
}

impl Node {
    pub(crate) fn new(
        name: String,
        time: &Time,
        random: &mut Random,
        knows_the_dataset: bool,
        rules: Rules,
        canary: Option<Canary>,
    ) -> heirloom::Result<Self> {
        let skew = Arc::new(AtomicI64::new(0));
        let (now, off) = (time.clone(), skew.clone());
        let latest = Arc::new(AtomicI64::new(i64::MIN));
        let heard = latest.clone();
        let (seed, count) = (random.next(), AtomicU64::new(0));
        let draw =
            move || Random::new(seed.wrapping_add(count.fetch_add(1, Ordering::Relaxed))).bytes16();
        let mut builder = Engine::builder()
            .journal_bytes(0)
            .label(&*name)
            .wall_clock(move || {
                let millis = now.millis() + off.load(Ordering::Relaxed);
                Timestamp::from_millis(millis.max(heard.load(Ordering::Relaxed)))
            })
            .entropy(draw)
            // a small one reads the disk more often, which may fail
            .cache_bytes(if seed % 3 == 0 { 32 << 10 } else { 1 << 20 });
        let shows_otherwise = canary == Some(Canary::ShowsUnderAnotherPolicy);
        let rules = if shows_otherwise { Rules(rules.0.map(Rule::another)) } else { rules };
        builder = rules.configure(builder);
        if knows_the_dataset {
            builder = builder.dataset_name(DATASET);
        }
        let disk = Disk::new();
        Ok(Self {
            name,
            engine: builder.clone().open_backend(disk.clone())?,
            disk,
            trouble: Faults::default(),
            told: Vec::new(),
            told_at: None,
            held: 0,
            backup: None,
            image: None,
            line: BTreeSet::new(),
            builder,
            time: time.clone(),
            skew,
            latest,
            is_right: true,
            canary,
            lies: Lies::default(),
            forms: Vec::new(),
            place: None,
            wall: Timestamp::EPOCH,
            last: BTreeMap::new(),
        })
    }

    /// The process is gone; what the disk holds is opened again. Forms that were open are lost with
    /// it.
    pub(crate) fn reopen(&mut self, disk: Disk) -> heirloom::Result<()> {
        self.forms.clear();
        self.told_at = None;
        // redb may end the process over its own damaged pages
        let is_damaged = self.trouble.misdirected.is_some();
        let disk = match self.canary {
            Some(canary) if !is_damaged => spoilt(disk, canary),
            _ => disk,
        };
        self.trouble = Faults::default();
        self.disk = disk.clone();
        self.engine = self.builder.clone().open_backend(disk)?;
        Ok(())
    }

    /// What it keeps outside of its store is another from here on, if it is anything: the store
    /// will notice.
    pub(crate) fn moves(&mut self, mark: Option<u64>) {
        if let Some(mark) = mark {
            self.builder = self.builder.clone().install_id(mark.to_be_bytes());
        }
    }

    /// It goes on with another store, of which it knows nothing.
    pub(crate) fn begin_anew(&mut self) {
        self.place = None;
        self.line.clear();
        self.wall = Timestamp::EPOCH;
        self.last.clear();
        self.told.clear();
        self.told_at = None;
    }

    /// What it says to hold, to be compared after a crash.
    pub(crate) fn note_told(&mut self) -> heirloom::Result<()> {
        let syncs = self.disk.counts().syncs;
        if self.told_at.replace(syncs) == Some(syncs) {
            return Ok(());
        }
        self.told = self.engine.replication().position()?.ends;
        if self.has(Canary::FollowsAnyClock) {
            let clock = self.engine.snapshot()?.clock()?;
            let times = clock.iter().map(|(_, entry)| entry.stamp.as_millis());
            self.latest.store(times.max().unwrap_or(i64::MIN), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Sets its clock wrong by so much.
    pub(crate) fn set_skew(&mut self, millis: i64, is_right: bool) {
        self.skew.store(millis, Ordering::Relaxed);
        self.is_right &= is_right;
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.time.millis() + self.skew.load(Ordering::Relaxed))
    }

    pub(crate) fn has(&self, canary: Canary) -> bool {
        self.canary == Some(canary)
    }

    /// A form that stays open.
    pub(crate) fn keep(&mut self, form: Entity) {
        self.forms.push(form);
        if self.forms.len() > 6 {
            self.forms.remove(0);
        }
    }

    /// It has so many commits on their way, which a session is about to bring, too.
    pub(crate) fn has_on_its_way(&self, commits: u64) {
        self.lies.on_their_way(commits);
    }

    /// Its end of a session, and what to call when the link breaks. `peer`: where the other end
    /// stands.
    pub(crate) fn replica(
        &self,
        peer: impl FnOnce() -> heirloom::Result<Vec<End>>,
    ) -> heirloom::Result<Seam> {
        Ok(match self.canary {
            None => (Arc::new(self.engine.clone()), None),
            Some(canary) => {
                let (engine, lies) = (self.engine.clone(), self.lies.clone());
                let tampered = Arc::new(Tampered::new(engine, canary, lies, peer()?));
                (tampered.clone(), Some(tampered))
            }
        })
    }

    /// Does to the engine what the application wants.
    pub(crate) fn apply(&self, tx: &mut Transaction<'_>, op: &Op) -> heirloom::Result<()> {
        match op {
            Op::Create { id, entity_type, content } => tx.create_with_id(*id, entity_type, content),
            Op::Patch { id, unsets, sets } => {
                tx.patch(*id, patch(unsets, sets))?;
                if self.has(Canary::DecidesWhatItDidNotTouch) { decide(tx, *id) } else { Ok(()) }
            }
            Op::Put { form, content } if self.has(Canary::OverwritesWithAStaleForm) => {
                overwrite(tx, form, content)
            }
            Op::Put { form, content } => tx.put(form, content),
            Op::Delete { .. } if self.has(Canary::DropsDeletions) => Ok(()),
            Op::Delete { id } => tx.delete(*id),
            Op::Restore { id, version } => tx.restore(*id, version),
            Op::Resolve { id, seen, choice } => tx.resolve(*id, seen, choice),
            Op::Expect { id, heads } => tx.expect(*id, heads),
        }
    }

    /// How an entity stands, as its user sees it.
    pub(crate) fn shown(&self, snapshot: &Snapshot, id: EntityId) -> heirloom::Result<Shown> {
        let Some(entity) = snapshot.get_any(id)? else {
            return Ok(Shown {
                heads: BTreeSet::new(),
                entity_type: None,
                content: None,
                conflicts: Vec::new(),
                deletion: false,
            });
        };
        let mut content = (!entity.is_deleted()).then(|| leaves(&entity.content()));
        let open = snapshot.conflict(id)?.map_or_else(Vec::new, |c| c.fields);
        let sides = |f: &FieldConflict| {
            f.sides.iter().map(|s| (s.version, s.value.clone())).collect::<Vec<_>>()
        };
        let conflicts: Vec<_> = open.iter().map(|f| (f.path.clone(), sides(f))).collect();
        if self.has(Canary::ShowsTheLastArrival)
            && let Some((path, sides)) = conflicts.first()
            && let (Some(content), Some((_, value))) = (&mut content, sides.last())
        {
            content.insert(path.clone(), value.clone());
        }
        let mut heads: BTreeSet<VersionRef> = entity.heads().iter().copied().collect();
        if self.has(Canary::HidesAHead) && heads.len() > 1 {
            heads.pop_last();
        }
        Ok(Shown {
            heads,
            entity_type: Some(entity.entity_type().to_owned()),
            content,
            conflicts,
            deletion: entity.is_deletion_conflict(),
        })
    }

    /// What it shows of a moment in the past.
    pub(crate) fn past(
        &self,
        snapshot: &Snapshot,
        clock: &Clock,
        ids: &BTreeSet<EntityId>,
    ) -> heirloom::Result<BTreeMap<EntityId, Leaves>> {
        if self.has(Canary::ShowsThePresentForThePast) {
            return present(snapshot, ids);
        }
        let past = snapshot.as_of(clock)?;
        contents(ids, |id| past.get(id))
    }
}

/// What is shown now of those entities that are there.
pub(crate) fn present(
    snapshot: &Snapshot,
    ids: &BTreeSet<EntityId>,
) -> heirloom::Result<BTreeMap<EntityId, Leaves>> {
    contents(ids, |id| snapshot.get(id))
}

fn contents(
    ids: &BTreeSet<EntityId>,
    get: impl Fn(EntityId) -> heirloom::Result<Option<Entity>>,
) -> heirloom::Result<BTreeMap<EntityId, Leaves>> {
    let mut out = BTreeMap::new();
    for id in ids {
        out.extend(get(*id)?.map(|e| (*id, leaves(&e.content()))));
    }
    Ok(out)
}

/// Says of each open field what is shown of it.
fn decide(tx: &mut Transaction<'_>, id: EntityId) -> heirloom::Result<()> {
    let Some(entity) = tx.get(id)? else { return Ok(()) };
    let mut shown = leaves(&entity.content());
    shown.retain(|path, _| entity.conflicting_fields().contains(&path.join(".")));
    tx.patch(id, patch(&[], &shown.into_iter().collect::<Vec<_>>()))
}

/// The whole form over whatever is there.
fn overwrite(tx: &mut Transaction<'_>, form: &Entity, content: &Content) -> heirloom::Result<()> {
    let now = tx.get(form.id())?.map(|e| e.content()).unwrap_or_default();
    let unset = now.iter().fold(Patch::new(), |patch, (field, _)| patch.unset(field));
    tx.patch(form.id(), unset.set_all(content.clone()))
}
