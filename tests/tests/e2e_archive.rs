//! A channel with an archive: every chunk is transcoded too, also those that a restart interrupted.

use aftercast_tests::processes::{PATIENCE, SeedStatus};
use aftercast_tests::stage::Stage;

#[test]
fn every_chunk_has_a_rendition_in_the_end_whatever_happens_on_the_way() {
    let mut stage = Stage::new(env!("CARGO_TARGET_TMPDIR"), 12, |seed| {
        // Less than the programme has, so that renditions are worth it.
        (seed.archive, seed.head_bps) = (true, 300_000);
    })
    .expect("a stage");
    let _recorders = stage.recorders(["alice", "bob"]).expect("two homes");
    let count = stage.programme.count();
    stage.tap.open();
    stage.wait_confirmed(count).expect("it is stored");
    // Wherever the transcoder is: it goes on there.
    stage.seed.kill();
    stage.seed.resume().expect("starts again");

    let done = |status: &SeedStatus| (status.sum(|one| one.with_archive) >= count).then(|| status.clone());
    let seed = stage.seed.wait_for("every chunk is transcoded", PATIENCE, done).expect("the archive is whole");
    assert_eq!(seed.sum(|one| one.with_archive), count);
    assert!(seed.archive_bytes < stage.programme.chunk_bytes(), "renditions are smaller: {}", seed.archive_bytes);
}
