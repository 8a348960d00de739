//! Rows of `logs`: a log or a branch of one, and where it left another.

use heirloom_core::bytes::{Put, Read, Reader};
use heirloom_core::fold::{BranchPoint, put_line, read_line};
use heirloom_core::model::{Line, LogId};

use super::directory::LogInfo;

/// Row of a line: log id, genesis, and where it left another.
pub(crate) fn log_row(info: &LogInfo) -> Vec<u8> {
    let mut out = info.id.as_bytes().to_vec();
    out.bytes(&info.genesis);
    out.push(u8::from(info.fork.is_some()));
    if let Some(fork) = info.fork {
        put_line(&mut out, fork.of);
        out.varint(fork.after.get());
        out.extend_from_slice(fork.name.as_bytes());
        out.extend_from_slice(fork.other.as_bytes());
    }
    out
}

/// `next`: the number of the line; it can only have left one that was here before.
pub(crate) fn branch_point(r: &mut Reader<'_>, next: Line) -> Read<Option<BranchPoint>> {
    match r.u8()? {
        0 => return Ok(None),
        1 => {}
        _ => return r.bad("an unknown flag"),
    }
    let (of, after) = (read_line(r)?, r.varint()?.into());
    r.ensure(of < next, "a branch of a later line")?;
    let (name, other) = (LogId::from_bytes(r.array()?), LogId::from_bytes(r.array()?));
    Ok(Some(BranchPoint { of, after, name, other }))
}
