//! Replays of repositories that hold everything a history can hold.

mod repo;

use std::path::Path;

use heirloom::{Content, Engine, Value};
use heirloom_examples::{Check, Error, Options, Summary, run};
use repo::Repo;

/// Replays a repository, checks every commit, and demands that all is verified.
fn replay(repo: &Repo) -> Summary {
    replay_into(repo, None)
}

fn replay_into(repo: &Repo, store: Option<&Path>) -> Summary {
    let mut options = Options::new(repo.path());
    (options.check, options.store) = (Check::All, store.map(Path::to_path_buf));
    let summary = run(&options).unwrap();
    assert!(summary.is_verified() && summary.differences == 0, "{summary}");
    assert_eq!(summary.commits_checked, summary.commits, "{summary}");
    let everything = ["rev-list", "--exclude=refs/replace/*", "--all"];
    let listed = repo.git(&[&["--no-replace-objects"], &everything[..]].concat());
    assert_eq!(summary.commits, listed.lines().count() as u64);
    summary
}

/// For each file of a store that git did not delete, what git left there, whatever was edited
/// since.
fn imported(store: &Path) -> Vec<Content> {
    let engine = Engine::open(store.join("node-3.heirloom")).unwrap();
    let snapshot = engine.snapshot().unwrap();
    let mut contents = Vec::new();
    for entity in snapshot.list("file").include_deleted() {
        let mut history = snapshot.history(entity.unwrap().id()).unwrap().map(Result::unwrap);
        let version = history.find(|version| version.device().starts_with("git-")).unwrap();
        contents.extend(snapshot.content_at(&version.reference()).unwrap());
    }
    contents
}

fn imported_at(store: &Path, path: &Value) -> Content {
    let found = imported(store).into_iter().find(|content| content.get("path") == Some(path));
    found.unwrap_or_else(|| panic!("nothing at {path:?}"))
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn a_line_of_commits_is_one_device() {
    let repo = Repo::new();
    for n in 0..10 {
        repo.write("a", format!("{n}\n"));
        repo.write(format!("dir/{n}"), "new");
        repo.commit(&n.to_string());
    }
    let summary = replay(&repo);
    assert_eq!((summary.commits, summary.devices, summary.roots, summary.tips), (10, 1, 1, 1));
    // Each commit writes itself, `a`, and one new file.
    assert_eq!((summary.versions, summary.merge_versions, summary.tombstones), (30, 0, 0));
    assert_eq!((summary.entities, summary.conflicts_imported), (21, 0));
    assert!(summary.wire_bytes > 0 && summary.raw_bytes > 0 && summary.disk_bytes > 0);
    assert!(summary.resumes > 0, "{summary}");
}

#[test]
fn a_repository_with_sha256_names() {
    let repo = Repo::with_format("sha256");
    repo.write("a/b/c", "1");
    repo.commit("one");
    repo.write("a/b/c", "2");
    repo.commit("two");
    assert_eq!(replay(&repo).versions, 4);
}

#[test]
fn branches_merge_into_one_head_a_path() {
    let repo = Repo::new();
    repo.write("both", "base\n1\n2\n3\n4\n5\n6\n7\n8\n9\nend\n");
    repo.commit("base");
    repo.git(&["checkout", "-q", "-b", "side"]);
    repo.write("both", "base\n1\n2\n3\n4\n5\n6\n7\n8\n9\nSIDE\n");
    repo.write("side", "s");
    repo.commit("side");
    repo.git(&["checkout", "-q", "main"]);
    repo.write("both", "MAIN\n1\n2\n3\n4\n5\n6\n7\n8\n9\nend\n");
    repo.write("main", "m");
    repo.commit("main");
    repo.git(&["merge", "-q", "--no-edit", "side"]);
    let summary = replay(&repo);
    assert_eq!((summary.commits, summary.devices), (4, 2));
    // base 2, side 3, main 3; the merge writes itself and `both`, while `side` and `main` are what
    // they were.
    assert_eq!((summary.versions, summary.merge_versions, summary.conflicts_imported), (10, 1, 0));
}

#[test]
fn an_octopus_merge_of_many_branches() {
    let repo = Repo::new();
    repo.write("base", "0");
    repo.commit("base");
    let names: Vec<String> = (0..12).map(|n| format!("arm{n}")).collect();
    for name in &names {
        repo.git(&["checkout", "-q", "-b", name, "main"]);
        repo.write(name, name);
        repo.commit(name);
    }
    repo.git(&["checkout", "-q", "main"]);
    let arms: Vec<&str> = names.iter().map(String::as_str).collect();
    repo.git(&[&["merge", "-q", "--no-edit"], &arms[..]].concat());
    repo.commit("after");
    let summary = replay(&repo);
    assert_eq!((summary.commits, summary.devices, summary.tips), (15, 12, 13));
}

#[test]
fn criss_cross_merges() {
    let repo = Repo::new();
    repo.write("a", "0");
    repo.commit("base");
    repo.git(&["checkout", "-q", "-b", "other"]);
    for round in 0..4 {
        repo.git(&["checkout", "-q", "main"]);
        repo.write("a", format!("main {round}"));
        let main = repo.commit("main");
        repo.git(&["checkout", "-q", "other"]);
        repo.write("a", format!("other {round}"));
        let other = repo.commit("other");
        // Both merge both, and each keeps its own side.
        repo.git(&["merge", "-q", "--no-edit", "-s", "ours", &main]);
        repo.git(&["checkout", "-q", "main"]);
        repo.git(&["merge", "-q", "--no-edit", "-s", "ours", &other]);
    }
    let summary = replay(&repo);
    assert_eq!((summary.commits, summary.devices), (17, 2));
    assert!(summary.merge_versions >= 8, "{summary}");
    assert_eq!(summary.conflicts_imported, 1);
}

#[test]
fn merges_that_take_all_of_one_side() {
    let repo = Repo::new();
    for path in ["changed", "deleted", "kept"] {
        repo.write(path, "0");
    }
    repo.commit("base");
    for (branch, strategy) in [("dropped", &["-s", "ours"][..]), ("taken", &["-X", "theirs"])] {
        repo.git(&["checkout", "-q", "-b", branch, "main"]);
        repo.write("changed", branch);
        repo.write(format!("added by {branch}"), "1");
        std::fs::remove_file(repo.file(b"deleted")).unwrap();
        repo.commit(branch);
        repo.git(&["checkout", "-q", "main"]);
        repo.write("changed", format!("on main beside {branch}"));
        repo.commit("main");
        repo.git(&[&["merge", "-q", "--no-edit"], strategy, &[branch]].concat());
    }
    replay(&repo);
}

#[test]
fn a_merge_that_reverts_one_side_to_an_older_value() {
    let repo = Repo::new();
    repo.write("a", "old");
    repo.write("b", "old");
    let base = repo.commit("base");
    repo.git(&["checkout", "-q", "-b", "side"]);
    repo.write("a", "new");
    std::fs::remove_file(repo.file(b"b")).unwrap();
    repo.write("c", "new");
    let side = repo.commit("side");
    repo.git(&["checkout", "-q", "main"]);
    repo.write("unrelated", "1");
    let main = repo.commit("main");
    // The merge has the tree of main: side's edits are undone, against no parent that wrote them
    // so.
    let reverted = repo.commit_of_index(&[&main, &side], "take main");
    // And one with the tree of the base, older than both.
    repo.git(&["read-tree", &base]);
    let older = repo.commit_of_index(&[&side, &main], "back to base");
    repo.git(&["update-ref", "refs/heads/reverted", &reverted]);
    repo.git(&["update-ref", "refs/heads/older", &older]);
    // Both merges merge once more.
    let last = repo.commit_of_index(&[&older, &reverted], "both");
    repo.git(&["update-ref", "refs/heads/last", &last]);
    let summary = replay(&repo);
    assert_eq!(summary.conflicts_imported, 0);
}

#[test]
fn files_renamed_deleted_and_made_again() {
    let repo = Repo::new();
    repo.write("a", "the same contents, long enough to be seen as a rename\n".repeat(10));
    repo.commit("create");
    repo.git(&["mv", "a", "b"]);
    repo.commit("rename");
    repo.git(&["rm", "-q", "b"]);
    repo.commit("delete");
    repo.write("a", "again");
    repo.write("b", "again");
    repo.commit("create again");
    repo.git(&["rm", "-q", "a"]);
    repo.commit("delete again");
    let summary = replay(&repo);
    assert_eq!((summary.commits, summary.tombstones, summary.entities), (5, 3, 7));
}

#[test]
fn a_deletion_beside_a_change_merges_either_way() {
    for keep in [true, false] {
        let repo = Repo::new();
        repo.write("a", "0");
        repo.commit("base");
        repo.git(&["checkout", "-q", "-b", "side"]);
        repo.git(&["rm", "-q", "a"]);
        let side = repo.commit("delete");
        repo.git(&["checkout", "-q", "main"]);
        repo.write("a", "1");
        let main = repo.commit("change");
        if !keep {
            repo.git(&["rm", "-q", "--cached", "a"]);
        }
        let merge = repo.commit_of_index(&[&main, &side], "merge");
        repo.git(&["update-ref", "refs/heads/main", &merge]);
        let summary = replay(&repo);
        assert_eq!((summary.merge_versions, summary.tombstones), (1, if keep { 1 } else { 2 }));
        // The branch `side` is in the merge's past: nothing is open.
        assert_eq!(summary.conflicts_imported, 0);
    }
}

#[test]
fn the_same_file_made_on_both_sides_merges_without_a_version() {
    let repo = Repo::new();
    repo.commit("base");
    repo.git(&["checkout", "-q", "-b", "side"]);
    repo.write("a", "same");
    repo.write("b", "same");
    repo.commit("side");
    repo.git(&["checkout", "-q", "main"]);
    repo.write("a", "same");
    repo.write("b", "same");
    repo.commit("main");
    repo.git(&["merge", "-q", "--no-edit", "side"]);
    // Both heads of `a` meet in one version now, `b` keeps its two.
    repo.write("a", "other");
    repo.commit("after");
    repo.git(&["rm", "-q", "b"]);
    repo.commit("gone");
    let summary = replay(&repo);
    assert_eq!((summary.merge_versions, summary.tombstones, summary.conflicts_imported), (2, 1, 0));
}

#[test]
fn a_file_becomes_a_directory_and_back() {
    let repo = Repo::new();
    repo.write("x", "file");
    repo.commit("file");
    std::fs::remove_file(repo.file(b"x")).unwrap();
    repo.write("x/y/z", "deep");
    repo.write("x/a", "in x");
    repo.write("x.b", "sorts between x and x/");
    repo.commit("directory");
    std::fs::remove_dir_all(repo.file(b"x")).unwrap();
    repo.write("x", "file again");
    repo.commit("file again");
    // On another branch it stays a directory; then both meet.
    repo.git(&["checkout", "-q", "-b", "side", "HEAD~1"]);
    repo.write("x/a", "changed");
    repo.commit("side");
    repo.git(&["merge", "-q", "--no-edit", "-s", "ours", "main"]);
    let summary = replay(&repo);
    assert_eq!((summary.commits, summary.entities), (5, 9));
}

#[test]
fn modes_symlinks_and_submodules() {
    let repo = Repo::new();
    repo.write("script", "#!/bin/sh\n");
    std::os::unix::fs::symlink("script", repo.file(b"link")).unwrap();
    repo.write(".gitmodules", "[submodule \"m\"]\n\tpath = m\n\turl = ./m\n\tignore = all\n");
    repo.git(&["add", "-A"]);
    repo.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{},m", "1".repeat(40))]);
    let one = repo.commit_of_index(&[], "one");
    repo.git(&["update-index", "--chmod=+x", "script"]);
    repo.git(&["update-index", "--cacheinfo", &format!("160000,{},m", "2".repeat(40))]);
    let two = repo.commit_of_index(&[&one], "two");
    // A link becomes a file, the submodule a link.
    let blob = repo.git_with(&["hash-object", "-w", "--stdin"], b"script");
    repo.git(&["update-index", "--cacheinfo", &format!("100644,{blob},link")]);
    repo.git(&["update-index", "--cacheinfo", &format!("120000,{blob},m")]);
    let three = repo.commit_of_index(&[&two], "three");
    repo.git(&["update-ref", "refs/heads/main", &two]);
    repo.git(&["update-ref", "refs/heads/three", &three]);

    let store = tempfile::tempdir().unwrap();
    repo.git(&["update-ref", "-d", "refs/heads/three"]);
    replay_into(&repo, Some(store.path()));
    let submodule = imported_at(store.path(), &text("m"));
    assert_eq!(submodule.get("mode"), Some(&text("160000")));
    assert_eq!(submodule.get("blob"), Some(&text(&"2".repeat(40))));
    assert_eq!((submodule.get("size"), submodule.get("contents")), (None, None));
    let link = imported_at(store.path(), &text("link"));
    assert_eq!(
        (link.get("mode"), link.get("contents")),
        (Some(&text("120000")), Some(&text("script")))
    );
    assert_eq!(imported_at(store.path(), &text("script")).get("mode"), Some(&text("100755")));

    repo.git(&["update-ref", "refs/heads/three", &three]);
    assert_eq!(replay_into(&repo, Some(store.path())).commits_new, 1);
}

#[test]
fn paths_of_any_bytes() {
    let repo = Repo::new();
    let paths: [&[u8]; 8] = [
        b"with space",
        b"quote\"and'quote",
        b"back\\slash",
        b"tab\tnew\nline",
        "gr\u{fc}n/\u{1f4a1}".as_bytes(),
        b"latin-gr\xfcn",
        b"\xff\xfe/\x80",
        b"-leading-dash",
    ];
    for path in paths {
        repo.write(path, path);
    }
    repo.commit("create");
    for path in &paths[..4] {
        repo.write(path, "changed");
    }
    repo.commit("change");
    std::fs::remove_file(repo.file(paths[5])).unwrap();
    repo.commit("delete");
    let store = tempfile::tempdir().unwrap();
    let summary = replay_into(&repo, Some(store.path()));
    assert_eq!((summary.versions, summary.entities), (16, 11));
    let odd = Value::Bytes(b"\xff\xfe/\x80".to_vec());
    assert_eq!(imported_at(store.path(), &odd).get("contents"), Some(&odd));
}

#[test]
fn contents_are_taken_along_up_to_their_limit_and_only_if_asked() {
    let repo = Repo::new();
    repo.write("fits", vec![b'x'; 64 << 10]);
    repo.write("large", vec![b'x'; (64 << 10) + 1]);
    repo.write("binary", [0, 0xff, 0x80]);
    repo.write("empty", "");
    repo.commit("one");
    let store = tempfile::tempdir().unwrap();
    replay_into(&repo, Some(store.path()));
    let contents = |path: &str| imported_at(store.path(), &text(path)).get("contents").cloned();
    assert_eq!(contents("fits"), Some(text(&"x".repeat(64 << 10))));
    assert_eq!(contents("large"), None);
    assert_eq!(
        imported_at(store.path(), &text("large")).get("size"),
        Some(&Value::Int((64 << 10) + 1))
    );
    assert_eq!(contents("binary"), Some(Value::Bytes(vec![0, 0xff, 0x80])));
    assert_eq!(contents("empty"), Some(text("")));

    let bare = tempfile::tempdir().unwrap();
    let mut options = Options::new(repo.path());
    (options.contents, options.store) = (false, Some(bare.path().to_path_buf()));
    assert!(run(&options).unwrap().is_verified());
    assert!(imported(bare.path()).iter().all(|content| content.get("contents").is_none()));
}

#[test]
fn dates_before_the_parents_before_1970_and_in_the_far_future() {
    let repo = Repo::new();
    repo.write("a", "0");
    repo.commit("base");
    repo.at(86_400);
    repo.write("a", "1");
    repo.commit("long before its parent");
    let mut tip = repo.head();
    for (index, date) in ["-86400 +0000", "253402300799 +0000", "99999999999999999999 +0000", "5"]
        .into_iter()
        .enumerate()
    {
        repo.write("a", date);
        repo.git(&["add", "-A"]);
        let tree = repo.git(&["write-tree"]);
        let person = format!("Ada <ada@example.org> {date}");
        let object =
            format!("tree {tree}\nparent {tip}\nauthor {person}\ncommitter {person}\n\n{index}\n");
        tip = repo.raw_commit(object.as_bytes());
    }
    repo.git(&["update-ref", "refs/heads/main", &tip]);
    let summary = replay(&repo);
    assert_eq!((summary.commits, summary.devices), (6, 1));
}

#[test]
fn several_roots_and_empty_commits() {
    let repo = Repo::new();
    repo.commit("empty root");
    repo.commit("empty");
    repo.write("a", "main");
    repo.commit("a");
    repo.git(&["checkout", "-q", "--orphan", "other"]);
    repo.git(&["rm", "-q", "-rf", "."]);
    repo.write("a", "other");
    repo.write("b", "other");
    repo.commit("another root");
    repo.git(&["checkout", "-q", "--orphan", "third"]);
    repo.commit("a third root");
    repo.git(&["merge", "-q", "--no-edit", "--allow-unrelated-histories", "-s", "ours", "main"]);
    let summary = replay(&repo);
    assert_eq!((summary.commits, summary.roots, summary.tips), (6, 3, 3));
}

#[test]
fn a_detached_head_counts_as_a_tip() {
    let repo = Repo::new();
    repo.write("a", "0");
    repo.commit("base");
    repo.git(&["checkout", "-q", "--detach"]);
    repo.write("a", "1");
    repo.commit("nobody names it");
    let summary = replay(&repo);
    assert_eq!((summary.commits, summary.tips), (2, 2));
}

/// `branches` branches from one commit, each changing the one path in its own way.
fn fan(repo: &Repo, branches: usize) {
    repo.write("hot", "base");
    let base = repo.commit("base");
    let mut stream = String::new();
    for n in 0..branches {
        stream += &format!(
            "commit refs/heads/b{n}\ncommitter C <c@x> {} +0000\ndata 1\nx\nfrom {base}\nM 100644 \
             inline hot\ndata 4\n{n:04}\n",
            1_700_010_000 + n
        );
    }
    repo.git_with(&["fast-import", "--quiet"], stream.as_bytes());
}

#[test]
fn hundreds_of_unmerged_branches_on_one_path_and_their_merge() {
    let repo = Repo::new();
    fan(&repo, 300);
    let store = tempfile::tempdir().unwrap();
    let summary = replay_into(&repo, Some(store.path()));
    assert_eq!((summary.commits, summary.tips, summary.devices), (301, 301, 300));
    assert_eq!(summary.conflicts_imported, 1);

    // Somebody merges them all, later: one version with all heads as parents.
    let tips: Vec<String> = (0..300).map(|n| repo.git(&["rev-parse", &format!("b{n}")])).collect();
    let tips: Vec<&str> = tips.iter().map(String::as_str).collect();
    let merge = repo.commit_of_index(&tips, "all of them");
    repo.git(&["update-ref", "refs/heads/main", &merge]);
    let summary = replay_into(&repo, Some(store.path()));
    assert_eq!((summary.commits_new, summary.versions, summary.merge_versions), (1, 2, 1));
    assert_eq!(summary.devices, 300);
}

#[test]
fn signed_tags_signatures_and_encodings() {
    let repo = Repo::new();
    repo.write("a", "0");
    let base = repo.commit("base");
    let tree = repo.git(&["write-tree"]);
    let mut object = format!("tree {tree}\nparent {base}\nauthor J").into_bytes();
    object.extend_from_slice(
        b"\xf6rg <j@x> 1700009000 +0100\ncommitter J\xf6rg <j@x> 1700009000 +0100\n",
    );
    object.extend_from_slice(
        b"encoding ISO-8859-1\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n iQ\n \
          -----END PGP SIGNATURE-----\n",
    );
    object.extend_from_slice(b"\ngr\xfcn\n");
    let commit = repo.raw_commit(&object);
    repo.git(&["update-ref", "refs/heads/main", &commit]);
    let tag = |target: &str, kind: &str, name: &str| {
        let object = format!(
            "object {target}\ntype {kind}\ntag {name}\ntagger Ada <a@x> 1700009999 +0000\n\n\
             signed\n\
             -----BEGIN PGP SIGNATURE-----\n\niQEz\n-----END PGP SIGNATURE-----\n"
        );
        let id = repo.git_with(&["mktag"], object.as_bytes());
        repo.git(&["update-ref", &format!("refs/tags/{name}"), &id]);
        id
    };
    let signed = tag(&base, "commit", "v1");
    tag(&signed, "tag", "of-a-tag");
    tag(&tree, "tree", "of-a-tree");
    let store = tempfile::tempdir().unwrap();
    let summary = replay_into(&repo, Some(store.path()));
    assert_eq!((summary.commits, summary.tips), (2, 2));
    let engine = Engine::open(store.path().join("node-2.heirloom")).unwrap();
    let snapshot = engine.snapshot().unwrap();
    let commits: Vec<Content> =
        snapshot.list("commit").into_iter().map(|entity| entity.unwrap().content()).collect();
    let found =
        commits.iter().find(|content| content.get("object") == Some(&text(&commit))).unwrap();
    for (field, value) in [
        ("author", Value::Bytes(b"J\xf6rg".to_vec())),
        ("author_time", Value::Int(1_700_009_000)),
        ("encoding", text("ISO-8859-1")),
        ("message", Value::Bytes(b"gr\xfcn\n".to_vec())),
        ("parents", Value::Array(vec![text(&base)])),
    ] {
        assert_eq!(found.get(field), Some(&value), "{field}");
    }
}

#[test]
fn a_later_run_on_the_same_store_adds_only_what_is_new() {
    let repo = Repo::new();
    let store = tempfile::tempdir().unwrap();
    let grow = |branch: &str, text: &str| {
        repo.git(&["checkout", "-q", "-B", branch]);
        repo.write("a", text);
        repo.write(branch, text);
        repo.commit(text);
    };
    grow("main", "0");
    grow("side", "1");
    let first = replay_into(&repo, Some(store.path()));
    assert_eq!((first.commits_new, first.versions), (2, 6));
    let same = replay_into(&repo, Some(store.path()));
    assert_eq!((same.commits, same.commits_new, same.versions, same.devices), (2, 0, 0, 1));
    assert_eq!(same.versions_total, first.versions_total + same.edits);

    // A line goes on, another begins below it, a merge joins them.
    grow("side", "2");
    repo.git(&["checkout", "-q", "main"]);
    grow("main", "3");
    repo.git(&["merge", "-q", "--no-edit", "-X", "ours", "side"]);
    let longer = replay_into(&repo, Some(store.path()));
    assert_eq!((longer.commits, longer.commits_new, longer.devices), (5, 3, 2));
    assert_eq!(replay_into(&repo, Some(store.path())).versions, 0);
}

#[test]
fn nodes_that_lost_their_files_are_filled_again() {
    let repo = Repo::new();
    repo.write("a", "0");
    repo.commit("base");
    let store = tempfile::tempdir().unwrap();
    let first = replay_into(&repo, Some(store.path()));
    for node in ["node-2.heirloom", "node-3.heirloom"] {
        std::fs::remove_file(store.path().join(node)).unwrap();
    }
    let again = replay_into(&repo, Some(store.path()));
    assert_eq!(again.versions, 0);
    // They get the edits of the first run, too.
    assert!(again.raw_bytes > first.raw_bytes && again.sync_versions_per_s > 0.0, "{again}");
}

#[test]
fn an_abandoned_branch_does_not_disturb_a_later_run() {
    let repo = Repo::new();
    let store = tempfile::tempdir().unwrap();
    repo.write("a", "0");
    let base = repo.commit("base");
    repo.write("a", "abandoned");
    repo.commit("abandoned");
    replay_into(&repo, Some(store.path()));
    repo.git(&["reset", "-q", "--hard", &base]);
    repo.write("a", "instead");
    repo.commit("instead");
    let summary = replay_into(&repo, Some(store.path()));
    // The abandoned commit still ends the first log: the new one must not follow it.
    assert_eq!(
        (summary.commits, summary.commits_new, summary.devices, summary.conflicts_imported),
        (2, 1, 2, 1)
    );
}

#[test]
fn a_shallow_clone_is_replayed_from_its_boundary() {
    let repo = Repo::new();
    for n in 0..6 {
        repo.write("a", n.to_string());
        repo.write(format!("f{n}"), "x");
        repo.commit(&n.to_string());
    }
    let clone = repo.clone_with(&["--depth", "3"]);
    let store = tempfile::tempdir().unwrap();
    let summary = replay_into(&clone, Some(store.path()));
    assert!(summary.shallow && summary.to_string().contains("shallow"));
    assert_eq!((summary.commits, summary.roots), (3, 1));

    // What is deepened later has parents that the store does not know: that is said, not guessed
    // at.
    clone.git(&["fetch", "-q", "--unshallow"]);
    let mut options = Options::new(clone.path());
    options.store = Some(store.path().to_path_buf());
    let error = run(&options).unwrap_err();
    assert!(
        matches!(error, Error::OtherHistory(_)) && error.to_string().contains("--store"),
        "{error}"
    );
}

/// A history of which a clone can leave much out: `a` is small, then large, then small again, and
/// `b` and `link` stay as they are.
fn promised() -> Repo {
    let repo = Repo::new();
    repo.git(&["config", "uploadpack.allowFilter", "true"]);
    repo.write("b", "stays");
    std::os::unix::fs::symlink("b", repo.file(b"link")).unwrap();
    for contents in ["small".to_owned(), "large ".repeat(100), "small again".to_owned()] {
        repo.write("a", contents);
        repo.commit("a");
    }
    repo.git(&["checkout", "-q", "-b", "side", "HEAD~1"]);
    repo.write("d/c", "beside");
    repo.commit("c");
    repo.git(&["checkout", "-q", "main"]);
    repo.git(&["merge", "-q", "--no-edit", "side"]);
    repo
}

/// The objects that a clone lacks. Asking does not fetch them.
fn absent(clone: &Repo) -> Vec<String> {
    let listed = clone.git(&["rev-list", "--objects", "--all", "--missing=print"]);
    listed.lines().filter_map(|line| Some(line.strip_prefix('?')?.to_owned())).collect()
}

#[test]
fn a_partial_clone_is_replayed_without_what_it_lacks_and_nothing_is_fetched() {
    let repo = promised();
    let whole = replay(&repo);
    assert!(!whole.partial && whole.versions_without_blob == 0, "{whole}");
    // Whatever is asked for it sends: were it asked, the clone would lack less after.
    for (options, without, lacks) in [
        (&["--bare", "--filter=blob:none"][..], 6, 6),
        (&["--mirror", "--filter=blob:none"], 6, 6),
        // What is checked out was fetched by git itself.
        (&["--filter=blob:none"], 2, 2),
        (&["--bare", "--filter=blob:limit=100"], 1, 1),
        (&["--bare", "--filter=blob:none", "--depth=2", "--no-single-branch"], 8, 5),
    ] {
        let clone = repo.clone_with(options);
        let before = absent(&clone);
        assert_eq!(before.len(), lacks, "{options:?}");
        let summary = replay(&clone);
        assert_eq!(absent(&clone), before, "{options:?}");
        assert_eq!(summary.versions_without_blob, without, "{options:?} {summary}");
        assert_eq!(summary.trees_checked, summary.commits, "{options:?} {summary}");
        let said = summary.to_string();
        assert!(summary.partial && said.contains("partial clone"), "{said}");
        assert!(said.contains(&format!("of {without} versions")), "{said}");

        let mut options = Options::new(clone.path());
        (options.check, options.contents) = (Check::All, false);
        let summary = run(&options).unwrap();
        assert!(summary.is_verified() && summary.versions_without_blob == without, "{summary}");
        assert_eq!(absent(&clone), before);
    }
}

#[test]
fn what_is_left_out_of_a_version_is_not_what_an_earlier_one_had() {
    let clone = promised().clone_with(&["--bare", "--filter=blob:limit=100"]);
    let store = tempfile::tempdir().unwrap();
    replay_into(&clone, Some(store.path()));
    let engine = Engine::open(store.path().join("node-3.heirloom")).unwrap();
    let snapshot = engine.snapshot().unwrap();
    let mut found = Vec::new();
    for entity in snapshot.list("file").include_deleted() {
        for version in snapshot.history(entity.unwrap().id()).unwrap().map(Result::unwrap) {
            let content = snapshot.content_at(&version.reference()).unwrap().unwrap_or_default();
            if version.device().starts_with("git-") && content.get("path") == Some(&text("a")) {
                found.push((content.get("size").cloned(), content.get("contents").cloned()));
            }
        }
    }
    found.reverse();
    let whole = |contents: &str| (Some(Value::Int(contents.len() as i64)), Some(text(contents)));
    assert_eq!(found, [whole("small"), (None, None), whole("small again")]);
}

#[test]
fn what_came_after_the_first_run_on_a_partial_clone_is_taken_along_by_the_next() {
    let (repo, store) = (promised(), tempfile::tempdir().unwrap());
    let clone = repo.clone_with(&["--bare", "--filter=blob:none"]);
    let first = replay_into(&clone, Some(store.path()));
    assert_eq!(first.versions_without_blob, 6);
    repo.write("a", "new");
    repo.commit("a");
    clone.git(&["fetch", "-q", "--refetch", "--filter=blob:limit=100", "origin", "+refs/*:refs/*"]);
    let next = replay_into(&clone, Some(store.path()));
    assert_eq!((next.commits_new, next.versions, next.versions_without_blob), (1, 2, 0));
    assert_eq!(imported_at(store.path(), &text("a")).get("contents"), Some(&text("new")));
}

#[test]
fn a_clone_without_trees_is_refused_with_what_it_needs() {
    let clone = promised().clone_with(&["--bare", "--filter=tree:0"]);
    let before = absent(&clone);
    let error = run(&Options::new(clone.path())).unwrap_err();
    assert!(matches!(error, Error::Git(_)), "{error}");
    let said = error.to_string();
    assert!(said.contains("tree") && said.contains("blob:none"), "{said}");
    assert_eq!(absent(&clone), before);
}

#[test]
fn a_blob_that_is_missing_without_a_promise_is_told_as_damage() {
    let repo = Repo::new();
    repo.write("a", "here");
    repo.write("b", "gone");
    repo.commit("both");
    let blob = repo.git(&["rev-parse", "HEAD:b"]);
    let (directory, file) = blob.split_at(2);
    std::fs::remove_file(repo.path().join(".git/objects").join(directory).join(file)).unwrap();
    let summary = replay(&repo);
    assert!(!summary.partial && summary.versions_without_blob == 1, "{summary}");
    assert!(summary.to_string().contains("git fsck"), "{summary}");
}

#[test]
fn a_replacement_is_no_history_of_its_own_and_replaces_nothing() {
    let repo = Repo::new();
    for n in 0..4 {
        repo.write("a", n.to_string());
        repo.commit(&n.to_string());
    }
    // One cuts the history off, one puts another commit in a place, one another blob into trees.
    repo.git(&["replace", "--graft", "HEAD~1"]);
    repo.write("a", "a lie");
    repo.git(&["add", "-A"]);
    let lie = repo.commit_of_index(&[], "a lie");
    repo.git(&["replace", "HEAD~3", &lie]);
    let blob = repo.git_with(&["hash-object", "-w", "--stdin"], b"a lie");
    repo.git(&["replace", &repo.git(&["rev-parse", "HEAD:a"]), &blob]);
    let store = tempfile::tempdir().unwrap();
    let summary = replay_into(&repo, Some(store.path()));
    assert_eq!((summary.commits, summary.roots, summary.tips, summary.devices), (4, 1, 1, 1));
    assert_eq!(imported_at(store.path(), &text("a")).get("contents"), Some(&text("3")));

    // What a branch names is a history, whatever else it replaces.
    repo.git(&["branch", "lie", &lie]);
    let summary = replay_into(&repo, Some(store.path()));
    assert_eq!((summary.commits, summary.commits_new, summary.roots, summary.tips), (5, 1, 2, 2));
}

#[test]
fn grafts_are_followed_as_git_follows_them() {
    let repo = Repo::new();
    let mut commits = Vec::new();
    for n in 0..4 {
        repo.write("a", n.to_string());
        repo.write(format!("f{n}"), "x");
        commits.push(repo.commit(&n.to_string()));
    }
    let info = repo.path().join(".git/info");
    std::fs::create_dir_all(&info).unwrap();
    let graft = |lines: &str| std::fs::write(info.join("grafts"), lines).unwrap();
    let replayed = || {
        let summary = replay(&repo);
        (summary.grafted, summary.commits, summary.roots, summary.tips, summary.devices)
    };
    graft("# nothing\n");
    assert_eq!(replayed(), (false, 4, 1, 1, 1));
    // The second loses its parent: the first is out of reach, what follows is not.
    graft(&format!("{}\n", commits[1]));
    assert_eq!(replayed(), (true, 3, 1, 1, 1));
    // The last goes on from the first, and from the second too.
    graft(&format!("{} {} {}\n", commits[3], commits[0], commits[1]));
    assert_eq!(replayed(), (true, 3, 1, 1, 1));
    // What git says of each bad line is more than a pipe holds: neither waits for the other.
    let bad = "no graft, but a line that somebody left in this file\n".repeat(3_000);
    graft(&format!("{}\n{bad}", commits[1]));
    assert_eq!(replayed(), (true, 3, 1, 1, 1));
}

#[test]
fn a_history_that_its_grafts_cut_off_is_replayed_where_the_rest_is_not_here() {
    let repo = Repo::new();
    for n in 0..5 {
        repo.write("a", n.to_string());
        repo.commit(&n.to_string());
    }
    // So it was done before there were shallow clones.
    let clone = repo.clone_with(&["--depth", "2"]);
    let git = clone.path().join(".git");
    std::fs::create_dir_all(git.join("info")).unwrap();
    std::fs::rename(git.join("shallow"), git.join("info/grafts")).unwrap();
    let summary = replay(&clone);
    assert_eq!((summary.commits, summary.roots), (2, 1));
    assert!(summary.grafted && !summary.shallow, "{summary}");
    assert!(summary.to_string().contains("grafts"), "{summary}");
}

#[test]
fn a_commit_that_only_a_tag_of_a_tag_reaches_is_replayed() {
    let repo = Repo::new();
    repo.write("a", "0");
    let base = repo.commit("base");
    repo.write("a", "1");
    let tagged = repo.commit("tagged");
    repo.git(&["tag", "-a", "-m", "of a commit", "inner"]);
    repo.git(&["tag", "-a", "-m", "of a tag", "outer", "inner"]);
    repo.git(&["tag", "-d", "inner"]);
    repo.git(&["reset", "-q", "--hard", &base]);
    let store = tempfile::tempdir().unwrap();
    let summary = replay_into(&repo, Some(store.path()));
    assert_eq!((summary.commits, summary.tips), (2, 2));
    let engine = Engine::open(store.path().join("node-1.heirloom")).unwrap();
    let snapshot = engine.snapshot().unwrap();
    let mut commits = snapshot.list("commit").into_iter().map(|entity| entity.unwrap().content());
    assert!(commits.any(|content| content.get("object") == Some(&text(&tagged))));
}

#[test]
fn the_detached_head_of_another_work_tree_counts_as_a_tip() {
    let repo = Repo::new();
    repo.write("a", "0");
    repo.commit("base");
    let other = tempfile::tempdir().unwrap();
    let path = other.path().join("tree");
    repo.git(&["worktree", "add", "-q", "--detach", path.to_str().unwrap()]);
    std::fs::write(path.join("a"), "there").unwrap();
    repo.git(&["-C", path.to_str().unwrap(), "commit", "-q", "-a", "-m", "no ref names it"]);
    let summary = replay(&repo);
    assert_eq!((summary.commits, summary.tips), (2, 2));
    // From there it is the same history.
    let there = run(&Options::new(&path)).unwrap();
    assert!(there.is_verified() && there.commits == 2 && there.tips == 2, "{there}");
}

#[test]
fn an_empty_repository_is_nothing_to_replay() {
    let summary = replay(&Repo::new());
    assert_eq!((summary.commits, summary.versions, summary.devices, summary.edits), (0, 0, 0, 0));
    assert!(summary.to_string().contains("nothing to replay"));
}

#[test]
fn a_bare_repository_and_a_subdirectory_are_repositories() {
    let repo = Repo::new();
    repo.write("sub/a", "0");
    repo.commit("base");
    let bare = repo.clone_with(&["--bare"]);
    assert_eq!(replay(&bare).versions, 2);
    let mut options = Options::new(repo.path().join("sub"));
    options.check = Check::All;
    assert_eq!(run(&options).unwrap().versions, 2);
}

#[test]
fn what_is_no_repository_is_said_to_be_none() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().to_path_buf(), directory.path().join("missing")] {
        let error = run(&Options::new(&path)).unwrap_err();
        assert!(matches!(error, Error::NotARepository(..)), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()));
    }
}

#[test]
fn the_json_is_one_flat_object_with_all_that_was_promised() {
    let repo = Repo::new();
    for n in 0..40 {
        repo.write(format!("f{n}"), n.to_string());
    }
    repo.commit("base");
    let json = repo.path().join(".git/summary.json");
    let mut options = Options::new(repo.path());
    options.json = Some(json.clone());
    let summary = run(&options).unwrap();
    let written: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let object = written.as_object().unwrap();
    assert!(object.values().all(|value| !value.is_object() && !value.is_array()));
    for key in [
        "commits",
        "versions",
        "devices",
        "merge_versions",
        "tombstones",
        "commits_checked",
        "trees_checked",
        "ingest_versions_per_s",
        "sync_versions_per_s",
        "wire_bytes",
        "raw_bytes",
        "disk_bytes",
        "resumes",
        "conflicts_imported",
        "conflicts_made",
        "peak_rss_bytes",
        "seconds",
    ] {
        assert!(object[key].is_number(), "{key}");
    }
    for key in ["trees_equal", "nodes_equal", "verify_clean"] {
        assert_eq!(object[key], true, "{key}");
    }
    // 40 files are played with by turns of six: seven times the same field, seven times a deletion
    // against an update.
    assert_eq!(summary.conflicts_made, 14);
    assert_eq!((summary.settled_by_last_write, summary.settled_by_deletion), (7, 7));
    assert_eq!(object["conflicts_made"], 14);
}
