//! The ring that frames lie in (FORMAT.md, 2.8): written from its beginning to its end and then
//! over again, as far as what lay there is in redb's tables.

use std::io;

use super::frame::{BLOCK, End, Frame, HEAD, Head};
use crate::error::{Error, Result, Table};
use crate::store::file::{Layout, Medium, failed};

/// No frame takes more than this part of the ring: so it is known how far behind a damaged one the
/// next begins, and a fresh one fits while the one before it is being drained.
const LARGEST: u64 = 8;
/// Bytes that are prepared ahead of what is written for the first time.
const AHEAD: u64 = 1 << 20;

pub(crate) struct Ring {
    medium: Medium,
    layout: Layout,
    /// Where it begins.
    at: u64,
    len: u64,
    /// Behind the last frame.
    end: End,
    /// What lies before is in the tables.
    drained: u64,
    /// What lies before is on its way there.
    frozen: u64,
    /// Bytes from its beginning that need not be prepared any more.
    prepared: u64,
    /// Position of a frame that was acknowledged and cannot be read: others follow it.
    damaged: Option<u64>,
    /// A write failed: nobody knows what of it is there.
    broken: bool,
}

impl Ring {
    /// `from`: up to where it is in the tables. With the payloads of all frames that lie behind.
    pub(crate) fn open(medium: Medium, layout: Layout, from: End) -> Result<(Self, Vec<Vec<u8>>)> {
        let (at, len) = layout.ring();
        let mut ring = Self {
            medium,
            layout,
            at,
            len,
            end: from,
            drained: from.position,
            frozen: from.position,
            prepared: 0,
            damaged: None,
            broken: false,
        };
        let mut payloads = ring.read_on()?;
        // what was damaged while it waited is no end: the frames behind it say so
        while let Some((head, payload)) = ring.beyond()? {
            ring.damaged.get_or_insert(ring.end.position);
            ring.take(&head);
            payloads.push(payload);
            payloads.extend(ring.read_on()?);
        }
        ring.prepared = ring.prepared_before();
        Ok((ring, payloads))
    }

    /// What it lies on, and how that is divided.
    pub(crate) fn lies_on(&self) -> (Medium, Layout) {
        (self.medium.clone(), self.layout)
    }

    /// What is damaged of what waits to be drained: the first frame that cannot be read.
    pub(crate) fn check(&self) -> Result<()> {
        match self.damaged {
            Some(position) => Err(Error::corrupt(
                Table::Journal,
                position,
                "the checksum of a frame does not fit, and others follow it",
            )),
            None => Ok(()),
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// At least so many were prepared by whoever wrote what is there: never less than what holds
    /// frames that are not drained.
    fn prepared_before(&self) -> u64 {
        let (from, to) = (self.drained % self.len, self.end.position % self.len);
        match self.end.position {
            0 => 0,
            _ if to < from || self.used() >= self.len => self.len,
            _ => to.next_multiple_of(AHEAD).max(AHEAD),
        }
    }

    /// Frames that were added behind the last one known.
    pub(crate) fn read_on(&mut self) -> Result<Vec<Vec<u8>>> {
        let mut out = Vec::new();
        while let Some((head, payload)) = self.next()? {
            self.take(&head);
            out.push(payload);
        }
        Ok(out)
    }

    fn take(&mut self, head: &Head) {
        self.end = End { position: head.position + head.size(), sum: head.sum };
    }

    /// The frame that follows the last: right behind it, or at the beginning of the ring.
    fn next(&self) -> Result<Option<(Head, Vec<u8>)>> {
        let end = self.end.position;
        for position in [end, end.next_multiple_of(self.len)] {
            if let Some((head, payload)) = self.frame(position)?
                && head.before == self.end.sum
            {
                return Ok(Some((head, payload)));
            }
        }
        Ok(None)
    }

    /// A frame that does not follow the last one, and lies where one can be that follows a frame
    /// behind the last.
    fn beyond(&self) -> Result<Option<(Head, Vec<u8>)>> {
        let end = self.end.position;
        let blocks = self.largest() / BLOCK;
        let from = [end, end.next_multiple_of(self.len)];
        let positions = from.iter().flat_map(|from| (0..=blocks).map(move |n| from + n * BLOCK));
        for position in positions.filter(|position| *position != end) {
            if let Some(found) = self.frame(position)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The frame at a position, if there is one.
    fn frame(&self, position: u64) -> Result<Option<(Head, Vec<u8>)>> {
        let place = position % self.len;
        let mut head = [0; HEAD];
        self.medium.read(self.at + place, &mut head).map_err(failed)?;
        let found = Head::decode(&head);
        // before memory is taken
        if found.position != position || found.size() > self.largest().min(self.len - place) {
            return Ok(None);
        }
        let mut bytes = vec![0; HEAD + found.len as usize];
        self.medium.read(self.at + place, &mut bytes).map_err(failed)?;
        let fits = found.fits(&bytes[16..]);
        Ok(fits.then(|| (found, bytes.split_off(HEAD))))
    }

    fn largest(&self) -> u64 {
        self.len / LARGEST
    }

    /// All that is in it is about to be drained. Where it ends.
    pub(crate) fn freeze(&mut self) -> End {
        self.frozen = self.end.position;
        self.end
    }

    /// Whether it is time to drain what was added since that began last.
    pub(crate) fn is_half_full(&self) -> bool {
        self.end.position - self.frozen > self.len / 2
    }

    fn used(&self) -> u64 {
        self.end.position - self.drained
    }

    /// Where a frame of this size would begin.
    fn place(&self, size: u64) -> u64 {
        let end = self.end.position;
        let fits = end % self.len + size <= self.len;
        // a store that stays small stays at the beginning
        if fits && self.used() > 0 { end } else { end.next_multiple_of(self.len) }
    }

    /// Whether a frame can be added before more is drained.
    pub(crate) fn has_room(&self, frame: &Frame) -> bool {
        let size = frame.size();
        let room = self.used() == 0 || self.place(size) + size - self.drained <= self.len;
        room && size <= self.largest()
    }

    /// Adds a frame; it is durable then. There must be [room](Self::has_room).
    ///
    /// After a failure nothing more is added: what of it is there shows the next opening.
    pub(crate) fn append(&mut self, frame: Frame) -> Result<()> {
        if self.broken {
            return Err(Error::Poisoned);
        }
        let position = self.place(frame.size());
        let (bytes, end) = frame.finish(position, &self.end.sum);
        // until it went well it went wrong, so that a panic below counts as a failure
        self.broken = true;
        self.write(position % self.len, &bytes).map_err(failed)?;
        self.broken = false;
        if self.used() == 0 {
            // what was passed by need not be drained
            (self.drained, self.frozen) = (position, position);
        }
        self.end = end;
        Ok(())
    }

    fn write(&mut self, place: u64, bytes: &[u8]) -> io::Result<()> {
        while self.prepared < place + bytes.len() as u64 {
            let more = AHEAD.min(self.len - self.prepared);
            self.medium.prepare(self.at + self.prepared, more as usize)?;
            self.prepared += more;
        }
        self.medium.write_durably(self.at + place, bytes)
    }

    /// What lies before a position is durable in the tables.
    pub(crate) fn drained(&mut self, position: u64) {
        self.drained = self.drained.max(position);
        self.damaged = self.damaged.filter(|damaged| *damaged >= position);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use redb::StorageBackend;
    use redb::backends::InMemoryBackend;

    use super::*;

    /// The smallest ring there is: 16 blocks, and frames of two at most.
    fn layout() -> Layout {
        Layout::with_ring(0)
    }

    fn medium() -> (Medium, Arc<InMemoryBackend>) {
        let memory = Arc::new(InMemoryBackend::new());
        memory.set_len(layout().tables_at()).unwrap();
        (Medium::Other(memory.clone()), memory)
    }

    fn open(medium: &Medium, from: End) -> (Ring, Vec<Vec<u8>>) {
        Ring::open(medium.clone(), layout(), from).unwrap()
    }

    fn frame(payload: &[u8]) -> Frame {
        let mut frame = Frame::new();
        frame.payload().extend_from_slice(payload);
        frame
    }

    #[derive(Clone, Debug)]
    enum Step {
        Append(u8, usize),
        Drain,
        Reopen,
        /// So many bytes of the next one arrive, and then the power goes.
        Cut(u8, usize, usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let len = 0..8_000usize;
        let step = prop_oneof![
            6 => (any::<u8>(), len.clone()).prop_map(|(byte, len)| Step::Append(byte, len)),
            2 => Just(Step::Drain),
            1 => Just(Step::Reopen),
            1 => (any::<u8>(), len, 0..8_000usize).prop_map(|(b, len, cut)| Step::Cut(b, len, cut)),
        ];
        prop::collection::vec(step, 0..80)
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            cases: 64,
            ..ProptestConfig::default()
        })]

        #[test]
        fn what_is_found_is_what_was_added_and_not_drained(steps in steps()) {
            let (medium, memory) = medium();
            let (mut ring, _) = open(&medium, End::default());
            let (mut naive, mut from) = (Vec::new(), End::default());
            for step in steps {
                match step {
                    Step::Append(byte, len) => {
                        let payload = vec![byte; len];
                        if ring.has_room(&frame(&payload)) {
                            ring.append(frame(&payload)).unwrap();
                            naive.push(payload);
                        } else {
                            prop_assert!(!naive.is_empty(), "an empty one has room");
                        }
                    }
                    Step::Drain => {
                        from = ring.freeze();
                        ring.drained(from.position);
                        naive.clear();
                    }
                    Step::Reopen => ring = open(&medium, from).0,
                    Step::Cut(byte, len, cut) => {
                        let payload = vec![byte; len];
                        let next = frame(&payload);
                        if !ring.has_room(&next) {
                            continue;
                        }
                        let position = ring.place(next.size());
                        let (bytes, _) = next.finish(position, &ring.end.sum);
                        let (at, torn) = (4096 + position % ring.len, cut.min(HEAD + len - 1));
                        memory.write(at, &bytes[..torn]).unwrap();
                        let mut there = vec![0; HEAD + len];
                        memory.read(at, &mut there).unwrap();
                        // the rest may be what lay there before
                        if there == bytes[..HEAD + len] {
                            naive.push(payload);
                        }
                        ring = open(&medium, from).0;
                    }
                }
                let (found, replayed) = open(&medium, from);
                prop_assert_eq!(&replayed, &naive);
                prop_assert!(found.check().is_ok());
                prop_assert_eq!(found.end, ring.end);
            }
        }

        #[test]
        fn no_damaged_frame_is_taken_and_those_behind_it_are_found(
            payloads in prop::collection::vec((any::<u8>(), 0..8_000usize), 1..8),
            drained in 0..40u8,
            at in any::<prop::sample::Index>(),
            bit in 0..8u8,
        ) {
            let (medium, memory) = medium();
            let (mut ring, _) = open(&medium, End::default());
            // begins anywhere
            for _ in 0..drained {
                ring.append(frame(b"before")).unwrap();
                let end = ring.freeze();
                if drained % 2 == 0 || !ring.has_room(&frame(&[0; 8_000])) {
                    ring.drained(end.position);
                }
            }
            let from = ring.freeze();
            ring.drained(from.position);
            let (mut added, mut ends) = (Vec::new(), Vec::new());
            for (byte, len) in payloads {
                let payload = vec![byte; len];
                if ring.has_room(&frame(&payload)) {
                    let begins = ring.place(frame(&payload).size());
                    ring.append(frame(&payload)).unwrap();
                    ends.push((begins, HEAD + len));
                    added.push(payload);
                }
            }
            let which = at.index(added.len());
            let (position, len) = ends[which];
            let byte = 4096 + position % ring.len + at.index(len) as u64;
            let mut flipped = [0];
            memory.read(byte, &mut flipped).unwrap();
            flipped[0] ^= 1 << bit;
            memory.write(byte, &flipped).unwrap();
            let (mut found, replayed) = open(&medium, from);
            added.remove(which);
            prop_assert_eq!(&replayed, &added);
            // of the last one nobody knows whether it ever was
            let is_last = which == added.len();
            prop_assert_eq!(found.check().is_ok(), is_last);
            let end = found.freeze();
            found.drained(end.position);
            prop_assert!(found.check().is_ok(), "it waits no more");
        }
    }

    #[test]
    fn a_failed_write_is_the_last_and_may_be_found_by_the_next_opening() {
        #[derive(Debug)]
        struct Broken(InMemoryBackend);
        impl StorageBackend for Broken {
            fn len(&self) -> io::Result<u64> {
                self.0.len()
            }
            fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
                self.0.read(offset, out)
            }
            fn set_len(&self, len: u64) -> io::Result<()> {
                self.0.set_len(len)
            }
            fn sync_data(&self) -> io::Result<()> {
                Err(io::ErrorKind::Other.into())
            }
            fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
                self.0.write(offset, data)
            }
        }
        let medium = Medium::Other(Arc::new(Broken(InMemoryBackend::new())));
        medium.set_len(layout().tables_at()).unwrap();
        let (mut ring, _) = open(&medium, End::default());
        assert!(matches!(ring.append(frame(b"a")), Err(Error::Storage(_))));
        assert!(matches!(ring.append(frame(b"b")), Err(Error::Poisoned)));
        assert_eq!(open(&medium, End::default()).1, [b"a"]);
    }

    #[test]
    fn what_stays_small_stays_at_the_beginning() {
        let (medium, memory) = medium();
        let (mut ring, _) = open(&medium, End::default());
        for _ in 0..100 {
            ring.append(frame(b"little")).unwrap();
            let end = ring.freeze();
            ring.drained(end.position);
        }
        let mut behind = vec![0; layout().tables_at() as usize - 2 * 4096];
        memory.read(2 * 4096, &mut behind).unwrap();
        assert!(behind.iter().all(|byte| *byte == 0));
    }
}
