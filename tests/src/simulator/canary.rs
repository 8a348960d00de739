//! Bugs planted on purpose, around the crates and never in them: one node uses its engine wrongly,
//! or shows sessions a replica that lies.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use heirloom::replication::Line;
use heirloom::replication::{
    Batch, End, Ingested, Located, Peer, Position, Replica, ReplicaError, Staged, StagedHead,
    WireCommit,
};
use heirloom::{CommitRef, DatasetId, Engine, LogId, Lsn, NodeId, Sequence, VersionRef};
type Result<T, E = ReplicaError> = std::result::Result<T, E>;

use crate::decoder::Frame;
use crate::forge;

/// A bug that is planted in one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Canary {
    /// Acknowledges what it is sent without storing the last commit of it.
    ForgetsAnAcknowledgedCommit,
    /// Claims ever after to hold a commit that it was sent and did not store.
    ClaimsWhatItDoesNotHold,
    /// Takes what was on its way when a link broke for received, and does not ask for it again.
    TakesACutOffForReceived,
    /// Sends commits before those that they build on.
    SendsOutOfOrder,
    /// Does not pass deletions on.
    WithholdsDeletions,
    /// Goes on with a large commit from a spoiled part.
    SpoilsAStagedPart,
    /// Writes a form back as a whole, over what others changed meanwhile.
    OverwritesWithAStaleForm,
    /// Acknowledges deletions that it does not write.
    DropsDeletions,
    /// Keeps the first half of a transaction that was given up.
    KeepsAnAbandonedWrite,
    /// Shows what is now when asked for a moment of the past.
    ShowsThePresentForThePast,
    /// Settles a conflict for whoever came last to it, not for the last write.
    ShowsTheLastArrival,
    /// Shows, and writes, under another policy than all others.
    ShowsUnderAnotherPolicy,
    /// With each patch it says of all open fields what is shown of them.
    DecidesWhatItDidNotTouch,
    /// Acknowledges, and passes on, what is not on its disk yet.
    AcknowledgesBeforeItIsDurable,
    /// Acknowledges commits that somebody else has brought, and that are not on its disk yet.
    AcknowledgesWhatAnotherBrought,
    /// Tells its application what it sees, and has not on its disk yet.
    AnswersFromWhatIsNotDurable,
    /// Sends what follows a commit, and not the commit.
    LeavesOutACommit,
    /// Passes commits on with other headers than they have.
    AltersAHeader,
    /// Passes commits on with other contents than they have.
    AltersContents,
    /// Takes the time from whoever is ahead of it.
    FollowsAnyClock,
    /// Does not pass on what it finds void.
    WithholdsVoids,
    /// Of several heads it shows all but one.
    HidesAHead,
    /// Of a log that forked it tells one branch.
    HidesABranch,
    /// Looks past what is in the journal alone.
    ForgetsTheJournal,
    /// Says that it has drained all, and has not drained the heads.
    DrainsAPart,
    /// Takes a frame for whole whose writing was cut off.
    TrustsATornFrame,
}

impl Canary {
    /// All of them.
    pub const ALL: [Canary; 26] = [
        Canary::ForgetsAnAcknowledgedCommit,
        Canary::ClaimsWhatItDoesNotHold,
        Canary::TakesACutOffForReceived,
        Canary::SendsOutOfOrder,
        Canary::WithholdsDeletions,
        Canary::SpoilsAStagedPart,
        Canary::OverwritesWithAStaleForm,
        Canary::DropsDeletions,
        Canary::KeepsAnAbandonedWrite,
        Canary::ShowsThePresentForThePast,
        Canary::ShowsTheLastArrival,
        Canary::ShowsUnderAnotherPolicy,
        Canary::DecidesWhatItDidNotTouch,
        Canary::AcknowledgesBeforeItIsDurable,
        Canary::AcknowledgesWhatAnotherBrought,
        Canary::AnswersFromWhatIsNotDurable,
        Canary::LeavesOutACommit,
        Canary::AltersAHeader,
        Canary::AltersContents,
        Canary::FollowsAnyClock,
        Canary::WithholdsVoids,
        Canary::HidesAHead,
        Canary::HidesABranch,
        Canary::ForgetsTheJournal,
        Canary::DrainsAPart,
        Canary::TrustsATornFrame,
    ];

    /// As it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Canary::ForgetsAnAcknowledgedCommit => "forgets-an-acknowledged-commit",
            Canary::ClaimsWhatItDoesNotHold => "claims-what-it-does-not-hold",
            Canary::TakesACutOffForReceived => "takes-a-cut-off-for-received",
            Canary::SendsOutOfOrder => "sends-out-of-order",
            Canary::WithholdsDeletions => "withholds-deletions",
            Canary::SpoilsAStagedPart => "spoils-a-staged-part",
            Canary::OverwritesWithAStaleForm => "overwrites-with-a-stale-form",
            Canary::DropsDeletions => "drops-deletions",
            Canary::KeepsAnAbandonedWrite => "keeps-an-abandoned-write",
            Canary::ShowsThePresentForThePast => "shows-the-present-for-the-past",
            Canary::ShowsTheLastArrival => "shows-the-last-arrival",
            Canary::ShowsUnderAnotherPolicy => "shows-under-another-policy",
            Canary::DecidesWhatItDidNotTouch => "decides-what-it-did-not-touch",
            Canary::AcknowledgesBeforeItIsDurable => "acknowledges-before-it-is-durable",
            Canary::AcknowledgesWhatAnotherBrought => "acknowledges-what-another-brought",
            Canary::AnswersFromWhatIsNotDurable => "answers-from-what-is-not-durable",
            Canary::LeavesOutACommit => "leaves-out-a-commit",
            Canary::AltersAHeader => "alters-a-header",
            Canary::AltersContents => "alters-contents",
            Canary::FollowsAnyClock => "follows-any-clock",
            Canary::WithholdsVoids => "withholds-voids",
            Canary::HidesAHead => "hides-a-head",
            Canary::HidesABranch => "hides-a-branch",
            Canary::ForgetsTheJournal => "forgets-the-journal",
            Canary::DrainsAPart => "drains-a-part",
            Canary::TrustsATornFrame => "trusts-a-torn-frame",
        }
    }

    /// Which invariant or requirement it breaks, by the ids in ARCHITECTURE.md. (I11, memory, is
    /// what the fuzz targets guard, which run under a limit.)
    pub fn breaks(self) -> &'static str {
        match self {
            Canary::ForgetsAnAcknowledgedCommit => "R23",
            Canary::ClaimsWhatItDoesNotHold => "R23",
            Canary::TakesACutOffForReceived => "R27",
            Canary::SendsOutOfOrder => "I3",
            Canary::WithholdsDeletions => "I2",
            Canary::SpoilsAStagedPart => "R27",
            Canary::OverwritesWithAStaleForm => "R15",
            Canary::DropsDeletions => "R2",
            Canary::KeepsAnAbandonedWrite => "I1",
            Canary::ShowsThePresentForThePast => "R11",
            Canary::ShowsTheLastArrival => "I7",
            Canary::ShowsUnderAnotherPolicy => "I7",
            Canary::DecidesWhatItDidNotTouch => "R20",
            Canary::AcknowledgesBeforeItIsDurable => "I9",
            Canary::AcknowledgesWhatAnotherBrought => "I9",
            Canary::AnswersFromWhatIsNotDurable => "I9",
            Canary::LeavesOutACommit => "I2",
            Canary::AltersAHeader => "I6",
            Canary::AltersContents => "R33",
            Canary::FollowsAnyClock => "I5",
            Canary::WithholdsVoids => "I8",
            Canary::HidesAHead => "I4, I10",
            Canary::HidesABranch => "R34",
            Canary::ForgetsTheJournal => "I9",
            Canary::DrainsAPart | Canary::TrustsATornFrame => "I1",
        }
    }

    /// Within how many seeds it must be caught, from any seed on.
    pub fn within(self) -> u64 {
        match self {
            // Only a session that was cut within a large commit and then goes on meets it.
            Canary::SpoilsAStagedPart => 600,
            // what it needs comes in a few seeds of a hundred: copies that are not noticed, right
            // clocks that meet wrong ones
            Canary::HidesABranch | Canary::FollowsAnyClock => 100,
            // the power must go while a frame is written, and leave its first sector and not all
            Canary::TrustsATornFrame => 400,
            // of some nodes one, in one of three ways, twice a seed
            Canary::AcknowledgesWhatAnotherBrought => 100,
            _ => 40,
        }
    }

    fn lies_about_its_position(self) -> bool {
        matches!(self, Canary::ClaimsWhatItDoesNotHold | Canary::TakesACutOffForReceived)
    }
}

impl FromStr for Canary {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Canary::ALL.into_iter().find(|c| c.name() == name).ok_or_else(|| {
            format!(
                "no canary is called {name:?}; there are {}",
                Canary::ALL.map(Canary::name).join(", ")
            )
        })
    }
}

/// What a lying replica remembers over its sessions.
#[derive(Clone, Default)]
pub(crate) struct Lies {
    claims: Arc<Mutex<BTreeMap<LogId, End>>>,
    on_their_way: Arc<AtomicU64>,
}

impl Lies {
    fn claimed(&self) -> MutexGuard<'_, BTreeMap<LogId, End>> {
        self.claims.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// So many commits are on their way, and will come once more.
    pub(crate) fn on_their_way(&self, commits: u64) {
        self.on_their_way.store(commits, Ordering::Relaxed);
    }

    /// From now on it claims to hold all this.
    fn claim(&self, ends: impl IntoIterator<Item = End>) {
        self.claimed().extend(ends.into_iter().map(|end| (end.log, end)));
    }
}

/// One end of one session at a node with a canary.
pub(crate) struct Tampered {
    engine: Engine,
    canary: Canary,
    lies: Lies,
    /// Where the peer really stood when the session began.
    peer: Vec<End>,
}

impl Tampered {
    pub(crate) fn new(engine: Engine, canary: Canary, lies: Lies, peer: Vec<End>) -> Self {
        Self { engine, canary, lies, peer }
    }

    /// The link under the session was cut.
    pub(crate) fn was_cut(&self) {
        if self.canary == Canary::TakesACutOffForReceived {
            self.lies.claim(self.peer.iter().copied());
        }
    }

    /// What it says to hold of a log, where that is more than it does.
    fn lie(&self, log: LogId, held: Sequence) -> Option<End> {
        let claimed = self.lies.claimed().get(&log).copied();
        claimed.filter(|end| self.canary.lies_about_its_position() && end.sequence > held)
    }

    /// Commits of which something is void.
    fn voids(&self) -> Result<BTreeSet<CommitRef>> {
        let snapshot = self.engine.snapshot().map_err(ReplicaError::store)?;
        let voids = snapshot.voids().map_err(ReplicaError::store)?;
        // of one version each, so that the version's ref is the commit's
        let one = |void: heirloom::Result<heirloom::VoidVersion>| {
            let VersionRef { log, sequence, prefix } = void.map_err(ReplicaError::store)?.version;
            Ok(CommitRef { log, sequence, prefix })
        };
        voids.map(one).collect()
    }

    fn deletes(&self, commit: &WireCommit) -> Result<bool> {
        let snapshot = self.engine.snapshot().map_err(ReplicaError::store)?;
        let End { log, sequence, chain } = commit.end;
        for back in 0..commit.versions {
            let Some(sequence) = sequence.back(back) else { break };
            let version = snapshot.version(&VersionRef { log, sequence, prefix: chain.prefix() });
            if version.map_err(ReplicaError::store)?.is_tombstone() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Replica for Tampered {
    fn own_log(&self) -> Result<Option<LogId>> {
        self.engine.own_log()
    }

    fn position(&self) -> Result<Position> {
        let mut position = self.engine.position()?;
        if self.canary == Canary::HidesABranch {
            position.ends.dedup_by_key(|end| end.log);
        }
        if !self.canary.lies_about_its_position() {
            return Ok(position);
        }
        let mut ends: BTreeMap<LogId, End> =
            position.ends.iter().map(|end| (end.log, *end)).collect();
        let claimed: Vec<LogId> = self.lies.claimed().keys().copied().collect();
        for log in claimed {
            let held = ends.get(&log).map_or(Sequence::START, |end| end.sequence);
            ends.extend(self.lie(log, held).map(|end| (log, end)));
        }
        position.ends = ends.into_values().collect();
        Ok(position)
    }

    fn locate(&self, commit: &CommitRef) -> Result<Option<Located>> {
        let found = self.engine.locate(commit)?;
        let lie = || self.lie(commit.log, Sequence::START).filter(|end| end.reference() == *commit);
        Ok(found.or_else(|| {
            let path = |end: End| vec![(Line::new(u32::MAX), end.sequence)];
            lie().map(|end| Located { end, lsn: Lsn::START, path: path(end) })
        }))
    }

    fn ends_of(&self, log: LogId) -> Result<Vec<End>> {
        let held = self.engine.ends_of(log)?;
        let last = held.iter().map(|end| end.sequence).max().unwrap_or_default();
        Ok(self.lie(log, last).map_or(held, |lie| vec![lie]))
    }

    fn ladder(&self, end: &End) -> Result<Vec<End>> {
        self.engine.ladder(end)
    }

    fn commits(
        &self,
        from: Lsn,
        until: Lsn,
        wanted: &dyn Fn(LogId, Line, Sequence) -> bool,
        budget: usize,
    ) -> Result<Batch> {
        let mut batch = self.engine.commits(from, until, wanted, budget)?;
        match self.canary {
            Canary::SendsOutOfOrder => batch.commits.reverse(),
            Canary::LeavesOutACommit if batch.commits.len() > 1 => drop(batch.commits.remove(0)),
            Canary::AltersAHeader | Canary::AltersContents => {
                if let Some(last) = batch.commits.last_mut() {
                    last.bytes = altered(&last.bytes, self.canary == Canary::AltersAHeader);
                }
            }
            Canary::WithholdsVoids => {
                let void = self.voids()?;
                batch.commits.retain(|commit| !void.contains(&commit.end.reference()));
            }
            Canary::WithholdsDeletions => {
                let mut kept = Vec::new();
                for commit in batch.commits {
                    if !self.deletes(&commit)? {
                        kept.push(commit);
                    }
                }
                batch.commits = kept;
            }
            _ => {}
        }
        Ok(batch)
    }

    fn ingest(&self, commits: &[&[u8]]) -> Result<Ingested> {
        let on_their_way = self.lies.on_their_way.load(Ordering::Relaxed);
        if self.canary == Canary::AcknowledgesWhatAnotherBrought && on_their_way > 0 {
            let mut skipped = Ingested::default();
            skipped.skipped = commits.len() as u64;
            return Ok(skipped);
        }
        let forgets = Canary::ForgetsAnAcknowledgedCommit == self.canary;
        let claims = Canary::ClaimsWhatItDoesNotHold == self.canary;
        let Some((last, rest)) = commits.split_last().filter(|_| forgets || claims) else {
            return self.engine.ingest(commits);
        };
        // A commit as it travels begins with the id of its log.
        let log = last.first_chunk().map(|log| LogId::from_bytes(*log));
        self.lies.claim(self.peer.iter().copied().filter(|end| Some(end.log) == log));
        if rest.is_empty() { Ok(Ingested::default()) } else { self.engine.ingest(rest) }
    }

    fn staged_bytes(&self, peer: NodeId) -> Result<Vec<u8>> {
        let mut bytes = self.engine.staged_bytes(peer)?;
        if self.canary == Canary::SpoilsAStagedPart
            && let Some(byte) = bytes.last_mut()
        {
            *byte ^= 1;
        }
        Ok(bytes)
    }

    fn unverified(&self, limit: usize) -> Result<Vec<CommitRef>> {
        Replica::unverified(&self.engine, limit)
    }

    fn verified(&self, commit: &CommitRef) -> Result<Option<WireCommit>> {
        Replica::verified(&self.engine, commit)
    }

    fn dataset(&self) -> Result<Option<DatasetId>> {
        Replica::dataset(&self.engine)
    }

    fn adopt(&self, dataset: DatasetId) -> Result<()> {
        self.engine.adopt(dataset)
    }

    fn node(&self) -> Result<NodeId> {
        Replica::node(&self.engine)
    }

    fn policy_fingerprint(&self) -> [u8; 8] {
        Replica::policy_fingerprint(&self.engine)
    }

    fn ends_at_lsn(&self, lsn: Lsn) -> Result<Vec<End>> {
        self.engine.ends_at_lsn(lsn)
    }

    fn first_lsn_beyond(&self, held: &dyn Fn(LogId, Line) -> Sequence) -> Result<Lsn> {
        self.engine.first_lsn_beyond(held)
    }

    fn staged(&self, peer: NodeId) -> Result<Option<Staged>> {
        self.engine.staged(peer)
    }

    fn stage(&self, peer: NodeId, head: &StagedHead, offset: u64, bytes: &[u8]) -> Result<()> {
        self.engine.stage(peer, head, offset, bytes)
    }

    fn unstage(&self, peer: NodeId) -> Result<()> {
        self.engine.unstage(peer)
    }

    fn remembered(&self, peer: NodeId) -> Result<Option<Peer>> {
        self.engine.remembered(peer)
    }

    fn remember(&self, node: NodeId, peer: Peer) -> Result<()> {
        self.engine.remember(node, peer)
    }
}

/// A commit that says something else, if only in a bit.
fn altered(bytes: &[u8], header: bool) -> Vec<u8> {
    let Ok(mut frame) = Frame::split(bytes) else { return bytes.to_vec() };
    let part = if header { &mut frame.header } else { &mut frame.bodies };
    if let Some(byte) = part.last_mut() {
        *byte ^= 1;
    }
    forge::join(&frame)
}
