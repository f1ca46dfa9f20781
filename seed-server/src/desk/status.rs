//! What the status page and scripts are shown of the desk.

use std::sync::Arc;

use aftercast_protocol::ids::{ChannelId, DeviceId, RecordingId, SubscriberId};
use aftercast_protocol::truth::TruthCounters;
use serde::{Deserialize, Serialize};

use super::Desk;
use crate::ledger::SlotState;

/// The whole seed at a glance. Sizes in bytes, rates in bits per second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Counts up with every change, so that a reader can wait for the next.
    pub version: u64,
    /// The seed's key.
    pub device: String,
    /// Where nodes connect.
    pub listen: Vec<String>,
    /// Channels.
    pub channels: Vec<ChannelStatus>,
    /// Recordings of all subscribers.
    pub recordings: Vec<RecordingStatus>,
    /// Devices that ever enrolled.
    pub nodes: Vec<NodeStatus>,
    /// Bytes pulled from nodes, repeats included.
    pub pulled_bytes: u64,
    /// Bytes of the chunks stored so far.
    pub unique_bytes: u64,
    /// Bytes of heads made.
    pub head_bytes: u64,
    /// Heads made.
    pub heads: u64,
    /// Bytes of archive renditions made.
    pub archive_bytes: u64,
    /// Bytes served to players.
    pub served_bytes: u64,
    /// Devices behind routers that it keeps a place for, so that others meet them here.
    #[serde(default)]
    pub relay_reservations: u64,
    /// Meetings under way.
    #[serde(default)]
    pub relay_circuits: u64,
    /// Meetings since the start.
    #[serde(default)]
    pub relay_circuits_opened: u64,
    /// Requests refused, by reason.
    pub refusals: std::collections::BTreeMap<String, u64>,
}

/// A channel in numbers of chunks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChannelStatus {
    /// Its id.
    pub channel: ChannelId,
    /// Devices that record it now.
    pub recorders: usize,
    /// Confirmed by two subscribers or more.
    pub confirmed: u64,
    /// With one subscriber only.
    pub single: u64,
    /// In dispute.
    pub disputed: u64,
    /// Whole nowhere.
    pub damaged: u64,
    /// Not decided yet.
    pub pending: u64,
    /// Of which the seed holds its copy.
    pub stored: u64,
    /// With a head.
    pub with_head: u64,
    /// With an archive rendition.
    pub with_archive: u64,
    /// Reports taken in, contradictions, objections and withdrawals.
    pub reports: u64,
    /// Devices that said two things about one chunk.
    pub contradictions: u64,
    /// Clean reports that differ from what was confirmed.
    pub objections: u64,
    /// Decisions withdrawn.
    pub withdrawn: u64,
    /// Damaged receptions that spoke for a chunk, or against it.
    pub testimonies: u64,
    /// Chunks made of several damaged receptions.
    pub assembled: u64,
}

/// A recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordingStatus {
    /// Its id.
    pub recording: RecordingId,
    /// Whose it is.
    pub subscriber: SubscriberId,
    /// Of which channel.
    pub channel: ChannelId,
    /// Whether it still grows.
    pub running: bool,
    /// Chunks that its subscriber can play.
    pub chunks: u64,
    /// Of which the seed holds its copy.
    pub stored: u64,
    /// Places without a chunk.
    pub gaps: u64,
}

/// An enrolled device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its key.
    pub device: DeviceId,
    /// Whose it is.
    pub subscriber: SubscriberId,
    /// Whether it is connected.
    pub connected: bool,
    /// Uplink that its owner declared.
    pub uplink_declared_bps: u64,
    /// Whether it pays by volume.
    pub metered: bool,
    /// Chunks that it was ordered to upload and that are not there yet.
    pub uploads_due: usize,
    /// Bytes pulled from it so far.
    pub uploaded_bytes: u64,
}

impl Desk {
    pub(super) fn publish_status(&self) {
        let mut next = self.status();
        self.tools.status.send_if_modified(|held| {
            next.version = held.version;
            if **held == next {
                return false;
            }
            next.version += 1;
            *held = Arc::new(std::mem::take(&mut next));
            true
        });
    }

    fn status(&self) -> Status {
        let (metrics, net) = (&self.tools.metrics, self.tools.net.metrics());
        Status {
            version: 0,
            device: self.tools.key.device().to_string(),
            listen: self.tools.net.listen_addrs().iter().map(ToString::to_string).collect(),
            channels: self.channels.values().map(channel_status).collect(),
            recordings: self.recording_status(),
            nodes: self.node_status(),
            pulled_bytes: metrics.pulled_bytes.get(),
            unique_bytes: metrics.unique_bytes.get(),
            head_bytes: metrics.head_bytes.get(),
            heads: metrics.heads.get(),
            archive_bytes: metrics.archive_bytes.get(),
            served_bytes: metrics.served_bytes.get(),
            relay_reservations: u64::try_from(net.relay_reservations.get()).unwrap_or(0),
            relay_circuits: u64::try_from(net.relay_circuits.get()).unwrap_or(0),
            relay_circuits_opened: net.relay_circuits_opened.get(),
            refusals: metrics.refusals(),
        }
    }

    fn recording_status(&self) -> Vec<RecordingStatus> {
        let now = self.utc();
        let status = |recording: &crate::ledger::RecordingRecord| {
            let channel = self.channels.get(&recording.channel);
            let slots: Vec<_> = channel.into_iter().flat_map(|channel| channel.slots_of(recording)).collect();
            let open: Vec<_> = slots.iter().filter(|slot| slot.open_to(&recording.subscriber)).collect();
            RecordingStatus {
                recording: recording.id,
                subscriber: recording.subscriber.clone(),
                channel: recording.channel.clone(),
                running: recording.runs(now),
                chunks: open.len() as u64,
                stored: open.iter().filter(|slot| slot.stored).count() as u64,
                gaps: (slots.len() - open.len()) as u64,
            }
        };
        self.recordings.values().map(status).collect()
    }

    fn node_status(&self) -> Vec<NodeStatus> {
        let status = |record: &crate::ledger::DeviceRecord| {
            let node = self.nodes.get(&record.device);
            let capability = node.and_then(|node| node.capability);
            NodeStatus {
                device: record.device,
                subscriber: record.subscriber.clone(),
                connected: node.is_some(),
                uplink_declared_bps: capability.map_or(0, |capability| capability.uplink_declared_bps),
                metered: capability.is_some_and(|capability| capability.metered),
                uploads_due: self.duties.under_way(record.device),
                uploaded_bytes: record.uploaded_bytes,
            }
        };
        self.devices.values().map(status).collect()
    }
}

fn channel_status(channel: &super::ChannelDesk) -> ChannelStatus {
    let count = |test: fn(&SlotState) -> bool| channel.slots.values().filter(|slot| test(&slot.state)).count() as u64;
    let truth: TruthCounters = channel.truth.counters();
    let TruthCounters { reports, contradictions, objections, withdrawn, testimonies, assembled, .. } = truth;
    ChannelStatus {
        channel: channel.setup.id.clone(),
        recorders: channel.recorders.len(),
        confirmed: count(|state| matches!(state, SlotState::Confirmed { .. })),
        single: count(|state| matches!(state, SlotState::Single { .. })),
        disputed: count(|state| matches!(state, SlotState::Disputed)),
        damaged: count(|state| matches!(state, SlotState::Damaged)),
        pending: count(|state| matches!(state, SlotState::Pending)),
        stored: channel.slots.values().filter(|slot| slot.stored).count() as u64,
        with_head: channel.slots.values().filter(|slot| slot.head.is_some()).count() as u64,
        with_archive: channel.slots.values().filter(|slot| slot.archive.is_some()).count() as u64,
        reports,
        contradictions,
        objections,
        withdrawn,
        testimonies,
        assembled,
    }
}
