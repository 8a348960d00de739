//! Step 2: over loopback TCP from node to node, also when the connection is cut again and again.
//! And the ring of step 3.

use std::net::{Shutdown, TcpStream};
use std::thread;

use heirloom::{Engine, Lsn};
use heirloom_sync::transport::blocking;
use heirloom_sync::transport::tcp::PlainTcpListener;
use heirloom_sync::{Cancel, Config, Event, Report, Session, SyncError};
use indicatif::ProgressBar;

use crate::error::{Doing, Result};
use crate::link::{Half, Wire};
use crate::progress;

/// Times that the connection is cut, if there is enough to carry.
const CUTS: u64 = 5;

/// Round the ring so many times and still not equal: something is wrong.
const ROUNDS: usize = 4;

/// What it took to bring one node to what another holds.
#[derive(Debug, Default)]
pub(crate) struct Trip {
    /// Bytes in both directions, also of sessions that were cut.
    pub(crate) wire_bytes: u64,
    /// Sessions after a cut.
    pub(crate) resumes: u64,
    /// Round trips of the session that got through.
    pub(crate) round_trips: u64,
}

/// How many commits have arrived at a node.
pub(crate) fn arrived(engine: &Engine) -> Result<Lsn> {
    Ok(engine.replication().position()?.lsn)
}

/// What a node has to carry to one that holds its first so many commits.
#[derive(Debug, Default)]
pub(crate) struct Cargo {
    /// Versions.
    pub(crate) versions: u64,
    /// Bytes of the commits, canonical and uncompressed.
    pub(crate) raw_bytes: u64,
}

/// What `node` lacks of what `peer` holds.
pub(crate) fn cargo(node: &Engine, peer: &Engine) -> Result<Cargo> {
    const AT_ONCE: usize = 8 << 20;
    let replication = peer.replication();
    let (mut next, until) = (arrived(node)?, arrived(peer)?);
    let mut cargo = Cargo::default();
    while next < until {
        let batch = replication.commits(next, until, &|_, _, _| true, AT_ONCE)?;
        cargo.versions += batch.commits.iter().map(|commit| commit.versions).sum::<u64>();
        cargo.raw_bytes +=
            batch.commits.iter().map(|commit| commit.bytes.len() as u64).sum::<u64>();
        next = batch.next_lsn;
    }
    Ok(cargo)
}

/// Brings `node` to what `peer` holds.
pub(crate) fn pull(node: &Engine, peer: &Engine) -> Result<Trip> {
    let (wire, bar) = (Wire::new(None), progress::bar("sync", arrived(peer)?.get()));
    let report = session(node, peer, &wire, &bar)?;
    bar.finish_and_clear();
    Ok(Trip { wire_bytes: wire.passed(), resumes: 0, round_trips: u64::from(report.round_trips) })
}

/// The same with a connection that is cut [`CUTS`] times at random bytes; `raw_bytes` are about to
/// travel.
pub(crate) fn pull_with_cuts(
    node: &Engine,
    peer: &Engine,
    raw_bytes: u64,
    seed: u64,
) -> Result<Trip> {
    let mut trip = Trip::default();
    let mut random = seed;
    // Compressed it may be a fifth: all cuts together should come before the end.
    let span = (raw_bytes / (5 * CUTS)).max(300);
    let bar = progress::bar("sync", arrived(peer)?.get());
    for cut in 0..=CUTS {
        let wire = Wire::new((cut < CUTS).then(|| 1 + next(&mut random) % span));
        let report = session(node, peer, &wire, &bar);
        trip.wire_bytes += wire.passed();
        match report {
            Ok(report) => {
                trip.round_trips = u64::from(report.round_trips);
                break;
            }
            Err(error) if !wire.is_cut() => return Err(error),
            Err(_) => trip.resumes += 1,
        }
        bar.set_message(format!("commits, cut {} times", trip.resumes));
    }
    bar.finish_and_clear();
    Ok(trip)
}

/// Each with the next, round and round, until all hold the same. Returns the number of sessions.
pub(crate) fn ring(nodes: &[Engine]) -> Result<u64> {
    let mut sessions = 0;
    for _ in 0..ROUNDS {
        for (index, node) in nodes.iter().enumerate() {
            if all_equal(nodes)? {
                return Ok(sessions);
            }
            session(
                node,
                &nodes[(index + 1) % nodes.len()],
                &Wire::new(None),
                &ProgressBar::hidden(),
            )?;
            sessions += 1;
        }
    }
    // Not equal even now: the checks say so.
    Ok(sessions)
}

fn all_equal(nodes: &[Engine]) -> Result<bool> {
    let roots = nodes.iter().map(Engine::log_root).collect::<heirloom::Result<Vec<_>>>()?;
    Ok(roots.windows(2).all(|pair| pair[0] == pair[1]))
}

/// One session: `peer` listens, `node` connects, and reports.
fn session(node: &Engine, peer: &Engine, wire: &Wire, bar: &ProgressBar) -> Result<Report> {
    let before = arrived(node)?.get();
    let listener = PlainTcpListener::bind_loopback()?;
    let stream =
        TcpStream::connect(listener.local_addr()?).doing("connecting over the loopback")?;
    stream.set_nodelay(true).doing("connecting over the loopback")?;
    thread::scope(|scope| {
        let serving = scope.spawn(move || listener.accept_one(peer, Config::new()));
        let half = || Half::new(&stream, wire);
        let close = || {
            // It fails only if the cut was there first.
            stream.shutdown(Shutdown::Both).ok();
        };
        let session = Session::initiator(node, Config::new());
        let report = blocking::run(session, half(), half(), close, &Cancel::new(), |event| {
            if let Event::Progress(progress) = event {
                bar.set_position(before + progress.commits_received);
            }
        });
        let served = serving.join().unwrap_or(Err(SyncError::Cancelled));
        // Of a cut each end has its own view; the end that reports decides.
        let report = report?;
        served?;
        Ok(report)
    })
}

/// SplitMix64: the next number of a sequence that its seed fixes.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
