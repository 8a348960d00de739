//! The example in FORMAT.md, 1.13: its bytes are golden, its hashes right.

use heirloom_tests::decoder::{Frame, Replay, Rest, hashes};
use heirloom_tests::hex;

use super::{commits, dataset};

const PAGE: &str = include_str!("../../../../engine/FORMAT.md");

/// The lines of each block of the example.
fn blocks() -> Vec<Vec<&'static str>> {
    let (_, example) = PAGE.split_once("\n### 1.13 ").expect("the example");
    let (example, _) = example.split_once("\n##").expect("what follows it");
    let fenced = example.split("```").skip(1).step_by(2);
    fenced.map(|block| block.lines().skip(1).collect()).collect()
}

/// The bytes of a block whose lines begin with an offset and what stands there.
fn annotated(block: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in &block[1..] {
        let mut words = line.split_whitespace();
        let (at, digits) = (words.next().unwrap(), words.next().unwrap());
        assert_eq!(at.parse::<usize>(), Ok(bytes.len()), "{line}");
        bytes.extend(hex::read(digits).unwrap());
    }
    bytes
}

/// The names and digits of a block that says how each hash is made and, below, what it is.
fn named(block: &[&str]) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    for line in block {
        match (line.strip_prefix("  = "), line.split_once(": ")) {
            (Some(digits), _) => out.last_mut().expect("a name").1 = digits.to_owned(),
            (None, Some((name, _))) => out.push((name.to_owned(), String::new())),
            (None, None) => {} // goes on from the line before
        }
    }
    out
}

#[test]
fn the_example_of_the_format_is_golden_and_its_hashes_are_those_of_the_decoder() {
    let (golden, blocks) = (commits("imported.hex"), blocks());
    let [one, two, made] = &blocks[..] else { panic!("{} blocks", blocks.len()) };
    assert_eq!([annotated(one), annotated(two)], golden[..2]);
    let mut replay = Replay::new(dataset());
    let mut expected = vec![("dataset".to_owned(), hex::of(&dataset()))];
    for (device, bytes) in ["one", "two"].into_iter().zip(&golden) {
        let reference = replay.add(bytes).unwrap();
        let held = replay.commit(&reference).unwrap();
        assert_eq!(held.verified, Ok(()), "{device}");
        let Rest::Level1(level1) = &held.commit.header.rest else { panic!("of a newer level") };
        let genesis = Frame::split(bytes).unwrap().genesis.unwrap();
        let mut say = |what: &str, hash: &[u8]| {
            expected.push((format!("{what} of {device}"), hex::of(hash)));
        };
        say("nonce", &hashes::import_nonce(&dataset(), device));
        say("log id", &hashes::log_id(&genesis));
        say("chain(0)", &hashes::chain_zero(&genesis));
        for version in replay.versions().iter().filter(|v| v.reference().log == reference.log) {
            let what = format!("state checksum {}", version.reference().sequence);
            say(&what, &version.checksum.unwrap());
        }
        say("states root", &level1.states_root);
        say("chain(1)", &held.chain);
    }
    expected.push(("log root".to_owned(), hex::of(&replay.log_root())));
    expected.push(("state digest".to_owned(), hex::of(&replay.state_digest())));
    assert_eq!(named(made), expected);
}
