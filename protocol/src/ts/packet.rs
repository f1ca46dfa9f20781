//! One transport packet's header (ISO/IEC 13818-1, 2.4.3).

use super::framer::PACKET_BYTES;
use crate::time::Pts33;

/// PID of null packets.
pub const NULL_PID: u16 = 0x1FFF;
/// PID of the programme association table.
pub const PAT_PID: u16 = 0;

/// A packet taken apart.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// Packet identifier, 13 bits.
    pub pid: u16,
    /// A PES packet or section begins in the payload.
    pub unit_start: bool,
    /// Payload is scrambled.
    pub scrambled: bool,
    /// Continuity counter, 4 bits.
    pub counter: u8,
    /// `splice_countdown`, where present.
    pub splice_countdown: Option<i8>,
    /// Random access indicator of the adaptation field.
    pub random_access: bool,
    /// Payload; `None` where the packet has only an adaptation field (then its counter does not advance).
    pub payload: Option<&'a [u8]>,
}

/// Why a packet is unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPacket {
    /// Transport error indicator set: not even the PID is to be trusted.
    Errored,
    /// Reserved adaptation control, or an adaptation field longer than the packet.
    Malformed,
}

/// PID and clock reference of a packet, where it carries one: the base's 33 bits of 90 kHz ticks (ISO/IEC 13818-1,
/// 2.4.3.5). Its extension of 27 MHz ticks is not read.
#[must_use]
pub fn clock_reference(bytes: &[u8; PACKET_BYTES]) -> Option<(u16, Pts33)> {
    let has_reference = bytes[3] & 0x20 != 0 && bytes[4] >= 7 && bytes[5] & 0x10 != 0;
    let high = u32::from_be_bytes([bytes[6], bytes[7], bytes[8], bytes[9]]);
    let base = u64::from(high) << 1 | u64::from(bytes[10] >> 7);
    has_reference.then_some((u16::from_be_bytes([bytes[1] & 0x1F, bytes[2]]), Pts33(base)))
}

impl<'a> Packet<'a> {
    /// Takes a packet apart.
    ///
    /// # Errors
    /// When it must be dropped as lost.
    pub fn parse(bytes: &'a [u8; PACKET_BYTES]) -> Result<Self, BadPacket> {
        let [_, flags, pid_low, control, ..] = *bytes;
        if flags & 0x80 != 0 {
            return Err(BadPacket::Errored);
        }
        let pid = u16::from(flags & 0x1F) << 8 | u16::from(pid_low);
        let (has_field, has_payload) = (control & 0x20 != 0, control & 0x10 != 0);
        let (mut payload_at, mut splice_countdown, mut random_access) = (4, None, false);
        if has_field {
            let field_bytes = usize::from(bytes[4]);
            payload_at = 5 + field_bytes;
            let longest = if has_payload { 182 } else { 183 };
            if field_bytes > longest {
                return Err(BadPacket::Malformed);
            }
            let field = &bytes[5..payload_at];
            if let Some(&flags) = field.first() {
                random_access = flags & 0x40 != 0;
                let at = 1 + if flags & 0x10 != 0 { 6 } else { 0 } + if flags & 0x08 != 0 { 6 } else { 0 };
                splice_countdown = (flags & 0x04 != 0).then(|| field.get(at)).flatten().map(|&byte| byte as i8);
            }
        } else if !has_payload {
            return Err(BadPacket::Malformed);
        }
        Ok(Self {
            pid,
            unit_start: flags & 0x40 != 0,
            scrambled: control & 0xC0 != 0,
            counter: control & 0x0F,
            splice_countdown,
            random_access,
            payload: has_payload.then(|| &bytes[payload_at..]),
        })
    }
}
