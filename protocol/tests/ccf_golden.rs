//! Golden CIDs: the bytes of the canonical form, fixed. After the first release these values are never edited; a
//! change of one byte is a new version of the form.

mod ccf_kit;

use ccf_kit::*;

use aftercast_protocol::ccf::{Chunker, ChunkerEvent, ProgramSelect};
use aftercast_protocol::ids::ChunkCid;

const GOLDEN: [(&str, &[(u64, &str)]); 2] = [
    (
        "avc-aac",
        &[
            (4, "bafkr4icwas74kqtfxojj7r43fyms6qnnrqf5evfcrxtvhrn4mnx6g5jlhu"),
            (5, "bafkr4igt3pqgqbogtqsg3cvtcs23flhno2lw2tvhzvishghumxupvrekci"),
            (6, "bafkr4iff2nus2hlwzjzridyfb5hgnkgpro67clur4mmycjiqergqqewopi"),
            (7, "bafkr4icel6agbdibmuv6bbfey2zya6lqgb4xont57ecleyelklbrrna7x4"),
            (8, "bafkr4iesjzd4b5bjt6s4dgnsojkggbfd7ktabo5hz2fln4gne2v52eqiza"),
            (9, "bafkr4ic4vcuefssxtgr7ihbaiavwb32gyiqezf447nmpj3yx6qdpb46dh4"),
            (10, "bafkr4idwnow5kodank62baprs3c2af6vaebqmdvqa2jrzzboxawwx3o33y"),
            (11, "bafkr4if52axndyapongw7ojpjljyfpozobpnt6o7r7iszqcf5bqa4midmm"),
            (12, "bafkr4ihigzroapm2rmlvdlmoujffze5z6w44dcp7cohm2c6zjlu4k5rz2y"),
            (13, "bafkr4ibu7zvld7tsprf7qtfjzaeq7xzp3xz5jty2bngwcgcmpwl35qj4my"),
            (14, "bafkr4idtt53q4bhlbhl4pmajp2twpqgn3wuruautukfjglozm3yfig42te"),
            (15, "bafkr4ierfvycgujjwvytui7wfc73axmxwdypwjcnbjosskgpihvmdgcnwm"),
            (16, "bafkr4ihtgcl6utz4xjeubpym6ck5qy3aa4qgj2rckphbsfuf7kyz3wskzm"),
        ],
    ),
    (
        "avc-mp2",
        &[
            (5, "bafkr4ie7gwc4bf25pemlvxmqlh4bwpde46twkjivlckbrvzbsguvexluc4"),
            (7, "bafkr4ibe543jy32mw7akrqi5groymfgvhgfyyfj3yhvbt5zxbbapqw3lny"),
            (9, "bafkr4igdf4ojfhu64y4k527sdutkc6icyhsib27odoerpe5gpf6blr5pji"),
            (11, "bafkr4ib3ezwxuqspm6u4edhsibbkugob5unvybobirq22pabct23pjsq7y"),
            (13, "bafkr4ihp2mpykpznrhcwvclf2g3qx66vmwryzglaornossaovl3ugsts34"),
        ],
    ),
];

#[test]
fn the_sources_give_the_chunks_they_always_gave() {
    for ((name, source), (golden_name, golden)) in SOURCES.into_iter().zip(GOLDEN) {
        assert_eq!(name, golden_name);
        let found: Vec<_> = run(source).clean().into_iter().map(|(index, cid)| (index, cid.to_string())).collect();
        let golden: Vec<_> = golden.iter().map(|(index, cid)| (*index, (*cid).to_owned())).collect();
        assert_eq!(found, golden, "{name}");
    }
}

/// The other sources: how many chunks, and the CID of all of them joined.
const GOLDEN_JOINED: [(&str, usize, &str); SOURCES.len() - GOLDEN.len()] = [
    ("avc-latm", 11, "bafkr4ibiuqwihda5qbyor67th2h4v6socfl2qinalm7m34zvmylv6kj7ji"),
    ("avc-ac3", 11, "bafkr4idncqm3h4adw4lzpd6i5ab7flwpcv2pakylwcyqpkh45nwk2rsdye"),
    ("avc-eac3", 11, "bafkr4iajkk6udmethudgh3ryhdmujc7ia3klsvbocwvisgimrgdktdwo4i"),
    ("hevc-aac", 11, "bafkr4iddg4yecfrgdktkbuzjysgoeookacq27zhymvyv6bjh5sg227ocwq"),
    ("mpeg2-mp2", 11, "bafkr4ifmdxsgeqdnbmemmdbefnqqhiw2sh6ufjo2roupd6pzw4gpf3kdmi"),
];

/// Sources that only these tests have: interlaced MPEG-2 with AC-3; HEVC and AVC with open groups of pictures, the one
/// with E-AC-3, the other interlaced with MPEG audio and AAC of 44.1 kHz in two languages.
const MORE: [(&str, &[u8]); 3] = [
    ("mpeg2-ac3", include_bytes!("data/mpeg2-ac3.ts")),
    ("hevc-eac3", include_bytes!("data/hevc-eac3.ts")),
    ("avc-two-audios", include_bytes!("data/avc-two-audios.ts")),
];

/// Radio and the further sources, in the same way.
const GOLDEN_MORE: [(&str, usize, &str); RADIO.len() + MORE.len()] = [
    ("radio-mp2", 16, "bafkr4ig3hazazwvkhwqlbkwhgxahmlbgkfu56i3sthktldk5cppw2hj3xq"),
    ("radio-aac", 16, "bafkr4igh6vg6ine2eppvndxkx3rr3n7h5kgz374szw6udhkgfox6p7hm2q"),
    ("mpeg2-ac3", 11, "bafkr4idx66l4agouvzy6ofybvwlg7ei37sk6nh4o2kivplrb4nbsj37lhy"),
    ("hevc-eac3", 11, "bafkr4igzmliriuumrxlguxxbwmyiqtm7vzubr5x7lky54wmwwpfayiquuu"),
    ("avc-two-audios", 11, "bafkr4igfnenilp7stzagfef6w52dhdjyttpc2lbc2igo4jstk3kotag4vy"),
];

/// How many clean chunks there are, and the CID of all of them joined.
fn joined(run: &Run) -> (usize, String) {
    (run.clean().len(), ChunkCid::of(&run.bytes()).to_string())
}

#[test]
fn the_other_sources_give_the_chunks_they_always_gave() {
    let golden = GOLDEN_JOINED.into_iter().chain(GOLDEN_MORE);
    for ((name, source), golden) in SOURCES[GOLDEN.len()..].iter().chain(&RADIO).chain(&MORE).zip(golden) {
        let (count, cid) = joined(&run(source));
        assert_eq!((*name, count, &cid[..]), golden);
    }
}

/// Law e: bytes at once, packet by packet, across packets, one by one, at random.
#[test]
fn read_sizes_make_no_difference() {
    let mut rng = Rng(24);
    for (name, source) in SOURCES.iter().chain(&RADIO).chain(&MORE) {
        let golden = joined(&run(source));
        let chunker = || Chunker::discover(INTERVAL, ProgramSelect::First).expect("a legal interval");
        for size in [1, 187, 188, 4096, source.len()] {
            assert_eq!(joined(&run_with(chunker(), source, size)), golden, "{name} in pieces of {size}");
        }
        let mut pieces = chunker();
        let mut bytes = Vec::new();
        let mut rest = *source;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((1 + rng.below(1000)).min(rest.len()));
            pieces.push(piece);
            rest = after;
            if rest.is_empty() {
                pieces.finish();
            }
            while let Some(event) = pieces.poll_event() {
                if let ChunkerEvent::Chunk(chunk) = event {
                    bytes.extend(clean_of(&chunk).into_iter().flat_map(|clean| clean.bytes.clone()));
                }
            }
        }
        assert_eq!(ChunkCid::of(&bytes).to_string(), golden.1, "{name} in pieces of any size");
    }
}
