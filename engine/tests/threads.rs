//! Writers, readers and subscribers at once: accounts between which money moves, so that every
//! state that anybody sees must add up.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use heirloom::{Cursor, Engine, EntityId, Error, Snapshot};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Account {
    owner: String,
    balance: i64,
}

const ACCOUNTS: usize = 8;
const EACH: i64 = 1_000;
/// No account ever holds so much: what a rolled back transaction wrote.
const ABSURD: i64 = 1_000_000;

fn bank() -> (Engine, Vec<EntityId>) {
    let engine = Engine::builder().index("account", "balance").in_memory().unwrap();
    let create = |i: usize| Account { owner: format!("owner {i}"), balance: EACH };
    let ids = engine.write(|tx| {
        (0..ACCOUNTS).map(|i| tx.create("account", &create(i))).collect::<Result<Vec<_>, Error>>()
    });
    (engine.clone(), ids.unwrap())
}

/// xorshift: each thread its own.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// Moves money, and often thinks better of it.
fn transfer(engine: &Engine, ids: &[EntityId], random: &mut Random) {
    let (from, to) = (ids[random.below(ACCOUNTS)], ids[random.below(ACCOUNTS)]);
    if from == to {
        return;
    }
    let (amount, whim) = (1 + random.below(20) as i64, random.below(6));
    let write = || {
        engine.write(|tx| {
            tx.update(from, |a: &mut Account| a.balance -= amount)?;
            if whim < 2 {
                // half done: nobody may ever see it
                tx.update(from, |a: &mut Account| a.balance += ABSURD)?;
                let seen: Account = tx.get(from)?.expect("it is there").read()?;
                assert!(seen.balance > ABSURD / 2);
                if whim == 0 {
                    panic!("in the middle of a write");
                }
                return Err(Error::Closed);
            }
            tx.update(to, |a: &mut Account| a.balance += amount)
        })
    };
    let done = catch_unwind(AssertUnwindSafe(write));
    match whim {
        0 => assert!(done.is_err()),
        1 => assert!(matches!(done, Ok(Err(Error::Closed)))),
        _ => done.unwrap().unwrap(),
    }
}

/// The balances as one snapshot gives them, each way that there is to read them.
fn check(snapshot: &Snapshot, ids: &[EntityId]) {
    let balance = |e: heirloom::Entity| (e.id(), e.read::<Account>().unwrap().balance);
    let one_by_one: BTreeMap<_, _> =
        ids.iter().map(|id| balance(snapshot.get(*id).unwrap().unwrap())).collect();
    assert_eq!(one_by_one.values().sum::<i64>(), EACH * ACCOUNTS as i64);
    let listed: BTreeMap<_, _> =
        snapshot.list("account").into_iter().map(|e| balance(e.unwrap())).collect();
    assert_eq!(listed, one_by_one);
    let query = || snapshot.query("account", "balance").unwrap();
    let found: Vec<_> = query().into_iter().map(|e| balance(e.unwrap())).collect();
    assert!(found.windows(2).all(|w| (w[0].1, w[0].0) < (w[1].1, w[1].0)), "{found:?}");
    assert_eq!(found.into_iter().collect::<BTreeMap<_, _>>(), one_by_one);
    assert_eq!(query().at_least(ABSURD / 2).count().unwrap(), 0);
}

#[test]
fn what_anybody_sees_adds_up_whatever_writers_do() {
    let (engine, ids) = bank();
    // panics are part of the test
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let (over, checks) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut subscription = engine.subscribe_from(Cursor::START).of_type("account");
    let result = catch_unwind(AssertUnwindSafe(|| {
        std::thread::scope(|scope| {
            for n in 0..2 {
                let (engine, ids, over, checks) = (&engine, &ids, &over, &checks);
                scope.spawn(move || {
                    let old = engine.snapshot().unwrap();
                    let before: Vec<_> =
                        ids.iter().map(|id| old.get(*id).unwrap().unwrap().content()).collect();
                    while !over.load(Ordering::Relaxed) {
                        check(&engine.snapshot().unwrap(), ids);
                        checks.fetch_add(1, Ordering::Relaxed);
                        // a snapshot stays what it was, beside a cache of what is now
                        let id = ids[n % ACCOUNTS];
                        assert_eq!(old.get(id).unwrap().unwrap().content(), before[n % ACCOUNTS]);
                        check(&old, ids);
                    }
                });
            }
            // the subscriber adds up what each commit changed: balances after every commit must add
            // up, too
            let listener = scope.spawn(|| {
                let mut balances: BTreeMap<EntityId, i64> = BTreeMap::new();
                let (mut commit, mut changes) = (None, 0u64);
                while let Some(change) =
                    subscription.next_timeout(std::time::Duration::from_secs(2)).unwrap()
                {
                    if commit.is_some_and(|c| c != change.commit()) {
                        assert_eq!(balances.values().sum::<i64>(), EACH * ACCOUNTS as i64);
                    }
                    commit = Some(change.commit());
                    let account: Account = change.after().unwrap().unwrap().read().unwrap();
                    assert!(account.balance < ABSURD / 2);
                    balances.insert(change.entity(), account.balance);
                    changes += 1;
                }
                (balances, changes)
            });
            let writers: Vec<_> = (0..4u64)
                .map(|n| {
                    let (engine, ids) = (&engine, &ids);
                    scope.spawn(move || {
                        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (n + 1));
                        (0..120).for_each(|_| transfer(engine, ids, &mut random));
                    })
                })
                .collect();
            writers.into_iter().for_each(|w| w.join().unwrap());
            over.store(true, Ordering::Relaxed);
            let (balances, changes) = listener.join().unwrap();
            let snapshot = engine.snapshot().unwrap();
            check(&snapshot, &ids);
            for (id, balance) in balances {
                assert_eq!(
                    snapshot.get(id).unwrap().unwrap().read::<Account>().unwrap().balance,
                    balance
                );
            }
            assert_eq!(changes, engine.changes(Cursor::START).count() as u64, "each change once");
        });
    }));
    std::panic::set_hook(hook);
    result.unwrap();
    assert!(checks.load(Ordering::Relaxed) > 3, "the readers saw something");
    assert!(engine.cache_stats().hits > 0);
    assert!(engine.verify().unwrap().is_clean());
}
