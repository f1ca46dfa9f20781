//! A transport stream over HTTP, live: what an HDHomeRun or a TVHeadend offers. Test equipment: it reads one request
//! per connection and trusts nobody but loopback.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::clock::Clock;
use super::pace::Pace;

const TICK: Duration = Duration::from_millis(5);
/// Connections served at once; more are refused.
const MOST_CLIENTS: usize = 32;
/// A request is a line and a few headers.
const MOST_REQUEST: u64 = 16 << 10;
/// A client that takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves `GET <path>` at pace from a listening socket until dropped. A client that asks before the clock starts gets
/// everything; a later one joins at the packet that is due.
#[derive(Debug)]
pub struct HttpSource {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    paths: BTreeMap<String, (Arc<[u8]>, Pace)>,
    clock: Clock,
    clients: AtomicUsize,
    ended: Arc<AtomicBool>,
}

impl HttpSource {
    /// Listens on a loopback port of the system's choice. `paths` are like `/live.ts`.
    ///
    /// Errors: no socket could be opened.
    pub fn new(paths: BTreeMap<String, (Arc<[u8]>, Pace)>, clock: &Clock) -> io::Result<HttpSource> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let ended = Arc::new(AtomicBool::new(false));
        let shared =
            Arc::new(Shared { paths, clock: clock.clone(), clients: AtomicUsize::new(0), ended: ended.clone() });
        let thread =
            std::thread::Builder::new().name("http-source".into()).spawn(move || accept(&listener, &shared))?;
        Ok(HttpSource { address, ended, thread: Some(thread) })
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Lets go of its port and its clients; they see the end of the stream.
    pub fn stop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // The accept call returns for this connection and sees that it is over.
            let _ = TcpStream::connect(self.address);
            let _ = thread.join();
        }
    }
}

impl Drop for HttpSource {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.ended.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        if shared.clients.fetch_add(1, Ordering::SeqCst) >= MOST_CLIENTS {
            shared.clients.fetch_sub(1, Ordering::SeqCst);
            let _ = (&stream)
                .write_all(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            continue;
        }
        let client = shared.clone();
        let spawned = std::thread::Builder::new().name("http-client".into()).spawn(move || {
            // A client that goes away is its own affair.
            let _ = serve(&stream, &client);
            client.clients.fetch_sub(1, Ordering::SeqCst);
        });
        if spawned.is_err() {
            shared.clients.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn serve(mut stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let path = read_request(stream)?;
    let Some((bytes, pace)) = path.and_then(|path| shared.paths.get(&path)) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    };
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
    )?;
    let mut at = pace.bytes_due(shared.clock.micros()) as usize / 188 * 188;
    while at < bytes.len() && !shared.ended.load(Ordering::SeqCst) {
        let Some(now) = shared.clock.tick_patiently(TICK) else { return Ok(()) };
        let due = (pace.bytes_due(now) as usize).clamp(at, bytes.len());
        stream.write_all(&bytes[at..due])?;
        at = due;
    }
    Ok(())
}

/// The path of a GET request, once its headers are read.
pub(super) fn read_request(stream: &TcpStream) -> io::Result<Option<String>> {
    let mut lines = BufReader::new(stream.take(MOST_REQUEST)).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    Ok(first.strip_prefix("GET ").and_then(|rest| rest.split(' ').next()).map(str::to_owned))
}
