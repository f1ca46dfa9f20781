//! The seed's orders in force.

use std::collections::BTreeMap;

use aftercast_protocol::duty::DutyKind;
use aftercast_protocol::ids::ChunkCid;
use aftercast_protocol::time::UnixMillis;

/// Orders remembered at once: an hour of chunks of ten channels. Beyond it chunks are still served and still kept
/// until they are acknowledged; only the backlog is then told too small.
const MAX_DUTIES: usize = 8192;

/// Chunks to upload and to keep, until when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DutyBook {
    orders: BTreeMap<ChunkCid, Order>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Order {
    bytes: u64,
    upload: Option<UnixMillis>,
    keep: Option<UnixMillis>,
}

impl DutyBook {
    /// Notes an order; false where there is no room for it.
    pub fn add(&mut self, cid: ChunkCid, kind: DutyKind, bytes: u64, until: UnixMillis) -> bool {
        if self.orders.len() >= MAX_DUTIES && !self.orders.contains_key(&cid) {
            return false;
        }
        let order = self.orders.entry(cid).or_default();
        order.bytes = bytes;
        match kind {
            DutyKind::Upload => order.upload = order.upload.max(Some(until)),
            DutyKind::Keep => order.keep = order.keep.max(Some(until)),
            DutyKind::Witness => {}
        }
        true
    }

    /// These chunks were uploaded, by us or by others.
    pub fn done(&mut self, cids: &[ChunkCid]) {
        for cid in cids {
            if let Some(order) = self.orders.get_mut(cid) {
                order.upload = None;
                if order.keep.is_none() {
                    self.orders.remove(cid);
                }
            }
        }
    }

    /// Ends what is over, and names the chunks that no order holds any more.
    pub fn expire(&mut self, now: UnixMillis) -> Vec<ChunkCid> {
        let mut over = Vec::new();
        self.orders.retain(|cid, order| {
            order.upload = order.upload.filter(|until| *until > now);
            order.keep = order.keep.filter(|until| *until > now);
            let holds = order.upload.is_some() || order.keep.is_some();
            if !holds {
                over.push(*cid);
            }
            holds
        });
        over
    }

    /// Whether a chunk has to be kept.
    #[must_use]
    pub fn keeps(&self, cid: &ChunkCid) -> bool {
        self.orders.get(cid).is_some_and(|order| order.keep.is_some())
    }

    /// Bytes of chunks that are kept by order.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        self.orders.values().filter(|order| order.keep.is_some()).map(|order| order.bytes).sum()
    }

    /// Bytes promised to the seed and not taken yet.
    #[must_use]
    pub fn backlog_bytes(&self) -> u64 {
        self.orders.values().filter(|order| order.upload.is_some()).map(|order| order.bytes).sum()
    }

    /// Number of orders: uploads and keeps.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        let uploads = self.orders.values().filter(|order| order.upload.is_some()).count();
        let keeps = self.orders.values().filter(|order| order.keep.is_some()).count();
        (uploads, keeps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_held_until_its_last_order_is_over() {
        let (cid, mut book) = (ChunkCid([1; 32]), DutyBook::default());
        assert!(book.add(cid, DutyKind::Upload, 10, UnixMillis(100)));
        assert!(book.add(cid, DutyKind::Keep, 10, UnixMillis(200)));
        assert_eq!(book.backlog_bytes(), 10);
        book.done(&[cid]);
        assert_eq!((book.backlog_bytes(), book.keeps(&cid), book.kept_bytes()), (0, true, 10));
        assert_eq!(book.expire(UnixMillis(199)), vec![]);
        assert_eq!(book.expire(UnixMillis(200)), vec![cid]);
    }

    #[test]
    fn orders_are_bounded() {
        let mut book = DutyBook::default();
        for n in 0..2 * MAX_DUTIES as u64 {
            let mut cid = [0; 32];
            cid[..8].copy_from_slice(&n.to_be_bytes());
            book.add(ChunkCid(cid), DutyKind::Keep, 1, UnixMillis(1));
        }
        assert_eq!(book.len().1, MAX_DUTIES);
    }
}
