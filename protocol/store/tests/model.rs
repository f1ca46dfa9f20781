//! The store does what a plain map in memory would do, over any series of operations and reopenings.

mod common;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use aftercast_protocol::ids::GroupIndex;
use aftercast_store::{Durability, Protection, PutError, Store, StoreConfig};
use common::{Chunk, GROUP, config};
use proptest::prelude::*;

const QUOTA: u64 = 9 * GROUP as u64;
/// Lengths of the chunks that the operations choose from.
const LENGTHS: [usize; 6] = [1, GROUP - 1, GROUP, GROUP + 1, 3 * GROUP, 4 * GROUP + 7];

#[derive(Clone, Debug)]
enum Op {
    Put(usize, u8),
    Begin(usize, u8),
    Group(usize, u32),
    BadGroup(usize, u32),
    Delete(usize),
    Protect(usize, Protection),
    Note(usize, u8),
    Read(usize),
    MakeRoom(u64),
    Record(u8, Option<u8>),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let chunk = 0..LENGTHS.len();
    let protection =
        prop_oneof![Just(Protection::Unacknowledged), Just(Protection::Acknowledged), Just(Protection::Pinned)];
    prop_oneof![
        3 => (chunk.clone(), any::<u8>()).prop_map(|(n, note)| Op::Put(n, note)),
        3 => (chunk.clone(), any::<u8>()).prop_map(|(n, note)| Op::Begin(n, note)),
        8 => (chunk.clone(), 0..5_u32).prop_map(|(n, group)| Op::Group(n, group)),
        1 => (chunk.clone(), 0..5_u32).prop_map(|(n, group)| Op::BadGroup(n, group)),
        2 => chunk.clone().prop_map(Op::Delete),
        4 => (chunk.clone(), protection).prop_map(|(n, protection)| Op::Protect(n, protection)),
        1 => (chunk.clone(), any::<u8>()).prop_map(|(n, note)| Op::Note(n, note)),
        3 => chunk.prop_map(Op::Read),
        2 => (0..QUOTA + 2).prop_map(Op::MakeRoom),
        2 => (0..4_u8, any::<Option<u8>>()).prop_map(|(key, value)| Op::Record(key, value)),
        1 => Just(Op::Reopen),
    ]
}

struct Held {
    groups: BTreeSet<u32>,
    note: u8,
    protection: Protection,
}

#[derive(Default)]
struct Model {
    held: BTreeMap<usize, Held>,
    /// Longest unused first.
    order: Vec<usize>,
    records: BTreeMap<u8, u8>,
}

impl Model {
    fn bytes(&self) -> u64 {
        self.held.keys().map(|n| LENGTHS[*n] as u64).sum()
    }
    fn used(&mut self, n: usize) {
        self.order.retain(|other| *other != n);
        self.order.push(n);
    }
    fn remove(&mut self, n: usize) {
        self.held.remove(&n);
        self.order.retain(|other| *other != n);
    }
    fn fits(&self, n: usize) -> bool {
        self.held.contains_key(&n) || self.bytes() + LENGTHS[n] as u64 <= QUOTA
    }
    fn victims(&self, bytes: u64) -> Option<Vec<usize>> {
        let mut lacking = (self.bytes() + bytes).saturating_sub(QUOTA);
        let mut victims = Vec::new();
        for n in self.order.iter().filter(|n| self.held[n].protection == Protection::Acknowledged) {
            if lacking == 0 {
                break;
            }
            lacking = lacking.saturating_sub(LENGTHS[*n] as u64);
            victims.push(*n);
        }
        (lacking == 0).then_some(victims)
    }
}

struct Pair {
    model: Model,
    store: Option<Store>,
    dir: tempfile::TempDir,
    chunks: Vec<Chunk>,
}

impl Pair {
    fn new() -> Self {
        let chunks = LENGTHS.iter().enumerate().map(|(n, len)| Chunk::new(n as u64, *len)).collect();
        let mut pair = Self { model: Model::default(), store: None, dir: tempfile::tempdir().unwrap(), chunks };
        pair.reopen();
        pair
    }

    fn reopen(&mut self) {
        self.store = None;
        let config = StoreConfig { quota_bytes: Some(QUOTA), ..config() };
        self.store = Some(Store::open(self.dir.path(), config).unwrap());
    }

    fn apply(&mut self, op: &Op) {
        let model = &mut self.model;
        let store = self.store.as_ref().unwrap();
        match *op {
            Op::Put(n, note) => {
                let chunk = &self.chunks[n];
                let put = store.put_chunk(chunk.cid, &chunk.bytes, &chunk.hashes, &[note], Durability::Buffered);
                if !model.fits(n) {
                    assert!(matches!(put, Err(PutError::NoRoom(_))));
                    return;
                }
                assert_eq!(put, Ok(()));
                let all: BTreeSet<u32> = (0..chunk.groups()).collect();
                let protection = model.held.get(&n).map_or(Protection::Unacknowledged, |held| held.protection);
                let before = model.held.insert(n, Held { groups: all.clone(), note, protection });
                if before.is_none_or(|before| before.groups != all) {
                    model.used(n);
                }
            }
            Op::Begin(n, note) => {
                let begun = store.begin_partial(self.chunks[n].cid, &self.chunks[n].hashes, &[note]);
                if !model.fits(n) {
                    assert!(matches!(begun, Err(PutError::NoRoom(_))));
                    return;
                }
                assert_eq!(begun, Ok(()));
                if let Entry::Vacant(vacant) = model.held.entry(n) {
                    vacant.insert(Held { groups: BTreeSet::new(), note, protection: Protection::Unacknowledged });
                    model.used(n);
                }
            }
            Op::Group(n, group) => {
                let chunk = &self.chunks[n];
                let group = group % chunk.groups();
                let put = store.put_group(chunk.cid, GroupIndex(group), chunk.group(group));
                let Some(held) = model.held.get_mut(&n) else {
                    return assert_eq!(put, Err(PutError::Unknown(chunk.cid)));
                };
                let new = held.groups.insert(group);
                let full = held.groups.len() == chunk.groups() as usize;
                assert_eq!(put, Ok(full));
                if new && full {
                    model.used(n);
                }
            }
            Op::BadGroup(n, group) => {
                let cid = self.chunks[n].cid;
                let put = store.put_group(cid, GroupIndex(group), b"something else");
                match model.held.get(&n) {
                    None => assert_eq!(put, Err(PutError::Unknown(cid))),
                    Some(_) if group >= self.chunks[n].groups() => {
                        assert_eq!(put, Err(PutError::BadGroup { cid, group: GroupIndex(group) }));
                    }
                    Some(held) if held.groups.len() == self.chunks[n].groups() as usize => assert_eq!(put, Ok(true)),
                    Some(held) if held.groups.contains(&group) => assert_eq!(put, Ok(false)),
                    Some(_) => assert_eq!(put, Err(PutError::BadGroup { cid, group: GroupIndex(group) })),
                }
            }
            Op::Delete(n) => {
                store.delete(self.chunks[n].cid, Durability::Buffered).unwrap();
                model.remove(n);
            }
            Op::Protect(n, protection) => {
                let cid = self.chunks[n].cid;
                let set = store.set_protection(cid, protection, Durability::Buffered);
                match model.held.get_mut(&n) {
                    Some(held) => held.protection = protection,
                    None => assert_eq!(set, Err(PutError::Unknown(cid))),
                }
            }
            Op::Note(n, note) => {
                let cid = self.chunks[n].cid;
                let set = store.set_note(cid, &[note], Durability::Buffered);
                match model.held.get_mut(&n) {
                    Some(held) => held.note = note,
                    None => assert_eq!(set, Err(PutError::Unknown(cid))),
                }
            }
            Op::Read(n) => {
                let chunk = &self.chunks[n];
                let whole = model.held.get(&n).is_some_and(|held| held.groups.len() == chunk.groups() as usize);
                let read = store.read_chunk(chunk.cid).unwrap();
                assert!(read.as_deref() == whole.then_some(&chunk.bytes[..]));
                if whole {
                    model.used(n);
                }
            }
            Op::MakeRoom(bytes) => match (store.make_room(bytes), model.victims(bytes)) {
                (Ok(evicted), Some(victims)) => {
                    let cids: BTreeSet<_> = victims.iter().map(|n| self.chunks[*n].cid).collect();
                    assert_eq!(evicted.chunks.into_iter().collect::<BTreeSet<_>>(), cids);
                    victims.into_iter().for_each(|n| model.remove(n));
                }
                (Err(PutError::NoRoom(_)), None) => {}
                (got, expected) => panic!("{got:?} instead of {expected:?}"),
            },
            Op::Record(key, value) => {
                let table = store.table("t");
                match value {
                    Some(value) => table.put(&[key], &[value], Durability::Buffered).unwrap(),
                    None => table.delete(&[key], Durability::Buffered).unwrap(),
                }
                match value {
                    Some(value) => model.records.insert(key, value),
                    None => model.records.remove(&key),
                };
            }
            Op::Reopen => self.reopen(),
        }
    }

    /// Everything but reads of bytes, which would change the order of eviction.
    fn compare(&self) {
        let store = self.store.as_ref().unwrap();
        let listed = store.chunks(None, usize::MAX).unwrap();
        assert_eq!(listed.len(), self.model.held.len());
        assert_eq!(store.usage().chunk_bytes, self.model.bytes());
        for (n, held) in &self.model.held {
            let chunk = &self.chunks[*n];
            let info = listed.iter().find(|info| info.cid == chunk.cid).unwrap();
            assert_eq!(
                (info.len, &info.note[..], info.protection),
                (LENGTHS[*n] as u64, &[held.note][..], held.protection)
            );
            assert_eq!(info.complete, held.groups.len() == chunk.groups() as usize);
            let have = store.have(chunk.cid).unwrap();
            let have: BTreeSet<u32> = (0..chunk.groups()).filter(|group| have.contains(GroupIndex(*group))).collect();
            assert_eq!(have, held.groups);
        }
        let records = store.table("t").scan_prefix(b"", None, usize::MAX).unwrap();
        let expected: Vec<_> = self.model.records.iter().map(|(key, value)| (vec![*key], vec![*value])).collect();
        assert_eq!(records, expected);
    }

    fn compare_bytes(&self) {
        let store = self.store.as_ref().unwrap();
        for (n, held) in &self.model.held {
            for group in 0..self.chunks[*n].groups() {
                let bytes = store.read_group(self.chunks[*n].cid, GroupIndex(group)).unwrap();
                assert!(bytes.as_deref() == held.groups.contains(&group).then(|| self.chunks[*n].group(group)));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_a_map_would_do(ops in prop::collection::vec(op(), 1..60)) {
        let mut pair = Pair::new();
        for op in &ops {
            pair.apply(op);
            pair.compare();
        }
        pair.reopen();
        pair.compare();
        pair.compare_bytes();
    }
}
