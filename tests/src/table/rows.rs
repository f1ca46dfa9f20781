//! The rows of the table.

use crate::broadcast::variety::Combination;

/// What a row's receivers go by, and what it may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Harmless; by the interval alone.
    Harmless,
    /// Harmless; groups audio frames anew or moves clocks, so anchors are needed and 44.1 kHz has a residue.
    Foreign,
    /// Harmless; by a plan that names the first audio alone.
    FirstAudio,
    /// Harmful; by the interval alone, and by a plan.
    Harmful,
    /// Another broadcast is made of the source: see the recipes' place in `derived`.
    Derived,
}

/// What a row is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fits {
    /// Every source.
    All,
    /// Those with pictures.
    Pictures,
    /// Radio.
    Radio,
    /// Those with H.264 or H.265 pictures.
    Nals,
    /// Those with two audios.
    TwoAudios,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Text forms of its recipes, all at once.
    pub recipes: &'static [&'static str],
    /// What its receivers go by.
    pub mode: Mode,
    /// Which sources it is for.
    pub fits: Fits,
    /// How often it is drawn.
    pub seeds: u64,
}

impl Row {
    /// Its recipes in one line.
    #[must_use]
    pub fn name(&self) -> String {
        self.recipes.join(" ")
    }

    /// Whether audio may be grouped anew, so that 44.1 kHz has a residue.
    #[must_use]
    pub fn groups_anew(&self) -> bool {
        self.mode == Mode::Foreign
    }

    /// Whether it makes sense for a source.
    #[must_use]
    pub fn fits(&self, combination: &Combination) -> bool {
        use crate::broadcast::variety::Pictures::{Mpeg2, Mpeg2Interlaced};
        match self.fits {
            Fits::All => true,
            Fits::Pictures => combination.pictures.is_some(),
            Fits::Radio => combination.pictures.is_none(),
            Fits::Nals => combination.pictures.is_some_and(|pictures| !matches!(pictures, Mpeg2 | Mpeg2Interlaced)),
            Fits::TwoAudios => combination.sound.len() > 1,
        }
    }
}

const fn row(recipes: &'static [&'static str], mode: Mode, fits: Fits, seeds: u64) -> Row {
    Row { recipes, mode, fits, seeds }
}

/// Every recipe that CCF.md lists, harmless ones first.
///
/// Radio has no rows that move clocks: frames of silence are alike, so an anchor at another time proves no shift, and
/// radio keeps received times (CCF 9).
pub const ROWS: &[Row] = &[
    row(&["repacketise"], Mode::Harmless, Fits::All, 1),
    row(&["pes-headers"], Mode::Harmless, Fits::All, 1),
    row(&["delimiters=add"], Mode::Harmless, Fits::Nals, 1),
    row(&["delimiters=remove"], Mode::Harmless, Fits::Nals, 1),
    row(&["nulls=drop"], Mode::Harmless, Fits::All, 1),
    row(&["nulls=10%"], Mode::Harmless, Fits::All, 1),
    row(&["pcr-restamp=-20ms"], Mode::Harmless, Fits::All, 1),
    row(&["pcr-jitter=2ms"], Mode::Harmless, Fits::All, 1),
    row(&["counters"], Mode::Harmless, Fits::All, 1),
    row(&["flags"], Mode::Harmless, Fits::All, 1),
    row(&["si-noise=2%"], Mode::Harmless, Fits::All, 1),
    row(&["duplicates=1%"], Mode::Harmless, Fits::All, 1),
    row(&["pid-remap"], Mode::Harmless, Fits::All, 1),
    row(&["pmt-version=3"], Mode::Harmless, Fits::All, 1),
    row(&["reorder=8"], Mode::Harmless, Fits::All, 1),
    row(&["framing=192"], Mode::Harmless, Fits::All, 1),
    row(&["framing=204"], Mode::Harmless, Fits::All, 1),
    row(&["rtp-reorder=8", "rtp-duplicates=2%"], Mode::Harmless, Fits::All, 1),
    row(&["audio=extra"], Mode::FirstAudio, Fits::All, 1),
    row(&["audio=drop"], Mode::FirstAudio, Fits::TwoAudios, 1),
    row(&["regroup=6"], Mode::Foreign, Fits::All, 1),
    row(&["regroup=1", "repacketise"], Mode::Foreign, Fits::All, 1),
    row(&["pts-shift=5s"], Mode::Foreign, Fits::Pictures, 1),
    row(&["pts-wrap=5s"], Mode::Foreign, Fits::Pictures, 1),
    row(&["remux=10s"], Mode::Foreign, Fits::Pictures, 1),
    row(&["remux=0s"], Mode::Foreign, Fits::Radio, 1),
    row(&["hls=2s"], Mode::Foreign, Fits::All, 1),
    row(
        &[
            "repacketise",
            "pes-headers",
            "nulls=10%",
            "pcr-jitter=1ms",
            "counters",
            "flags",
            "si-noise=2%",
            "duplicates=2%",
            "pid-remap",
            "reorder=6",
            "framing=204",
        ],
        Mode::Harmless,
        Fits::All,
        1,
    ),
    row(&["late=3.2s"], Mode::Harmful, Fits::All, 3),
    row(&["early=1.5s"], Mode::Harmful, Fits::All, 1),
    row(&["single=3"], Mode::Harmful, Fits::All, 3),
    row(&["loss=0.3%/burst=20"], Mode::Harmful, Fits::All, 3),
    row(&["loss=0.5%/burst=1"], Mode::Harmful, Fits::All, 2),
    row(&["rtp-loss=0.4%", "rtp-reorder=4"], Mode::Harmful, Fits::All, 2),
    row(&["truncate=2"], Mode::Harmful, Fits::All, 2),
    row(&["tei=0.1%"], Mode::Harmful, Fits::All, 2),
    row(&["lose16=1"], Mode::Harmful, Fits::Pictures, 4),
    row(&["flips=3"], Mode::Harmful, Fits::All, 4),
    row(
        &["late=1.1s", "nulls=10%", "counters", "pid-remap", "loss=0.3%/burst=8", "framing=204"],
        Mode::Harmful,
        Fits::All,
        2,
    ),
    row(&["jump=4s/by=-3s"], Mode::Derived, Fits::Pictures, 1),
    row(&["splice=equal"], Mode::Derived, Fits::Pictures, 1),
    row(&["splice=longer"], Mode::Derived, Fits::Pictures, 1),
    row(&["splice=other-phase"], Mode::Derived, Fits::Pictures, 1),
];
