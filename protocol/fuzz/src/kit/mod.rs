//! What is fuzzed, in one place: libFuzzer runs it for as long as one likes (`make fuzz`), an ordinary test replays the
//! corpus and some mutations.
//!
//! Each target asserts more than that nothing panics: the same result however the input is split, output within the
//! input's bounds, decoding undone by encoding, chunks that read again as they were written.

mod audio;
mod chunks;
mod messages;
mod pieces;
mod program;
mod script;
mod sources;
mod tables;
mod video;

/// Something that takes bytes from outside.
#[derive(Debug)]
pub struct Target {
    /// Its name, and its corpus folder's.
    pub name: &'static str,
    /// Runs it on an input; panics where a promise is broken.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets, in the order of the data: stream, tables, elementary streams, chunks, messages.
pub const TARGETS: [Target; 22] = [
    Target { name: "framer", run: tables::framer, seeds: sources::streams },
    Target { name: "sections", run: tables::sections, seeds: tables::section_seeds },
    Target { name: "pes", run: tables::pes, seeds: tables::pes_seeds },
    Target { name: "avc", run: video::avc, seeds: video::avc_seeds },
    Target { name: "hevc", run: video::hevc, seeds: video::hevc_seeds },
    Target { name: "mpeg2", run: video::mpeg2, seeds: video::mpeg2_seeds },
    Target { name: "mpeg-audio", run: audio::mpeg, seeds: audio::mpeg_seeds },
    Target { name: "adts", run: audio::adts, seeds: audio::adts_seeds },
    Target { name: "latm", run: audio::latm, seeds: audio::latm_seeds },
    Target { name: "ac3", run: audio::ac3, seeds: audio::ac3_seeds },
    Target { name: "eac3", run: audio::eac3, seeds: audio::eac3_seeds },
    Target { name: "chunker", run: chunks::chunker, seeds: chunks::chunker_seeds },
    Target { name: "program", run: program::program, seeds: program::seeds },
    Target { name: "reader", run: chunks::reader, seeds: chunks::reader_seeds },
    Target { name: "unit-index", run: chunks::unit_index, seeds: chunks::unit_index_seeds },
    Target { name: "object", run: chunks::object, seeds: chunks::object_seeds },
    Target { name: "repair", run: chunks::repair, seeds: chunks::edit_seeds },
    Target { name: "combine", run: chunks::combine, seeds: chunks::edit_seeds },
    Target { name: "inspect", run: tables::inspect, seeds: sources::streams },
    Target { name: "control", run: messages::control, seeds: messages::control_seeds },
    Target { name: "lane-request", run: messages::lane_request, seeds: messages::lane_request_seeds },
    Target { name: "lane-answer", run: messages::lane_answer, seeds: messages::lane_answer_seeds },
];
