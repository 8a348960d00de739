//! Who may open a log, and what is left of one who may not.

use heirloom_core::model::{Line, Lsn, Sequence};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use heirloom::{Content, DatasetId, Engine, LogId, NodeId, Timestamp};
use heirloom_sync::{
    Admission, Config, Event, Reason, Refusal, Replica, Report, Result, Session, SyncError,
    sync_in_process, sync_in_process_with,
};

const START: i64 = 1_700_000_000_000;

fn engine(label: &str) -> Engine {
    engine_at(label, START)
}

fn engine_at(label: &str, now: i64) -> Engine {
    let clock = move || Timestamp::from_millis(now);
    Engine::builder().label(label).dataset_name("home").wall_clock(clock).in_memory().unwrap()
}

fn write(engine: &Engine) {
    engine.write(|tx| tx.create("lamp", &Content::new().with("on", true))).unwrap();
}

fn writer(label: &str) -> Engine {
    let engine = engine(label);
    write(&engine);
    engine
}

fn knows(engine: &Engine, log: LogId) -> bool {
    !engine.replication().ends_of(log).unwrap().is_empty()
}

fn node(engine: &Engine) -> NodeId {
    engine.replication().node().unwrap()
}

fn peers(engine: &Engine) -> Vec<NodeId> {
    engine.status().unwrap().peers.iter().map(|peer| peer.node).collect()
}

fn at(now: i64, config: Config) -> Config {
    config.wall_time(Timestamp::from_millis(now))
}

/// Runs both ends until neither has anything more to say; what came of each.
fn both_ends(
    a: &impl Replica,
    at_a: Config,
    b: &impl Replica,
    at_b: Config,
) -> [Result<Report>; 2] {
    let (mut a, mut b) =
        (Session::initiator(a, at(START, at_a)), Session::responder(b, at(START, at_b)));
    let (mut failed, now) = ([None, None], Duration::ZERO);
    loop {
        let mut bytes = Vec::new();
        let from_a = a.poll_transmit(now, &mut bytes);
        failed[0] = failed[0].take().or(from_a.err());
        failed[1] = failed[1].take().or(b.handle_input(now, &bytes).err());
        let mut back = Vec::new();
        let from_b = b.poll_transmit(now, &mut back);
        failed[1] = failed[1].take().or(from_b.err());
        failed[0] = failed[0].take().or(a.handle_input(now, &back).err());
        if bytes.is_empty() && back.is_empty() {
            break;
        }
    }
    let [at_a, at_b] = failed;
    [at_a.map_or(Ok(a.report().clone()), Err), at_b.map_or(Ok(b.report().clone()), Err)]
}

#[test]
fn whoever_connects_is_let_in_unless_configured_otherwise() {
    let (hub, phone) = (writer("hub"), writer("phone"));
    sync_in_process(&phone, &hub).unwrap();
    assert!(knows(&hub, phone.log_id().unwrap()) && knows(&phone, hub.log_id().unwrap()));
    let opened =
        |at: &Engine, of: &Engine| at.replication().remembered(node(of)).unwrap().unwrap().opened;
    assert_eq!((opened(&hub, &phone), opened(&phone, &hub)), (1, 1));

    write(&phone);
    sync_in_process(&phone, &hub).unwrap();
    assert_eq!(opened(&hub, &phone), 1, "the same log goes on");
}

#[test]
fn the_hook_is_asked_once_about_a_newcomer_and_its_refusal_leaves_nothing() {
    for hub_speaks_first in [false, true] {
        let (hub, stranger) = (writer("hub"), writer("stranger"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let closed = Config::new().admit(move |who| {
            seen.lock().unwrap().push(who.clone());
            Admission::Refuse("no newcomers on sundays".into())
        });
        let before = hub.log_root().unwrap();
        let (at_hub, at_stranger) = if hub_speaks_first {
            let [a, b] = both_ends(&hub, closed, &stranger, Config::new());
            (a, b)
        } else {
            let [a, b] = both_ends(&stranger, Config::new(), &hub, closed);
            (b, a)
        };
        let refusal = at_hub.unwrap_err();
        let expected = Refusal::Hook("no newcomers on sundays".into());
        assert!(
            matches!(&refusal, SyncError::NotAdmitted { node: who, reason }
                if *who == node(&stranger) && *reason == expected),
            "{refusal}"
        );
        assert!(!refusal.is_transient() && refusal.to_string().contains("no newcomers on sundays"));
        assert!(
            matches!(at_stranger, Err(SyncError::PeerFailed(Reason::NotAdmitted))),
            "{at_stranger:?}"
        );
        assert_eq!(hub.log_root().unwrap(), before);
        assert!(peers(&hub).is_empty(), "a stranger leaves no row");
        assert!(hub.replication().remembered(node(&stranger)).unwrap().is_none());
        assert!(!knows(&stranger, hub.log_id().unwrap()), "and gets nothing");
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 1);
        assert_eq!((asked[0].node, Some(asked[0].log)), (node(&stranger), stranger.log_id()));
        assert_eq!((asked[0].opened, asked[0].clock_skew_ms), (0, Some(0)));
    }
}

#[test]
fn who_is_known_or_writes_nothing_is_not_asked_about() {
    let closed = || Config::new().admit(|_| Admission::Refuse("closed".into()));
    let (hub, phone, reader) = (writer("hub"), writer("phone"), engine("reader"));
    sync_in_process(&phone, &hub).unwrap();
    write(&phone);
    sync_in_process_with(&phone, Config::new(), &hub, closed()).unwrap();
    sync_in_process_with(&reader, Config::new(), &hub, closed()).unwrap();
    assert_eq!(reader.log_root().unwrap(), hub.log_root().unwrap());
}

#[test]
fn what_an_admitted_peer_relays_is_never_refused() {
    let (hub, phone, watch) = (writer("hub"), writer("phone"), writer("watch"));
    sync_in_process(&phone, &hub).unwrap();
    sync_in_process(&watch, &phone).unwrap();
    write(&phone);
    let closed = Config::new().admit(|_| Admission::Refuse("closed".into())).opened_logs(0);
    sync_in_process_with(&phone, Config::new(), &hub, closed).unwrap();
    assert!(knows(&hub, watch.log_id().unwrap()));
    // and then it is no newcomer any more
    let closed = Config::new().admit(|_| Admission::Refuse("closed".into()));
    write(&watch);
    sync_in_process_with(&watch, Config::new(), &hub, closed).unwrap();
}

/// An engine that goes by the node name of another.
struct Named<'a>(&'a Engine, NodeId);

impl Replica for Named<'_> {
    fn dataset(&self) -> heirloom_core::replica::Result<Option<DatasetId>> {
        Replica::dataset(self.0)
    }
    fn adopt(&self, dataset: DatasetId) -> heirloom_core::replica::Result<()> {
        self.0.adopt(dataset)
    }
    fn node(&self) -> heirloom_core::replica::Result<NodeId> {
        Ok(self.1)
    }
    fn policy_fingerprint(&self) -> [u8; 8] {
        [0; 8]
    }
    fn own_log(&self) -> heirloom_core::replica::Result<Option<LogId>> {
        self.0.own_log()
    }
    fn position(&self) -> heirloom_core::replica::Result<heirloom::replication::Position> {
        self.0.position()
    }
    fn locate(
        &self,
        commit: &heirloom::CommitRef,
    ) -> heirloom_core::replica::Result<Option<heirloom::replication::Located>> {
        self.0.locate(commit)
    }
    fn ends_of(
        &self,
        log: LogId,
    ) -> heirloom_core::replica::Result<Vec<heirloom::replication::End>> {
        self.0.ends_of(log)
    }
    fn ladder(
        &self,
        end: &heirloom::replication::End,
    ) -> heirloom_core::replica::Result<Vec<heirloom::replication::End>> {
        self.0.ladder(end)
    }
    fn ends_at_lsn(
        &self,
        lsn: Lsn,
    ) -> heirloom_core::replica::Result<Vec<heirloom::replication::End>> {
        self.0.ends_at_lsn(lsn)
    }
    fn first_lsn_beyond(
        &self,
        held: &dyn Fn(LogId, Line) -> Sequence,
    ) -> heirloom_core::replica::Result<Lsn> {
        self.0.first_lsn_beyond(held)
    }
    fn commits(
        &self,
        from: Lsn,
        until: Lsn,
        wanted: &dyn Fn(LogId, Line, Sequence) -> bool,
        budget: usize,
    ) -> heirloom_core::replica::Result<heirloom::replication::Batch> {
        self.0.commits(from, until, wanted, budget)
    }
    fn ingest(
        &self,
        commits: &[&[u8]],
    ) -> heirloom_core::replica::Result<heirloom::replication::Ingested> {
        self.0.ingest(commits)
    }
    fn staged(
        &self,
        peer: NodeId,
    ) -> heirloom_core::replica::Result<Option<heirloom::replication::Staged>> {
        self.0.staged(peer)
    }
    fn staged_bytes(&self, peer: NodeId) -> heirloom_core::replica::Result<Vec<u8>> {
        self.0.staged_bytes(peer)
    }
    fn stage(
        &self,
        peer: NodeId,
        head: &heirloom::replication::StagedHead,
        offset: u64,
        bytes: &[u8],
    ) -> heirloom_core::replica::Result<()> {
        self.0.stage(peer, head, offset, bytes)
    }
    fn unstage(&self, peer: NodeId) -> heirloom_core::replica::Result<()> {
        self.0.unstage(peer)
    }
    fn remembered(
        &self,
        peer: NodeId,
    ) -> heirloom_core::replica::Result<Option<heirloom::replication::Peer>> {
        self.0.remembered(peer)
    }
    fn remember(
        &self,
        node: NodeId,
        peer: heirloom::replication::Peer,
    ) -> heirloom_core::replica::Result<()> {
        self.0.remember(node, peer)
    }
}

#[test]
fn a_node_may_open_so_many_logs_and_being_turned_away_or_forgotten_does_not_start_it_anew() {
    let hub = writer("hub");
    let mint = NodeId::from_bytes([9; 16]);
    let config = || Config::new().opened_logs(3);
    for _ in 0..3 {
        let device = writer("mint");
        sync_in_process_with(&Named(&device, mint), Config::new(), &hub, config()).unwrap();
        sync_in_process_with(&Named(&device, mint), Config::new(), &hub, config()).unwrap();
    }
    assert_eq!(peers(&hub), [mint]);
    let before = hub.log_root().unwrap();
    for _ in 0..2 {
        let device = writer("mint");
        let error =
            sync_in_process_with(&Named(&device, mint), Config::new(), &hub, config()).unwrap_err();
        let reason = Refusal::TooManyLogs { opened: 3, limit: 3 };
        assert!(
            matches!(
                &error,
                SyncError::NotAdmitted { node, reason: why } if *node == mint && *why == reason
            ),
            "{error}"
        );
        assert_eq!(peers(&hub), [mint], "what is known of it stays");
        assert_eq!(hub.replication().remembered(mint).unwrap().unwrap().opened, 3);
    }
    hub.forget_peer(mint).unwrap();
    assert!(peers(&hub).is_empty());
    assert_eq!(hub.replication().remembered(mint).unwrap().unwrap().opened, 3);
    assert_eq!(hub.log_root().unwrap(), before);

    // another node is free to join, and the one turned away to come back under a log that is known
    sync_in_process_with(&writer("phone"), Config::new(), &hub, config()).unwrap();
}

#[test]
fn a_flood_of_logs_of_one_version_each_is_refused_before_any_of_it_is_kept() {
    let (hub, relay) = (writer("hub"), writer("relay"));
    sync_in_process(&relay, &hub).unwrap();
    (0..20).for_each(|_| drop(sync_in_process(&writer("mint"), &relay).unwrap()));
    let before = hub.log_root().unwrap();
    let strict = Config::new().lone_logs(19);
    let error = sync_in_process_with(&relay, Config::new(), &hub, strict).unwrap_err();
    let reason = Refusal::LoneLogs { count: 20, limit: 19 };
    assert!(
        matches!(&error, SyncError::NotAdmitted { reason: why, .. } if *why == reason),
        "{error}"
    );
    assert_eq!(hub.log_root().unwrap(), before);
    assert_eq!(peers(&hub), [node(&relay)], "what is known of it stays");

    // a store that knows nobody cannot tell a flood from a history
    let fresh = engine("fresh");
    sync_in_process_with(&relay, Config::new(), &fresh, Config::new().lone_logs(0)).unwrap();
    sync_in_process_with(&relay, Config::new(), &hub, Config::new().lone_logs(20)).unwrap();
    assert_eq!(fresh.log_root().unwrap(), hub.log_root().unwrap());
}

#[test]
fn a_clock_beyond_the_limit_is_turned_away_only_where_there_is_one() {
    let hour = 3_600_000;
    for off in [-2 * hour, 2 * hour] {
        let (hub, wrong) = (writer("hub"), engine_at("wrong", START + off));
        write(&wrong);
        let limit = Config::new().clock_limit(Duration::from_millis(hour as u64));
        let theirs = at(START + off, Config::new());
        let error =
            sync_in_process_with(&wrong, theirs.clone(), &hub, at(START, limit)).unwrap_err();
        let reason = Refusal::Clock { ahead_ms: off };
        assert!(
            matches!(&error, SyncError::NotAdmitted { reason: why, .. } if *why == reason),
            "{error}"
        );
        assert!(error.to_string().contains("its clock is 2 hours"), "{error}");
        let limit = Config::new().clock_limit(Duration::from_millis(2 * hour as u64));
        sync_in_process_with(&wrong, theirs, &hub, at(START, limit)).unwrap();
    }
}

#[test]
fn both_ends_are_told_of_a_wrong_clock_in_plain_words() {
    let day = 86_400_000;
    let (right, wrong) = (writer("right"), engine_at("wrong", START + 400 * day));
    write(&wrong);
    let begun = |now| at(now, Config::new());
    let (told_wrong, told_right) =
        sync_in_process_with(&wrong, begun(START + 400 * day), &right, begun(START)).unwrap();
    let skew = told_wrong.clock_skew().unwrap();
    assert_eq!((skew.peer, skew.ahead_ms), (node(&right), 400 * day));
    assert!(
        skew.to_string().starts_with("your clock is 1 year 35 days ahead of that of peer "),
        "{skew}"
    );
    let skew = told_right.clock_skew().unwrap();
    assert_eq!((skew.peer, skew.ahead_ms), (node(&wrong), -400 * day));
    assert!(
        skew.to_string().starts_with("your clock is 1 year 35 days behind that of peer "),
        "{skew}"
    );
    let ahead = &told_right.clocks_ahead[0];
    assert_eq!((Some(ahead.log), ahead.by_ms), (wrong.log_id(), 400 * day as u64));
    assert_eq!(Some(&ahead.device), wrong.device_id().as_ref());
    assert!(told_wrong.clocks_ahead.is_empty());

    let near = engine_at("near", START + 300_000);
    let (report, _) =
        sync_in_process_with(&near, begun(START + 300_000), &right, begun(START)).unwrap();
    assert_eq!(report.clock_skew(), None, "five minutes are nothing");
}

#[test]
fn the_event_of_a_wrong_clock_comes_once() {
    let (right, wrong) = (writer("right"), engine_at("wrong", START + 3_600_000));
    let now = Duration::ZERO;
    let (mut a, mut b) = (
        Session::initiator(&wrong, at(START + 3_600_000, Config::new())),
        Session::responder(&right, at(START, Config::new())),
    );
    let (mut told, mut bytes) = (Vec::new(), Vec::new());
    while !a.is_finished() || !b.is_finished() {
        bytes.clear();
        a.poll_transmit(now, &mut bytes).unwrap();
        b.handle_input(now, &bytes).unwrap();
        bytes.clear();
        b.poll_transmit(now, &mut bytes).unwrap();
        a.handle_input(now, &bytes).unwrap();
        while let Some(event) = a.poll_event() {
            if let Event::Clock(skew) = event {
                told.push(skew.ahead_ms);
            }
        }
    }
    assert_eq!(told, [3_600_000]);
}
