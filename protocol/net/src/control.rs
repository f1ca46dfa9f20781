//! One task per connected device: its control stream both ways, and the lanes it opened, on their way to the
//! application.
//!
//! ```text
//!   Net::send --> outbox (bounded) --> writer --> the newest control stream the device spoke on
//!   control streams --> one reader each --> NetEvent::Ctl      (before it speaks: the oldest)
//!   arrived lanes ------------------------> NetEvent::Lane
//! ```
//!
//! Frames are `u32` length (big endian) and so many bytes. On one connection they keep their order. When it dies the
//! writer goes on with the next one; frames the dead one had taken may be lost, none is repeated.
//! A device that was switched off says no farewell: its old connection looks alive until it times out, and only the
//! new one is answered. So the writer follows the device to a newer connection that it speaks on, never back.
//! Reader and writer never wait for each other: an application that waits in `send` while a peer does the same
//! towards it would otherwise stop both for good.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use aftercast_protocol::ids::DeviceId;
use aftercast_protocol::limits::{MAX_CONNECTIONS_PER_DEVICE, MAX_CTL_FRAME_BYTES};
use libp2p::swarm::ConnectionId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::event::{NetEvent, PeerInfo};
use crate::lane::Lane;
use crate::metrics::NetMetrics;
use crate::raw::RawStream;

/// A frame with its length in front, as it goes out.
#[derive(Debug)]
pub(crate) struct Frame(pub Vec<u8>);

impl Frame {
    /// None where it is longer than a frame may be.
    pub fn of(payload: &[u8]) -> Option<Self> {
        let len = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_CTL_FRAME_BYTES)?;
        Some(Self([&len.to_be_bytes(), payload].concat()))
    }
}

/// A control stream that is up.
#[derive(Debug)]
pub(crate) struct Control {
    pub connection: ConnectionId,
    pub stream: RawStream,
    pub info: PeerInfo,
}

/// The ends that the driver holds. Dropping them ends the task once everything received was delivered.
#[derive(Debug)]
pub(crate) struct PeerPort {
    pub controls: mpsc::Sender<Control>,
    pub lanes: mpsc::Sender<Lane>,
    pub task: JoinHandle<()>,
}

/// What the peer task works on.
pub(crate) struct PeerTask {
    pub device: DeviceId,
    pub controls: mpsc::Receiver<Control>,
    pub lanes: mpsc::Receiver<Lane>,
    pub outbox: mpsc::Receiver<Frame>,
    pub events: mpsc::Sender<NetEvent>,
    /// Told of every control stream that ended, so that its connection is closed.
    pub ended: mpsc::Sender<ConnectionId>,
    pub metrics: Arc<NetMetrics>,
    /// The task of the device's previous connections: it speaks first.
    pub previous: Option<JoinHandle<()>>,
}

impl PeerTask {
    /// Runs until the driver drops its port.
    pub async fn run(mut self) {
        if let Some(previous) = self.previous.take() {
            // A panic there was reported by the runtime; it must not take this device with it.
            let _ = previous.await;
        }
        let Some(first) = self.controls.recv().await else { return };
        if self.events.send(NetEvent::Connected(self.device, first.info.clone())).await.is_err() {
            return;
        }
        let (writers, taken) = mpsc::channel(MAX_CONNECTIONS_PER_DEVICE as usize);
        let (spoke, heard) = watch::channel(0);
        let writer = Writers { open: BTreeMap::new(), arrived: taken, heard };
        let mut sending = JoinSet::new();
        sending.spawn(write_frames(self.outbox, writer, Arc::clone(&self.metrics)));
        let mut receiving = JoinSet::new();
        receiving.spawn(pass_lanes(self.lanes, self.events.clone()));
        let mut next = Some(first);
        let mut number = 0;
        while let Some(Control { connection, stream, .. }) = next {
            number += 1;
            let (read, write) = tokio::io::split(stream);
            let reader = Reader {
                from: self.device,
                number,
                spoke: spoke.clone(),
                stream: BufReader::new(read),
                events: self.events.clone(),
                metrics: Arc::clone(&self.metrics),
            };
            let ended = self.ended.clone();
            receiving.spawn(async move {
                reader.run().await;
                // No driver, no connection to close.
                let _ = ended.send(connection).await;
            });
            if writers.send((number, write)).await.is_err() {
                break;
            }
            next = self.controls.recv().await;
        }
        // Every connection is gone: reads end by themselves once what had arrived is delivered.
        sending.abort_all();
        while receiving.join_next().await.is_some() {}
        let _ = self.events.send(NetEvent::Disconnected(self.device)).await;
    }
}

async fn pass_lanes(mut lanes: mpsc::Receiver<Lane>, events: mpsc::Sender<NetEvent>) {
    while let Some(lane) = lanes.recv().await {
        if events.send(NetEvent::Lane { from: lane.device(), lane }).await.is_err() {
            return;
        }
    }
}

struct Reader {
    from: DeviceId,
    number: StreamNumber,
    /// Newest stream that a frame came on.
    spoke: watch::Sender<StreamNumber>,
    stream: BufReader<ReadHalf<RawStream>>,
    events: mpsc::Sender<NetEvent>,
    metrics: Arc<NetMetrics>,
}

impl Reader {
    /// Reads frames until the stream ends or breaks the rules.
    async fn run(mut self) {
        loop {
            match self.frame().await {
                Ok(frame) => {
                    self.spoke.send_if_modified(|newest| {
                        let newer = self.number > *newest;
                        *newest = self.number.max(*newest);
                        newer
                    });
                    self.metrics.control_frames_in.inc();
                    self.metrics.control_bytes_in.inc_by(frame.len() as u64);
                    if self.events.send(NetEvent::Ctl { from: self.from, frame }).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(device = %self.from, %error, "control stream ended");
                    return;
                }
            }
        }
    }

    async fn frame(&mut self) -> io::Result<Vec<u8>> {
        let len = self.stream.read_u32().await? as usize;
        if len > MAX_CTL_FRAME_BYTES {
            self.metrics.control_over_limit.inc();
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("control frame of {len} bytes")));
        }
        let mut frame = vec![0; len];
        self.stream.read_exact(&mut frame).await?;
        Ok(frame)
    }
}

type Writer = WriteHalf<RawStream>;

/// Control streams of a device count up from 1 in the order in which they came up here.
type StreamNumber = u64;

/// The writing halves of the control streams that may still live.
struct Writers {
    open: BTreeMap<StreamNumber, Writer>,
    arrived: mpsc::Receiver<(StreamNumber, Writer)>,
    heard: watch::Receiver<StreamNumber>,
}

impl Writers {
    /// The stream to write on; waits for one where there is none. None once there will be no more.
    async fn next(&mut self) -> Option<StreamNumber> {
        while let Ok((number, writer)) = self.arrived.try_recv() {
            self.open.insert(number, writer);
        }
        if self.open.is_empty() {
            let (number, writer) = self.arrived.recv().await?;
            self.open.insert(number, writer);
        }
        let heard = *self.heard.borrow_and_update();
        let spoken_on = self.open.range(heard..).next().or_else(|| self.open.first_key_value());
        spoken_on.map(|(number, _)| *number)
    }
}

async fn write_frames(mut outbox: mpsc::Receiver<Frame>, mut writers: Writers, metrics: Arc<NetMetrics>) {
    while let Some(frame) = outbox.recv().await {
        loop {
            let Some(number) = writers.next().await else { return };
            let Some(writer) = writers.open.get_mut(&number) else { return };
            let written = tokio::select! {
                biased;
                written = write_frame(writer, &frame, outbox.is_empty()) => written,
                // Part of the frame may be gone out there; nothing else may follow it.
                () = heard_on_newer(&mut writers.heard, number) => {
                    Err(io::Error::new(io::ErrorKind::TimedOut, "the device speaks on a newer one"))
                }
            };
            let Err(error) = written else { break };
            tracing::debug!(%error, "control stream given up, trying the next");
            writers.open.remove(&number);
        }
        metrics.control_frames_out.inc();
        metrics.control_bytes_out.inc_by(frame.0.len() as u64 - 4);
    }
}

async fn heard_on_newer(heard: &mut watch::Receiver<StreamNumber>, than: StreamNumber) {
    if heard.wait_for(|newest| *newest > than).await.is_err() {
        // All readers are gone: the streams end by themselves.
        std::future::pending::<()>().await;
    }
}

/// Writes one frame whole. An error means that the other side cannot have read it whole; a failing flush is no error
/// here, because by then it can, and a frame must not be delivered twice.
async fn write_frame(writer: &mut Writer, frame: &Frame, flush: bool) -> io::Result<()> {
    writer.write_all(&frame.0).await?;
    if flush {
        let _ = writer.flush().await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_carry_their_length_and_have_a_bound() {
        assert_eq!(Frame::of(b"abc").unwrap().0, [0, 0, 0, 3, b'a', b'b', b'c']);
        assert!(Frame::of(&vec![0; MAX_CTL_FRAME_BYTES]).is_some());
        assert!(Frame::of(&vec![0; MAX_CTL_FRAME_BYTES + 1]).is_none());
    }
}
