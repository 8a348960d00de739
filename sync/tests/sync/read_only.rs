//! A store that may only be read, in a sync: it gives, and takes nothing.

use std::error::Error as _;

use heirloom::{Content, Engine, Error};
use heirloom_sync::sync_in_process;

fn lamp(engine: &Engine) {
    engine.write(|tx| tx.create("lamp", &Content::new().with("n", 1))).unwrap();
}

#[test]
fn a_store_that_may_only_be_read_gives_everything_and_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let builder = |label: &str| Engine::builder().label(label).dataset_name("home");
    let phone = builder("phone").open(&path).unwrap();
    (0..20).for_each(|_| lamp(&phone));
    phone.close().unwrap();
    let before = std::fs::read(&path).unwrap();

    let phone = builder("phone").open_read_only(&path).unwrap();
    let tablet = builder("tablet").in_memory().unwrap();
    for _ in 0..2 {
        sync_in_process(&phone, &tablet).unwrap();
        assert_eq!(phone.log_root().unwrap(), tablet.log_root().unwrap());
    }
    lamp(&tablet);
    for (one, other) in [(&phone, &tablet), (&tablet, &phone)] {
        let refused = sync_in_process(one, other).unwrap_err();
        let mut cause: Option<&dyn std::error::Error> = Some(&refused);
        let mut said = false;
        while let Some(error) = cause {
            said |= matches!(error.downcast_ref(), Some(Error::ReadOnly));
            cause = error.source();
        }
        assert!(said, "{refused:?}: {:?}", refused.source());
    }
    phone.close().unwrap();
    assert!(std::fs::read(&path).unwrap() == before);
    // once it may be written, all is well
    let phone = builder("phone").open(&path).unwrap();
    sync_in_process(&phone, &tablet).unwrap();
    assert_eq!(phone.log_root().unwrap(), tablet.log_root().unwrap());
}
