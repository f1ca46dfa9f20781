//! Small streams to begin with: 32x32 pictures and a tone, made by FFmpeg.

/// Name and bytes.
pub const SOURCES: [(&str, &[u8]); 8] = [
    ("avc-aac", include_bytes!("../../seeds/avc-aac.ts")),
    ("avc-mp2", include_bytes!("../../seeds/avc-mp2.ts")),
    ("avc-latm", include_bytes!("../../seeds/avc-latm.ts")),
    ("avc-eac3", include_bytes!("../../seeds/avc-eac3.ts")),
    // Interlaced, AC-3.
    ("avc-field", include_bytes!("../../seeds/avc-field.ts")),
    ("hevc-aac", include_bytes!("../../seeds/hevc-aac.ts")),
    ("mpeg2-mp2", include_bytes!("../../seeds/mpeg2-mp2.ts")),
    ("radio-mp2", include_bytes!("../../seeds/radio-mp2.ts")),
];

pub const PACKET: usize = 188;
pub const VIDEO: u16 = 0x100;
pub const AUDIO: u16 = 0x101;

/// A source by name.
pub fn source(name: &str) -> &'static [u8] {
    SOURCES.iter().find(|(own, _)| *own == name).expect("a source of this name").1
}

/// All of them.
pub fn streams() -> Vec<Vec<u8>> {
    SOURCES.iter().map(|(_, bytes)| bytes.to_vec()).collect()
}

/// PES packets of a source: PID, PTS, DTS, payload, in the order in which they begin.
pub fn pes(source: &[u8]) -> Vec<(u16, i64, Option<i64>, Vec<u8>)> {
    let mut raw: Vec<(u16, Vec<u8>)> = Vec::new();
    for packet in source.as_chunks::<PACKET>().0.iter().filter(|packet| packet[3] & 0x10 != 0) {
        let pid = u16::from(packet[1] & 0x1F) << 8 | u16::from(packet[2]);
        if !matches!(pid, VIDEO | AUDIO) {
            continue;
        }
        if packet[1] & 0x40 != 0 {
            raw.push((pid, Vec::new()));
        }
        let at = if packet[3] & 0x20 != 0 { 5 + usize::from(packet[4]) } else { 4 };
        let open = raw.iter_mut().rev().find(|(of, _)| *of == pid).expect("a packet begins a PES first");
        open.1.extend(&packet[at..]);
    }
    let stamp = |b: &[u8]| {
        i64::from(b[0] >> 1 & 7) << 30
            | i64::from(b[1]) << 22
            | i64::from(b[2] >> 1) << 15
            | i64::from(b[3]) << 7
            | i64::from(b[4] >> 1)
    };
    raw.into_iter()
        .map(|(pid, raw)| {
            let dts = (raw[7] & 0x40 != 0).then(|| stamp(&raw[14..]));
            (pid, stamp(&raw[9..]), dts, raw[9 + usize::from(raw[8])..].to_vec())
        })
        .collect()
}

/// One stream of a source as a script.
pub fn script(name: &str, wanted: u16) -> Vec<u8> {
    let mut last = None;
    let mut out = Vec::new();
    for (_, pts, dts, payload) in pes(source(name)).into_iter().filter(|(pid, ..)| *pid == wanted) {
        let time = dts.unwrap_or(pts);
        let flags = super::script::START | super::script::PTS | if dts.is_some() { super::script::DTS } else { 0 };
        out.extend(super::script::write(flags, time - last.unwrap_or(time), &payload));
        last = Some(time);
    }
    out
}
