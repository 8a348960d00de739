//! A loopback connection that counts its bytes and is cut after a number of them.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};

/// What passed over a link, shared by its halves.
#[derive(Debug)]
pub(crate) struct Wire {
    passed: AtomicU64,
    cut_after: u64,
}

impl Wire {
    /// Cut after so many bytes, both directions together; none: never.
    pub(crate) fn new(cut_after: Option<u64>) -> Self {
        Self { passed: AtomicU64::new(0), cut_after: cut_after.unwrap_or(u64::MAX) }
    }

    /// Bytes that passed.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// Was it cut?
    pub(crate) fn is_cut(&self) -> bool {
        self.passed() >= self.cut_after
    }
}

/// One half of a link.
#[derive(Debug)]
pub(crate) struct Half<'a> {
    stream: &'a TcpStream,
    wire: &'a Wire,
}

impl<'a> Half<'a> {
    /// A reading or writing half of `stream`.
    pub(crate) fn new(stream: &'a TcpStream, wire: &'a Wire) -> Self {
        Self { stream, wire }
    }

    /// Lets at most as many bytes pass as are left before the cut.
    fn pass(
        &self,
        wanted: usize,
        transfer: impl FnOnce(usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let left = self.wire.cut_after.saturating_sub(self.wire.passed());
        if left == 0 {
            self.stream.shutdown(Shutdown::Both).ok();
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let passed = transfer(wanted.min(usize::try_from(left).unwrap_or(wanted)))?;
        self.wire.passed.fetch_add(passed as u64, Ordering::Relaxed);
        if self.wire.is_cut() {
            // The other half may be waiting: it must not wait for ever.
            self.stream.shutdown(Shutdown::Both).ok();
        }
        Ok(passed)
    }
}

impl Read for Half<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pass(buffer.len(), |most| (&*self.stream).read(&mut buffer[..most]))
    }
}

impl Write for Half<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pass(bytes.len(), |most| (&*self.stream).write(&bytes[..most]))
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.stream).flush()
    }
}
