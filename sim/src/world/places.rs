//! Places for what comes and goes by the million.

use std::ops::{Index, IndexMut};

/// Values with a place that is used again after them.
#[derive(Debug)]
pub struct Places<T> {
    all: Vec<T>,
    free: Vec<u32>,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self { all: Vec::new(), free: Vec::new() }
    }
}

impl<T> Places<T> {
    /// Takes a value in.
    pub fn put(&mut self, value: T) -> u32 {
        if let Some(place) = self.free.pop() {
            self.all[place as usize] = value;
            return place;
        }
        self.all.push(value);
        u32::try_from(self.all.len() - 1).expect("fewer than 2^32 at once")
    }

    /// Gives a place back; its value stays until it is used again.
    pub fn free(&mut self, place: u32) {
        self.free.push(place);
    }

    /// How many are in use.
    pub fn len(&self) -> usize {
        self.all.len() - self.free.len()
    }

    /// Places there are, in use or not.
    pub fn capacity(&self) -> usize {
        self.all.capacity()
    }
}

impl<T> Index<u32> for Places<T> {
    type Output = T;

    fn index(&self, place: u32) -> &T {
        &self.all[place as usize]
    }
}

impl<T> IndexMut<u32> for Places<T> {
    fn index_mut(&mut self, place: u32) -> &mut T {
        &mut self.all[place as usize]
    }
}
