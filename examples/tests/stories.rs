//! What the short examples print, word for word:
//! `UPDATE_DOCS=1 cargo test -p heirloom-examples --test stories` writes it anew.

#[path = "../conflicts.rs"]
mod conflicts;
#[path = "../timeline.rs"]
mod timeline;

type Story = Result<String, Box<dyn std::error::Error>>;

fn check(name: &str, story: fn() -> Story) {
    let path = format!("{}/tests/snapshots/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let found = story().unwrap();
    assert_eq!(found, story().unwrap(), "the same every time");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap();
    for (line, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {}", line + 1);
    }
    assert_eq!(found, expected);
}

#[test]
fn conflicts_tells_the_same_story_every_time() {
    check("conflicts", conflicts::story);
}

#[test]
fn timeline_tells_the_same_story_every_time() {
    check("timeline", timeline::story);
}
