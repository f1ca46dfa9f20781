//! A transport stream over HTTP that flows as far as a test lets it: events of a test fall between two chunks because
//! it says so, not because of how fast the machine is.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;

use super::http::read_request;

/// A client that takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most written at once, so that the end is noticed soon.
const PIECE: usize = 1 << 16;

/// Gives every client the same bytes, up to where it was opened. A client that asks before anything flowed gets
/// everything, a later one what is still to come. The stream's end ends the recording of it, as a file's does.
#[derive(Debug)]
pub struct Tap {
    address: SocketAddr,
    listener: TcpListener,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    bytes: Arc<[u8]>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    clients: usize,
    ended: bool,
}

impl Tap {
    /// Listens on a loopback port of the system's choice; nothing flows yet.
    ///
    /// # Errors
    /// No socket could be opened.
    pub fn new(bytes: Arc<[u8]>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let (address, kept) = (listener.local_addr()?, listener.try_clone()?);
        let shared = Arc::new(Shared { bytes, state: Mutex::default(), changed: Condvar::new() });
        let seen = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("tap".into()).spawn(move || accept(&listener, &seen))?;
        Ok(Self { address, listener: kept, shared, thread: Some(thread) })
    }

    /// Where it flows.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/tap.ts", self.address)
    }

    /// Waits until so many clients are there; false where they did not come in time.
    #[must_use]
    pub fn wait_clients(&self, count: usize, patience: Duration) -> bool {
        let fewer = |state: &mut State| state.clients < count;
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), patience, fewer);
        waited.unwrap_or_else(PoisonError::into_inner).0.clients >= count
    }

    /// Lets it flow up to this byte; what has flowed has flowed.
    pub fn open_to(&self, byte: usize) {
        let mut state = self.shared.lock();
        state.open = state.open.max(byte.min(self.shared.bytes.len()));
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Lets all of it flow.
    pub fn open(&self) {
        self.open_to(usize::MAX);
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // The accept call returns, with an error. Connecting would do too, but not from another network namespace.
            let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is more than `at`; up to where, or none at the end.
    fn more(&self, at: usize) -> Option<usize> {
        let dry = |state: &mut State| state.open <= at && !state.ended;
        let state = self.changed.wait_while(self.lock(), dry).unwrap_or_else(PoisonError::into_inner);
        (!state.ended).then_some(state.open)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.lock().ended {
            return;
        }
        let Ok(stream) = stream else { continue };
        let client = Arc::clone(shared);
        // A client that goes away, or for whom there is no thread, is its own affair.
        let _ = std::thread::Builder::new().name("tap-client".into()).spawn(move || serve(&stream, &client));
    }
}

fn serve(mut stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    read_request(stream)?;
    let mut at = shared.lock().open;
    let left = shared.bytes.len() - at;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nContent-Length: {left}\r\nConnection: close\r\n\r\n"
    )?;
    shared.lock().clients += 1;
    shared.changed.notify_all();
    while at < shared.bytes.len() {
        let Some(open) = shared.more(at) else { return Ok(()) };
        let to = open.min(at + PIECE);
        stream.write_all(&shared.bytes[at..to])?;
        at = to;
    }
    Ok(())
}
