//! Connected devices: who they are, what they can give, what they hold.

use aftercast_protocol::duty::{Capability, Node};
use aftercast_protocol::grant::{AccessDenied, Certificate};
use aftercast_protocol::ids::{ChannelId, DeviceId, Slot, SubscriberId};
use aftercast_protocol::limits::MAX_HOLDING_SLOTS;
use aftercast_protocol::sign::Verified;
use aftercast_protocol::wire::ctl::{CTL_VERSION, CtlMsg, Have, Hello, Refused, ReqId, Role};

use super::Desk;

/// A connected device.
pub(super) struct NodeState {
    /// Its subscriber, once it showed its certificate.
    pub enrolled: Option<SubscriberId>,
    pub addrs: Vec<String>,
    pub capability: Option<Capability>,
    pub recording: Vec<ChannelId>,
}

impl Desk {
    pub(super) fn handle_hello(&mut self, device: DeviceId, hello: Hello) {
        // A device greets again when it is reached at other addresses; it records what it recorded.
        let recording = self.nodes.remove(&device).map(|before| before.recording).unwrap_or_default();
        let mut state = NodeState { enrolled: None, addrs: hello.addrs, capability: hello.capability, recording };
        let refused = if hello.version != CTL_VERSION {
            Err(Refused::Version)
        } else {
            self.check_certificate(device, hello.certificate.as_ref()).map_err(Refused::from)
        };
        let greeting = Hello {
            version: CTL_VERSION,
            role: Role::Seed,
            certificate: None,
            capability: None,
            grants: Vec::new(),
            addrs: Vec::new(),
            agent: concat!("aftercast-seed/", env!("CARGO_PKG_VERSION")).into(),
        };
        self.send(device, &CtlMsg::Hello(greeting));
        match refused {
            Ok(certificate) => {
                tracing::info!(%device, subscriber = %certificate.subscriber, "node connected");
                self.tools.access.admit(device, certificate.subscriber.clone(), certificate.expires);
                state.enrolled = Some(certificate.subscriber.clone());
                self.nodes.insert(device, state);
                self.handle_capability(device, hello.capability);
                self.renew_certificate(&certificate);
            }
            Err(reason) => {
                self.tools.metrics.refuse(reason);
                tracing::info!(%device, %reason, "node not admitted");
                // It may still enrol.
                self.nodes.insert(device, state);
                self.send(device, &CtlMsg::Refused { req: ReqId(0), reason });
            }
        }
    }

    fn check_certificate(
        &self,
        device: DeviceId,
        raw: Option<&aftercast_protocol::sign::Raw<Certificate>>,
    ) -> Result<Verified<Certificate>, AccessDenied> {
        let raw = raw.ok_or(AccessDenied::NotEnrolled)?;
        let certificate = raw.verify(&self.tools.key.device()).map_err(|_| AccessDenied::Forged)?;
        certificate.admits(device, self.loaded.config.epoch, self.utc())?;
        Ok(certificate)
    }

    /// Gives a device a new certificate in the second half of the old one's life, unasked.
    fn renew_certificate(&self, old: &Verified<Certificate>) {
        let now = self.utc();
        let left = old.expires.0.saturating_sub(now.0);
        if left > old.expires.0.saturating_sub(old.issued.0) / 2 {
            return;
        }
        let new = self.certify(old.device, old.subscriber.clone(), now);
        self.tools.access.admit(old.device, old.subscriber.clone(), new.expires);
        self.send(old.device, &CtlMsg::Enrolled { req: ReqId(0), certificate: new.raw().clone() });
    }

    /// The subscriber of a device that was admitted.
    pub(super) fn subscriber_of(&self, device: DeviceId) -> Option<SubscriberId> {
        self.nodes.get(&device)?.enrolled.clone()
    }

    pub(super) fn handle_capability(&mut self, device: DeviceId, capability: Option<Capability>) {
        let Some(node) = self.nodes.get_mut(&device) else { return };
        let (Some(subscriber), Some(capability)) = (node.enrolled.clone(), capability) else { return };
        node.capability = Some(capability);
        let now = self.tools.clock.mono();
        self.duties.handle_node(now, device, Node { subscriber, capability });
    }

    pub(super) fn handle_gone(&mut self, device: DeviceId) {
        let Some(node) = self.nodes.remove(&device) else { return };
        tracing::info!(%device, "node gone");
        self.tools.access.dismiss(device);
        let now = self.tools.clock.mono();
        self.duties.handle_node_gone(now, device);
        for channel in self.channels.values_mut() {
            if node.recording.contains(&channel.setup.id) {
                channel.recorders.remove(&device);
                channel.truth.handle_recorder_gone(now, device);
            }
            channel.forget_holder(device);
        }
    }

    /// A node says which confirmed chunks it holds or dropped.
    pub(super) fn handle_have(&mut self, device: DeviceId, have: &Have) {
        let Some(channel) = self.channels.get_mut(&have.channel) else { return };
        let now = self.tools.clock.mono();
        let mut budget = MAX_HOLDING_SLOTS;
        let mut stored = Vec::new();
        for span in &have.added {
            let from = Slot { timeline: span.timeline, index: span.from };
            let to = Slot { timeline: span.timeline, index: span.to };
            if from >= to {
                continue;
            }
            let records: Vec<_> =
                channel.slots.range(from..to).map(|(slot, record)| (*slot, record.cid(), record.stored)).collect();
            for (slot, cid, is_stored) in records {
                let Some(cid) = cid else { continue };
                if budget == 0 {
                    break;
                }
                budget -= 1;
                channel.note_holder(slot, device);
                if is_stored {
                    stored.push(cid);
                } else {
                    self.duties.handle_holder(now, &cid, device);
                }
            }
        }
        for span in &have.removed {
            for (slot, holders) in &mut channel.holders {
                if span.contains(*slot) {
                    holders.remove(&device);
                }
            }
        }
        self.acknowledge(device, stored);
    }
}
