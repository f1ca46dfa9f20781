//! The same questions asked of the `mpeg2ts-reader` crate.

use mpeg2ts_reader::packet::Packet as Theirs;
use mpeg2ts_reader::pes::{PesContents, PesHeader, PesLength, PtsDts};
use mpeg2ts_reader::psi::pat::{PatSection, ProgramDescriptor};
use mpeg2ts_reader::psi::pmt::PmtSection;

use super::{Packet, Pes};

pub fn packet(bytes: &[u8]) -> Option<Packet> {
    let theirs = Theirs::try_new(bytes)?;
    let control = theirs.adaptation_control();
    (control.has_payload() || control.has_adaptation_field()).then_some(())?;
    Some(Packet {
        pid: u16::from(theirs.pid()),
        errored: theirs.transport_error_indicator(),
        start: theirs.payload_unit_start_indicator(),
        scrambled: theirs.transport_scrambling_control().is_scrambled(),
        counter: theirs.continuity_counter().count(),
        payload: theirs.payload().unwrap_or_default().to_vec(),
    })
}

/// Programme numbers and map PIDs of a PAT section.
pub fn pat(section: &[u8]) -> Vec<(u16, u16)> {
    let programs = PatSection::new(&section[8..section.len() - 4]).programs();
    let programs = programs.filter_map(|entry| match entry {
        ProgramDescriptor::Program { program_number, pid } => Some((program_number, u16::from(pid))),
        ProgramDescriptor::Network { .. } => None,
    });
    programs.collect()
}

/// Stream types and PIDs of a PMT section.
pub fn pmt(section: &[u8]) -> Vec<(u8, u16)> {
    let map = PmtSection::from_bytes(&section[8..section.len() - 4]).expect("a sound map");
    map.streams().map(|stream| (stream.stream_type().0, u16::from(stream.elementary_pid()))).collect()
}

/// A PES packet with all of its bytes.
pub fn pes(raw: &[u8]) -> Option<Pes> {
    let header = PesHeader::from_bytes(raw)?;
    let PesContents::Parsed(Some(contents)) = header.contents() else { return None };
    let value = |time: Result<mpeg2ts_reader::pes::Timestamp, _>| time.ok().map(|time| time.value());
    let (pts, dts) = match contents.pts_dts() {
        Ok(PtsDts::PtsOnly(pts)) => (value(pts), None),
        Ok(PtsDts::Both { pts, dts }) => (value(pts), value(dts)),
        _ => (None, None),
    };
    let mut data = contents.payload().to_vec();
    if let PesLength::Bounded(length) = header.pes_packet_length() {
        data.truncate((6 + usize::from(length.get())).saturating_sub(raw.len() - data.len()));
    }
    Some(Pes { pts, dts, data })
}
