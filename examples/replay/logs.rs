//! Cutting the commit graph into device logs.
//!
//! A git commit may extend a log only if that log's last commit is its ancestor: then a log is a
//! chain of ancestors, and the clock of a commit covers exactly its ancestors. (One log an author
//! would not do: an author's commits often do not know of one another.) The rule is greedy: a
//! parent's log, else the first that fits, else a new one.

use heirloom::{Clock, LogId, Sequence};

/// The ends of the device logs, in the order in which they were opened.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    ends: Vec<(LogId, Sequence)>,
}

impl Logs {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// One more, which ends at `sequence`.
    pub(crate) fn push(&mut self, log: LogId, sequence: Sequence) {
        self.ends.push((log, sequence));
    }

    /// The log that a commit extends whose past is `past` and whose parents stand in `parents`, if
    /// any may be.
    pub(crate) fn choose(&self, past: &Clock, parents: &[LogId]) -> Option<usize> {
        let fits = |(log, end): &(LogId, Sequence)| past.covers(*log, *end);
        let of_parent =
            |parent: &LogId| self.ends.iter().position(|end| end.0 == *parent && fits(end));
        parents.iter().find_map(of_parent).or_else(|| self.ends.iter().position(fits))
    }

    /// The log at `index` was extended up to `sequence`.
    pub(crate) fn extend(&mut self, index: usize, sequence: Sequence) {
        self.ends[index].1 = sequence;
    }
}

/// The device that writes the log at `index`.
pub(crate) fn device_name(index: usize) -> String {
    format!("git-{:04}", index + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use heirloom::Timestamp;

    use super::*;

    /// Cuts a graph given as the parents of each commit; returns each commit's log.
    fn cut(graph: &[&[usize]]) -> Vec<usize> {
        let (mut logs, mut clocks, mut chosen) =
            (Logs::default(), Vec::<Clock>::new(), Vec::<usize>::new());
        for parents in graph {
            let mut past = Clock::new();
            parents.iter().for_each(|parent| past.merge(&clocks[*parent]));
            let of_parents: Vec<LogId> = parents.iter().map(|parent| id(chosen[*parent])).collect();
            let log = logs.choose(&past, &of_parents).unwrap_or_else(|| {
                logs.push(id(logs.len()), Sequence::START);
                logs.len() - 1
            });
            logs.extend(log, past.increment(id(log), Timestamp::EPOCH));
            clocks.push(past);
            chosen.push(log);
        }
        check_clocks(graph, &clocks);
        chosen
    }

    fn id(index: usize) -> LogId {
        LogId::from_bytes([index as u8; 16])
    }

    /// A clock covers as many versions as the commit has ancestors, itself included: then it covers
    /// exactly them.
    fn check_clocks(graph: &[&[usize]], clocks: &[Clock]) {
        let mut pasts: Vec<BTreeSet<usize>> = Vec::new();
        for (commit, parents) in graph.iter().enumerate() {
            let past =
                parents.iter().flat_map(|parent| pasts[*parent].clone()).chain([commit]).collect();
            pasts.push(past);
            let covered: u64 = clocks[commit].iter().map(|(_, entry)| entry.sequence.get()).sum();
            assert_eq!(covered, pasts[commit].len() as u64, "commit {commit}");
            for (other, clock) in clocks[..=commit].iter().enumerate() {
                let before = other != commit && clock.happens_before(&clocks[commit]);
                assert_eq!(
                    before,
                    other != commit && pasts[commit].contains(&other),
                    "{other} before {commit}"
                );
            }
        }
    }

    #[test]
    fn a_line_is_one_log() {
        assert_eq!(cut(&[&[], &[0], &[1], &[2]]), [0, 0, 0, 0]);
    }

    #[test]
    fn a_branch_opens_a_log_and_a_merge_goes_on_in_its_first_parents() {
        assert_eq!(cut(&[&[], &[0], &[0], &[1, 2], &[2]]), [0, 0, 1, 0, 1]);
        assert_eq!(cut(&[&[], &[0], &[0], &[2, 1], &[3]]), [0, 0, 1, 1, 1]);
    }

    #[test]
    fn a_log_whose_end_was_merged_is_used_again() {
        // 3 merges 1 and 2; of its two children one goes on in log 0, the other takes up log 1.
        assert_eq!(cut(&[&[], &[0], &[0], &[1, 2], &[3], &[3]]), [0, 0, 1, 0, 0, 1]);
    }

    #[test]
    fn criss_cross_merges_octopus_merges_and_several_roots_keep_the_rule() {
        assert_eq!(cut(&[&[], &[0], &[0], &[1, 2], &[2, 1], &[3, 4]]), [0, 0, 1, 0, 1, 0]);
        assert_eq!(cut(&[&[], &[], &[], &[0, 1, 2], &[2], &[4, 3]]), [0, 1, 2, 0, 2, 2]);
    }
}
