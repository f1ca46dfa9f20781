//! Pictures of one video stream: how many, how damaged, how they are grouped.

use super::report::PictureReport;
use crate::ccf::VideoCodec;
use crate::time::Pts33;
use crate::ts::pes::PesTimes;
use crate::ts::video::{HoleCause, VideoUnits};

/// Counts pictures and the groups between key pictures.
#[derive(Debug)]
pub struct Pictures {
    units: VideoUnits,
    report: PictureReport,
    /// Pictures since the last key picture; none before the first.
    group: Option<u64>,
    groups: u64,
    grouped: u64,
    keys: Vec<Option<Pts33>>,
}

impl Pictures {
    pub fn new(codec: VideoCodec) -> Self {
        let units = match codec {
            VideoCodec::Avc => VideoUnits::avc(false),
            VideoCodec::Hevc => VideoUnits::hevc(false),
            VideoCodec::Mpeg2 => VideoUnits::mpeg2(),
        };
        Self { units, report: PictureReport::default(), group: None, groups: 0, grouped: 0, keys: Vec::new() }
    }

    pub fn hole(&mut self, at_pes_start: bool) {
        self.units.hole(at_pes_start, HoleCause::Loss);
    }

    pub fn pes_start(&mut self, times: PesTimes) {
        self.units.pes_start(times);
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.units.push(bytes);
        self.count();
    }

    pub fn finish(&mut self) {
        self.units.finish();
        self.count();
    }

    fn count(&mut self) {
        while let Some(unit) = self.units.poll() {
            self.report.pictures += 1;
            self.report.damaged += u64::from(unit.dirty == Some(HoleCause::Loss));
            self.report.holes += u64::from(unit.after_hole == Some(HoleCause::Loss));
            if unit.rap {
                self.report.key_pictures += 1;
                self.keys.push(unit.times.pts);
                if let Some(pictures) = self.group {
                    self.end_group(pictures);
                }
                self.group = Some(1);
            } else {
                self.group = self.group.map(|pictures| pictures + 1);
            }
        }
    }

    fn end_group(&mut self, pictures: u64) {
        let report = &mut self.report;
        report.shortest_group = if self.groups == 0 { pictures } else { report.shortest_group.min(pictures) };
        report.longest_group = report.longest_group.max(pictures);
        self.groups += 1;
        self.grouped += pictures;
    }

    /// Key pictures since the last call, by their PTS where they have one.
    pub fn take_keys(&mut self) -> Vec<Option<Pts33>> {
        std::mem::take(&mut self.keys)
    }

    pub fn report(&self) -> PictureReport {
        let mean = if self.groups > 0 { self.grouped as f64 / self.groups as f64 } else { 0.0 };
        PictureReport { mean_group: mean, ..self.report }
    }
}
