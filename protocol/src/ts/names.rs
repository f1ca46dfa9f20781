//! Names of programmes: the service description table of DVB (EN 300 468, 5.2.3) and the virtual channel tables of ATSC
//! (A/65, 6.3).

use super::psi::{descriptors, long_body};

/// PID of the service description table.
pub const SDT_PID: u16 = 0x11;
/// PID of the virtual channel table, among others of ATSC.
pub const PSIP_PID: u16 = 0x1FFB;

/// Programme numbers and names of a section of either kind; nothing of any other section.
#[must_use]
pub fn names(section: &[u8]) -> Vec<(u16, String)> {
    match section.first() {
        Some(0x42) => services(section),
        Some(0xC8 | 0xC9) => channels(section),
        _ => None,
    }
    .unwrap_or_default()
}

/// Whether two names mean the same: letters in either case, white space at the ends left out.
#[must_use]
pub fn is_same(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

/// Services of this transport stream.
fn services(section: &[u8]) -> Option<Vec<(u16, String)>> {
    // Original network and a reserved byte stand first.
    let mut rest = long_body(section, 0x42)?.get(3..)?;
    let mut found = Vec::new();
    while let [id_high, id_low, _, len_high, len_low, after @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*len_high, *len_low]) & 0x0FFF);
        let (loop_bytes, next) = after.split_at_checked(len)?;
        // Service descriptor: type, provider name, service name (6.2.33).
        let service = descriptors(loop_bytes).into_iter().find(|(tag, _)| *tag == 0x48);
        let name = service.as_ref().and_then(|(_, content)| {
            let (provider, after) = content.get(1..)?.split_first()?;
            let (len, text) = after.get(usize::from(*provider)..)?.split_first()?;
            text.get(..usize::from(*len))
        });
        found.extend(name.map(|name| (u16::from_be_bytes([*id_high, *id_low]), dvb_text(name))));
        rest = next;
    }
    Some(found)
}

/// Channels of a terrestrial or cable virtual channel table: short names of seven UTF-16 units.
fn channels(section: &[u8]) -> Option<Vec<(u16, String)>> {
    let (count, mut rest) = long_body(section, *section.first()?)?.get(1..)?.split_first()?;
    let mut found = Vec::new();
    for _ in 0..*count {
        let (channel, after) = rest.split_at_checked(32)?;
        let number = u16::from_be_bytes([channel[24], channel[25]]);
        let len = usize::from(u16::from_be_bytes([channel[30], channel[31]]) & 0x03FF);
        found.push((number, utf16(&channel[..14])));
        rest = after.get(len..)?;
    }
    Some(found)
}

fn utf16(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).filter(|unit| *unit != 0);
    char::decode_utf16(units).map(|one| one.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Text as EN 300 468 annex A codes it. Letters of the older tables beyond ASCII and Latin 1 become U+FFFD: names are
/// told apart without them.
fn dvb_text(bytes: &[u8]) -> String {
    let latin = |bytes: &[u8], known: bool| -> String {
        let letters = bytes.iter().filter(|byte| !matches!(byte, 0..=0x1F | 0x80..=0x9F));
        let letter = |byte: &u8| if *byte < 0x80 || known { char::from(*byte) } else { char::REPLACEMENT_CHARACTER };
        letters.map(letter).collect()
    };
    match bytes {
        [0x15, text @ ..] => String::from_utf8_lossy(text).into_owned(),
        [0x11, text @ ..] => utf16(text),
        [0x10, 0, table, text @ ..] => latin(text, matches!(table, 1 | 15)),
        [0x0B, text @ ..] => latin(text, true),
        text => latin(text, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(table: u8, body: &[u8]) -> Vec<u8> {
        let len = (5 + body.len() + 4) as u16;
        let [high, low] = (0xB000 | len).to_be_bytes();
        [&[table, high, low, 0, 1, 0xC1, 0, 0][..], body, &[0; 4][..]].concat()
    }

    #[test]
    fn reads_services_in_several_codings() {
        let service = |id: u8, name: &[u8]| {
            let descriptor = [&[0x48, 4 + name.len() as u8, 1, 1, b'P', name.len() as u8][..], name].concat();
            [&[0, id, 0xFC, 0x80, descriptor.len() as u8][..], &descriptor[..]].concat()
        };
        let body = [
            &[0, 9, 0xFF][..],
            &service(1, b"Plain 1"),
            &service(2, b"\x15Caf\xC3\xA9"),
            &service(3, b"\x10\0\x01Caf\xE9"),
            &service(4, b"Caf\xC2e"),
        ];
        let found = names(&section(0x42, &body.concat()));
        let names: Vec<_> = found.iter().map(|(id, name)| (*id, &name[..])).collect();
        assert_eq!(names, [(1, "Plain 1"), (2, "Café"), (3, "Café"), (4, "Caf\u{FFFD}e")]);
        assert!(super::names(&section(0x46, &body.concat())).is_empty(), "another stream's services");
        assert!(super::names(&section(0x42, &body.concat()[..20])).is_empty(), "cut short");
        assert!(is_same(" rai 1", "Rai 1 ") && !is_same("Rai 1", "Rai 2"));
    }

    #[test]
    fn reads_virtual_channels() {
        let mut channel = [0; 32];
        channel[..14].copy_from_slice(&[0, b'K', 0, b'Q', 0, b'E', 0, b'D', 0, 0, 0, 0, 0, 0]);
        channel[25] = 3;
        let found = names(&section(0xC8, &[&[0, 1][..], &channel[..]].concat()));
        assert_eq!(found, [(3, "KQED".to_owned())]);
        assert!(names(&section(0xC8, &[&[0, 9][..], &channel[..]].concat())).is_empty(), "cut short");
    }
}
