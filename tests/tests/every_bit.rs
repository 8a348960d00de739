//! Every 97th bit of the smallest store that has something in each table, flipped; `every_bit`
//! alone flips them all.

use std::process::Command;

#[test]
fn a_flipped_bit_is_an_error_and_no_panic_and_is_mended_or_named() {
    let run =
        Command::new(env!("CARGO_BIN_EXE_every_bit")).args(["--every", "97"]).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    let count = |what: &str| -> u64 {
        let line = said.lines().find(|line| line.ends_with(what));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    // it does something
    assert!(count("named by verify") > 50 && count("repair makes all right") > 20, "{said}");
    assert!(count("redb ends the process") < 10, "{said}");
}
