//! What peers send: frames of the control stream and headers of chunk lanes.

use aftercast_protocol::ids::{ChunkCid, RequestId};
use aftercast_protocol::limits::{MAX_CTL_FRAME_BYTES, MAX_LANE_ANSWER_BYTES};
use aftercast_protocol::serve::Class;
use aftercast_protocol::time::Pts33;
use aftercast_protocol::verify::{GroupHashes, GroupRange};
use aftercast_protocol::wire::ctl::CtlMsg;
use aftercast_protocol::wire::lane::{
    ByteRange, Described, LaneAnswer, LaneRefusal, LaneRequest, LaneStatus, Part, What,
};

/// What is read, written and read again is the same message.
pub fn control(input: &[u8]) {
    let Ok(msg) = CtlMsg::from_frame(input) else { return };
    match msg.to_frame() {
        Ok(frame) => {
            assert!(frame.len() <= MAX_CTL_FRAME_BYTES);
            // Floating-point fields may hold what is not equal to itself; their bytes are.
            let again = CtlMsg::from_frame(&frame).expect("our own frame");
            assert_eq!(again.to_frame().as_ref(), Ok(&frame));
        }
        // A frame at the bound may be longer in our encoding than in another's.
        Err(error) => assert!(input.len() > MAX_CTL_FRAME_BYTES / 8, "{error}"),
    }
}

/// The golden vectors of the wire.
pub fn control_seeds() -> Vec<Vec<u8>> {
    let hex = include_str!("../../../tests/golden/ctl.hex").lines().filter_map(|line| line.split_whitespace().last());
    hex.map(from_hex).collect()
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().as_chunks::<2>().0.iter();
    digits.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

pub fn lane_request(input: &[u8]) {
    let Ok(request) = LaneRequest::from_header(input) else { return };
    let frame = request.to_frame();
    assert_eq!(usize::from(u16::from_be_bytes([frame[0], frame[1]])), frame.len() - 2);
    assert_eq!(LaneRequest::from_header(&frame[2..]), Ok(request));
}

pub fn lane_request_seeds() -> Vec<Vec<u8>> {
    let groups = |want_hashes| What::Groups { range: GroupRange::new(1, 9), want_hashes };
    let ranges = vec![ByteRange { start: 188, end: 376 }, ByteRange { start: 65_536, end: 70_000 }];
    let index = What::Part(Part::Index(Pts33(90_000)));
    let requests = [
        (Class::Playback, groups(true)),
        (Class::Upload, groups(false)),
        (Class::Repair, index),
        (Class::Repair, What::Part(Part::Bytes(ranges))),
    ];
    let frame = |(class, what)| {
        LaneRequest { id: RequestId(7), cid: ChunkCid([5; 32]), what, deadline_ms: 4_000, class }.to_frame()[2..]
            .to_vec()
    };
    requests.map(frame).to_vec()
}

pub fn lane_answer(input: &[u8]) {
    let Ok(answer) = LaneAnswer::from_header(input) else { return };
    match answer.to_frame() {
        Ok(frame) => assert_eq!(LaneAnswer::from_header(&frame[2..]), Ok(answer)),
        Err(error) => assert!(input.len() > MAX_LANE_ANSWER_BYTES / 8, "{error}"),
    }
}

pub fn lane_answer_seeds() -> Vec<Vec<u8>> {
    let hashes = GroupHashes::of(&[9; 200_000]);
    let described = |hashes: Option<Vec<u8>>| Described { len: 200_000, hashes };
    let statuses = [
        LaneStatus::Ok(described(Some(hashes.as_bytes().to_vec()))),
        LaneStatus::Partial(described(None), vec![GroupRange::new(0, 1), GroupRange::new(2, 3)]),
        LaneStatus::Part { len: 12_000 },
        LaneStatus::NotFound,
        LaneStatus::Refused(LaneRefusal::Expired),
        LaneStatus::Busy { retry_after_ms: 250 },
    ];
    let frames = statuses.into_iter().filter_map(|status| LaneAnswer { id: RequestId(3), status }.to_frame().ok());
    frames.map(|frame| frame[2..].to_vec()).collect()
}
