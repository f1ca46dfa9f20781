//! One transport packet's header (ISO/IEC 13818-1, 2.4.3).

use super::framer::PACKET_BYTES;

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
