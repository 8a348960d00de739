//! A disk that fills up in mid sync: a typed error, nothing acknowledged is lost, and it goes on
//! when there is room.

use heirloom::{Content, Engine};
use heirloom_sync::{SyncError, sync_in_process};
use heirloom_tests::disk::{Disk, Faults};

fn open(disk: &Disk) -> Engine {
    Engine::builder().label("tablet").dataset_name("stories").open_backend(disk.clone()).unwrap()
}

#[test]
fn a_sync_goes_on_when_there_is_room() {
    let phone = Engine::builder().label("phone").dataset_name("stories").in_memory().unwrap();
    for n in 0..400u32 {
        // bytes that do not compress
        let noise =
            |i: u32| (i.wrapping_mul(i).wrapping_add(n).wrapping_mul(2_654_435_761) >> 24) as u8;
        let noise: Vec<u8> = (0..5_000).map(noise).collect();
        let content = Content::new().with("n", i64::from(n)).with("bytes", noise);
        phone.write(|tx| tx.create("note", &content)).unwrap();
    }
    let mut disk = Disk::new();
    drop(open(&disk));
    let (mut times_full, mut held) = (0, 0);
    loop {
        let tablet = open(&disk);
        disk.set_faults(Faults { blocks: Some(disk.blocks() + 80), ..Faults::default() });
        let commits = tablet.snapshot().unwrap().commits().unwrap();
        assert!(commits >= held, "what was acknowledged is there");
        match sync_in_process(&phone, &tablet) {
            Ok(_) => {
                assert_eq!(phone.log_root().unwrap(), tablet.log_root().unwrap());
                assert!(tablet.verify().unwrap().is_clean());
                break;
            }
            Err(error) => {
                assert!(
                    matches!(error, SyncError::Replica(_) | SyncError::PeerFailed(_)),
                    "{error}"
                );
                times_full += 1;
            }
        }
        held = tablet.snapshot().unwrap().commits().unwrap();
        drop(tablet);
        disk = disk.after_a_kill();
    }
    assert!(times_full > 3, "{times_full}");
}
