//! The wire, pinned: every control message and every signed statement has a golden vector, so that no change of a type
//! changes what travels unnoticed. And what comes from elsewhere, altered or forged, is read or refused, never worse.
//!
//! A difference means that older programs no longer understand newer ones: add fields with new numbers instead. Vectors
//! of new messages are written by running with `GOLDEN=write`.

#[path = "wire_kit/mod.rs"]
mod kit;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::path::Path;

use aftercast_protocol::ccf::{UnitEntry, UnitIndex, object};
use aftercast_protocol::duty::Duty;
use aftercast_protocol::grant::{Certificate, EnrolCode, Grant};
use aftercast_protocol::ids::UnitDigest;
use aftercast_protocol::limits::{MAX_CTL_FRAME_BYTES, MAX_CTL_LIST};
use aftercast_protocol::manifest::ManifestPage;
use aftercast_protocol::plan::Plan;
use aftercast_protocol::sign::{Raw, Statement};
use aftercast_protocol::time::Ticks;
use aftercast_protocol::truth::Fact;
use aftercast_protocol::verify::{GroupRange, GroupSet};
use aftercast_protocol::wire::ctl::{CtlMsg, SourcePlan};
use minicbor::{Decode, Decoder, Encode, Encoder};
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Holds vectors against `tests/golden/FILE`, a line `name hex` each.
fn check(file: &str, vectors: &[(&str, Vec<u8>)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os("GOLDEN").is_some_and(|mode| mode == "write") {
        let lines: String = vectors.iter().map(|(name, bytes)| format!("{name} {}\n", hex(bytes))).collect();
        std::fs::write(&path, lines).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let golden: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    for (name, bytes) in vectors {
        assert_eq!(Some(&hex(bytes).as_str()), golden.get(name), "{file}: {name}");
    }
    let names: BTreeSet<&str> = vectors.iter().map(|(name, _)| *name).collect();
    assert_eq!(golden.keys().copied().collect::<BTreeSet<_>>(), names, "{file}");
}

#[test]
fn every_control_message_has_its_golden_bytes_and_survives_them() {
    let messages = kit::messages();
    let vectors: Vec<_> = messages.iter().map(|msg| (kit::name(msg), msg.to_frame().unwrap())).collect();
    check("ctl.hex", &vectors);
    for (msg, (name, frame)) in messages.iter().zip(&vectors) {
        assert_eq!(CtlMsg::from_frame(frame).as_ref(), Ok(msg), "{name}");
    }
    // The wire numbers are 0, 1, 2, …: none is missing above.
    let numbers: BTreeSet<u32> = vectors.iter().map(|(_, frame)| variant(frame)).collect();
    assert_eq!(numbers, (0..messages.len() as u32).collect());
    assert!(CtlMsg::from_frame(&[0x82, 0x18, messages.len() as u8, 0x80]).is_err(), "the next number is still free");
}

fn variant(frame: &[u8]) -> u32 {
    let mut decoder = Decoder::new(frame);
    assert_eq!(decoder.array().unwrap(), Some(2));
    decoder.u32().unwrap()
}

/// What is done with every kind of statement.
trait Visit {
    fn visit<T: Statement + Clone + PartialEq + Debug>(&mut self, name: &'static str, value: T);
}

fn visit_statements(visitor: &mut impl Visit) {
    visitor.visit("enrol-code", kit::enrol_code());
    visitor.visit("certificate", kit::certificate());
    visitor.visit("grant", kit::grant());
    visitor.visit("plan", kit::plan());
    visitor.visit("duty", kit::duty());
    visitor.visit("fact-confirmed", kit::fact());
    visitor.visit("fact-withdrawn", kit::withdrawal());
    visitor.visit("manifest-page", kit::manifest_page());
    visitor.visit("source-plan", kit::source_plan());
}

#[test]
fn every_statement_has_its_golden_bytes_and_survives_them() {
    #[derive(Default)]
    struct Vectors(Vec<(&'static str, Vec<u8>)>);
    impl Visit for Vectors {
        fn visit<T: Statement + Clone + PartialEq + Debug>(&mut self, name: &'static str, value: T) {
            let bytes = minicbor::to_vec(kit::key().sign(value.clone()).raw()).unwrap();
            let raw: Raw<T> = minicbor::decode(&bytes).unwrap();
            assert_eq!(raw.verify(&kit::key().device()).unwrap().into_inner(), value, "{name}");
            self.0.push((name, bytes));
        }
    }
    let mut vectors = Vectors::default();
    visit_statements(&mut vectors);
    check("statements.hex", &vectors.0);
}

#[test]
fn group_sets_unit_indexes_and_objects_have_their_golden_bytes() {
    let mut set = GroupSet::empty(19).unwrap();
    set.insert_range(GroupRange::new(3, 9));
    set.insert_range(GroupRange::new(18, 19));
    let unit = |stream, start, len| {
        let (pts, dts, digest) = (Ticks(7_200), Ticks(3_600), UnitDigest([stream + 1; 16]));
        UnitEntry { stream, pts, dts, start, len, digest }
    };
    let index = UnitIndex { units: vec![unit(0, 376, 188), unit(1, 564, 376)] };
    assert_eq!(UnitIndex::decode(&index.encode()).as_ref(), Ok(&index));
    let object = object::encode(b"canonical bytes");
    assert!(object::decode(&object).is_ok());
    let set_bytes = minicbor::to_vec(&set).unwrap();
    assert_eq!(minicbor::decode::<GroupSet>(&set_bytes).unwrap(), set);
    check("data.hex", &[("group-set", set_bytes), ("unit-index", index.encode()), ("object", object)]);
}

/// Content of a statement of kind `T` that nobody encoded from a `T`: bytes that a valid signer signed all the same.
struct Foreign<T>(Vec<u8>, PhantomData<fn() -> T>);

impl<T> Encode<()> for Foreign<T> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        (): &mut (),
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.writer_mut().write_all(&self.0).map_err(minicbor::encode::Error::write)
    }
}
impl<T> Decode<'_, ()> for Foreign<T> {
    fn decode(d: &mut Decoder<'_>, (): &mut ()) -> Result<Self, minicbor::decode::Error> {
        Ok(Self(d.input().to_vec(), PhantomData))
    }
}
impl<T: Statement> Statement for Foreign<T> {
    const DOMAIN: &'static str = T::DOMAIN;
    const MAX_BYTES: usize = T::MAX_BYTES;
}

/// A `T` with this body, validly signed; nothing where the body is over the bound of its kind.
fn signed<T: Statement>(body: &[u8]) -> Option<Raw<T>> {
    let foreign = kit::key().sign(Foreign::<T>(body.to_vec(), PhantomData));
    let decoded = minicbor::decode(&minicbor::to_vec(foreign.raw()).unwrap());
    assert_eq!(decoded.is_ok(), body.len() <= T::MAX_BYTES, "{}: {} bytes", T::DOMAIN, body.len());
    decoded.ok()
}

/// The array at the front of these bytes with one more element at its end, which a later version may add. Absent last
/// fields are not written, so the vectors have theirs.
fn with_another_field(array: &[u8]) -> Vec<u8> {
    assert!((0x80..0x97).contains(&array[0]), "an array of at most 22");
    let mut bytes = array.to_vec();
    bytes[0] += 1;
    bytes.extend(minicbor::to_vec("added in a later version").unwrap());
    bytes
}

#[test]
fn fields_that_a_later_version_adds_to_a_message_are_ignored() {
    for msg in kit::messages() {
        let frame = msg.to_frame().unwrap();
        let mut decoder = Decoder::new(&frame);
        decoder.array().unwrap();
        decoder.u32().unwrap();
        let fields = decoder.position();
        let later = [&frame[..fields], &with_another_field(&frame[fields..])].concat();
        assert_eq!(CtlMsg::from_frame(&later), Ok(msg));
    }
}

#[test]
fn fields_that_a_later_version_adds_to_a_statement_are_ignored() {
    struct Later;
    impl Visit for Later {
        fn visit<T: Statement + Clone + PartialEq + Debug>(&mut self, name: &'static str, value: T) {
            let raw: Raw<T> = signed(&with_another_field(&minicbor::to_vec(&value).unwrap())).unwrap();
            assert_eq!(raw.verify(&kit::key().device()).unwrap().into_inner(), value, "{name}");
        }
    }
    visit_statements(&mut Later);
}

#[test]
fn lists_over_their_bound_are_refused_in_both_directions() {
    let cids = vec![kit::cid(); MAX_CTL_LIST + 1];
    let over = CtlMsg::Acked { cids };
    assert!(over.to_frame().is_err());
    let frame = minicbor::to_vec(&over).unwrap();
    assert!(frame.len() <= MAX_CTL_FRAME_BYTES);
    assert!(CtlMsg::from_frame(&frame).is_err());
    assert!(CtlMsg::from_frame(&vec![0; MAX_CTL_FRAME_BYTES + 1]).is_err());
}

#[test]
fn a_length_that_promises_more_than_the_frame_holds_allocates_nothing() {
    // Reports with 2^64 - 1 elements; Acked with 2^32 - 1; a text of 2^63 bytes in a Refused.
    for frame in [
        &b"\x82\x0b\x81\x9b\xff\xff\xff\xff\xff\xff\xff\xff"[..],
        b"\x82\x0e\x81\x9a\xff\xff\xff\xff\x58\x20",
        b"\x82\x03\x82\x00\x7b\x7f\xff\xff\xff\xff\xff\xff\xff",
    ] {
        assert!(CtlMsg::from_frame(frame).is_err());
    }
}

fn hostile_bodies_of_every_kind(body: &[u8]) {
    fn read<T: Statement>(body: &[u8]) {
        if let Some(raw) = signed::<T>(body)
            && let Ok(verified) = raw.verify(&kit::key().device())
        {
            // What was read is what was signed, and can be written again.
            assert_eq!(verified.signer(), kit::key().device());
            assert!(minicbor::to_vec(verified.into_inner()).is_ok());
        }
    }
    read::<EnrolCode>(body);
    read::<Certificate>(body);
    read::<Grant>(body);
    read::<Plan>(body);
    read::<Duty>(body);
    read::<Fact>(body);
    read::<ManifestPage>(body);
    read::<SourcePlan>(body);
}

/// Vectors with a few bytes changed, cut off or put in: close enough to the truth to get past the first check.
fn altered(vectors: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..6);
    (prop::sample::select(vectors), edits).prop_map(|(mut bytes, edits)| {
        for (at, byte, how) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => bytes.truncate(at),
            }
        }
        bytes
    })
}

fn frames() -> Vec<Vec<u8>> {
    kit::messages().iter().map(|msg| msg.to_frame().unwrap()).collect()
}

fn bodies() -> Vec<Vec<u8>> {
    #[derive(Default)]
    struct Bodies(Vec<Vec<u8>>);
    impl Visit for Bodies {
        fn visit<T: Statement + Clone + PartialEq + Debug>(&mut self, _: &'static str, value: T) {
            self.0.push(minicbor::to_vec(&value).unwrap());
        }
    }
    let mut bodies = Bodies::default();
    visit_statements(&mut bodies);
    bodies.0
}

/// A frame that is read obeys every bound: it can be written again, and says the same.
fn read_or_refused(frame: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(msg) = CtlMsg::from_frame(frame) {
        let again = msg.to_frame();
        prop_assert!(again.is_ok(), "{:?}", again);
        prop_assert_eq!(CtlMsg::from_frame(&again.unwrap()), Ok(msg));
    }
    Ok(())
}

proptest! {
    #[test]
    fn random_frames_are_read_or_refused(frame in prop::collection::vec(any::<u8>(), 0..400)) {
        read_or_refused(&frame)?;
    }

    #[test]
    fn altered_frames_are_read_or_refused(frame in altered(frames())) {
        read_or_refused(&frame)?;
    }

    #[test]
    fn random_bodies_validly_signed_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..600)) {
        hostile_bodies_of_every_kind(&body);
    }

    #[test]
    fn altered_bodies_validly_signed_are_read_or_refused(body in altered(bodies())) {
        hostile_bodies_of_every_kind(&body);
    }
}
