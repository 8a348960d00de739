#!/usr/bin/env bash
# fuzz/run.sh [SECONDS [TARGET ...]]: runs each fuzz target for so many seconds (600), one after
# another. Needs a C++ compiler for libFuzzer. What it finds lies in fuzz/artifacts/: mend it, and
# keep the input in fuzz/crashers/TARGET/, named after what was wrong; `cargo test` replays it.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-600}
shift || true
targets=${*:-$(cd fuzz_targets && ls | sed 's/\.rs$//')}

cargo fuzz --version >/dev/null 2>&1 || cargo install --locked --quiet cargo-fuzz
for target in $targets; do
    mkdir -p "corpus/$target" "crashers/$target"
    # without a sanitizer: there is no unsafe code in our crates, and this way stable Rust does
    cargo fuzz run -s none "$target" "corpus/$target" "seeds/$target" "crashers/$target" -- \
        -max_total_time="$seconds" -timeout=30 -rss_limit_mb=2048 -malloc_limit_mb=512 \
        -print_final_stats=1
done
