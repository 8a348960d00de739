#!/usr/bin/env bash
# zstd 1.5.7 (crate zstd 0.13.3): a streaming decoder takes in all packed bytes although there is no
# room for what they say; the rest stays inside it, and nothing tells.
#
# Guess: a decoder whose output is full leaves packed bytes unread, as an inflater does that stops
# in the middle of a block. So whoever was told how long a message is checks two things: as many
# bytes came out, and no packed byte is left.
# Seen: both hold, too, where the message is longer than was said. Of a flushed block of 1,000
# bytes all is taken in, be there room for 999 or for none; the missing bytes come out of the next
# call, in front of the next message.
# So a receiver of framed messages has to offer one byte more than was announced, and see that it
# stays empty.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat > "$dir/Cargo.toml" <<'TOML'
[package]
name = "takes-all"
version = "0.0.0"
edition = "2024"

[dependencies]
zstd = { version = "=0.13.3", default-features = false }
zstd-sys = { version = "=2.0.16", default-features = false }
TOML
cat > "$dir/src/main.rs" <<'RUST'
use zstd::stream::raw::{Decoder, Encoder, InBuffer, Operation, OutBuffer};

/// A message as a stream says it that is flushed behind it and goes on.
fn packed(message: &[u8]) -> Vec<u8> {
    let mut stream = Encoder::new(3).unwrap();
    let mut out = Vec::with_capacity(4096);
    let mut output = OutBuffer::around(&mut out);
    let mut input = InBuffer::around(message);
    stream.run(&mut input, &mut output).unwrap();
    assert_eq!(stream.flush(&mut output).unwrap(), 0);
    out
}

fn main() {
    let message: Vec<u8> = (0..1000u32).map(|i| (i * i % 251) as u8).collect();
    let packed = packed(&message);
    for room in [1000, 999, 0] {
        let mut stream = Decoder::new().unwrap();
        let mut space = vec![0; room];
        let mut input = InBuffer::around(&packed);
        let mut made = 0;
        // until nothing moves any more
        loop {
            let before = (input.pos(), made);
            let mut output = OutBuffer::around(&mut space[made..]);
            stream.run(&mut input, &mut output).unwrap();
            made += output.pos();
            if (input.pos(), made) == before {
                break;
            }
        }
        let mut more = [0; 2000];
        let mut output = OutBuffer::around(&mut more[..]);
        stream.run(&mut InBuffer::around(&[]), &mut output).unwrap();
        println!(
            "room for {room:4}: {made} bytes came out, {} packed bytes left, then {} more",
            packed.len() - input.pos(),
            output.pos()
        );
    }
}
RUST
seen=$(cargo run --quiet --release --manifest-path "$dir/Cargo.toml")
echo "zstd 1.5.7, crate 0.13.3"
echo "$seen"
expected='room for 1000: 1000 bytes came out, 0 packed bytes left, then 0 more
room for  999: 999 bytes came out, 0 packed bytes left, then 1 more
room for    0: 0 bytes came out, 0 packed bytes left, then 1000 more'
[ "$seen" = "$expected" ] || { echo "that has changed"; exit 1; }
