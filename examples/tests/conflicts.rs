//! What the example prints, word for word: `UPDATE_DOCS=1 cargo test -p heirloom-examples --test conflicts` writes it anew.

#[path = "../conflicts.rs"]
mod conflicts;

#[test]
fn the_example_tells_the_same_story_every_time() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots/conflicts.txt");
    let story = conflicts::story().unwrap();
    assert_eq!(story, conflicts::story().unwrap());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &story).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap();
    for (line, (found, expected)) in story.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {}", line + 1);
    }
    assert_eq!(story, expected);
}
