//! Laws of the session, over a naive replica.

use std::time::Duration;

use super::support::{DATASET, Link, Naive, Random, alter, log, node};
use heirloom::DatasetId;
use heirloom_sync::{
    Config, Divergence, Outcome, Reason, Replica, ReplicaError, Session, Stall, SyncError,
    sync_in_process,
};
use proptest::prelude::*;

const KIB: usize = 1 << 10;

fn equal(replicas: &[&Naive]) -> bool {
    replicas
        .windows(2)
        .all(|pair| pair[0].root() == pair[1].root() && pair[0].all() == pair[1].all())
}

/// Replicas with `commits` random commits in all, some of which travelled in random syncs
/// meanwhile.
fn random_replicas(seed: u64, count: u8, commits: u64) -> Vec<Naive> {
    let mut random = Random(seed);
    let replicas: Vec<Naive> = (1..=count).map(Naive::new).collect();
    for _ in 0..commits {
        let at = random.below(u64::from(count)) as usize;
        match random.below(10) {
            0 => {
                let to = random.below(u64::from(count)) as usize;
                if to != at {
                    sync_in_process(&replicas[at], &replicas[to]).unwrap();
                }
            }
            1 => {
                let payload = random.bytes(40 * KIB);
                replicas[at].write(1, &payload);
            }
            _ => {
                let (versions, length) = (1 + random.below(5), random.below(300) as usize);
                let payload = random.bytes(length);
                replicas[at].write(versions, &payload);
            }
        }
    }
    replicas
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn random_replicas_converge_in_a_ring_and_nothing_is_sent_twice(seed: u64, count in 2u8..5) {
        let replicas = random_replicas(seed, count, 60);
        for naive in &replicas {
            naive.reset_counts();
        }
        let n = replicas.len();
        for at in 0..2 * n {
            let (a, b) = (&replicas[at % n], &replicas[(at + 1) % n]);
            let (a_report, b_report) = Link::default().sync(a, b).unwrap();
            prop_assert!(equal(&[a, b]));
            prop_assert_eq!(a_report.commits_sent, b_report.commits_received);
            prop_assert_eq!(b_report.commits_sent, a_report.commits_received);
            prop_assert_eq!(a_report.cut, b_report.cut);
            prop_assert_eq!(a_report.cut, Some(a.root()));
        }
        prop_assert!(equal(&replicas.iter().collect::<Vec<_>>()));
        for naive in &replicas {
            prop_assert_eq!(naive.counts().skipped, 0);
        }
    }

    #[test]
    fn any_cuts_are_resumed_until_equal(
        seed: u64,
        cuts in prop::collection::vec(1u64..60_000, 1..12),
    ) {
        let replicas = random_replicas(seed, 2, 60);
        let (a, b) = (&replicas[0], &replicas[1]);
        for cut in cuts {
            let _ = Link::breaking(cut).sync(a, b);
        }
        Link::default().sync(b, a).unwrap();
        prop_assert!(equal(&[a, b]));
    }

    #[test]
    fn an_altered_byte_ends_the_session_and_leaves_nothing_behind(
        seed: u64,
        at in 0u64..3000,
        mask in 1u8..,
    ) {
        let replicas = random_replicas(seed, 2, 30);
        let (a, b) = (&replicas[0], &replicas[1]);
        alter(a, b, at, mask);
        sync_in_process(a, b).unwrap();
        prop_assert!(equal(&[a, b]));
    }
}

#[test]
fn a_session_cut_at_every_byte_is_resumed_until_equal() {
    let whole = Link::default().sync(&small_pair().0, &small_pair().1).bytes;
    assert!(whole > 1000, "{whole}");
    for cut in 0..whole {
        let (a, b) = small_pair();
        let outcome = Link { slice: 100, ..Link::breaking(cut) }.sync(&a, &b);
        assert!(outcome.a.is_err() || outcome.b.is_err(), "cut at {cut} of {whole}");
        let (a_report, b_report) = Link::default().sync(&a, &b).unwrap();
        assert!(equal(&[&a, &b]), "cut at {cut}");
        assert_eq!(
            a_report.commits_skipped + b_report.commits_skipped,
            0,
            "cut at {cut}: what was durable is not sent again"
        );
    }
}

fn small_pair() -> (Naive, Naive) {
    let (a, b) = (Naive::new(1), Naive::new(2));
    for at in 0..6u8 {
        a.write(2, &[at; 60]);
        b.write(1, &[at; 90]);
    }
    (a, b)
}

#[test]
fn equal_stores_need_one_round_trip_and_under_200_bytes_however_large() {
    let (a, b) = (Naive::new(1), Naive::new(2));
    for at in 0..200 {
        a.write_to(log(at), 1, b"x");
    }
    sync_in_process(&a, &b).unwrap();
    for naive in [&a, &b] {
        naive.reset_counts();
    }
    let outcome = Link::default().sync(&a, &b);
    assert_eq!(outcome.turns, 2, "there and back");
    assert!(outcome.bytes < 200, "{} bytes", outcome.bytes);
    let bytes = outcome.bytes;
    let (a_report, b_report) = outcome.unwrap();
    for report in [a_report, b_report] {
        assert_eq!(
            (report.outcome, report.round_trips, report.settled),
            (Outcome::AlreadyEqual, 1, true)
        );
        assert_eq!(report.cut, Some(a.root()));
        assert_eq!(report.bytes_in + report.bytes_out, bytes);
    }
    assert_eq!(a.counts().remembers + b.counts().remembers, 0, "equal stores write nothing");
}

#[test]
fn few_logs_are_exchanged_in_two_round_trips() {
    let (a, b) = small_pair();
    let (a_report, b_report) = Link::default().sync(&a, &b).unwrap();
    assert_eq!((a_report.round_trips, b_report.round_trips), (2, 2));
    assert_eq!((a_report.outcome, a_report.settled), (Outcome::Verified, true));
}

#[test]
fn whoever_speaks_first_and_pulls_what_follows_a_known_log_waits_three_times() {
    let (a, b) = small_pair();
    Link::default().sync(&a, &b).unwrap();
    a.forget_cuts();
    b.forget_cuts();
    b.write(2, b"new");
    let outcome = Link::default().sync(&a, &b);
    let turns = outcome.turns;
    let (a_report, b_report) = outcome.unwrap();
    assert_eq!((a_report.commits_received, a_report.commits_sent), (1, 0));
    assert_eq!((a_report.round_trips, b_report.round_trips), (3, 2));
    assert_eq!(turns / 2, 3, "there and back");
}

#[test]
fn many_logs_cost_a_round_trip_more_once_and_then_only_what_changed() {
    let (a, b) = (Naive::new(1), Naive::new(2));
    for at in 10..250 {
        a.write_to(log(at), 1, b"a");
    }
    b.write(1, b"b");
    a.write(1, b"a");
    let (first, _) = Link::default().sync(&b, &a).unwrap();
    assert_eq!(first.round_trips, 3);
    a.write(1, b"again");
    b.write_to(log(9), 1, b"new log");
    let outcome = Link::default().sync(&b, &a);
    assert!(outcome.bytes < 1500, "{} bytes for two small commits", outcome.bytes);
    let (second, _) = outcome.unwrap();
    assert_eq!((second.round_trips, second.commits_skipped), (2, 0));
    assert!(equal(&[&a, &b]));
}

#[test]
fn what_came_in_the_last_session_is_not_sent_back_in_the_next() {
    for forgets in [false, true] {
        let (a, b) = (Naive::new(1), Naive::new(2));
        b.write(1, b"b");
        for _ in 0..50 {
            a.write(1, b"a");
        }
        Link::default().sync(&a, &b).unwrap();
        if forgets {
            b.forget_cuts();
        }
        b.write(1, b"later");
        let (a_report, b_report) = Link::default().sync(&a, &b).unwrap();
        assert_eq!((a_report.commits_sent, b_report.commits_sent), (0, 1), "forgets: {forgets}");
        assert!(equal(&[&a, &b]));
    }
}

#[test]
fn what_is_written_during_a_session_is_left_to_the_next() {
    let (a, b) = small_pair();
    let mut first = Session::initiator(&a, Default::default());
    let mut second = Session::responder(&b, Default::default());
    let (mut bytes, mut late) = (Vec::new(), false);
    while !(first.is_finished() && second.is_finished()) {
        bytes.clear();
        first.poll_transmit(Duration::ZERO, &mut bytes).unwrap();
        second.handle_input(Duration::ZERO, &bytes).unwrap();
        bytes.clear();
        second.poll_transmit(Duration::ZERO, &mut bytes).unwrap();
        first.handle_input(Duration::ZERO, &bytes).unwrap();
        if !std::mem::replace(&mut late, true) {
            a.write(1, b"late");
        }
    }
    assert_eq!((first.report().outcome, first.report().settled), (Outcome::Verified, false));
    assert_eq!(first.report().cut, second.report().cut);
    assert_ne!(a.root(), b.root());
    let (report, _) = sync_in_process(&a, &b).unwrap();
    assert_eq!((report.commits_sent, report.commits_received), (1, 0));
    assert!(equal(&[&a, &b]));
}

#[test]
fn two_sessions_at_once_on_one_replica_both_succeed() {
    let (hub, b, c) = (Naive::new(1), Naive::new(2), Naive::new(3));
    for at in 0..40u8 {
        hub.write(1, &[at; 30]);
        b.write(1, &[at; 40]);
    }
    b.write(1, &Random(5).bytes(300 * KIB));
    // Both bring the same: c is a copy of b that writes to a log of its own.
    sync_in_process(&c, &b).unwrap();
    c.write(1, b"c");
    let mut one =
        (Session::initiator(&b, Default::default()), Session::responder(&hub, Default::default()));
    let mut two =
        (Session::initiator(&c, Default::default()), Session::responder(&hub, Default::default()));
    let mut bytes = Vec::new();
    for _ in 0..200 {
        for pair in [&mut one, &mut two] {
            bytes.clear();
            pair.0.poll_transmit(Duration::ZERO, &mut bytes).unwrap();
            pair.1.handle_input(Duration::ZERO, &bytes).unwrap();
            bytes.clear();
            pair.1.poll_transmit(Duration::ZERO, &mut bytes).unwrap();
            pair.0.handle_input(Duration::ZERO, &bytes).unwrap();
        }
    }
    for session in [&one, &two] {
        assert!(session.0.is_finished() && session.1.is_finished());
    }
    for late in [&b, &c, &b] {
        sync_in_process(late, &hub).unwrap();
    }
    assert!(equal(&[&hub, &b, &c]));
}

#[test]
fn a_large_commit_goes_on_where_a_breaking_link_left_it() {
    let (a, b) = (Naive::new(1), Naive::new(2));
    a.write(1, b"before");
    a.write(1, &Random(1).bytes(3000 * KIB));
    a.write(1, b"after");
    b.write(1, b"b");
    let (mut total, mut sessions, mut staged) = (0, 0, 0);
    loop {
        let outcome = Link::breaking(100 << 10).sync(&a, &b);
        total += outcome.bytes;
        sessions += 1;
        if let (Ok(_), Ok(report)) = (&outcome.a, &outcome.b) {
            assert!(report.resumed_bytes > 2900 << 10, "{}", report.resumed_bytes);
            break;
        }
        let now = b.staged_so_far(node(1));
        assert!(now > staged || now == 0, "every session brings it further: {staged} then {now}");
        staged = now;
        assert!(sessions < 200);
    }
    assert!(equal(&[&a, &b]));
    assert!(total < 7000 << 10, "{total} bytes for 3,000 KiB over {sessions} sessions");
    assert_eq!(b.staged_so_far(node(1)), 0, "what is whole is not staged any more");
}

#[test]
fn small_commits_get_across_a_link_that_breaks_soon() {
    let (a, b) = (Naive::new(1), Naive::new(2));
    for at in 0..3000u32 {
        a.write(1, &Random(u64::from(at)).bytes(200));
    }
    let mut sessions = 0;
    while a.root() != b.root() {
        let _ = Link::breaking(100 << 10).sync(&a, &b);
        sessions += 1;
        assert!(sessions < 40, "no progress: {} commits", b.len());
    }
}

#[test]
fn frames_are_gathered_into_few_durable_commits() {
    let (a, b) = (Naive::new(1), Naive::new(2));
    for at in 0..2500u32 {
        a.write(1, &Random(u64::from(at)).bytes(1000));
    }
    let (_, report) = sync_in_process(&a, &b).unwrap();
    let counts = b.counts();
    assert_eq!(counts.ingests, report.durable_commits);
    assert!((2..=4).contains(&counts.ingests), "{counts:?} for 2.5 MB");
}

#[test]
fn what_was_gathered_becomes_durable_by_age_too() {
    let (a, b) = (Naive::new(1), Naive::new(2));
    for at in 0..200u32 {
        a.write(1, &Random(u64::from(at)).bytes(2000));
    }
    // One slice of 100 bytes every 5 ms: 20 kB a second.
    let outcome =
        Link { slice: 100, tick: Duration::from_millis(5), ..Link::default() }.sync(&a, &b);
    let (_, report) = outcome.unwrap();
    assert!(report.durable_commits >= 4, "{report:?}");
}

#[test]
fn a_store_without_a_dataset_adopts_that_of_its_peer() {
    for empty_first in [true, false] {
        let (a, b) = (Naive::new(1).with_dataset(None), Naive::new(2));
        b.write(1, b"b");
        let link = Link::default();
        if empty_first {
            link.sync(&a, &b).unwrap()
        } else {
            link.sync(&b, &a).unwrap()
        };
        assert_eq!(a.dataset().unwrap(), Some(DATASET));
        assert!(equal(&[&a, &b]));
    }
    let (a, b) = (Naive::new(1).with_dataset(None), Naive::new(2));
    Link::default().sync(&a, &b).unwrap();
    assert_eq!(a.dataset().unwrap(), Some(DATASET), "also of a peer that is empty itself");
}

#[test]
fn different_datasets_are_told_apart_on_both_ends_and_nothing_flows() {
    let other = DatasetId::from_bytes([9; 16]);
    // written to or not
    for (at_a, at_b) in [(1, 1), (1, 0), (0, 1), (0, 0)] {
        let (a, b) = (Naive::new(1), Naive::new(2).with_dataset(Some(other)));
        (0..at_a).for_each(|_| a.write(1, b"a"));
        (0..at_b).for_each(|_| b.write(1, b"b"));
        let outcome = Link::default().sync(&a, &b);
        for (outcome, here, there) in [(outcome.a, DATASET, other), (outcome.b, other, DATASET)] {
            let Err(SyncError::WrongDataset { ours, theirs }) = outcome else {
                panic!("{outcome:?}")
            };
            assert_eq!((ours.id, theirs.id), (here, there));
        }
        assert_eq!((a.len(), b.len()), (at_a, at_b));
        assert_eq!((a.dataset().unwrap(), b.dataset().unwrap()), (Some(DATASET), Some(other)));
    }
}

#[test]
fn both_branches_of_a_fork_are_exchanged() {
    for (ours, theirs) in [(1, 1), (1, 3), (3, 1)] {
        for copy_first in [false, true] {
            let a = Naive::new(1);
            a.write(1, b"trunk");
            let b = a.copy();
            for at in 0..ours {
                a.write(1, &[at, 1]);
            }
            for at in 0..theirs {
                b.write(1, &[at, 2]);
            }
            let outcome = if copy_first {
                Link::default().sync(&b, &a)
            } else {
                Link::default().sync(&a, &b)
            };
            for result in [outcome.a, outcome.b] {
                let report = result.unwrap();
                assert!(report.settled);
                // the rungs tell where the branches part: nothing travels that both have
                assert_eq!(report.commits_skipped, 0);
            }
            assert_eq!(a.all(), b.all());
            assert_eq!(
                (a.root(), a.len()),
                (b.root(), 1 + usize::from(ours) + usize::from(theirs))
            );
        }
    }
}

#[test]
fn equal_logs_with_different_heads_are_named() {
    let (a, b) = (Naive::new(1), Naive::new(2).with_wrong_digest());
    a.write(1, b"a");
    let outcome = Link::default().sync(&a, &b);
    assert!(
        matches!(outcome.a, Err(SyncError::Diverged(Divergence::Digests { .. }))),
        "{:?}",
        outcome.a
    );
    assert!(
        matches!(outcome.b, Err(SyncError::Diverged(Divergence::Digests { .. }))),
        "{:?}",
        outcome.b
    );
}

#[test]
fn a_silent_peer_ends_in_a_timeout_and_a_slow_one_does_not() {
    let a = Naive::new(1);
    let config = Config::new().handshake_timeout(Duration::MAX);
    let mut session = Session::initiator(&a, config);
    let mut out = Vec::new();
    assert!(session.poll_transmit(Duration::from_secs(5), &mut out).unwrap());
    assert_eq!(session.poll_timeout(), Some(Duration::from_secs(35)));
    session.handle_timeout(Duration::from_secs(34)).unwrap();
    session.handle_transmitted(Duration::from_secs(34));
    session.handle_timeout(Duration::from_secs(63)).unwrap();
    let error = session.handle_timeout(Duration::from_secs(64)).unwrap_err();
    assert!(matches!(error, SyncError::Timeout(Stall::Silent(_))), "{error}");
    assert_eq!(session.poll_timeout(), None);
}

/// Seconds after which a session that has said hello gives up, if a slice of `slice` bytes of
/// `stream` comes every `every` seconds.
fn gives_up(
    mut session: Session<&Naive>,
    stream: &[u8],
    slice: usize,
    every: u64,
) -> (u64, SyncError) {
    let mut slices = stream.chunks(slice);
    for now in 0..100_000 {
        let at = Duration::from_secs(now);
        let bytes = if now % every == 0 { slices.next().unwrap_or_default() } else { &[] };
        let took = session.handle_input(at, bytes);
        let mut out = Vec::new();
        while took.is_ok() && session.poll_transmit(at, &mut out).unwrap() {}
        if let Err(error) = took.and_then(|()| session.handle_timeout(at)) {
            return (now, error);
        }
    }
    panic!("it never gave up");
}

#[test]
fn a_peer_that_drips_bytes_gets_ten_seconds_for_its_hello_and_little_more_after_it() {
    let (a, b) = (Naive::new(1), Naive::new(2));
    let mut hello = Vec::new();
    Session::initiator(&b, Config::new()).poll_transmit(Duration::ZERO, &mut hello).unwrap();
    let responder = |config| Session::responder(&a, config);
    for every in [1, 3, 9, 29] {
        let (after, error) = gives_up(responder(Config::new()), &hello, 1, every);
        let limit = Duration::from_secs(10);
        assert!(matches!(error, SyncError::Timeout(Stall::NoHello(l)) if l == limit), "{error}");
        assert_eq!(after, 10);
        assert!(error.to_string().starts_with("the peer did not say hello within 10s"), "{error}");
    }
    let patient = Config::new().handshake_timeout(Duration::from_secs(3600));
    let (after, error) = gives_up(responder(patient), &[], 1, 1);
    assert!(matches!(error, SyncError::Timeout(Stall::Silent(_))), "{error}");
    assert_eq!(after, 30);

    // the hello in one piece, and of what follows a byte now and then: never a whole frame
    a.write(1, b"so that they differ");
    let mut stream = hello.clone();
    stream.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0, 0]);
    stream.extend_from_slice(&[0; 20_000]);
    let after_hello = |config, slice, every| {
        let mut session = responder(config);
        session.handle_input(Duration::ZERO, &hello).unwrap();
        gives_up(session, &stream[hello.len()..], slice, every)
    };
    for every in [1, 29] {
        let (after, error) = after_hello(Config::new(), 1, every);
        assert!(matches!(error, SyncError::Timeout(Stall::TooSlow(256))), "{error}");
        assert!((30..=32).contains(&after), "{after}");
        assert!(error.is_transient());
    }
    // at the floor it may go on, with stalls too; silence stays an end, and without a floor only
    // that
    assert!(after_hello(Config::new(), 256, 1).0 > 60);
    assert!(after_hello(Config::new(), 7_000, 25).0 > 60);
    assert!(after_hello(Config::new().least_speed(0), 1, 4).0 > 20_000);
}

#[test]
fn what_our_own_store_needs_is_not_counted_against_the_peer() {
    let (a, b) = small_pair();
    let mut first = Session::initiator(&a, Config::new());
    let mut second = Session::responder(&b, Config::new());
    // each call of the first takes a minute
    let mut now = Duration::ZERO;
    for _ in 0..40 {
        let mut bytes = Vec::new();
        while first.poll_transmit(now, &mut bytes).unwrap() {}
        first.handle_timeout(now).unwrap();
        second.handle_input(now, &bytes).unwrap();
        bytes.clear();
        while second.poll_transmit(now, &mut bytes).unwrap() {}
        first.handle_input(now, &bytes).unwrap();
        now += Duration::from_secs(60);
    }
    assert!(first.is_finished() && second.is_finished());
}

#[test]
fn the_longest_duration_is_allowed_everywhere() {
    let config = || {
        Config::new()
            .idle_timeout(Duration::MAX)
            .handshake_timeout(Duration::MAX)
            .clock_limit(Duration::MAX)
    };
    let (a, b) = small_pair();
    let mut first = Session::initiator(&a, config());
    let mut second = Session::responder(&b, config());
    for now in [Duration::ZERO, Duration::from_secs(1), Duration::MAX] {
        let mut bytes = Vec::new();
        while first.poll_transmit(now, &mut bytes).unwrap() {}
        second.handle_transmitted(now);
        second.handle_input(now, &bytes).unwrap();
        bytes.clear();
        while second.poll_transmit(now, &mut bytes).unwrap() {}
        first.handle_input(now, &bytes).unwrap();
        for session in [&mut first, &mut second] {
            session.handle_timeout(now).unwrap();
            session.poll_timeout();
        }
    }
    assert!(first.is_finished() && second.is_finished());
}

#[test]
fn who_bears_our_name_and_is_not_us_is_synced_with_and_not_remembered() {
    let a = Naive::new(1);
    a.write(1, b"before");
    let b = a.copy();
    b.write(1, b"after");
    sync_in_process(&a, &b).unwrap();
    assert!(equal(&[&a, &b]));
    assert_eq!((a.held_by(1), b.held_by(1)), (None, None));
}

#[test]
fn each_error_shows_its_cause_and_knows_whether_it_passes() {
    use std::io::{Error, ErrorKind};
    let link = |kind| SyncError::Transport(Error::new(kind, "the cause"));
    for kind in [
        ErrorKind::ConnectionRefused,
        ErrorKind::ConnectionReset,
        ErrorKind::BrokenPipe,
        ErrorKind::UnexpectedEof,
        ErrorKind::TimedOut,
        ErrorKind::NetworkUnreachable,
        ErrorKind::Other,
    ] {
        assert!(link(kind).is_transient(), "{kind}");
        assert!(link(kind).to_string().contains(": the cause; "), "{kind}");
    }
    for kind in [ErrorKind::PermissionDenied, ErrorKind::InvalidInput, ErrorKind::InvalidData] {
        assert!(!link(kind).is_transient(), "{kind}");
    }
    let refused = link(ErrorKind::ConnectionRefused).to_string();
    assert!(refused.contains("nobody listens there"), "{refused}");
    let ours = SyncError::from(ReplicaError::store(Error::other("the disk is full")));
    assert!(ours.to_string().contains("the disk is full") && !ours.is_transient());
    for (reason, passes) in [
        (Reason::Timeout, true),
        (Reason::Altered, true),
        (Reason::Cancelled, true),
        (Reason::Overtaken, true),
        (Reason::Replica, false),
        (Reason::InvalidMessage, false),
        (Reason::Oneself, false),
        (Reason::Other(200), false),
    ] {
        assert_eq!(SyncError::PeerFailed(reason).is_transient(), passes, "{reason}");
    }
}

#[test]
fn a_cancelled_session_tells_the_peer() {
    let (a, b) = small_pair();
    let mut first = Session::initiator(&a, Default::default());
    let mut second = Session::responder(&b, Default::default());
    let mut bytes = Vec::new();
    first.poll_transmit(Duration::ZERO, &mut bytes).unwrap();
    second.handle_input(Duration::ZERO, &bytes).unwrap();
    first.cancel();
    bytes.clear();
    while first.poll_transmit(Duration::ZERO, &mut bytes).unwrap() {}
    let error = second.handle_input(Duration::ZERO, &bytes).unwrap_err();
    assert!(matches!(error, SyncError::PeerFailed(Reason::Cancelled)), "{error}");
    assert!(error.is_transient());
}

#[test]
fn compression_pays_only_if_both_offer_it() {
    let run = |compression| {
        let (a, b) = (Naive::new(1), Naive::new(2));
        for _ in 0..100 {
            a.write(1, &[b'z'; 900]);
        }
        let config = heirloom_sync::Config::new().compression(compression);
        Link { config, ..Link::default() }.sync(&a, &b).unwrap().0
    };
    let (with, without) = (run(true), run(false));
    assert!(with.raw_out.abs_diff(without.raw_out) < 10, "only the offer differs");
    assert!(with.bytes_out * 5 < without.bytes_out, "{} and {}", with.bytes_out, without.bytes_out);
    assert!(without.bytes_out >= without.raw_out);
}

#[test]
fn both_ends_are_told_that_their_policies_differ() {
    let policies = [[0; 8], [1; 8], [2; 8]];
    for (ours, theirs) in policies.iter().flat_map(|p| policies.iter().map(move |q| (*p, *q))) {
        let (a, b) = (Naive::new(1).with_policy(ours), Naive::new(2).with_policy(theirs));
        a.write(1, b"x");
        // once with commits to send, once when equal
        for _ in 0..2 {
            let (a_report, b_report) = sync_in_process(&a, &b).unwrap();
            assert_eq!(
                (a_report.policies_differ, b_report.policies_differ),
                (ours != theirs, ours != theirs)
            );
        }
        assert!(equal(&[&a, &b]), "they hold the same whatever they show");
    }
}

#[test]
fn what_a_peer_holds_is_remembered_also_when_that_becomes_less() {
    let (a, b) = (Naive::new(1), Naive::new(2));
    assert_eq!(a.held_by(2), None);
    for _ in 0..30 {
        a.write(1, &[7; 1024]);
    }
    // nothing compresses away, and some of it is acknowledged before the link breaks
    let tick = std::time::Duration::from_millis(60);
    let link =
        Link { config: Config::default().compression(false), tick, ..Link::breaking(30_000) };
    assert!(link.sync(&a, &b).a.is_err());
    let held = a.held_by(2).unwrap();
    assert!((1..30).contains(&held), "{held}");
    sync_in_process(&a, &b).unwrap();
    assert_eq!(a.held_by(2), Some(30));
    a.write(1, b"later");
    assert_eq!(a.held_by(2), Some(30), "not before the peer has said so");
    sync_in_process(&b, &a).unwrap();
    assert_eq!((a.held_by(2), b.held_by(1)), (Some(31), Some(31)));

    let emptied = Naive::new(2);
    assert!(link.sync(&a, &emptied).a.is_err());
    assert!(a.held_by(2).unwrap() < 30, "the peer lost its data");
    sync_in_process(&a, &emptied).unwrap();
    assert_eq!(a.held_by(2), Some(31));
}
