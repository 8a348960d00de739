//! Which faults a world knows, and how often each comes: every seed draws its own few, so that rare
//! meetings of two of them happen often.

use crate::random::Random;

/// What goes wrong with a device or a link of its own accord.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// The power goes at some operation of the disk: what was not synced is there, or not, or in
    /// part.
    PowerCut,
    /// The process dies between two operations.
    Kill,
    /// A read fails.
    ReadError,
    /// A write fails.
    WriteError,
    /// A sync fails.
    SyncError,
    /// The disk is full.
    FullDisk,
    /// A write lands somewhere else, and nobody is told.
    Misdirected,
    /// A device loses all that it held.
    Forgets,
    /// A device makes a backup.
    Backup,
    /// A device goes on with its backup.
    Restore,
    /// A frame comes twice.
    RepeatedFrame,
    /// Bytes on their way are lost.
    LostBytes,
    /// Bytes that nobody sent.
    Garbage,
    /// A frame that is none but for its checksum.
    HostileFrame,
    /// The store of a device is copied to another, which goes on with it.
    Copy,
    /// What the disk holds now is put aside, to come back later.
    Image,
    /// A device goes on with what its disk held earlier: a rolled back machine.
    RollBack,
    /// A member writes a commit that breaks a rule.
    VoidCommit,
    /// A member writes a commit of a newer format.
    NewerCommit,
    /// A member writes in another's name.
    ForgedName,
    /// A member replaces the contents of somebody's commit.
    SpoiltBodies,
    /// A row of what follows from the log rots.
    RottenRow,
    /// A record of the log rots.
    RottenRecord,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 23] = [
        Fault::PowerCut,
        Fault::Kill,
        Fault::ReadError,
        Fault::WriteError,
        Fault::SyncError,
        Fault::FullDisk,
        Fault::Misdirected,
        Fault::Forgets,
        Fault::Backup,
        Fault::Restore,
        Fault::RepeatedFrame,
        Fault::LostBytes,
        Fault::Garbage,
        Fault::HostileFrame,
        Fault::Copy,
        Fault::Image,
        Fault::RollBack,
        Fault::VoidCommit,
        Fault::NewerCommit,
        Fault::ForgedName,
        Fault::SpoiltBodies,
        Fault::RottenRow,
        Fault::RottenRecord,
    ];

    /// As it is called in a report.
    pub fn name(self) -> &'static str {
        match self {
            Fault::PowerCut => "power_cut",
            Fault::Kill => "kill",
            Fault::ReadError => "read_error",
            Fault::WriteError => "write_error",
            Fault::SyncError => "sync_error",
            Fault::FullDisk => "full_disk",
            Fault::Misdirected => "misdirected_write",
            Fault::Forgets => "forgets_all",
            Fault::Backup => "backup",
            Fault::Restore => "restore",
            Fault::RepeatedFrame => "repeated_frame",
            Fault::LostBytes => "lost_bytes",
            Fault::Garbage => "garbage",
            Fault::HostileFrame => "hostile_frame",
            Fault::Copy => "copy",
            Fault::Image => "image",
            Fault::RollBack => "roll_back",
            Fault::VoidCommit => "void_commit",
            Fault::NewerCommit => "newer_commit",
            Fault::ForgedName => "forged_name",
            Fault::SpoiltBodies => "spoilt_bodies",
            Fault::RottenRow => "rotten_row",
            Fault::RottenRecord => "rotten_record",
        }
    }
}

/// The faults of one world. Their chance is a stream of its own.
pub(crate) struct Swarm {
    pub(crate) chance: Random,
    /// In a thousand steps.
    rates: Vec<(Fault, usize)>,
}

impl Swarm {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut chance = Random::new(seed ^ 0x5377_6172_6d00_0001);
        let often = chance.pick(&[0, 20, 45, 70]);
        let mut rates = Vec::new();
        for fault in Fault::ALL {
            if chance.percent(often) {
                rates.push((fault, chance.pick(&[4, 12, 40])));
            }
        }
        Self { chance, rates }
    }

    /// What begins to go wrong with this step.
    pub(crate) fn next(&mut self) -> Vec<Fault> {
        let chance = &mut self.chance;
        self.rates
            .iter()
            .filter(|(_, rate)| chance.below(1000) < *rate)
            .map(|(fault, _)| *fault)
            .collect()
    }
}
