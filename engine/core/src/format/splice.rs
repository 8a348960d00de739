//! A long value said by what it takes from another one of its kind, and what is new in it
//! (FORMAT.md, 1.6). Only inside a patch, and never hashed: what a splice results in is.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::value::{skip_leaf, tag};
use crate::bytes::{Put, Read, Reader};

/// The byte that stands where a value's kind would: a splice follows.
const SPLICE: u8 = 0x20;
/// Shorter values are never worth it.
const WORTH: usize = 64;
/// A stretch that went elsewhere is found if it is about twice so long.
const BLOCK: usize = 16;
/// Blocks that a value is cut into at most: those of a longer one are longer.
const BLOCKS: usize = 65_536;

/// What stands behind tag and length of a value that may be spliced; nothing for others.
fn inside(value: &[u8]) -> Option<&[u8]> {
    let mut r = Reader::new(value);
    match r.u8().ok()? {
        tag::TEXT | tag::BYTES | tag::ARRAY | tag::VARIANT | tag::ATOMIC => r.bytes().ok(),
        _ => None,
    }
}

/// The value `new` as a splice of `old`, if that is shorter. Both are canonical bytes.
///
/// What both begin and end with is found at once. What lies between is looked up among the blocks
/// of `old`, so that lines that changed places are found, too. Costs a pass over both.
pub(super) fn splice(old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    if new.len() < WORTH || old.first() != new.first() {
        return None;
    }
    let (old, new_inside) = (inside(old)?, inside(new)?);
    let begin = in_common(old.iter().zip(new_inside));
    let (old_rest, new_rest) = (&old[begin..], &new_inside[begin..]);
    let end = in_common(old_rest.iter().rev().zip(new_rest.iter().rev()));
    let mut pieces = vec![Piece::Old(0..begin)];
    find_again(old, &new_rest[..new_rest.len() - end], &mut pieces);
    pieces.push(Piece::Old(old.len() - end..old.len()));
    let mut inner = Vec::with_capacity(64);
    inner.varint(new_inside.len() as u64);
    encode(&pieces, &mut inner);
    let mut out = vec![SPLICE];
    out.bytes(&inner);
    (out.len() < new.len()).then_some(out)
}

/// How many pairs in front are of equal bytes.
fn in_common<'a>(pairs: impl Iterator<Item = (&'a u8, &'a u8)>) -> usize {
    pairs.take_while(|(a, b)| a == b).count()
}

enum Piece<'a> {
    /// Taken from the old value.
    Old(Range<usize>),
    New(&'a [u8]),
}

fn encode(pieces: &[Piece<'_>], out: &mut Vec<u8>) {
    let mut at = 0;
    for piece in pieces {
        match piece {
            Piece::Old(from) if !from.is_empty() => {
                out.varint(2 * from.len() as u64);
                out.zigzag(from.start as i64 - at);
                at = from.end as i64;
            }
            Piece::New(new) if !new.is_empty() => {
                out.varint(2 * new.len() as u64 + 1);
                out.extend_from_slice(new);
            }
            _ => {}
        }
    }
}

/// Appends `new` in pieces, those that `old` has somewhere taken from there.
fn find_again<'a>(old: &[u8], new: &'a [u8], pieces: &mut Vec<Piece<'a>>) {
    let size = BLOCK.max(old.len() / BLOCKS);
    // what is looked for is at `at`; from `from` on nothing is found yet
    let (mut from, mut at) = (0, 0);
    if old.len() >= size && new.len() >= size {
        let blocks = Blocks::of(old, size);
        let mut hash = blocks.hash(new);
        while at + size <= new.len() {
            if let Some(place) = blocks.find(hash, &new[at..at + size]) {
                let before = old[..place].iter().rev().zip(new[from..at].iter().rev());
                let before = in_common(before);
                let behind = size + in_common(old[place + size..].iter().zip(&new[at + size..]));
                pieces.push(Piece::New(&new[from..at - before]));
                pieces.push(Piece::Old(place - before..place + behind));
                at += behind;
                from = at;
                hash = new.get(at..).map_or(0, |rest| blocks.hash(rest));
            } else {
                let next = new.get(at + size).copied().unwrap_or(0);
                hash = blocks.rolled(hash, new[at], next);
                at += 1;
            }
        }
    }
    pieces.push(Piece::New(&new[from..]));
}

/// The blocks of a value by hashes that roll: the first of those that have one.
struct Blocks<'a> {
    old: &'a [u8],
    size: usize,
    /// What the first byte of a window adds to its hash.
    weight: u64,
    /// Where each begins plus one, by the upper bits of its hash.
    places: Vec<u32>,
}

impl<'a> Blocks<'a> {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

    fn of(old: &'a [u8], size: usize) -> Self {
        let slots = (2 * old.len() / size).next_power_of_two().max(2);
        let weight = Self::FACTOR.wrapping_pow(size as u32 - 1);
        let mut out = Self { old, size, weight, places: vec![0; slots] };
        for (n, block) in old.chunks_exact(size).enumerate() {
            let slot = out.slot(out.hash(block));
            let place = &mut out.places[slot];
            if *place == 0 {
                *place = (n * size + 1) as u32;
            }
        }
        out
    }

    /// Of as many bytes in front as a block has; of fewer, of none that is ever looked for.
    fn hash(&self, bytes: &[u8]) -> u64 {
        let add = |hash: u64, byte: &u8| {
            hash.wrapping_mul(Self::FACTOR).wrapping_add(u64::from(*byte) + 1)
        };
        bytes.iter().take(self.size).fold(0, add)
    }

    /// The hash of a window one byte further on.
    fn rolled(&self, hash: u64, leaves: u8, enters: u8) -> u64 {
        let rest = hash.wrapping_sub((u64::from(leaves) + 1).wrapping_mul(self.weight));
        rest.wrapping_mul(Self::FACTOR).wrapping_add(u64::from(enters) + 1)
    }

    fn slot(&self, hash: u64) -> usize {
        // the low bits of such a sum depend on the last bytes alone
        let mixed = (hash ^ (hash >> 29)).wrapping_mul(Self::FACTOR);
        (mixed >> (64 - self.places.len().trailing_zeros())) as usize
    }

    fn find(&self, hash: u64, window: &[u8]) -> Option<usize> {
        let place = (self.places[self.slot(hash)] as usize).checked_sub(1)?;
        (self.old[place..place + self.size] == *window).then_some(place)
    }
}

/// Reads a leaf's value as a patch says it: itself, or a splice of `old`. `room`: how many bytes
/// splices may make, which goes down; none is allocated before that is checked. `depth`: how many
/// keys the path has.
pub(super) fn read<'s>(
    r: &mut Reader<'_>,
    old: impl FnOnce() -> Option<&'s [u8]>,
    room: &mut usize,
    depth: usize,
) -> Read<Box<[u8]>> {
    let mut pieces = r.clone();
    if pieces.u8()? != SPLICE {
        return skip_leaf(r, depth).map(Into::into);
    }
    let inner = pieces.bytes()?;
    *r = core::mem::replace(&mut pieces, Reader::new(inner));
    let known = old().and_then(|old| Some((*old.first()?, inside(old)?)));
    let Some((kind, old)) = known else { return r.bad("a splice of what cannot be spliced") };
    let length = pieces.varint()?;
    pieces.ensure(length <= *room as u64, "a splice beyond what a version may hold")?;
    *room -= length as usize;
    let mut out = Vec::with_capacity(length as usize + 11);
    out.push(kind);
    out.varint(length);
    let end = out.len() + length as usize;
    let mut at = 0_i64;
    while out.len() < end {
        let piece = pieces.varint()?;
        let n = piece / 2;
        pieces.ensure(n > 0 && n <= (end - out.len()) as u64, "a piece that does not fit")?;
        if piece % 2 == 1 {
            out.extend_from_slice(pieces.take(n as usize)?);
            continue;
        }
        let from = at.checked_add(pieces.zigzag()?);
        let from = from.and_then(|from| usize::try_from(from).ok());
        let taken = from.and_then(|from| old.get(from..from.checked_add(n as usize)?));
        let (Some(from), Some(taken)) = (from, taken) else {
            return pieces.bad("a piece of what is not there");
        };
        out.extend_from_slice(taken);
        at = (from + taken.len()) as i64;
    }
    pieces.end()?;
    let mut made = Reader::new(&out);
    skip_leaf(&mut made, depth)?;
    made.end()?;
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;
    use crate::format::value::encode_value;
    use crate::model::{Content, Value, Variant};

    fn made(old: &[u8], splice: &[u8], mut room: usize) -> Read<Box<[u8]>> {
        let mut r = Reader::new(splice);
        let value = read(&mut r, || Some(old), &mut room, 1)?;
        r.end()?;
        Ok(value)
    }

    fn text(of: &str) -> Vec<u8> {
        encode_value(&of.into()).unwrap()
    }

    /// Words in an order that no window of two repeats.
    fn words(n: u32) -> String {
        (0..n).map(|i| alloc::format!("word{} ", i.wrapping_mul(2_654_435_761))).collect()
    }

    #[test]
    fn a_sentence_that_is_replaced_costs_that_sentence() {
        let before = words(2_000);
        let at = before.len() / 2;
        let after = alloc::format!("{}Quite another one.{}", &before[..at], &before[at + 40..]);
        let (old, new) = (text(&before), text(&after));
        let splice = splice(&old, &new).unwrap();
        assert!(splice.len() < 18 + 16, "{}", splice.len());
        assert_eq!(*made(&old, &splice, new.len()).unwrap(), *new);
    }

    #[test]
    fn the_example_of_the_format_is_what_it_says() {
        let splice = [0x20, 0x07, 0x05, 0x04, 0x00, 0x03, 0x72, 0x04, 0x00];
        assert_eq!(*made(&text("fist"), &splice, 5).unwrap(), *text("first"));
    }

    #[test]
    fn paragraphs_that_change_places_and_many_small_changes_are_found() {
        let (a, b, c) = (words(300), words(500).split_off(3_000), "x".repeat(900));
        let old = text(&alloc::format!("{a}{b}{c}"));
        let swapped = text(&alloc::format!("{c}!{b}?{a}"));
        assert!(splice(&old, &swapped).unwrap().len() < 60);
        let mut changed = alloc::format!("{a}{b}{c}").into_bytes();
        (0..changed.len()).step_by(500).for_each(|at| changed[at] = b'#');
        let changed = text(&String::from_utf8(changed).unwrap());
        let small = splice(&old, &changed).unwrap();
        assert!(small.len() < changed.len() / 8, "{} of {}", small.len(), changed.len());
        assert_eq!(*made(&old, &small, changed.len()).unwrap(), *changed);
    }

    #[test]
    fn arrays_variants_and_atomic_maps_are_spliced_too_but_only_as_their_own_kind() {
        let items = |n: i64| (0..n).map(|i| Value::Int(i * 1_000)).collect::<Vec<_>>();
        let kinds: [fn(Vec<Value>) -> Value; 3] = [
            Value::Array,
            |items| Variant::new("list", Value::Array(items)).into(),
            |items| Value::Atomic(Content::new().with("list", Value::Array(items))),
        ];
        let of = |k: usize, n| encode_value(&kinds[k](items(n))).unwrap();
        for k in 0..3 {
            let splice = splice(&of(k, 100), &of(k, 102)).unwrap();
            assert!(splice.len() < 40);
            assert_eq!(*made(&of(k, 100), &splice, 1 << 20).unwrap(), *of(k, 102));
            assert_eq!(super::splice(&of(k, 100), &of((k + 1) % 3, 102)), None);
        }
        assert_eq!(super::splice(&text(&words(50)), &of(0, 100)), None);
    }

    #[test]
    fn what_cannot_be_is_an_error_before_memory_is_taken() {
        let old = text("seventeen bytes ä");
        let says = |inner: &[u8], old: &[u8], room| {
            let mut out = vec![SPLICE];
            out.bytes(inner);
            made(old, &out, room).map_err(|e| e.what)
        };
        let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        let beyond = Err("a splice beyond what a version may hold");
        assert_eq!(says(&huge, &old, usize::MAX >> 1), beyond);
        assert_eq!(says(&[18, 36, 0], &old, 17), beyond);
        assert_eq!(says(&[18, 36, 0], &old, 18), Ok(old.clone().into()));
        let no_place = Err("a piece of what is not there");
        assert_eq!(says(&[19, 38, 0], &old, 99), no_place);
        assert_eq!(says(&[1, 2, 1], &old, 99), no_place);
        assert_eq!(says(&[1, 2, 37], &old, 99), no_place);
        let too_much = Err("a piece that does not fit");
        assert_eq!(says(&[1, 4, 0], &old, 99), too_much);
        assert_eq!(says(&[1, 0, 0], &old, 99), too_much);
        assert_eq!(says(&[1, 3, b'x', 0], &old, 99), Err("bytes are left over"));
        assert_eq!(says(&[2, 3, b'x'], &old, 99), Err("bytes are missing"));
        // half of the last letter
        assert_eq!(says(&[17, 34, 0], &old, 99), Err("text is not UTF-8"));
        let number = encode_value(&7.into()).unwrap();
        assert_eq!(says(&[0], &number, 99), Err("a splice of what cannot be spliced"));
        // an array of two items in which only one stands
        let array = encode_value(&Value::Array(vec![1.into(), 2.into()])).unwrap();
        assert_eq!(says(&[3, 6, 0], &array, 99), Err("bytes are missing"));
    }

    proptest! {
        #[test]
        fn a_splice_makes_what_it_was_made_of_and_is_shorter(
            old in proptest::collection::vec(0..4u8, 0..400),
            cuts in proptest::collection::vec((0..400usize, 0..400usize, 0..3u8), 0..6),
        ) {
            // pieces of the old one in any order, and something new between them
            let mut new = Vec::new();
            for (a, b, fill) in cuts {
                let (a, b) = (a.min(old.len()), b.min(old.len()));
                new.extend_from_slice(&old[a.min(b)..a.max(b)]);
                new.extend(core::iter::repeat_n(fill + 4, fill.into()));
            }
            let old = encode_value(&Value::Bytes(old)).unwrap();
            let new = encode_value(&Value::Bytes(new)).unwrap();
            if let Some(splice) = splice(&old, &new) {
                prop_assert!(splice.len() < new.len());
                prop_assert_eq!(&*made(&old, &splice, new.len()).unwrap(), &new[..]);
            }
        }

        #[test]
        fn whatever_the_bytes_reading_ends(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let old = text("something to take from, longer than what follows");
            let mut room = 1 << 16;
            let mut r = Reader::new(&bytes);
            if let Ok(value) = read(&mut r, || Some(&old), &mut room, 1) {
                prop_assert!(value.len() <= (1 << 16) + 4);
            }
        }
    }
}
