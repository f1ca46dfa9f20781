//! Ordered tables of small records, the application's.

use std::ops::Bound;

use rocksdb::{Direction, IteratorMode};

use crate::record::{self, META};
use crate::{Durability, PutError, ReadError, Store};

/// Key and value of an entry.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A named table: keys and values are bytes, keys are ordered as bytes. Made by [`Store::table`].
#[derive(Clone)]
pub struct Table {
    store: Store,
    prefix: Vec<u8>,
}

impl Store {
    /// The table of this name, which needs no making. Names are constants of the program, of at most 255 bytes.
    ///
    /// # Panics
    /// Where the name is longer.
    #[must_use]
    pub fn table(&self, name: &'static str) -> Table {
        Table { store: self.clone(), prefix: record::table_prefix(name) }
    }
}

impl Table {
    /// The value of a key.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let inner = &self.store.inner;
        Ok(inner.db.get_cf(inner.family(META), self.key(key))?)
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// See [`PutError`].
    pub fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<(), PutError> {
        let mut batch = self.store.batch();
        batch.put(self, key, value)?;
        batch.commit(durability)
    }

    /// Deletes a key; no error where there is none.
    ///
    /// # Errors
    /// See [`PutError`].
    pub fn delete(&self, key: &[u8], durability: Durability) -> Result<(), PutError> {
        let mut batch = self.store.batch();
        batch.delete(self, key);
        batch.commit(durability)
    }

    /// Up to `limit` entries whose keys begin with `prefix`, in order; `after` goes on behind a key seen before.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn scan_prefix(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, ReadError> {
        let begins = self.key(prefix);
        let from = match after {
            Some(after) => begins.clone().max(self.key(&[after, &[0]].concat())),
            None => begins.clone(),
        };
        self.scan_keys(&from, record::behind_prefix(&begins).as_deref(), limit)
    }

    /// Up to `limit` entries with keys between the bounds, in order.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, limit: usize) -> Result<Vec<Pair>, ReadError> {
        let from = match from {
            Bound::Included(key) => self.key(key),
            Bound::Excluded(key) => self.key(&[key, &[0]].concat()),
            Bound::Unbounded => self.prefix.clone(),
        };
        let to = match to {
            Bound::Included(key) => Some(self.key(&[key, &[0]].concat())),
            Bound::Excluded(key) => Some(self.key(key)),
            Bound::Unbounded => record::behind_prefix(&self.prefix),
        };
        self.scan_keys(&from, to.as_deref(), limit)
    }

    fn scan_keys(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, ReadError> {
        let inner = &self.store.inner;
        let pairs = inner.db.iterator_cf(inner.family(META), IteratorMode::From(from, Direction::Forward));
        let mut found = Vec::new();
        for pair in pairs.take(limit) {
            let (key, value) = pair?;
            if to.is_some_and(|to| &*key >= to) {
                break;
            }
            found.push((key.get(self.prefix.len()..).unwrap_or_default().to_vec(), value.into_vec()));
        }
        Ok(found)
    }

    pub(crate) fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix, key].concat()
    }
}
