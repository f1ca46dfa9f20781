//! What verification costs: each group of a chunk against its hash, beside one hash over the whole chunk.

use std::hint::black_box;
use std::time::{Duration, Instant};

use aftercast_protocol::ids::GroupIndex;
use aftercast_protocol::limits::GROUP_BYTES;
use aftercast_protocol::verify::GroupHashes;

pub fn table(quick: bool) {
    let chunk: Vec<u8> = (0..8usize << 20).map(|at| (at * 31 + at / 251) as u8).collect();
    let hashes = GroupHashes::of(&chunk);
    let rounds = if quick { 60 } else { 250 };
    let (mut plain, mut grouped) = (Duration::ZERO, Duration::ZERO);
    // In turns, so that both meet the same weather.
    for _ in 0..rounds {
        let began = Instant::now();
        black_box(blake3::hash(black_box(&chunk)));
        plain += began.elapsed();
        let began = Instant::now();
        for (group, index) in chunk.chunks(GROUP_BYTES).zip(0..) {
            assert!(hashes.check_group(GroupIndex(index), black_box(group)).is_ok());
        }
        grouped += began.elapsed();
    }
    let rate = |took: Duration| chunk.len() as f64 * f64::from(rounds) / 1e6 / took.as_secs_f64();
    println!("{:<42} {:>7.0}", "blake3::hash, one core", rate(plain));
    println!(
        "{:<42} {:>7.0} {:>42.2}",
        "verification group by group, one core",
        rate(grouped),
        rate(grouped) / rate(plain)
    );
}
