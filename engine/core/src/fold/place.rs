//! Where a commit belongs: on which line, or whether it begins one.

use crate::format::hash::branch_name;
use crate::model::{Chain, Line, LogId, Sequence};

/// Where a line left another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BranchPoint {
    /// The line that holds the last common commit.
    pub of: Line,
    /// Its last sequence; [`Sequence::START`] where already the first commits differ.
    pub after: Sequence,
    /// What the line is called from there.
    pub name: LogId,
    /// What the other is called from there.
    pub other: LogId,
}

/// Where a commit belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spot {
    /// At the end of this line.
    End(Line),
    /// Another commit follows the same one already: it is the first of a branch.
    Branch(BranchPoint),
    /// It is here already, on this line.
    Here(Line),
}

/// Where a commit with this chain belongs that follows what lies on `line` up to `after`
/// (FORMAT.md, 2.6).
///
/// `next` is the chain of the commit that follows there already, if one does; `branch` tells the
/// line that begins with the commit of a name, if one does.
pub fn spot(
    (line, after): (Line, Sequence),
    chain: &Chain,
    next: Option<&Chain>,
    branch: impl FnOnce(LogId) -> Option<Line>,
) -> Spot {
    let Some(next) = next else { return Spot::End(line) };
    if next == chain {
        return Spot::Here(line);
    }
    // two commits that follow the same one, whichever came first, are two branches: each is called
    // by its own first commit, so that all replicas call both alike
    let name = branch_name(chain);
    match branch(name) {
        Some(branch) => Spot::Here(branch),
        None => Spot::Branch(BranchPoint { of: line, after, name, other: branch_name(next) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: Line = Line::new(3);
    const AFTER: Sequence = Sequence::new(7);

    fn chain(byte: u8) -> Chain {
        Chain::from_bytes([byte; 32])
    }

    fn found(next: Option<u8>, known: &[(u8, u32)]) -> Spot {
        let known = |name| {
            let named = known.iter().find(|(byte, _)| branch_name(&chain(*byte)) == name);
            named.map(|(_, line)| Line::new(*line))
        };
        spot((LINE, AFTER), &chain(1), next.map(chain).as_ref(), known)
    }

    #[test]
    fn what_follows_the_last_commit_of_a_line_extends_it() {
        assert_eq!(found(None, &[]), Spot::End(LINE));
    }

    #[test]
    fn what_is_here_is_found_on_the_line_and_on_a_branch_that_left_it() {
        assert_eq!(found(Some(1), &[]), Spot::Here(LINE));
        assert_eq!(found(Some(2), &[(1, 9)]), Spot::Here(Line::new(9)));
    }

    #[test]
    fn what_follows_beside_another_begins_a_branch_and_names_both() {
        let (name, other) = (branch_name(&chain(1)), branch_name(&chain(2)));
        let fork = BranchPoint { of: LINE, after: AFTER, name, other };
        assert_eq!(found(Some(2), &[]), Spot::Branch(fork));
        // one that is known beside them is a third
        assert_eq!(found(Some(2), &[(4, 9)]), Spot::Branch(fork));
    }
}
