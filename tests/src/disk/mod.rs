//! A disk in memory on which a store lives: it forgets what was not synced when its power is cut,
//! and fails as it is told to. Equal seeds give equal disks. What it models: sectors of 512 bytes
//! are written whole or not at all; a sync makes everything before it durable; what was not synced
//! survives in any selection and order.

mod platter;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use platter::Platter;

use crate::random::Random;

/// A power cut or a failing device, beginning with an operation of the given number. Each fault
/// strikes once, but for a full disk, a liar, and a cut, after which nothing works. Numbers count
/// from 1 and over the life of the disk: see [`Disk::counts`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Faults {
    /// The power goes at this one of all writes, changes of length and syncs: it may be done,
    /// wholly or in part, or not at all.
    pub cut: Option<u64>,
    /// This read fails.
    pub read: Option<u64>,
    /// This write fails, and nothing of it is done.
    pub write: Option<u64>,
    /// This sync fails, and makes nothing durable.
    pub sync: Option<u64>,
    /// This write lands somewhere else.
    pub misdirected: Option<u64>,
    /// Once that happened nothing can be read: redb, when it meets its own pages again in one
    /// commit, may end the process over them.
    pub blind: bool,
    /// No file can grow beyond so many bytes.
    pub longest: Option<u64>,
    /// Only so many blocks of 4 KiB can be in use.
    pub blocks: Option<usize>,
    /// Syncs do nothing, and say that they did.
    pub lies: bool,
}

/// How many operations there were.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Writes, changes of length and syncs: what a cut can interrupt.
    pub changes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Syncs.
    pub syncs: u64,
}

/// A disk. Clones are the same one, so that a test keeps it when a store is done with it.
#[derive(Clone, Default, Debug)]
pub struct Disk(Arc<Mutex<Device>>);

#[derive(Default)]
struct Device {
    platter: Platter,
    /// Those that hold something, which lengthening alone does not do.
    blocks: std::collections::BTreeSet<usize>,
    counts: Counts,
    faults: Faults,
    off: bool,
    struck: bool,
}

const BLOCK: usize = 4096;

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("counts", &self.counts)
            .field("faults", &self.faults)
            .finish()
    }
}

impl Disk {
    /// Empty, and without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// With bytes on it, all durable.
    pub fn holding(bytes: Vec<u8>) -> Self {
        let blocks =
            bytes.chunks(BLOCK).enumerate().filter(|(_, b)| b.iter().any(|byte| *byte != 0));
        let blocks = blocks.map(|(i, _)| i).collect();
        let device = Device { platter: Platter::holding(bytes), blocks, ..Device::default() };
        Self(Arc::new(Mutex::new(device)))
    }

    /// Says what will go wrong from now on, instead of what was said before.
    pub fn set_faults(&self, faults: Faults) {
        self.device().faults = faults;
    }

    /// The power goes at this operation.
    pub fn cut_at(&self, change: u64) {
        self.device().faults.cut = Some(change);
    }

    /// How many operations there were so far.
    pub fn counts(&self) -> Counts {
        self.device().counts
    }

    /// How many blocks of 4 KiB hold something.
    pub fn blocks(&self) -> usize {
        self.device().blocks.len()
    }

    /// Whether the power is cut.
    pub fn is_off(&self) -> bool {
        self.device().off
    }

    /// Whether anything went wrong so far, noticed or not.
    pub fn has_failed(&self) -> bool {
        self.device().struck
    }

    /// What is found when the power is back: what was durable, and what chance has it of the rest.
    /// This disk stays as it is, so that many outcomes of one cut can be looked at.
    pub fn after_a_cut(&self, seed: u64) -> Self {
        Self::holding(self.device().platter.after_a_cut(&mut Random::new(seed)))
    }

    /// What is found when only the process died: all that it wrote.
    pub fn after_a_kill(&self) -> Self {
        Self::holding(self.bytes())
    }

    /// All bytes, durable or not.
    pub fn bytes(&self) -> Vec<u8> {
        self.device().platter.seen().to_vec()
    }

    fn device(&self) -> MutexGuard<'_, Device> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Device {
    fn powered(&self) -> io::Result<()> {
        if self.off { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    /// Counts one that a cut can interrupt. Whether it is the one.
    fn begin_change(&mut self) -> io::Result<bool> {
        self.powered()?;
        self.counts.changes += 1;
        self.off = self.faults.cut.is_some_and(|cut| self.counts.changes >= cut);
        self.struck |= self.off;
        Ok(self.off)
    }

    fn write(&mut self, at: usize, bytes: &[u8]) -> io::Result<()> {
        self.begin_change()?;
        self.counts.writes += 1;
        if self.faults.write == Some(self.counts.writes) {
            self.struck = true;
            return Err(io::Error::other("this write fails"));
        }
        let length = self.platter.seen().len();
        if at + bytes.len() > length {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a write beyond the end"));
        }
        let blocks = at / BLOCK..(at + bytes.len()).div_ceil(BLOCK);
        let more = blocks.clone().filter(|block| !self.blocks.contains(block)).count();
        if more > 0 && self.faults.blocks.is_some_and(|most| self.blocks.len() + more > most) {
            self.struck = true;
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no block is free"));
        }
        self.blocks.extend(blocks);
        let at = match self.faults.misdirected {
            Some(number) if number == self.counts.writes => {
                self.struck = true;
                elsewhere(at, bytes.len(), length, number)
            }
            _ => at,
        };
        self.platter.write(at, bytes);
        self.powered()
    }

    fn set_length(&mut self, length: usize) -> io::Result<()> {
        self.begin_change()?;
        if length > self.platter.seen().len()
            && self.faults.longest.is_some_and(|most| length as u64 > most)
        {
            self.struck = true;
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no room"));
        }
        self.platter.set_length(length);
        self.blocks.retain(|block| block * BLOCK < length);
        self.powered()
    }

    fn sync(&mut self) -> io::Result<()> {
        let cut = self.begin_change()?;
        self.counts.syncs += 1;
        if self.faults.sync == Some(self.counts.syncs) {
            self.struck = true;
            return Err(io::Error::other("this sync fails"));
        }
        if !cut && !self.faults.lies {
            self.platter.sync();
        }
        self.powered()
    }

    fn read(&mut self, at: usize, out: &mut [u8]) -> io::Result<()> {
        self.powered()?;
        self.counts.reads += 1;
        let is_blind = self.faults.blind && self.struck;
        if is_blind || self.faults.read == Some(self.counts.reads) {
            self.struck = true;
            return Err(io::Error::other("this read fails"));
        }
        let bytes = self.platter.seen().get(at..at + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Another block, where there is one, as the number of the write has it.
fn elsewhere(at: usize, len: usize, length: usize, number: u64) -> usize {
    let places = (length.saturating_sub(len) / BLOCK).max(1);
    let other = Random::new(number).below(places) * BLOCK;
    if other == at { (at + BLOCK) % (places * BLOCK).max(1) } else { other }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        let device = self.device();
        device.powered()?;
        Ok(device.platter.seen().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.device().read(offset as usize, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.device().set_length(len as usize)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.device().sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.device().write(offset as usize, data)
    }
}
