//! A commit as it lies in the log: header and bodies compressed apart, so that one content is read
//! without the others.
//!
//! ```text
//! record      flags u8 · line · chain 32 · length of the front (raw, stored) · front · chunks ·
//!             checkpoint?
//! front       header · notes · chunk table · trailer                          (lz4 where it pays)
//! chunk       the encoded bodies of consecutive versions, about 8 KiB of them (lz4 where it pays)
//! checkpoint  state digest 32 · list of lines
//! ```
//!
//! Cut into pieces of [`PIECE`] bytes, each a sealed row under (lsn, piece), so that a page of the
//! table holds one piece or many small records.

use std::sync::{Arc, OnceLock};

use heirloom_core::bytes::{Put, Read, Reader};
use heirloom_core::fold::{
    Derived, Folded, Note, TypeSource, put_clock, put_line, read_clock, read_line,
};
use heirloom_core::format::body::{Body, Tag};
use heirloom_core::format::header::Header;
use heirloom_core::model::{
    Chain, CommitRef, Line, Lsn, Sequence, StateDigest, VersionRef, VoidReason, Writer,
};

use super::directory::Directory;
use crate::error::{Error, Result, Table};

/// One sealed row of this size fills a page of 4 KiB.
pub(crate) const PIECE: usize = 4_000;
const CHUNK: usize = 8 << 10;
/// Below this, lz4 does not pay.
const WORTH: usize = 64;
/// A chunk larger than this is not kept in memory with its record.
const KEEP: usize = 32 << 10;

const FRONT_LZ4: u8 = 1;
const UNVERIFIED: u8 = 2;
const CHECKPOINT: u8 = 4;

/// The fold of all logs after a commit, kept in the last record of each durable commit, so that
/// opening reads only that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Checkpoint {
    pub(crate) digest: StateDigest,
    /// The lines whose last commit no other refers to.
    pub(crate) frontier: Vec<Line>,
}

struct Chunk {
    versions: usize,
    raw: usize,
    stored: usize,
    kept: OnceLock<Arc<[u8]>>,
}

/// A commit in the log.
pub(crate) struct Record {
    pub(crate) lsn: Lsn,
    pub(crate) line: Line,
    pub(crate) chain: Chain,
    pub(crate) header: Header,
    pub(crate) header_bytes: Vec<u8>,
    pub(crate) notes: Vec<Note>,
    /// Of the whole commit; then its versions have no notes.
    pub(crate) void: Option<VoidReason>,
    /// Its bodies do not verify, or cannot be told to.
    pub(crate) unverified: bool,
    pub(crate) trailer: Vec<u8>,
    has_checkpoint: bool,
    chunks: Vec<Chunk>,
    chunks_at: usize,
}

/// What a record is made of.
pub(crate) struct RecordDraft<'a> {
    pub(crate) line: Line,
    pub(crate) chain: Chain,
    pub(crate) header_bytes: &'a [u8],
    pub(crate) trailer: &'a [u8],
    pub(crate) folded: &'a Folded,
}

impl RecordDraft<'_> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let folded = self.folded;
        let mut chunks: Vec<(usize, usize, Vec<u8>)> = Vec::new();
        let (mut open, mut versions) = (Vec::new(), 0);
        for (i, body) in folded.bodies.iter().enumerate() {
            open.extend_from_slice(body);
            versions += 1;
            if open.len() >= CHUNK || i + 1 == folded.bodies.len() {
                chunks.push((versions, open.len(), squeezed(std::mem::take(&mut open))));
                versions = 0;
            }
        }
        let mut front = Vec::with_capacity(self.header_bytes.len() + 64);
        front.bytes(self.header_bytes);
        put_notes(&mut front, folded.void, &folded.notes);
        front.varint(chunks.len() as u64);
        for (versions, raw, stored) in &chunks {
            front.varint(*versions as u64);
            front.varint(*raw as u64);
            front.varint(stored.len() as u64);
        }
        front.bytes(self.trailer);
        let raw = front.len();
        let front = squeezed(front);
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let mut out =
            Vec::with_capacity(64 + front.len() + chunks.iter().map(|c| c.2.len()).sum::<usize>());
        out.push(flag(front.len() < raw, FRONT_LZ4) | flag(folded.unverified, UNVERIFIED));
        put_line(&mut out, self.line);
        out.extend_from_slice(self.chain.as_bytes());
        out.varint(raw as u64);
        out.bytes(&front);
        for (_, _, stored) in chunks {
            out.extend_from_slice(&stored);
        }
        out
    }
}

/// Adds a checkpoint to a record's bytes.
pub(crate) fn add_checkpoint(record: &mut Vec<u8>, checkpoint: &Checkpoint) {
    if let Some(flags) = record.first_mut() {
        *flags |= CHECKPOINT;
    }
    record.extend_from_slice(checkpoint.digest.as_bytes());
    record.varint(checkpoint.frontier.len() as u64);
    for line in &checkpoint.frontier {
        put_line(record, *line);
    }
}

/// Compressed if that saves something; whoever reads knows it by the length.
fn squeezed(raw: Vec<u8>) -> Vec<u8> {
    if raw.len() < WORTH {
        return raw;
    }
    let packed = lz4_flex::block::compress(&raw);
    // never of the raw length: that is how whoever reads tells the two apart
    if packed.len() < raw.len() { packed } else { raw }
}

fn unsqueezed(stored: &[u8], raw: usize, what: &'static str) -> Read<Vec<u8>> {
    let r = Reader::new(stored);
    if stored.len() == raw {
        return Ok(stored.to_vec());
    }
    match lz4_flex::block::decompress(stored, raw) {
        Ok(out) if out.len() == raw => Ok(out),
        _ => r.bad(what),
    }
}

fn put_notes(out: &mut Vec<u8>, void: Option<VoidReason>, notes: &[Note]) {
    out.push(void.map_or(0, |v| v as u8));
    if void.is_some() {
        return;
    }
    for note in notes {
        match note {
            Note::Plain => out.push(0),
            Note::Void(v) => out.push(*v as u8),
            Note::Derived(d) => {
                out.push(u8::MAX);
                out.varint(d.generation);
                d.type_source.put(out);
                put_clock(out, &d.clock);
            }
        }
    }
}

fn notes(
    r: &mut Reader<'_>,
    header: &Header,
    directory: &Directory,
) -> Read<(Option<VoidReason>, Vec<Note>)> {
    let byte = r.u8()?;
    if byte != 0 {
        return VoidReason::from_byte(byte)
            .map_or_else(|| r.bad("an unknown reason"), |v| Ok((Some(v), Vec::new())));
    }
    let mut out = Vec::with_capacity(header.versions.len());
    for _ in &header.versions {
        out.push(match r.u8()? {
            0 => Note::Plain,
            u8::MAX => {
                let generation = r.varint()?;
                let type_source = TypeSource::read(r, directory)?;
                Note::Derived(Derived { generation, type_source, clock: read_clock(r)? })
            }
            byte => Note::Void(
                VoidReason::from_byte(byte).map_or_else(|| r.bad("an unknown reason"), Ok)?,
            ),
        });
    }
    Ok((None, out))
}

/// Gives bytes `from .. to` of a record, fewer at its end.
pub(crate) trait RecordBytes {
    fn read(&self, from: usize, to: usize) -> Result<Vec<u8>>;
}

impl RecordBytes for &[u8] {
    fn read(&self, from: usize, to: usize) -> Result<Vec<u8>> {
        Ok(self.get(from..to.min(self.len())).unwrap_or_default().to_vec())
    }
}

impl Record {
    /// Reads all but the bodies.
    pub(crate) fn load(lsn: Lsn, source: &dyn RecordBytes, directory: &Directory) -> Result<Self> {
        let unreadable = |e| Error::corrupt(Table::Log, lsn, e);
        let start = source.read(0, PIECE)?;
        let mut r = Reader::new(&start);
        let mut prologue = || -> Read<_> {
            let flags = r.u8()?;
            let (line, chain) = (read_line(&mut r)?, Chain::from_bytes(r.array()?));
            Ok((flags, line, chain, r.varint()? as usize, r.varint()? as usize, r.at()))
        };
        let (flags, line, chain, raw, stored, at) = prologue().map_err(unreadable)?;
        let end = at.saturating_add(stored);
        let front =
            if end <= start.len() { start[at..end].to_vec() } else { source.read(at, end)? };
        // what it claims to unpack to is bounded before memory is taken for it
        if front.len() != stored || raw > heirloom_core::limits::COMMIT {
            return Err(Error::corrupt(Table::Log, lsn, "the record is cut short"));
        }
        let front = unsqueezed(&front, raw, "the front does not decompress").map_err(unreadable)?;
        let mut record = Self::front(&front, flags, directory).map_err(unreadable)?;
        record.lsn = lsn;
        record.line = line;
        record.chain = chain;
        record.chunks_at = end;
        Ok(record)
    }

    fn front(front: &[u8], flags: u8, directory: &Directory) -> Read<Self> {
        let mut r = Reader::new(front);
        let header_bytes = r.bytes()?.to_vec();
        let header = Header::decode(&header_bytes)?;
        let (void, notes) = notes(&mut r, &header, directory)?;
        let mut chunks = Vec::new();
        for _ in 0..r.count(3)? {
            let (versions, raw, stored) =
                (r.varint()? as usize, r.varint()? as usize, r.varint()? as usize);
            chunks.push(Chunk { versions, raw, stored, kept: OnceLock::new() });
        }
        let trailer = r.bytes()?.to_vec();
        r.end()?;
        Ok(Self {
            lsn: Lsn::START,
            line: Line::default(),
            chain: Chain::from_bytes([0; 32]),
            header,
            header_bytes,
            notes,
            void,
            unverified: flags & UNVERIFIED != 0,
            trailer,
            has_checkpoint: flags & CHECKPOINT != 0,
            chunks,
            chunks_at: 0,
        })
    }

    /// About how much memory it takes.
    pub(crate) fn cost(&self) -> usize {
        let kept: usize = self.chunks.iter().map(|c| c.raw).filter(|raw| *raw <= KEEP).sum();
        512 + self.header_bytes.len() * 4 + self.notes.len() * 64 + kept
    }

    pub(crate) fn reference(&self, log: heirloom_core::model::LogId) -> CommitRef {
        CommitRef { log, sequence: self.header.last(), prefix: self.chain.prefix() }
    }

    pub(crate) fn contains(&self, sequence: Sequence) -> bool {
        (self.header.first..=self.header.last()).contains(&sequence)
    }

    /// Index of a version by its sequence; none where the versions are opaque.
    pub(crate) fn index(&self, sequence: Sequence) -> Option<usize> {
        let i = usize::try_from(sequence.since(self.header.first)?).ok()?;
        (i < self.header.versions.len()).then_some(i)
    }

    pub(crate) fn void_of(&self, index: usize) -> Option<VoidReason> {
        self.void.or(match self.notes.get(index) {
            Some(Note::Void(v)) => Some(*v),
            _ => None,
        })
    }

    /// Its bodies do not verify, and a peer may have others that do. Void versions, and what is
    /// newer, need none.
    pub(crate) fn lacks_bodies(&self) -> bool {
        let is_read = self.unverified && !self.header.is_newer();
        is_read && (0..self.header.versions.len()).all(|index| self.void_of(index).is_none())
    }

    /// The version at an index as a writer.
    pub(crate) fn writer(&self, log: heirloom_core::model::LogId, index: usize) -> Writer {
        let sequence = self.header.first.plus(index as u64);
        let reference = VersionRef { log, sequence, prefix: self.chain.prefix() };
        Writer { line: self.line, stamp: self.header.stamp().unwrap_or(u64::MAX), reference }
    }

    fn chunk(&self, k: usize, source: &dyn RecordBytes) -> Result<Arc<[u8]>> {
        let chunk = &self.chunks[k];
        if let Some(kept) = chunk.kept.get() {
            return Ok(kept.clone());
        }
        let at = self.chunks_at + self.chunks[..k].iter().map(|c| c.stored).sum::<usize>();
        let stored = source.read(at, at + chunk.stored)?;
        if stored.len() != chunk.stored || chunk.raw > heirloom_core::limits::BODIES {
            return Err(Error::corrupt(Table::Log, self.lsn, "the record is cut short"));
        }
        let raw: Arc<[u8]> = unsqueezed(&stored, chunk.raw, "a body does not decompress")
            .map_err(|e| Error::corrupt(Table::Log, self.lsn, e))?
            .into();
        // of a large one the caches keep what was made of it
        if chunk.raw <= KEEP {
            chunk.kept.set(raw.clone()).ok();
        }
        Ok(raw)
    }

    /// The body of a version: its tag and payload.
    pub(crate) fn body(&self, index: usize, source: &dyn RecordBytes) -> Result<(Tag, Vec<u8>)> {
        let mut first = 0;
        for (k, chunk) in self.chunks.iter().enumerate() {
            if index < first + chunk.versions {
                let raw = self.chunk(k, source)?;
                let mut r = Reader::new(&raw);
                let unreadable = |e| Error::corrupt(Table::Log, self.lsn, e);
                for _ in first..index {
                    Body::decode(&mut r).map_err(unreadable)?;
                }
                return Body::decode(&mut r)
                    .map(|b| (b.tag, b.payload.to_vec()))
                    .map_err(unreadable);
            }
            first += chunk.versions;
        }
        Err(Error::corrupt(Table::Log, self.lsn, "a body is missing"))
    }

    /// The fold after this commit, if it was the last of a durable commit.
    pub(crate) fn checkpoint(&self, source: &dyn RecordBytes) -> Result<Option<Checkpoint>> {
        if !self.has_checkpoint {
            return Ok(None);
        }
        let at = self.chunks_at + self.chunks.iter().map(|c| c.stored).sum::<usize>();
        let bytes = source.read(at, usize::MAX)?;
        let mut r = Reader::new(&bytes);
        let mut read = || -> Read<_> {
            let digest = StateDigest::from_bytes(r.array()?);
            let n = r.count(1)?;
            Ok(Checkpoint {
                digest,
                frontier: (0..n).map(|_| read_line(&mut r)).collect::<Read<_>>()?,
            })
        };
        read().map(Some).map_err(|e| Error::corrupt(Table::Log, self.lsn, e))
    }

    /// Its bytes, as they were before a checkpoint was added.
    pub(crate) fn without_checkpoint(&self, source: &dyn RecordBytes) -> Result<Vec<u8>> {
        let end = self.chunks_at + self.chunks.iter().map(|c| c.stored).sum::<usize>();
        let mut bytes = source.read(0, end)?;
        bytes.truncate(end);
        if let Some(flags) = bytes.first_mut() {
            *flags &= !CHECKPOINT;
        }
        Ok(bytes)
    }

    /// All bodies, as they travel.
    pub(crate) fn bodies(&self, source: &dyn RecordBytes) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(self.chunks.iter().map(|c| c.raw).sum());
        for k in 0..self.chunks.len() {
            out.extend_from_slice(&self.chunk(k, source)?);
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use heirloom_core::format::genesis::Genesis;
    use heirloom_core::format::header::VersionHeader;
    use heirloom_core::limits;
    use heirloom_core::model::{DatasetId, EntityId, Kind, LogId, Metadata, Sequence};

    use super::*;

    const LOG: LogId = LogId::from_bytes([1; 16]);

    fn directory() -> Directory {
        let directory = Directory::default();
        let genesis = Genesis {
            level: limits::LEVEL,
            dataset: DatasetId::NONE,
            nonce: [0; 16],
            managed: false,
            label: "phone".into(),
            public_key: None,
            predecessor: None,
        };
        directory.add_log(LOG, &genesis.encode(), &genesis);
        directory
    }

    /// A commit of creations with these contents, of which each stands in full.
    fn draft(contents: &[Vec<u8>]) -> (Header, Folded) {
        let version = |number: u16| VersionHeader {
            entity: EntityId::v5(&[0; 16], &number.to_be_bytes()),
            kind: Kind::Create as u8,
            entity_type: Some("lamp".into()),
            parents: Vec::new().into(),
        };
        let header = Header {
            level: limits::LEVEL,
            first: Sequence::FIRST,
            count: contents.len() as u64,
            wall: 7,
            excess: 0,
            refs: Vec::new(),
            states_root: [3; 32],
            metadata: Metadata::new(),
            versions: (0..contents.len() as u16).map(version).collect(),
        };
        let body = |payload: &Vec<u8>| {
            let mut out = Vec::new();
            Body { tag: Tag::Full, payload }.encode(&mut out);
            out
        };
        let folded = Folded {
            notes: vec![Note::Plain; contents.len()],
            void: None,
            unverified: false,
            bodies: contents.iter().map(body).collect(),
            changes: Vec::new(),
            voids: Vec::new(),
            local: false,
        };
        (header, folded)
    }

    fn encoded(header: &Header, folded: &Folded) -> Vec<u8> {
        let header_bytes = &header.encode();
        let chain = Chain::from_bytes([5; 32]);
        RecordDraft { line: Line::new(0), chain, header_bytes, trailer: &[0], folded }.encode()
    }

    fn load(bytes: &[u8]) -> Result<Record> {
        Record::load(Lsn::START, &bytes, &directory())
    }

    /// Some that compress and some that do not, of more than one chunk.
    fn contents() -> Vec<Vec<u8>> {
        let noise = |n: u64| (0..700).map(|i| (n.wrapping_mul(i * i + 7) >> 5) as u8).collect();
        (0..40).map(|n| if n % 2 == 0 { vec![n as u8; 900] } else { noise(n) }).collect()
    }

    #[test]
    fn each_body_is_read_without_the_others_and_all_of_them_as_they_travel() {
        let (header, folded) = draft(&contents());
        let bytes = encoded(&header, &folded);
        let record = load(&bytes).unwrap();
        assert!(record.chunks.len() > 2, "the premise");
        assert_eq!((&record.header, record.notes.len()), (&header, 40));
        assert_eq!(record.trailer, [0]);
        for (index, content) in contents().iter().enumerate() {
            assert_eq!(record.body(index, &&bytes[..]).unwrap(), (Tag::Full, content.clone()));
        }
        assert_eq!(record.bodies(&&bytes[..]).unwrap(), folded.bodies.concat());
        let places = [0, 1, 40, 41].map(|s| record.index(Sequence::new(s)));
        assert_eq!(places, [None, Some(0), Some(39), None]);
    }

    #[test]
    fn a_checkpoint_comes_on_top_and_goes_again() {
        let (header, folded) = draft(&contents());
        let plain = encoded(&header, &folded);
        assert_eq!(load(&plain).unwrap().checkpoint(&&plain[..]).unwrap(), None);
        let checkpoint = Checkpoint {
            digest: StateDigest::from_bytes([9; 32]),
            frontier: vec![Line::new(0), Line::new(300)],
        };
        let mut bytes = plain.clone();
        add_checkpoint(&mut bytes, &checkpoint);
        let record = load(&bytes).unwrap();
        assert_eq!(record.checkpoint(&&bytes[..]).unwrap(), Some(checkpoint));
        assert_eq!(record.without_checkpoint(&&bytes[..]).unwrap(), plain);
    }

    #[test]
    fn void_versions_and_void_commits_say_why() {
        let (header, mut folded) = draft(&contents()[..2]);
        folded.notes[1] = Note::Void(VoidReason::Kind);
        let record = load(&encoded(&header, &folded)).unwrap();
        assert_eq!([0, 1].map(|i| record.void_of(i)), [None, Some(VoidReason::Kind)]);
        folded.void = Some(VoidReason::Wall);
        let record = load(&encoded(&header, &folded)).unwrap();
        assert_eq!([0, 1].map(|i| record.void_of(i)), [Some(VoidReason::Wall); 2]);
        // nobody is asked for bodies that nobody reads
        folded.unverified = true;
        assert!(!load(&encoded(&header, &folded)).unwrap().lacks_bodies());
    }

    #[test]
    fn cut_anywhere_it_is_an_error_where_it_is_read_and_no_panic() {
        let (header, folded) = draft(&contents()[..6]);
        let bytes = encoded(&header, &folded);
        for cut in 0..bytes.len() {
            let left = &bytes[..cut];
            let whole = load(left).and_then(|record| record.bodies(&left));
            assert!(whole.is_err_and(|e| e.is_damage()), "{cut} of {} bytes", bytes.len());
        }
    }
}
