//! Any bytes as what a peer sends in a session: messages in any order, with frames and checksums
//! that fit or do not, commits with hashes that fit, silence, and the end at any time. Whatever it
//! is, nothing panics, nothing grows beyond what the protocol allows, nothing false is stored, and
//! after an error nothing is taken.
//!
//! Byte 0 says which store, which side and which configuration. Then come pieces: what it is (one
//! byte), its length (two bytes, most significant first), its bytes.

use std::sync::OnceLock;
use std::time::Duration;

use heirloom::{Content, Engine, Patch, Timestamp};
use heirloom_sync::{Config, Session};

use crate::decoder::{Replay, hashes};
use crate::disk::Disk;
use crate::frame::frame;
use crate::fuzz::commits;
use crate::mend::Mender;
use crate::{specimen, twins};

/// What a piece is, in this order; larger bytes are taken modulo their number. With [`QUIET`]
/// added, nobody listens to what the session says then.
#[derive(Clone, Copy)]
enum Piece {
    /// The payload of a frame.
    Message,
    /// The same, as if it were compressed.
    Packed,
    /// Bytes as they are.
    Raw,
    /// A pack of commits, of which a message is made when their hashes fit.
    Commits,
    /// As many seconds pass as it has bytes.
    Silence,
    /// The peer sends no more.
    End,
}

impl Piece {
    const ALL: [Piece; 6] =
        [Piece::Message, Piece::Packed, Piece::Raw, Piece::Commits, Piece::Silence, Piece::End];
}

const QUIET: u8 = 0x80;
/// What a session may say to a peer that acknowledges nothing: the window, and a little around it.
const SAID_MAX: usize = 12 << 20;

/// See the module.
pub fn run(input: &[u8]) {
    let Some((&setting, mut rest)) = input.split_first() else { return };
    let engine = Store::of(setting).open();
    let mut session = open(&engine, setting & 1 == 1);
    let (mut now, mut said, mut is_over) = (Duration::ZERO, 0, false);
    while let [what, high, low, more @ ..] = rest {
        let length = (usize::from(*high) << 8 | usize::from(*low)).min(more.len());
        let (bytes, others) = more.split_at(length);
        rest = others;
        let heard = match Piece::ALL[usize::from(what & !QUIET) % 6] {
            Piece::Message => session.handle_input(now, &frame(0, bytes)),
            Piece::Packed => session.handle_input(now, &frame(1, bytes)),
            Piece::Raw => session.handle_input(now, bytes),
            Piece::Commits => session.handle_input(now, &frame(0, &mended(&engine, bytes))),
            Piece::Silence => {
                now += Duration::from_secs(length as u64);
                session.handle_timeout(now)
            }
            Piece::End => session.handle_end_of_input(now),
        };
        assert!(heard.is_ok() || !is_over, "an error is told once: {heard:?}");
        is_over |= heard.is_err();
        if what & QUIET == 0 {
            said += listen(&mut session, now, &mut is_over);
        }
        assert!(said < SAID_MAX, "{said} bytes");
    }
    drop(session);
    let found = engine.verify().unwrap();
    assert!(found.is_clean(), "{:?}", found.problems);
}

/// A session that begins at the time that a store's clock says.
fn at_its_time(engine: &Engine) -> Config {
    Config::new().wall_time(engine.replication().now())
}

fn open(engine: &Engine, initiates: bool) -> Session<&Engine> {
    let config = at_its_time(engine).lone_logs(3).opened_logs(3);
    if initiates { Session::initiator(engine, config) } else { Session::responder(engine, config) }
}

/// What the session has to say; how much.
fn listen(session: &mut Session<&Engine>, now: Duration, is_over: &mut bool) -> usize {
    let mut out = Vec::new();
    loop {
        match session.poll_transmit(now, &mut out) {
            Ok(true) => session.handle_transmitted(now),
            Ok(false) => break,
            Err(error) => {
                assert!(!*is_over, "an error is told once: {error:?}");
                *is_over = true;
            }
        }
    }
    while session.poll_event().is_some() {}
    out.len()
}

/// A message of commits that fit to what the store holds.
fn mended(engine: &Engine, pack: &[u8]) -> Vec<u8> {
    let dataset = hashes::dataset_id(specimen::DATASET);
    let (mut replay, mut mender) = (Replay::new(dataset), Mender::new(dataset));
    for commit in twins::commits_of(engine) {
        replay.add(&commit).expect("a sound store");
    }
    let mut mended = Vec::new();
    for commit in commits::unpack(pack) {
        let commit = mender.mend(&replay, commit);
        replay.add(&commit).ok();
        mended.push(commit);
    }
    let mut payload = vec![COMMITS];
    put_number(&mut payload, mended.len());
    for commit in mended {
        put_number(&mut payload, commit.len());
        payload.extend(commit);
    }
    payload
}

/// The tag of a message of commits.
const COMMITS: u8 = 4;

/// As bincode writes numbers.
fn put_number(out: &mut Vec<u8>, number: usize) {
    match number {
        0..=250 => out.push(number as u8),
        251..=0xffff => {
            out.push(251);
            out.extend((number as u16).to_le_bytes());
        }
        _ => {
            out.push(252);
            out.extend((number as u32).to_le_bytes());
        }
    }
}

/// What the store held before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Store {
    /// Nothing, not even a dataset.
    Empty,
    /// A few commits of two devices.
    Small,
    /// A bit of everything: a log that forked, bodies that do not verify, parts of a large commit.
    Specimen,
}

impl Store {
    const ALL: [Store; 3] = [Store::Empty, Store::Small, Store::Specimen];

    fn of(setting: u8) -> Self {
        Self::ALL[usize::from(setting >> 1) % 3]
    }

    fn open(self) -> Engine {
        let disk = Disk::holding(self.image().to_vec());
        builder(self).open_backend(disk).expect("it was closed well")
    }

    fn image(self) -> &'static [u8] {
        static IMAGES: [OnceLock<Vec<u8>>; 3] = [const { OnceLock::new() }; 3];
        IMAGES[self as usize].get_or_init(|| {
            if self == Store::Specimen {
                return specimen::image();
            }
            let disk = Disk::new();
            let engine = builder(self).open_backend(disk.clone()).unwrap();
            engine.replication().node().unwrap();
            if self == Store::Small {
                let id = specimen::entity(1);
                engine
                    .write(|tx| tx.create_with_id(id, "lamp", &Content::new().with("n", 1)))
                    .unwrap();
                let other = peer();
                twins::carry(&engine, &other);
                other.write(|tx| tx.patch(id, Patch::new().set("n", 2))).unwrap();
                twins::carry(&other, &engine);
                engine.write(|tx| tx.patch(id, Patch::new().set("n", 3))).unwrap();
            }
            engine.close().unwrap();
            disk.bytes()
        })
    }
}

fn builder(store: Store) -> heirloom::Builder {
    match store {
        Store::Empty => {
            let now = Timestamp::from_millis(1_700_000_000_000);
            Engine::builder().label("empty").wall_clock(move || now).entropy(|| [9; 16])
        }
        _ => specimen::builder(),
    }
}

/// Another device of the dataset.
fn peer() -> Engine {
    specimen::builder().label("tablet").entropy(|| [8; 16]).in_memory().unwrap()
}

/// What honest peers send to each of the stores, in both roles: where a fuzzer begins. Each with
/// its name.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    for (at, (store, name)) in
        Store::ALL.into_iter().zip(["empty", "small", "specimen"]).enumerate()
    {
        for (initiates, side) in [(true, "initiator"), (false, "responder")] {
            let peer = peer();
            let known = specimen::entity(1);
            if store == Store::Small {
                twins::carry(&store.open(), &peer);
                peer.write(|tx| tx.patch(known, Patch::new().set("n", 4))).unwrap();
            }
            let content = Content::new().with("n", 5).with("name", "from elsewhere");
            peer.write(|tx| tx.create_with_id(specimen::entity(2), "lamp", &content)).unwrap();
            let setting = (at as u8) << 1 | u8::from(initiates);
            out.push((format!("{name}-{side}"), recorded(setting, &peer)));
        }
    }
    out
}

fn recorded(setting: u8, peer: &Engine) -> Vec<u8> {
    let engine = Store::of(setting).open();
    let initiates = setting & 1 == 1;
    let mut session = open(&engine, initiates);
    let config = at_its_time(peer).compression(false);
    let mut other =
        if initiates { Session::responder(peer, config) } else { Session::initiator(peer, config) };
    let (mut out, mut bytes) = (vec![setting], Vec::new());
    while !(session.is_finished() && other.is_finished()) {
        bytes.clear();
        while session.poll_transmit(Duration::ZERO, &mut bytes).unwrap() {}
        other.handle_input(Duration::ZERO, &bytes).unwrap();
        bytes.clear();
        if other.poll_transmit(Duration::ZERO, &mut bytes).unwrap() {
            session.handle_input(Duration::ZERO, &bytes).unwrap();
            let payload = &bytes[9..];
            out.push(Piece::Message as u8);
            out.extend((payload.len() as u16).to_be_bytes());
            out.extend(payload);
        }
    }
    out
}
