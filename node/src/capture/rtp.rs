//! Transport streams in RTP: datagrams in, put in order by [`Reorder`].

use std::sync::atomic::Ordering;

use aftercast_protocol::ts::rtp::Reorder;

use super::Outlet;
use super::input::Listen;
use super::udp::each_datagram;

/// Reads until the outlet closes.
pub fn read(listen: &Listen, out: &Outlet) {
    let mut order = Reorder::default();
    each_datagram(listen, out, |datagram, block| {
        order.push(datagram, |payload| block.extend_from_slice(payload));
        out.counters().rtp_lost.store(order.lost(), Ordering::Relaxed);
    });
}
