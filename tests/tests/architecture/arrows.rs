//! Which file uses which, read off the paths in the code: `use` declarations, and paths that are
//! written out where they are used.

use std::collections::{BTreeMap, BTreeSet};

/// The files of a crate, by their paths under `src`, and what each uses.
pub(crate) struct Arrows {
    pub(crate) uses: BTreeMap<String, BTreeSet<String>>,
    /// Those that only list what is in their folder.
    lists: BTreeSet<String>,
}

impl Arrows {
    pub(crate) fn of(files: &BTreeMap<String, String>) -> Self {
        let modules: BTreeMap<Vec<String>, &str> =
            files.keys().map(|file| (module(file), &**file)).collect();
        let (mut uses, mut lists) = (BTreeMap::new(), BTreeSet::new());
        for (file, text) in files {
            let (here, code) = (module(file), code(text));
            if !["fn ", "struct ", "enum ", "trait "].iter().any(|item| code.contains(item)) {
                lists.insert(file.clone());
            }
            let mut found = BTreeSet::new();
            for path in paths(&code) {
                // the longest beginning that is a module; what follows is an item in it
                let path = absolute(&here, &path);
                let target = (0..=path.len()).rev().find_map(|n| modules.get(&path[..n]));
                found.extend(target.filter(|t| *t != file).map(|t| (*t).to_owned()));
            }
            uses.insert(file.clone(), found);
        }
        Self { uses, lists }
    }

    /// Arrows that lead to a room further down in the list, or to a place that is in none.
    pub(crate) fn upward(&self, rooms: &[&str]) -> Vec<String> {
        let rank = |file: &str| {
            let fits = |room: &&&str| file == **room || file.starts_with(&format!("{room}/"));
            let best = rooms.iter().enumerate().filter(|(_, room)| fits(room));
            best.max_by_key(|(_, room)| room.len()).map(|(rank, _)| rank)
        };
        let mut out = Vec::new();
        for (from, to) in self.pairs() {
            match (rank(from), rank(to)) {
                (Some(a), Some(b)) if b <= a => {}
                (Some(_), Some(_)) => out.push(format!("{from} uses {to}")),
                (None, _) => out.push(format!("{from} is in no room")),
                (_, None) => out.push(format!("{to} is in no room")),
            }
        }
        out
    }

    /// Files that use each other, directly or over others.
    pub(crate) fn circles(&self) -> Vec<String> {
        let mut reach: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (from, to) in self.pairs() {
            reach.entry(from).or_default().insert(to);
        }
        loop {
            let mut grown = false;
            let files: Vec<&str> = reach.keys().copied().collect();
            for file in files {
                let next: BTreeSet<&str> =
                    reach[file].iter().filter_map(|f| reach.get(f)).flatten().copied().collect();
                let all = reach.get_mut(file).expect("it is among the keys");
                let before = all.len();
                all.extend(next);
                grown |= all.len() > before;
            }
            if !grown {
                break;
            }
        }
        let on_one = reach.iter().filter(|(file, reached)| reached.contains(*file));
        on_one.map(|(file, _)| (*file).to_owned()).collect()
    }

    /// All arrows but those from a list, and those from a file to the list of its own folder, whose
    /// constants and macros it may use.
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.uses.iter().flat_map(|(from, to)| to.iter().map(move |to| (&**from, &**to)));
        let own = |from: &str, list: &str| from.starts_with(list.trim_end_matches("mod.rs"));
        all.filter(move |(from, to)| {
            let to_own_list = self.lists.contains(*to) && own(from, to);
            !self.lists.contains(*from) && !to_own_list
        })
    }
}

fn module(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').filter(|part| *part != "lib").map(str::to_owned).collect()
}

/// What is compiled into the crate itself, without comments and texts.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut out = String::new();
    let mut skip = false;
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or_default();
        // one item for tests alone
        if !std::mem::replace(&mut skip, line.trim() == "#[cfg(test)]") {
            out.push_str(line);
            out.push('\n');
        }
    }
    // `pub(in path)` says who may look, and uses nothing
    out.replace("pub(in crate", "pub(in ")
}

/// Each path that begins with `crate`, `self` or `super`, a list of names in braces taken apart.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut out = Vec::new();
    let bytes = code.as_bytes();
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    for start in ["crate::", "self::", "super::"] {
        for (at, _) in code.match_indices(start) {
            if at == 0 || (!is_name(bytes[at - 1]) && bytes[at - 1] != b':') {
                tree(&code[at..], &mut Vec::new(), &mut out);
            }
        }
    }
    out
}

/// Reads one tree of a `use` declaration, or one plain path. Returns how long it is.
fn tree(code: &str, before: &mut Vec<String>, out: &mut Vec<Vec<String>>) -> usize {
    let (mut at, depth) = (0, before.len());
    loop {
        let rest = &code[at..];
        if rest.starts_with('{') {
            at += 1;
            while !code[at..].starts_with('}') && at < code.len() {
                let skip = code[at..].find(|c: char| !c.is_whitespace() && c != ',');
                at += skip.unwrap_or(code.len() - at);
                if code[at..].starts_with('}') {
                    break;
                }
                at += tree(&code[at..], before, out).max(1);
            }
            before.truncate(depth);
            return (at + 1).min(code.len());
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        before.push(rest[..end].to_owned());
        at += end;
        if !code[at..].starts_with("::") {
            out.push(before.clone());
            before.truncate(depth);
            // what it is called here does not matter
            let other = code[at..].trim_start();
            if other.starts_with("as ") {
                let end = code[at..].find([',', '}', ';']).unwrap_or(0);
                at += end;
            }
            return at;
        }
        at += 2;
    }
}

fn absolute(here: &[String], path: &[String]) -> Vec<String> {
    let mut out = here.to_vec();
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        match &**first {
            "crate" => out.clear(),
            "super" => drop(out.pop()),
            "self" => {}
            _ => break,
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    out
}
