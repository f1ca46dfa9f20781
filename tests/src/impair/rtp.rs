//! A network with datagrams: seven packets in each (RFC 2250), which it loses, repeats and reorders.

use super::packet::{Fate, Packet};
use super::prng::Prng;
use super::recipe::Share;

/// Transport packets of a datagram.
const PACKETS: usize = 7;
/// Sequence numbers begin a little before their wrap.
const FIRST_SEQUENCE: u16 = u16::MAX - 40;

/// What the network does to the datagrams.
#[derive(Debug, Clone, Copy, Default)]
pub struct Network {
    /// Lost ones.
    pub loss: Option<Share>,
    /// How far one may fall behind.
    pub reorder: u32,
    /// Those that come twice.
    pub duplicates: Option<Share>,
}

/// Sends packets; returns the datagrams in the order in which they arrive. What the network loses is marked lost.
pub fn send(packets: &mut [Packet], network: Network, prng: &mut Prng) -> Vec<Vec<u8>> {
    let mut sent: Vec<&mut Packet> = packets.iter_mut().filter(|packet| packet.fate != Fate::Lost).collect();
    let mut arriving: Vec<(usize, Vec<u8>)> = Vec::new();
    for (number, group) in sent.chunks_mut(PACKETS).enumerate() {
        // The first one tells a receiver where to begin.
        let first = number == 0;
        if network.loss.is_some_and(|share| prng.chance(share.0)) && !first {
            group.iter_mut().for_each(|packet| packet.fate = Fate::Lost);
            continue;
        }
        let datagram = datagram(number, group);
        let mut delay = || if first { 0 } else { prng.below(network.reorder as usize + 1) };
        arriving.push((number + delay(), datagram.clone()));
        let again = number + delay();
        if network.duplicates.is_some_and(|share| prng.chance(share.0)) {
            arriving.push((again, datagram));
        }
    }
    arriving.sort_by_key(|(at, _)| *at);
    arriving.into_iter().map(|(_, datagram)| datagram).collect()
}

/// RFC 3550 5.1, payload type 33, a clock of 90 kHz that nobody reads here.
fn datagram(number: usize, packets: &[&mut Packet]) -> Vec<u8> {
    let sequence = FIRST_SEQUENCE.wrapping_add(number as u16).to_be_bytes();
    let clock = (number as u32).wrapping_mul(900).to_be_bytes();
    let mut bytes = [&[0x80, 33], &sequence[..], &clock, &[0x41, 0x46, 0x43, 0x54]].concat();
    packets.iter().for_each(|packet| bytes.extend(packet.data));
    bytes
}
