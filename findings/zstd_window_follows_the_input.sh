#!/usr/bin/env bash
# zstd 1.5.7 (crate zstd 0.13.3): the window that is asked for is not the one that is written. Bulk
# compression shrinks it to the input, also where the frame does not say how long that is; a stream
# that is flushed writes what was asked for, however little went through it.
#
# Guess: a window log of 23 gives frames that a decoder with a limit of 20 refuses, by either call.
# Seen: bulk frames of 5,000 bytes are read under that limit, and even under the least one, 10 for
# 900 bytes; the stream's frame is refused for its first bytes.
# So whoever tests that a limit on windows holds has to make the frame by a stream; and whoever
# sends by streams has to set the window, or receivers need as much for small messages as for large.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat > "$dir/Cargo.toml" <<'TOML'
[package]
name = "window"
version = "0.0.0"
edition = "2024"

[dependencies]
zstd = { version = "=0.13.3", default-features = false }
zstd-sys = { version = "=2.0.16", default-features = false }
TOML
cat > "$dir/src/main.rs" <<'RUST'
use zstd::stream::raw::{
    CParameter, DParameter, Decoder, Encoder, InBuffer, Operation, OutBuffer,
};

const ASKED_FOR: CParameter = CParameter::WindowLog(23);

fn in_bulk(message: &[u8]) -> Vec<u8> {
    let mut bulk = zstd::bulk::Compressor::new(1).unwrap();
    bulk.set_parameter(ASKED_FOR).unwrap();
    bulk.include_contentsize(false).unwrap();
    bulk.compress(message).unwrap()
}

fn by_a_stream(message: &[u8]) -> Vec<u8> {
    let mut stream = Encoder::new(1).unwrap();
    stream.set_parameter(ASKED_FOR).unwrap();
    let mut out = Vec::with_capacity(message.len() + 1024);
    let mut output = OutBuffer::around(&mut out);
    stream.run(&mut InBuffer::around(message), &mut output).unwrap();
    assert_eq!(stream.flush(&mut output).unwrap(), 0);
    out
}

/// The least limit under which a frame is read.
fn least(packed: &[u8], length: usize) -> u32 {
    let reads = |limit: &u32| {
        let mut stream = Decoder::new().unwrap();
        stream.set_parameter(DParameter::WindowLogMax(*limit)).unwrap();
        let mut space = vec![0; length];
        let mut output = OutBuffer::around(&mut space);
        let mut input = InBuffer::around(packed);
        while input.pos() < packed.len() {
            if stream.run(&mut input, &mut output).is_err() {
                return false;
            }
        }
        output.pos() == length
    };
    (10..=27).find(reads).unwrap()
}

fn main() {
    for length in [900, 5_000, 100_000] {
        let message: Vec<u8> = (0..length as u32).map(|i| (i / 7 % 251) as u8).collect();
        let [bulk, stream] = [in_bulk(&message), by_a_stream(&message)].map(|p| least(&p, length));
        println!("{length:6} bytes: in bulk 2^{bulk}, by a stream 2^{stream}");
    }
}
RUST
seen=$(cargo run --quiet --release --manifest-path "$dir/Cargo.toml")
echo "zstd 1.5.7, crate 0.13.3; a window of 2^23 was asked for"
echo "$seen"
expected='   900 bytes: in bulk 2^10, by a stream 2^23
  5000 bytes: in bulk 2^13, by a stream 2^23
100000 bytes: in bulk 2^17, by a stream 2^23'
[ "$seen" = "$expected" ] || { echo "that has changed"; exit 1; }
