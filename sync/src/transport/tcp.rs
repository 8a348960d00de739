//! Sync over plain TCP, **for tests and for links that are trusted as a whole** (loopback, a
//! tunnel).
//!
//! It neither encrypts nor authenticates: whoever can connect can read everything and write in
//! anybody's name. So it listens on loopback unless told otherwise.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{RecvTimeoutError, Sender, bounded, select};
use heirloom_core::replica::Replica;

use super::blocking;
use super::cancel::Cancel;
use crate::config::Config;
use crate::error::{Result, SyncError};
use crate::report::{Event, Report};
use crate::session::Session;
use crate::traced::TRACED;

/// Sessions that a [`PlainTcpServer`] runs at once; further connections wait.
const SESSIONS: usize = 64;
/// How long a server waits after it could not accept a connection.
const PAUSE: Duration = Duration::from_millis(50);

/// An unprotected connection to a peer.
#[derive(Debug)]
pub struct PlainTcp {
    stream: TcpStream,
}

impl PlainTcp {
    /// Connects to a [`PlainTcpListener`]. [`SyncError::Lookup`] where the address cannot be found
    /// out, [`SyncError::Transport`] where nobody answers there.
    pub fn connect(address: impl ToSocketAddrs) -> Result<Self> {
        // apart from connecting, since what a look-up says about its failure is its text alone
        let addresses: Vec<SocketAddr> =
            address.to_socket_addrs().map_err(SyncError::Lookup)?.collect();
        Self::new(TcpStream::connect(&addresses[..])?)
    }

    fn new(stream: TcpStream) -> Result<Self> {
        // Frames are written whole; waiting to fill packets would only delay acknowledgements.
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// Syncs as the end that speaks first. Blocks until done; `cancel` ends it from another thread,
    /// `on_event` is called in this one with
    /// each event of the session.
    pub fn initiate<R: Replica>(
        self,
        replica: R,
        config: Config,
        cancel: &Cancel,
        on_event: impl FnMut(Event),
    ) -> Result<Report> {
        self.run(Session::initiator(replica, config), cancel, on_event)
    }

    /// Syncs as the other end.
    pub fn respond<R: Replica>(
        self,
        replica: R,
        config: Config,
        cancel: &Cancel,
        on_event: impl FnMut(Event),
    ) -> Result<Report> {
        self.run(Session::responder(replica, config), cancel, on_event)
    }

    fn run<R: Replica>(
        self,
        session: Session<R>,
        cancel: &Cancel,
        on_event: impl FnMut(Event),
    ) -> Result<Report> {
        let close = || {
            // It fails only if the peer has closed already.
            let _ = self.stream.shutdown(Shutdown::Both);
        };
        blocking::run(session, &self.stream, &self.stream, close, cancel, on_event)
    }
}

/// Connects to `address` and syncs `replica`: [`PlainTcp::connect`] and [`PlainTcp::initiate`] with
/// defaults.
pub fn sync_plain_tcp<R: Replica>(address: impl ToSocketAddrs, replica: R) -> Result<Report> {
    PlainTcp::connect(address)?.initiate(replica, Config::default(), &Cancel::new(), |_| ())
}

/// Waits for unprotected connections.
#[derive(Debug)]
pub struct PlainTcpListener {
    listener: TcpListener,
}

impl PlainTcpListener {
    /// Listens on 127.0.0.1, on a free port: only this machine can connect.
    pub fn bind_loopback() -> Result<Self> {
        Self::bind_anywhere((Ipv4Addr::LOCALHOST, 0))
    }

    /// Listens wherever told; [`SyncError::Listen`] where that cannot be. On an address that others
    /// can reach, everybody there can read and write all data.
    pub fn bind_anywhere(address: impl ToSocketAddrs) -> Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).map_err(SyncError::Listen)? })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Waits for one connection.
    pub fn accept(&self) -> Result<PlainTcp> {
        PlainTcp::new(self.listener.accept()?.0)
    }

    /// Waits for one connection and syncs `replica` over it.
    pub fn accept_one<R: Replica>(&self, replica: R, config: Config) -> Result<Report> {
        self.accept()?.respond(replica, config, &Cancel::new(), |_| ())
    }

    /// Syncs `replica` with everybody who connects, up to 64 at once, in threads of its own, until
    /// the handle is stopped or dropped. `ended` is told how each session ended.
    pub fn serve<R>(
        self,
        replica: R,
        config: Config,
        ended: impl Fn(Result<Report>) + Send + Sync + 'static,
    ) -> Result<PlainTcpServer>
    where
        R: Replica + Clone + Send + 'static,
    {
        let (address, cancel) = (self.local_addr()?, Cancel::new());
        let service = Service { replica, config, cancel: cancel.clone(), ended: Arc::new(ended) };
        let thread = thread::Builder::new().name("heirloom sync".into());
        let thread =
            thread.spawn(move || service.run(&self.listener)).map_err(SyncError::Listen)?;
        Ok(PlainTcpServer { address, cancel, thread: Some(thread) })
    }
}

struct Service<R, F> {
    replica: R,
    config: Config,
    cancel: Cancel,
    ended: Arc<F>,
}

impl<R, F> Service<R, F>
where
    R: Replica + Clone + Send + 'static,
    F: Fn(Result<Report>) + Send + Sync + 'static,
{
    fn run(&self, listener: &TcpListener) {
        let cancelled = self.cancel.cancelled();
        // a session holds one until it ends, also by a panic
        let (leave, places) = bounded::<()>(SESSIONS);
        // all of them are free
        for _ in 0..SESSIONS {
            drop(Place(leave.clone()));
        }
        let mut sessions: Vec<JoinHandle<()>> = Vec::new();
        loop {
            select! {
                recv(places) -> _ => {}
                recv(cancelled) -> _ => break,
            }
            let place = Place(leave.clone());
            let accepted = listener.accept();
            if self.cancel.is_cancelled() {
                break;
            }
            match accepted.and_then(|(stream, _)| self.spawn(stream, place)) {
                Ok(session) => sessions.push(session),
                // out of descriptors or threads, or the peer has gone again: the next one may fare
                // better
                Err(error) => {
                    tracing::warn!(target: TRACED, %error, "no session with who connected");
                    if cancelled.recv_timeout(PAUSE) == Err(RecvTimeoutError::Disconnected) {
                        break;
                    }
                }
            }
            sessions.retain(|session| !session.is_finished());
        }
        for session in sessions {
            // a session that panicked has told so already
            let _ = session.join();
        }
    }

    fn spawn(&self, stream: TcpStream, place: Place) -> io::Result<JoinHandle<()>> {
        let (replica, config) = (self.replica.clone(), self.config.clone());
        let (cancel, ended) = (self.cancel.clone(), Arc::clone(&self.ended));
        thread::Builder::new().name("heirloom sync session".into()).spawn(move || {
            let _place = place;
            let connection = PlainTcp::new(stream);
            ended(connection.and_then(|link| link.respond(replica, config, &cancel, |_| ())));
        })
    }
}

/// One of the places for sessions; free again when dropped.
struct Place(Sender<()>);

impl Drop for Place {
    fn drop(&mut self) {
        // there is room for all of them, and nobody waits once the server has ended
        let _ = self.0.try_send(());
    }
}

/// Sessions being served; ends them when stopped or dropped.
#[derive(Debug)]
pub struct PlainTcpServer {
    address: SocketAddr,
    cancel: Cancel,
    thread: Option<JoinHandle<()>>,
}

impl PlainTcpServer {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Cancels the sessions under way, and returns when all threads have ended.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.cancel.cancel();
        if let Some(thread) = self.thread.take() {
            // The thread waits for a connection: it gets one.
            let mut address = self.address;
            if address.ip().is_unspecified() {
                address.set_ip(Ipv4Addr::LOCALHOST.into());
            }
            if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
                || thread.is_finished()
            {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for PlainTcpServer {
    fn drop(&mut self) {
        self.end();
    }
}
