//! A transaction of 64 MiB on a link that breaks every megabyte arrives, once, whole, and costs
//! little more than itself (R27).

use heirloom::{Content, Value};

use super::network::{BreakingLink, Device, START, settle};

const MIB: usize = 1 << 20;
/// Four of them are as much as a commit may hold.
const PIECE: usize = 16 * MIB - 1_024;

/// Bytes that do not compress.
fn noise(seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()
    };
    std::iter::repeat_with(next).take(PIECE / 8).flatten().collect()
}

#[test]
fn a_large_transaction_comes_over_it() {
    let (phone, tablet) = (Device::new("phone", START), Device::new("tablet", START));
    let ids = phone
        .engine
        .write(|tx| {
            (0..4)
                .map(|n| tx.create("blob", &Content::new().with("bytes", noise(n))))
                .collect::<Result<Vec<_>, _>>()
        })
        .unwrap();
    let mut link = BreakingLink::new(MIB);
    let mut breaks = 0;
    while link.sync(&phone.engine, &tablet.engine).is_err() {
        breaks += 1;
        let commits = tablet.engine.snapshot().unwrap().commits().unwrap();
        assert!(commits <= 1, "all of it or nothing");
        assert!(breaks < 200, "it goes on from where it was");
    }
    assert!(breaks >= 55, "{breaks}");
    assert!(link.carried < 80 * MIB, "{} bytes for 64 MiB", link.carried);
    settle(&[&phone, &tablet]);
    let seen =
        tablet.engine.snapshot().unwrap().get(ids[3]).unwrap().unwrap().get("bytes").unwrap();
    assert!(seen == Some(Value::Bytes(noise(3))));
}
