//! A session between two nodes, and the bytes on their way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use heirloom_sync::{Config, InvalidMessage, PeerMisbehaved, Reason, Replica, Session, SyncError};

use super::canary::Tampered;
use super::{Checked, Wrong, chain, ensure, same};
use crate::disk::Disk;
use crate::frame::frame;
use crate::random::Random;

/// What the link will do to a session.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fate {
    /// It breaks after so many bytes.
    pub(crate) breaks_after: Option<usize>,
    /// It alters one byte, after so many.
    pub(crate) alters_after: Option<usize>,
}

/// What a hostile link does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mischief {
    /// A frame comes a second time.
    Repeat,
    /// What is on its way is lost from some byte on.
    Lose,
    /// Bytes that nobody sent.
    Garbage,
    /// A frame whose checksum is right, and nothing else.
    Hostile,
}

/// How a session stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// Something moved.
    Moves,
    /// Nothing moves until time passes, or the other end is looked at.
    Waits,
    /// Both ends are done.
    Finished,
    /// An end gave up, as it must over such a link.
    Failed,
    /// The link broke.
    Cut,
}

pub(crate) struct Meeting {
    pub(crate) who: [usize; 2],
    ends: [Session<Arc<dyn Replica>>; 2],
    tampered: [Option<Arc<Tampered>>; 2],
    /// What is on its way to each end.
    wires: [VecDeque<u8>; 2],
    fate: Fate,
    delivered: usize,
    pub(crate) altered: bool,
    /// Frames were lost, repeated or slipped in.
    pub(crate) disturbed: bool,
    /// The last frame to each end.
    last: [Vec<u8>; 2],
    disks: [Disk; 2],
}

/// A node's end of a session.
pub(crate) type Seam = (Arc<dyn Replica>, Option<Arc<Tampered>>);

impl Meeting {
    pub(crate) fn new(
        who: [usize; 2],
        [a, b]: [Seam; 2],
        config: [Config; 2],
        fate: Fate,
        disks: [Disk; 2],
    ) -> Self {
        let [first, second] = config;
        Self {
            who,
            ends: [Session::initiator(a.0, first), Session::responder(b.0, second)],
            tampered: [a.1, b.1],
            wires: [VecDeque::new(), VecDeque::new()],
            fate,
            delivered: 0,
            altered: false,
            disturbed: false,
            last: [Vec::new(), Vec::new()],
            disks,
        }
    }

    /// Does to the bytes on their way to an end what no honest link does. False if there is nothing
    /// to do it to.
    pub(crate) fn disturb(&mut self, mischief: Mischief, random: &mut Random) -> bool {
        let side = random.below(2);
        let wire = &mut self.wires[side];
        match mischief {
            Mischief::Repeat if !self.last[side].is_empty() => wire.extend(&self.last[side]),
            Mischief::Lose if !wire.is_empty() => wire.truncate(random.below(wire.len())),
            Mischief::Garbage => {
                let count = random.of_any_size(8);
                wire.extend((0..count).map(|_| random.next() as u8));
            }
            Mischief::Hostile => {
                let mut payload = vec![random.below(12) as u8];
                payload.extend((0..random.of_any_size(8)).map(|_| random.next() as u8));
                wire.extend(frame(0, &payload));
            }
            _ => return false,
        }
        self.disturbed = true;
        true
    }

    /// One of the two nodes is gone. The other may notice at once, or never.
    pub(crate) fn lose(&mut self, node: usize, random: &mut Random, now: Duration) -> Checked<()> {
        for side in [0, 1] {
            if self.who[side] != node
                && random.percent(60)
                && let Err(error) = self.ends[side].handle_end_of_input(now)
            {
                self.foreseen(error)?;
            }
        }
        Ok(())
    }

    /// Moves a frame out of an end, or some bytes into one.
    pub(crate) fn step(&mut self, random: &mut Random, now: Duration) -> Checked<Standing> {
        let side = random.below(2);
        let outcome = if random.percent(50) {
            self.transmit(side, now)
        } else {
            self.deliver(side, random, now)
        };
        let standing = match outcome {
            Ok(moved) if moved => Standing::Moves,
            Ok(_) => Standing::Waits,
            Err(error) => return self.fail(side, error, now),
        };
        for side in [0, 1] {
            if self.ends[side].poll_timeout().is_some_and(|due| due <= now)
                && let Err(error) = self.ends[side].handle_timeout(now)
            {
                return self.fail(side, error, now);
            }
        }
        if self.fate.breaks_after.is_some_and(|most| self.delivered >= most) && !self.is_finished()
        {
            return self.cut(random, now).map(|()| Standing::Cut);
        }
        if self.is_finished() {
            return self.finish().map(|()| Standing::Finished);
        }
        Ok(standing)
    }

    pub(crate) fn resumed_bytes(&self) -> u64 {
        self.ends[1].report().resumed_bytes
    }

    fn is_finished(&self) -> bool {
        self.ends.iter().all(Session::is_finished)
    }

    fn transmit(&mut self, side: usize, now: Duration) -> Result<bool, SyncError> {
        let mut bytes = Vec::new();
        let any = self.ends[side].poll_transmit(now, &mut bytes)?;
        self.wires[1 - side].extend(&bytes);
        if !bytes.is_empty() {
            self.last[1 - side] = bytes;
        }
        Ok(any)
    }

    /// Some of the bytes on their way to an end, few as often as many.
    fn deliver(
        &mut self,
        side: usize,
        random: &mut Random,
        now: Duration,
    ) -> Result<bool, SyncError> {
        let room = self.fate.breaks_after.map_or(usize::MAX, |most| most - self.delivered);
        let count = random.of_any_size(17).min(self.wires[side].len()).min(room);
        let mut bytes: Vec<u8> = self.wires[side].drain(..count).collect();
        if let Some(at) = self.fate.alters_after
            && let Some(byte) = at.checked_sub(self.delivered).and_then(|at| bytes.get_mut(at))
        {
            *byte ^= 1 << random.below(8);
            self.altered = true;
        }
        self.delivered += count;
        self.ends[side].handle_input(now, &bytes)?;
        Ok(count > 0)
    }

    /// The link is gone. Each end may notice at once, or never.
    pub(crate) fn cut(&mut self, random: &mut Random, now: Duration) -> Checked<()> {
        for side in [0, 1] {
            self.wires[side].clear();
            if random.percent(60)
                && let Err(error) = self.ends[side].handle_end_of_input(now)
            {
                self.foreseen(error)?;
            }
            if let Some(tampered) = &self.tampered[side] {
                tampered.was_cut();
            }
        }
        Ok(())
    }

    /// An end has given up: it tells the other why.
    fn fail(&mut self, side: usize, error: SyncError, now: Duration) -> Checked<Standing> {
        self.foreseen(error)?;
        while self.transmit(side, now).map_err(Wrong::from)? {}
        let other = 1 - side;
        let rest: Vec<u8> = self.wires[other].drain(..).collect();
        let end = &mut self.ends[other];
        if let Err(error) = end.handle_input(now, &rest).and_then(|()| end.handle_end_of_input(now))
        {
            self.foreseen(error)?;
        }
        Ok(Standing::Failed)
    }

    fn finish(&mut self) -> Checked<()> {
        let [a, b] = [self.ends[0].report(), self.ends[1].report()];
        // what was made up behind the last frame is not read any more, altered or not
        let is_read = self.altered && !self.disturbed;
        ensure(!is_read, || "a session went well although a byte was altered".into())?;
        same("the cut of one end is not that of the other", &a.cut, &b.cut)?;
        same("the outcome of one end is not that of the other", &a.outcome, &b.outcome)?;
        if self.disturbed {
            return Ok(());
        }
        same("commits sent and received", &a.commits_sent, &b.commits_received)?;
        same("commits received and sent", &a.commits_received, &b.commits_sent)
    }

    /// Over such a link, between honest nodes, no other error may come.
    fn foreseen(&self, error: SyncError) -> Checked<()> {
        use SyncError::{InvalidMessage as Invalid, PeerFailed, PeerMisbehaved as Misbehaved};
        let link = matches!(
            error,
            SyncError::Transport(_)
                | SyncError::Timeout(_)
                | PeerFailed(Reason::Timeout | Reason::Cancelled)
        );
        let noise = self.altered
            && matches!(
                error,
                Invalid(
                    InvalidMessage::Checksum
                        | InvalidMessage::FrameTooLong { .. }
                        | InvalidMessage::UnknownCodec(_)
                ) | Misbehaved(PeerMisbehaved::UnnegotiatedCodec)
                    | PeerFailed(Reason::Altered | Reason::InvalidMessage | Reason::Misbehaved)
            );
        let blames_the_link = self.disturbed
            && matches!(error, Invalid(_) | Misbehaved(_) | PeerFailed(_) | SyncError::Diverged(_));
        let disk = self.disks.iter().any(Disk::has_failed)
            && matches!(error, SyncError::Replica(_) | PeerFailed(Reason::Replica));
        ensure(link || noise || blames_the_link || disk || is_overtaken(&error), || {
            format!(
                "the session of nodes {} and {} failed: {}",
                self.who[0],
                self.who[1],
                chain(&error)
            )
        })
    }
}

/// Two sessions of the same two nodes share what is staged of a large commit: the one that
/// completes it leaves the other without.
fn is_overtaken(error: &SyncError) -> bool {
    matches!(error, SyncError::Overtaken | SyncError::PeerFailed(Reason::Overtaken))
}
