//! Programme tables of a whole multiplex.

use std::collections::BTreeMap;

use crate::ts::packet::{PAT_PID, Packet};
use crate::ts::psi::{MapStream, ProgramMap, SectionAssembler, crc32, parse_pat, parse_pmt};

/// Tables should come this often (TR 101 290, 1.3 and 1.5: 500 ms), in ticks.
const TABLE_EVERY: i64 = 45_000;

/// All programmes.
#[derive(Debug, Default)]
pub struct Tables {
    pat: Table,
    /// By PMT PID.
    pmts: BTreeMap<u16, Table>,
    /// By number: PMT PID and map.
    programs: BTreeMap<u16, (u16, Option<ProgramMap>)>,
    /// By PID: programme and place in its map.
    streams: BTreeMap<u16, (u16, usize)>,
}

#[derive(Debug, Default)]
struct Table {
    sections: SectionAssembler,
    last: Option<i64>,
}

impl Table {
    /// Whether it came later than it should.
    fn came(&mut self, now: i64) -> bool {
        self.last.replace(now).is_some_and(|last| now - last > TABLE_EVERY)
    }
}

/// What a packet of a table brought.
#[derive(Debug, Default, Clone, Copy)]
pub struct Found {
    pub crc_errors: u64,
    pub late_pats: u64,
    pub late_pmts: u64,
    /// Something is different from before.
    pub changed: bool,
}

impl Tables {
    pub fn is_pmt(&self, pid: u16) -> bool {
        self.pmts.contains_key(&pid)
    }

    /// The stream of a PID, of whichever programme lists it first.
    pub fn stream(&self, pid: u16) -> Option<&MapStream> {
        let (number, place) = self.streams.get(&pid)?;
        self.programs.get(number)?.1.as_ref()?.streams.get(*place)
    }

    pub fn programs(&self) -> impl Iterator<Item = (u16, u16, Option<&ProgramMap>)> {
        self.programs.iter().map(|(number, (pid, map))| (*number, *pid, map.as_ref()))
    }

    pub fn hole(&mut self, pid: u16) {
        let table = if pid == PAT_PID { Some(&mut self.pat) } else { self.pmts.get_mut(&pid) };
        table.into_iter().for_each(|table| table.sections.hole());
    }

    /// Takes a packet of the PAT or of a PMT in.
    pub fn push(&mut self, packet: &Packet<'_>, payload: &[u8], now: i64) -> Found {
        let mut found = Found::default();
        let mut whole = Vec::new();
        let is_pat = packet.pid == PAT_PID;
        let table = if is_pat { Some(&mut self.pat) } else { self.pmts.get_mut(&packet.pid) };
        let Some(table) = table else { return found };
        table.sections.push(packet.unit_start, payload, |section| whole.push(section.to_vec()));
        for section in whole {
            if crc32(&section) != 0 {
                found.crc_errors += 1;
                continue;
            }
            if is_pat {
                let Some(programs) = parse_pat(&section) else { continue };
                found.late_pats += u64::from(self.pat.came(now));
                found.changed |= self.take_pat(&programs);
            } else if let Some(map) = parse_pmt(&section) {
                found.changed |= self.take_pmt(packet.pid, map, now, &mut found.late_pmts);
            }
        }
        found
    }

    fn take_pat(&mut self, programs: &[(u16, u16)]) -> bool {
        let known = |(number, pid): &(u16, u16)| self.programs.get(number).is_some_and(|(known, _)| known == pid);
        if programs.len() == self.programs.len() && programs.iter().all(known) {
            return false;
        }
        let had_any = !self.programs.is_empty();
        let mut before = std::mem::take(&mut self.programs);
        for (number, pid) in programs {
            let map = before.remove(number).filter(|(known, _)| known == pid).and_then(|(_, map)| map);
            self.programs.insert(*number, (*pid, map));
            self.pmts.entry(*pid).or_default();
        }
        self.pmts.retain(|pid, _| programs.iter().any(|(_, listed)| listed == pid));
        self.list_streams();
        had_any
    }

    fn take_pmt(&mut self, pid: u16, map: ProgramMap, now: i64, late: &mut u64) -> bool {
        let Some((listed, known)) = self.programs.get_mut(&map.number) else { return false };
        if *listed != pid {
            return false;
        }
        *late += u64::from(self.pmts.entry(pid).or_default().came(now));
        if known.as_ref() == Some(&map) {
            return false;
        }
        let had_one = known.replace(map).is_some();
        self.list_streams();
        had_one
    }

    fn list_streams(&mut self) {
        self.streams.clear();
        for (number, (_, map)) in &self.programs {
            for (place, stream) in map.iter().flat_map(|map| map.streams.iter().enumerate()) {
                self.streams.entry(stream.pid).or_insert((*number, place));
            }
        }
    }
}
