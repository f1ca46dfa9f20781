//! Golden CIDs: the bytes of the canonical form, fixed. After the first release these values are never edited; a
//! change of one byte is a new version of the form.

mod ccf_kit;

use ccf_kit::*;

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

#[test]
fn the_other_sources_give_the_chunks_they_always_gave() {
    let found = SOURCES[GOLDEN.len()..].iter().map(|(name, source)| {
        let run = run(source);
        (*name, run.clean().len(), ChunkCid::of(&run.bytes()).to_string())
    });
    let found: Vec<_> = found.collect();
    let found: Vec<_> = found.iter().map(|(name, count, cid)| (*name, *count, &cid[..])).collect();
    assert_eq!(found, GOLDEN_JOINED);
}
