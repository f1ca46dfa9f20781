//! One task per connected device: its control stream both ways, and the lanes it opened, on their way to the
//! application.
//!
//! ```text
//!   Net::send --> outbox (bounded) --> writer --> the oldest living control stream
//!   control streams --> one reader each --> NetEvent::Ctl
//!   arrived lanes ------------------------> NetEvent::Lane
//! ```
//!
//! Frames are `u32` length (big endian) and so many bytes. On one connection they keep their order. When it dies the
//! writer goes on with the next one; frames the dead one had taken may be lost, none is repeated.
//! Reader and writer never wait for each other: an application that waits in `send` while a peer does the same
//! towards it would otherwise stop both for good.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use aftercast_protocol::ids::DeviceId;
use aftercast_protocol::limits::{MAX_CONNECTIONS_PER_DEVICE, MAX_CTL_FRAME_BYTES};
use libp2p::swarm::ConnectionId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
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
        let mut sending = JoinSet::new();
        sending.spawn(write_frames(self.outbox, taken, Arc::clone(&self.metrics)));
        let mut receiving = JoinSet::new();
        receiving.spawn(pass_lanes(self.lanes, self.events.clone()));
        let mut next = Some(first);
        while let Some(Control { connection, stream, .. }) = next {
            let (read, write) = tokio::io::split(stream);
            let reader = Reader {
                from: self.device,
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
            if writers.send(write).await.is_err() {
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

async fn write_frames(
    mut outbox: mpsc::Receiver<Frame>,
    mut writers: mpsc::Receiver<Writer>,
    metrics: Arc<NetMetrics>,
) {
    let mut spare = VecDeque::new();
    let Some(mut current) = writers.recv().await else { return };
    while let Some(frame) = outbox.recv().await {
        while let Err(error) = write_frame(&mut current, &frame, outbox.is_empty()).await {
            tracing::debug!(%error, "control stream lost, trying the next");
            while let Ok(writer) = writers.try_recv() {
                spare.push_back(writer);
            }
            current = match spare.pop_front() {
                Some(writer) => writer,
                None => match writers.recv().await {
                    Some(writer) => writer,
                    None => return,
                },
            };
        }
        metrics.control_frames_out.inc();
        metrics.control_bytes_out.inc_by(frame.0.len() as u64 - 4);
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
