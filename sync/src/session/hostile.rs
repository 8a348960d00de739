//! Peers that say anything at all, past the checksum: typed errors, no panic, and no more than the
//! limits allow.

use std::time::Duration;

use heirloom_core::model::LogRoot;
use heirloom_core::replica::{Replica, log_root};
use proptest::prelude::*;

use super::frame::FrameWriter;
use super::hello::Greeting;
use super::message::*;
use super::{Config, Session};
use crate::error::{Divergence, PeerMisbehaved, Reason, Result, SyncError};
use crate::limits::{CLOCK_INLINE, COMMIT_MAX, PART_MAX, WANT_MAX, WINDOW};

#[path = "../../tests/sync/support/mod.rs"]
mod support;

use support::{DATASET, Naive, Random, node};

type Peer<'a> = Session<&'a Naive>;

/// A responder with some commits that has answered our hello, and taken our empty clock.
fn exchanging(naive: &Naive) -> Peer<'_> {
    naive.write(1, b"one");
    let mut session = Session::responder(naive, Config::default());
    hear(&mut session, Message::Hello(greeting().write())).unwrap();
    hear(&mut session, Message::Clock(clock(vec![]))).unwrap();
    hear(&mut session, Message::Forks(forks(false, vec![]))).unwrap();
    session
}

fn forks(answer: bool, rungs: Vec<WireEnd>) -> Forks {
    Forks { answer, more: false, rungs }
}

/// The hello of a store that wants everything.
fn greeting() -> Greeting {
    Greeting { dataset: Some(DATASET), ..Greeting::new(node(9), LogRoot::from_bytes([1; 32])) }
}

fn clock(ends: Vec<WireEnd>) -> Clock {
    Clock { relative: false, more: false, ends, staged: None, own: None }
}

fn end(name: u8, sequence: u64) -> WireEnd {
    WireEnd { log: [name; 16], sequence, prefix: [name; 16] }
}

fn part(total: u64, offset: u64, length: usize) -> Message {
    let head = WireHead { log: [5; 16], sequence: 1, chain: [5; 32], total, digest: [5; 16] };
    Message::Part(Part { head, offset, bytes: vec![0; length] })
}

fn hear(session: &mut Peer<'_>, message: Message) -> Result<()> {
    hear_payload(session, &message.encode())
}

fn hear_payload(session: &mut Peer<'_>, payload: &[u8]) -> Result<()> {
    let mut bytes = Vec::new();
    FrameWriter::default().write(payload, &mut bytes);
    session.handle_input(Duration::ZERO, &bytes)
}

#[track_caller]
fn misbehaves(outcome: Result<()>) -> PeerMisbehaved {
    match outcome {
        Err(SyncError::PeerMisbehaved(rule)) => rule,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_out_of_place_is_refused_in_every_state() {
    let all = || {
        [
            Message::Clock(clock(vec![])),
            Message::Commits(Commits { commits: vec![vec![1]] }),
            part(2, 0, 1),
            Message::Ack(Ack { credit: 0, ends: vec![] }),
            Message::End(SendingEnds { commits: 0 }),
            Message::Want(Want { more: false, commits: vec![] }),
            Message::Done(Done { cut: [0; 32], root: [0; 32], digest: [0; 32] }),
        ]
    };
    for message in all() {
        let naive = Naive::new(1);
        let mut session = Session::responder(&naive, Config::default());
        misbehaves(hear(&mut session, message));
    }
    for message in all().into_iter().skip(1) {
        let naive = Naive::new(1);
        naive.write(1, b"one");
        let mut session = Session::responder(&naive, Config::default());
        hear(&mut session, Message::Hello(greeting().write())).unwrap();
        misbehaves(hear(&mut session, message));
    }
    let done = || Message::Done(Done { cut: [0; 32], root: [0; 32], digest: [0; 32] });
    let want = || Message::Want(Want { more: false, commits: vec![] });
    for message in
        [Message::Clock(clock(vec![])), Message::Hello(greeting().write()), done(), want()]
    {
        misbehaves(hear(&mut exchanging(&Naive::new(1)), message));
    }
}

#[test]
fn after_an_error_nothing_is_taken_and_the_peer_is_told_once() {
    let naive = Naive::new(1);
    let mut session = exchanging(&naive);
    misbehaves(hear(&mut session, Message::Hello(greeting().write())));
    hear(&mut session, Message::Clock(clock(vec![]))).unwrap();
    let mut out = Vec::new();
    while session.poll_transmit(Duration::ZERO, &mut out).unwrap() {}
    let mut close = Vec::new();
    FrameWriter::default().write(&Message::Close(Close { reason: 4 }).encode(), &mut close);
    assert!(out.ends_with(&close));
    assert!(!session.is_finished());
    assert_eq!(session.poll_timeout(), None);
}

#[test]
fn bad_clocks_are_refused() {
    let relative = Clock { relative: true, ..clock(vec![]) };
    for bad in [
        clock(vec![end(3, 1), end(2, 1)]),
        clock(vec![end(2, 2), end(2, 1)]),
        clock(vec![end(2, 0)]),
        relative,
    ] {
        let naive = Naive::new(1);
        naive.write(1, b"one");
        let mut session = Session::responder(&naive, Config::default());
        hear(&mut session, Message::Hello(greeting().write())).unwrap();
        assert!(matches!(
            misbehaves(hear(&mut session, Message::Clock(bad))),
            PeerMisbehaved::BadClock
        ));
    }
}

#[test]
fn clocks_in_several_frames_must_ascend_over_all_of_them() {
    for (second, good) in [(3, true), (2, false), (1, false)] {
        let naive = Naive::new(1);
        let mut session = Session::responder(&naive, Config::default());
        hear(&mut session, Message::Hello(greeting().write())).unwrap();
        hear(&mut session, Message::Clock(Clock { more: true, ..clock(vec![end(2, 1)]) })).unwrap();
        let outcome = hear(&mut session, Message::Clock(clock(vec![end(second, 1)])));
        assert_eq!(outcome.is_ok(), good);
    }
}

#[test]
fn ladders_out_of_turn_or_order_are_refused() {
    let first = || Message::Forks(forks(false, vec![]));
    for bad in [
        vec![Message::Forks(forks(true, vec![]))],
        vec![first(), first()],
        vec![first(), Message::Forks(forks(true, vec![])), Message::Forks(forks(true, vec![]))],
        vec![Message::Forks(forks(false, vec![end(2, 2), end(2, 1)]))],
        vec![Message::Forks(forks(false, vec![end(2, 0)]))],
    ] {
        let naive = Naive::new(1);
        naive.write(1, b"one");
        let mut session = Session::responder(&naive, Config::default());
        hear(&mut session, Message::Hello(greeting().write())).unwrap();
        hear(&mut session, Message::Clock(clock(vec![]))).unwrap();
        let outcome = bad.into_iter().try_for_each(|message| hear(&mut session, message));
        assert!(matches!(misbehaves(outcome), PeerMisbehaved::BadClock));
    }
}

#[test]
fn commits_before_the_ladders_are_refused() {
    let naive = Naive::new(1);
    let mut session = Session::responder(&naive, Config::default());
    hear(&mut session, Message::Hello(greeting().write())).unwrap();
    hear(&mut session, Message::Clock(clock(vec![]))).unwrap();
    let outcome = hear(&mut session, Message::Commits(Commits { commits: vec![vec![1]] }));
    assert!(matches!(misbehaves(outcome), PeerMisbehaved::Unexpected { .. }));
}

#[test]
fn a_peer_that_claims_what_it_does_not_send_is_named() {
    let naive = Naive::new(1);
    let mut session = Session::responder(&naive, Config::default());
    hear(&mut session, Message::Hello(greeting().write())).unwrap();
    hear(&mut session, Message::Clock(clock(vec![end(2, 7)]))).unwrap();
    hear(&mut session, Message::Forks(forks(false, vec![]))).unwrap();
    hear(&mut session, Message::End(SendingEnds { commits: 0 })).unwrap();
    let mut out = Vec::new();
    let error = loop {
        match session.poll_transmit(Duration::ZERO, &mut out) {
            Ok(more) => assert!(more),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(
            error,
            SyncError::Diverged(Divergence::Missing { sequence, .. }) if sequence.get() == 7
        ),
        "{error}"
    );
}

#[test]
fn commits_that_are_none_or_too_many_or_too_early_blame_the_peer() {
    let commits = |commits| Message::Commits(Commits { commits });
    let naive = Naive::new(1);
    assert!(matches!(
        misbehaves(hear(&mut exchanging(&naive), commits(vec![]))),
        PeerMisbehaved::WrongCount
    ));
    let naive = Naive::new(1);
    let many = commits(vec![vec![]; 1001]);
    assert!(matches!(misbehaves(hear(&mut exchanging(&naive), many)), PeerMisbehaved::WrongCount));
    let naive = Naive::new(1);
    let mut session = exchanging(&naive);
    hear(&mut session, commits(vec![vec![7; 100]])).unwrap();
    let rule = misbehaves(hear(&mut session, Message::End(SendingEnds { commits: 1 })));
    assert!(
        matches!(rule, PeerMisbehaved::Refused(_) | PeerMisbehaved::OutOfOrder { .. }),
        "{rule}"
    );
    let naive = Naive::new(1);
    let rule = misbehaves(hear(&mut exchanging(&naive), Message::End(SendingEnds { commits: 1 })));
    assert!(matches!(rule, PeerMisbehaved::WrongCount));
}

#[test]
fn credit_is_a_limit_both_ways() {
    let naive = Naive::new(1);
    let rule = misbehaves(hear(
        &mut exchanging(&naive),
        Message::Ack(Ack { credit: u64::MAX, ends: vec![] }),
    ));
    assert!(matches!(rule, PeerMisbehaved::BeyondCredit));
    // Acknowledgements that are due but not sent are not credit yet: a peer that never reads cannot
    // make us take more and more.
    let naive = Naive::new(1);
    let mut session = exchanging(&naive);
    let mut offset = 0;
    let rule = loop {
        match hear(&mut session, part(COMMIT_MAX, offset, PART_MAX)) {
            Ok(()) => offset += PART_MAX as u64,
            outcome => break misbehaves(outcome),
        }
    };
    assert!(matches!(rule, PeerMisbehaved::BeyondCredit));
    assert_eq!(offset, WINDOW);
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    for bad in [
        part(10, 5, 5),
        part(10, 0, 11),
        part(10, 0, 0),
        part(u64::MAX, 0, 1),
        part(10, u64::MAX, 1),
    ] {
        let naive = Naive::new(1);
        misbehaves(hear(&mut exchanging(&naive), bad));
    }
    let naive = Naive::new(1);
    let mut session = exchanging(&naive);
    hear(&mut session, part(10, 0, 5)).unwrap();
    misbehaves(hear(&mut session, part(10, 6, 1)));
    let naive = Naive::new(1);
    let mut session = exchanging(&naive);
    hear(&mut session, part(10, 0, 5)).unwrap();
    misbehaves(hear(&mut session, Message::End(SendingEnds { commits: 0 })));
}

#[test]
fn parts_that_do_not_give_what_was_announced_are_dropped() {
    let naive = Naive::new(1);
    let mut session = exchanging(&naive);
    hear(&mut session, part(20, 0, 10)).unwrap();
    session.handle_timeout(Duration::from_millis(100)).unwrap();
    assert_eq!(naive.staged_so_far(node(9)), 10);
    let rule = misbehaves(hear(&mut session, part(20, 10, 10)));
    assert!(matches!(rule, PeerMisbehaved::WrongDigest));
    assert_eq!(naive.staged_so_far(node(9)), 0, "or every session would stumble over them again");
}

#[test]
fn a_peer_that_names_another_cut_has_diverged() {
    let naive = Naive::new(1);
    let mut session = exchanging(&naive);
    hear(&mut session, Message::End(SendingEnds { commits: 0 })).unwrap();
    while session.poll_transmit(Duration::ZERO, &mut Vec::new()).unwrap() {}
    let root = *naive.root().as_bytes();
    let other = Message::Done(Done { cut: [0; 32], root, digest: [0; 32] });
    let error = hear(&mut session, other).unwrap_err();
    let SyncError::Diverged(Divergence::Roots { ours, theirs }) = error else { panic!("{error}") };
    assert_eq!((ours, theirs), (naive.root(), LogRoot::from_bytes([0; 32])));
    assert_eq!(naive.remembered(node(9)).unwrap(), None);
}

#[test]
fn without_acknowledgements_no_more_than_the_window_is_sent() {
    for (count, length) in [(40, 256 << 10), (1, 10 << 20)] {
        let naive = Naive::new(1);
        for seed in 0..count {
            naive.write(1, &Random(seed).bytes(length));
        }
        let mut session = exchanging(&naive);
        let mut out = Vec::new();
        while session.poll_transmit(Duration::ZERO, &mut out).unwrap() {}
        let window = WINDOW as usize;
        assert!(out.len() < window + 10_000 && out.len() > window / 2, "{}", out.len());
    }
}

#[test]
fn a_peer_that_gives_up_is_quoted() {
    for (reason, expected) in
        [(1, Reason::Cancelled), (9, Reason::Replica), (77, Reason::Other(77))]
    {
        let naive = Naive::new(1);
        let outcome = hear(&mut exchanging(&naive), Message::Close(Close { reason }));
        assert!(matches!(outcome, Err(SyncError::PeerFailed(told)) if told == expected));
    }
}

#[test]
fn a_newer_peer_gets_an_answer_before_the_error() {
    let naive = Naive::new(1);
    let mut session = Session::responder(&naive, Config::default());
    let newer = Greeting { protocol: (2, 3), ..greeting() };
    let error = hear(&mut session, Message::Hello(newer.write())).unwrap_err();
    assert!(
        matches!(error, SyncError::PeerIncompatible { ours: (1, 1), theirs: (2, 3) }),
        "{error}"
    );
    let mut out = Vec::new();
    assert!(session.poll_transmit(Duration::ZERO, &mut out).unwrap());
    assert_eq!(out[9], 1, "a hello");
}

#[test]
fn empty_stores_of_different_datasets_do_not_guess() {
    let naive = Naive::new(1);
    let mut session = Session::responder(&naive, Config::default());
    let other = Greeting {
        dataset: Some(heirloom_core::model::DatasetId::from_bytes([8; 16])),
        root: log_root(&[]),
        ..greeting()
    };
    let error = hear(&mut session, Message::Hello(other.write())).unwrap_err();
    assert!(matches!(error, SyncError::WrongDataset { .. }), "{error}");
}

#[test]
fn a_hello_with_the_largest_clock_fits_its_frame() {
    let ends = (0..CLOCK_INLINE)
        .map(|at| WireEnd { sequence: u64::MAX, ..end(at as u8 + 1, 1) })
        .collect();
    let greeting = Greeting { clock: Some(clock(ends)), ..greeting() };
    let naive = Naive::new(1);
    let mut session = Session::responder(&naive, Config::default());
    hear(&mut session, Message::Hello(greeting.write())).unwrap();
}

/// Payloads that an honest end sends in a session with some commits, large and small.
fn honest() -> Vec<Vec<u8>> {
    let (a, b) = (Naive::new(9), Naive::new(1));
    b.write(1, b"one");
    a.write(3, &[3; 100]);
    a.write(1, &Random(1).bytes(40 << 10));
    let mut payloads = Vec::new();
    let config = Config::new().compression(false);
    let (mut a, mut b) = (Session::initiator(&a, config.clone()), Session::responder(&b, config));
    let mut out = Vec::new();
    while !(a.is_finished() && b.is_finished()) {
        out.clear();
        if a.poll_transmit(Duration::ZERO, &mut out).unwrap() {
            payloads.push(out[9..].to_vec());
        }
        b.handle_input(Duration::ZERO, &out).unwrap();
        out.clear();
        b.poll_transmit(Duration::ZERO, &mut out).unwrap();
        a.handle_input(Duration::ZERO, &out).unwrap();
    }
    payloads
}

proptest! {
    #[test]
    fn altered_messages_never_panic(
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()),
            1..6,
        ),
        cut in prop::option::of(any::<prop::sample::Index>()),
        drain: bool,
    ) {
        let mut payloads = honest();
        for (message, at, byte) in edits {
            let payload = message.get(&payloads).len();
            let chosen = message.index(payloads.len());
            // Mostly the beginning, where the structure is.
            payloads[chosen][at.index(payload.min(120))] = byte;
        }
        if let Some(cut) = cut {
            let chosen = cut.index(payloads.len());
            let length = payloads[chosen].len() / 2;
            payloads[chosen].truncate(length);
        }
        let naive = Naive::new(1);
        naive.write(1, b"one");
        let mut session = Session::responder(&naive, Config::default());
        for payload in payloads {
            if hear_payload(&mut session, &payload).is_err() {
                break;
            }
            let mut out = Vec::new();
            while drain && session.poll_transmit(Duration::ZERO, &mut out).unwrap_or(false) {}
        }
        let _ = session.handle_end_of_input(Duration::ZERO);
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(
        payload in prop::collection::vec(any::<u8>(), 0..200),
        tag in 0u8..14,
    ) {
        let _ = Message::decode(&payload);
        let _ = Message::decode(&[&[tag], &payload[..]].concat());
    }
}

#[test]
fn wants_come_only_announced_and_not_without_end() {
    let end = || WireEnd { log: [7; 16], sequence: 1, prefix: [7; 16] };
    let want = |more, count| Message::Want(Want { more, commits: vec![end(); count] });
    let announced = |naive| {
        let mut session = Session::responder(naive, Config::default());
        hear(
            &mut session,
            Message::Hello(Greeting { unverified: Some([1; 8]), ..greeting() }.write()),
        )
        .unwrap();
        hear(&mut session, Message::Clock(clock(vec![]))).unwrap();
        hear(&mut session, Message::Forks(Forks { answer: false, more: false, rungs: vec![] }))
            .unwrap();
        session
    };
    let naive = Naive::new(1);
    naive.write(1, b"one");
    let mut session = announced(&naive);
    hear(&mut session, want(true, 1)).unwrap();
    hear(&mut session, want(false, 1)).unwrap();
    assert!(
        matches!(misbehaves(hear(&mut session, want(false, 1))), PeerMisbehaved::WrongCount),
        "one was the last"
    );
    let mut session = announced(&naive);
    hear(&mut session, want(true, WANT_MAX)).unwrap();
    assert!(matches!(misbehaves(hear(&mut session, want(true, 1))), PeerMisbehaved::WrongCount));
}
