//! The drivers: threads, small buffers, sockets, deadlines.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use heirloom::DatasetId;
use heirloom::Timestamp;
use heirloom_sync::transport::blocking;
use heirloom_sync::transport::tcp::{PlainTcp, PlainTcpListener, sync_plain_tcp};
use heirloom_sync::{Cancel, Config, Event, Outcome, Reason, Report, Result, Session, SyncError};

use super::support::{Naive, Random};

/// One direction of a link that holds 4 KiB.
#[derive(Clone, Default)]
struct Pipe(Arc<PipeState>);

/// Its bytes, and whether it is closed.
#[derive(Default)]
struct PipeState(Mutex<(VecDeque<u8>, bool)>, Condvar);

const PIPE: usize = 4096;

impl Pipe {
    fn close(&self) {
        self.0.0.lock().unwrap().1 = true;
        self.0.1.notify_all();
    }
}

impl Read for Pipe {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.0.lock().unwrap();
        while state.0.is_empty() && !state.1 {
            state = self.0.1.wait(state).unwrap();
        }
        let length = out.len().min(state.0.len());
        for (to, from) in out.iter_mut().zip(state.0.drain(..length)) {
            *to = from;
        }
        self.0.1.notify_all();
        Ok(length)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.0.lock().unwrap();
        while state.0.len() == PIPE && !state.1 {
            state = self.0.1.wait(state).unwrap();
        }
        if state.1 {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let length = bytes.len().min(PIPE - state.0.len());
        state.0.extend(&bytes[..length]);
        self.0.1.notify_all();
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs both ends over pipes, each in its thread.
fn over_pipes_with(
    a: &Naive,
    b: &Naive,
    [of_a, of_b]: [&Config; 2],
    cancel: &Cancel,
) -> (Result<Report>, Result<Report>) {
    let (there, back) = (Pipe::default(), Pipe::default());
    let close = || {
        there.close();
        back.close();
    };
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            let session = Session::initiator(a, of_a.clone());
            blocking::run(session, back.clone(), there.clone(), close, cancel, |_| ())
        });
        let session = Session::responder(b, of_b.clone());
        let second =
            blocking::run(session, there.clone(), back.clone(), close, &Cancel::new(), |_| ());
        (first.join().unwrap(), second)
    })
}

/// The same with one configuration for both.
fn over_pipes(
    a: &Naive,
    b: &Naive,
    config: &Config,
    cancel: &Cancel,
) -> (Result<Report>, Result<Report>) {
    over_pipes_with(a, b, [config; 2], cancel)
}

#[test]
fn whatever_a_driver_runs_knows_the_time_and_says_it() {
    let (a, b) = (Naive::new(1), Naive::new(2));
    a.write(1, b"news");
    let config = Config::new().clock_limit(Duration::from_secs(60));
    let (first, second) = over_pipes(&a, &b, &config, &Cancel::new());
    let skews = [first, second].map(|report| report.unwrap().clock_skew_ms);
    assert!(skews.iter().all(|skew| skew.is_some_and(|ms| ms.abs() < 60_000)), "{skews:?}");
    // and so a limit holds, also in a session that was made elsewhere
    a.write(1, b"more news");
    let wrong = Timestamp::from_millis(1_000_000_000_000);
    let (_, second) =
        over_pipes_with(&a, &b, [&config.clone().wall_time(wrong), &config], &Cancel::new());
    assert!(matches!(second, Err(SyncError::NotAdmitted { .. })), "{second:?}");
}

#[test]
fn a_hundred_megabytes_each_way_pass_through_4_kib_buffers() {
    let (a, b) = (Naive::new(1), Naive::new(2));
    for (naive, seed) in [(&a, 1), (&b, 1000)] {
        for at in 0..180 {
            naive.write(1, &Random(seed + at).bytes(512 << 10));
        }
        naive.write(1, &Random(seed + 999).bytes(10 << 20));
    }
    let (first, second) = over_pipes(&a, &b, &Config::new().compression(false), &Cancel::new());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(first.bytes_out > 100_000_000 && second.bytes_out > 100_000_000);
    assert_eq!((first.outcome, first.bytes_in), (Outcome::Verified, second.bytes_out));
    assert_eq!(a.root(), b.root());
}

#[test]
fn a_silent_peer_ends_in_a_timeout_while_reading_and_while_writing() {
    let config = Config::new().idle_timeout(Duration::from_millis(200));
    for blocked in [false, true] {
        let (there, back) = (Pipe::default(), Pipe::default());
        if blocked {
            there.clone().write_all(&[0; PIPE]).unwrap();
        }
        let a = Naive::new(1);
        let close = || {
            there.close();
            back.close();
        };
        let started = Instant::now();
        let session = Session::initiator(&a, config.clone());
        let outcome =
            blocking::run(session, back.clone(), there.clone(), close, &Cancel::new(), |_| ());
        assert!(matches!(outcome, Err(SyncError::Timeout(_))), "{outcome:?}");
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn cancelling_ends_a_waiting_session_and_the_peer_is_told() {
    let (a, b) = (Naive::new(1), Naive::new(2));
    let listener = PlainTcpListener::bind_loopback().unwrap();
    let address = listener.local_addr().unwrap();
    let cancel = Cancel::new();
    let waiting = thread::spawn({
        let cancel = cancel.clone();
        // Two responders: both wait for the other to speak.
        move || PlainTcp::connect(address).unwrap().respond(&a, Config::default(), &cancel, |_| ())
    });
    let other = thread::spawn(move || listener.accept_one(&b, Config::default()));
    thread::sleep(Duration::from_millis(50));
    let started = Instant::now();
    cancel.cancel();
    assert!(matches!(waiting.join().unwrap(), Err(SyncError::Cancelled)));
    assert!(matches!(other.join().unwrap(), Err(SyncError::PeerFailed(Reason::Cancelled))));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(cancel.is_cancelled());
}

#[test]
fn a_cancelled_handle_ends_a_session_before_it_begins() {
    let cancel = Cancel::new();
    cancel.cancel();
    let (first, second) = over_pipes(&Naive::new(1), &Naive::new(2), &Config::default(), &cancel);
    assert!(matches!(first, Err(SyncError::Cancelled)), "{first:?}");
    assert!(second.is_err());
}

#[test]
fn a_server_on_loopback_syncs_several_clients_at_once_and_stops() {
    let hub = Arc::new(Naive::new(1));
    hub.write(1, b"hub");
    let (sender, ended) = mpsc::channel();
    let listener = PlainTcpListener::bind_loopback().unwrap();
    assert!(listener.local_addr().unwrap().ip().is_loopback());
    let server = listener
        .serve(Arc::clone(&hub), Config::default(), move |outcome| {
            sender.send(outcome.is_ok()).unwrap()
        })
        .unwrap();
    let address = server.local_addr();
    let clients: Vec<Naive> = (2..8).map(Naive::new).collect();
    thread::scope(|scope| {
        for client in &clients {
            for at in 0..50 {
                client.write(1, &[at; 100]);
            }
            scope.spawn(move || sync_plain_tcp(address, client).unwrap());
        }
    });
    for client in &clients {
        sync_plain_tcp(address, client).unwrap();
        assert_eq!(client.root(), hub.root());
    }
    // A client may be done a moment before the hub has heard its last word.
    let outcomes: Vec<bool> = ended.iter().take(12).collect();
    assert_eq!(outcomes, [true; 12]);
    server.stop();
    assert!(sync_plain_tcp(address, &clients[0]).is_err(), "nobody listens any more");
}

#[test]
fn a_server_stops_though_a_client_says_nothing() {
    let listener = PlainTcpListener::bind_loopback().unwrap();
    let server = listener.serve(Arc::new(Naive::new(1)), Config::default(), |_| ()).unwrap();
    let _silent = TcpStream::connect(server.local_addr()).unwrap();
    thread::sleep(Duration::from_millis(50));
    let started = Instant::now();
    drop(server);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn errors_reach_both_ends_over_a_socket() {
    let (a, b) = (Naive::new(1), Naive::new(2).with_dataset(Some(DatasetId::from_bytes([9; 16]))));
    a.write(1, b"a");
    b.write(1, b"b");
    let listener = PlainTcpListener::bind_loopback().unwrap();
    let address = listener.local_addr().unwrap();
    thread::scope(|scope| {
        let other = scope.spawn(|| listener.accept_one(&b, Config::default()));
        let error = sync_plain_tcp(address, &a).unwrap_err();
        assert!(matches!(error, SyncError::WrongDataset { .. }), "{error}");
        let error = other.join().unwrap().unwrap_err();
        assert!(matches!(error, SyncError::WrongDataset { .. }), "{error}");
    });
}

#[test]
fn whoever_hangs_up_early_is_a_transport_error() {
    let listener = PlainTcpListener::bind_loopback().unwrap();
    let address = listener.local_addr().unwrap();
    drop(TcpStream::connect(address).unwrap());
    let error = listener.accept_one(Naive::new(1), Config::default()).unwrap_err();
    assert!(matches!(error, SyncError::Transport(_)), "{error}");
    assert!(error.is_transient());
    let mut noise = TcpStream::connect(address).unwrap();
    noise.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let error = listener.accept_one(Naive::new(1), Config::default()).unwrap_err();
    assert!(matches!(error, SyncError::InvalidMessage(_)), "{error}");
}

#[test]
fn silent_and_dripping_connections_free_their_places_for_others() {
    let hub = Arc::new(Naive::new(1));
    let config = Config::new().handshake_timeout(Duration::from_millis(300));
    let listener = PlainTcpListener::bind_loopback().unwrap();
    let server = listener.serve(Arc::clone(&hub), config, |_| ()).unwrap();
    let address = server.local_addr();
    let mut held: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(address).unwrap()).collect();
    let drips = thread::spawn(move || {
        for byte in [0u8; 200] {
            held.iter_mut().for_each(|stream| drop(stream.write_all(&[byte])));
            thread::sleep(Duration::from_millis(50));
        }
    });
    // waits for a place, no longer than the hellos may take
    let phone = Naive::new(2);
    phone.write(1, b"phone");
    let started = Instant::now();
    sync_plain_tcp(address, &phone).unwrap();
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
    assert_eq!(hub.root(), phone.root());
    server.stop();
    drips.join().unwrap();
}

#[test]
fn a_timeout_of_any_length_is_allowed() {
    let config = Config::new().idle_timeout(Duration::MAX).handshake_timeout(Duration::MAX);
    let (a, b) = (Naive::new(1), Naive::new(2));
    a.write(1, b"a");
    let (first, second) = over_pipes(&a, &b, &config, &Cancel::new());
    assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
}

#[test]
fn what_went_wrong_with_a_connection_is_told_by_its_cause() {
    let free = PlainTcpListener::bind_loopback().unwrap().local_addr().unwrap();
    let refused = PlainTcp::connect(free).unwrap_err();
    assert!(
        matches!(&refused, SyncError::Transport(e) if e.kind() == ErrorKind::ConnectionRefused)
    );
    assert!(refused.to_string().contains("refused") && refused.is_transient(), "{refused}");

    let unknown = PlainTcp::connect("no-such-host.invalid:9").unwrap_err();
    assert!(matches!(unknown, SyncError::Lookup(_)), "{unknown:?}");
    let SyncError::Lookup(cause) = &unknown else { unreachable!() };
    assert!(
        unknown.to_string().contains(&cause.to_string()) && unknown.is_transient(),
        "{unknown}"
    );
    let nonsense = PlainTcp::connect("no port").unwrap_err();
    assert!(matches!(nonsense, SyncError::Lookup(_)) && !nonsense.is_transient(), "{nonsense}");

    let taken = PlainTcpListener::bind_loopback().unwrap();
    let twice = PlainTcpListener::bind_anywhere(taken.local_addr().unwrap()).unwrap_err();
    assert!(
        matches!(&twice, SyncError::Listen(e) if e.kind() == ErrorKind::AddrInUse),
        "{twice:?}"
    );
    assert!(twice.to_string().contains("in use") && !twice.is_transient(), "{twice}");
}

#[test]
fn progress_is_told_while_it_goes_on() {
    let (a, b) = (Naive::new(1), Naive::new(2));
    for at in 0..100 {
        a.write(1, &Random(at).bytes(50_000));
    }
    let listener = PlainTcpListener::bind_loopback().unwrap();
    let address = listener.local_addr().unwrap();
    let mut events = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| listener.accept_one(&b, Config::default()).unwrap());
        let link = PlainTcp::connect(address).unwrap();
        link.initiate(&a, Config::default(), &Cancel::new(), |e| events.push(e)).unwrap();
    });
    let Some(Event::Finished(report)) = events.pop() else { panic!("{events:?}") };
    assert_eq!(report.commits_sent, 100);
    let progress = |e| if let Event::Progress(now) = e { now } else { panic!("{e:?}") };
    let steps: Vec<_> = events.into_iter().map(progress).collect();
    assert!(steps.len() > 3);
    assert!(steps.is_sorted_by_key(|step| step.commits_sent));
    assert_eq!(steps.last().unwrap().commits_sent, 100);
}
