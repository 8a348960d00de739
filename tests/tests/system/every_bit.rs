//! Every 97th bit of the smallest store that has something in each table, flipped, and some that
//! were once mended wrongly; `every_bit` alone flips them all.

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

/// The root of a table leads to a page of another, so that to mend the one, or to drain the journal
/// into it, spoils the other; and the log lacks records, or seems to, while all else stands. Which
/// bit does so follows from where redb puts pages: where that changes, a run of `every_bit` over
/// all of them finds the new ones.
#[test]
fn bits_that_were_once_repaired_wrongly_are_repaired_right() {
    let shared = [199_746, 200_352, 200_355, 200_961];
    // its pieces are cut out wrongly, or not found: its table is made anew, without them
    let cut = [459_027, 459_040, 459_072];
    for bit in shared.iter().chain(&cut) {
        let run = Command::new(env!("CARGO_BIN_EXE_every_bit"))
            .args(["--bit", &bit.to_string()])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success(), "{said}");
        // with debug assertions redb looks at opening whether two tables share a page
        if cfg!(debug_assertions) && shared.contains(bit) {
            assert!(said.contains("refused when it is opened (Corrupt)"), "{said}");
            continue;
        }
        assert!(said.contains("named by verify"), "bit {bit} does something else now: {said}");
        let right = said.contains("repair makes all right");
        let asked = said.contains("peers are asked for commits");
        assert!(if shared.contains(bit) { right } else { asked }, "{said}");
    }
}
