//! What can go wrong, per operation: whose fault it is and whether trying again helps.

use std::path::PathBuf;

use aftercast_protocol::ids::{ChunkCid, GroupIndex};

/// A store that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or this one, has it open.
    #[error("the store {} is in use by another process", path.display())]
    Locked {
        /// Folder of the store.
        path: PathBuf,
    },
    /// The folder cannot be made or written.
    #[error("the store {} cannot be written: {source}", path.display())]
    NotWritable {
        /// Folder of the store.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Written by a later version of this program.
    #[error("the store {} has format {found}; this program knows formats up to {known}: use a newer program", path.display())]
    NewerFormat {
        /// Folder of the store.
        path: PathBuf,
        /// Format found.
        found: u32,
        /// Latest format this program reads.
        known: u32,
    },
    /// The folder holds a damaged store, or something that is no store.
    #[error("the store {} is damaged: {reason}", path.display())]
    Corrupt {
        /// Folder of the store.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk failed or is full; nothing is known to be damaged.
    #[error("the store {} cannot be opened: {reason}", path.display())]
    Io {
        /// Folder of the store.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// There is no room for this many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room for {needed} bytes: {}", match limit {
    Limit::Quota(quota) => format!("{free} of the quota of {quota} are left"),
    Limit::Disk => format!("{free} may still be used on the disk"),
})]
pub struct NoRoom {
    /// Room that is needed, in bytes. On the disk it is twice what is to be stored: bytes are in the log and in a table
    /// file for a while.
    pub needed: u64,
    /// Bytes that may still be stored.
    pub free: u64,
    /// Which limit was reached.
    pub limit: Limit,
}

/// A limit of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The quota given, in bytes.
    Quota(u64),
    /// The disk, less the reserve that must stay free.
    Disk,
}

/// A write that did not happen. Of several writes in one batch none happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// Quota or disk full. Nothing was lost; it works again once there is room.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// An earlier or this very write failed in a way after which the disk's content is not known. Everything is
    /// refused until the store is opened anew: what a failed sync dropped, a second sync would report as safe.
    #[error("the store stopped after a failed write: {0}")]
    Failed(String),
    /// The bytes are not what their hash says: the fault of whoever sent them.
    #[error("group {group} of chunk {cid} does not match its hash")]
    BadGroup {
        /// The chunk.
        cid: ChunkCid,
        /// Its group.
        group: GroupIndex,
    },
    /// The group hashes are those of another chunk, or its length is another.
    #[error("the group hashes are not those of chunk {0}")]
    WrongHashes(ChunkCid),
    /// Neither whole nor begun.
    #[error("chunk {0} is not in the store")]
    Unknown(ChunkCid),
    /// A note, key or value above its bound in `aftercast_protocol::limits`.
    #[error("{what} of {bytes} bytes, above {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// Its bound.
        limit: usize,
    },
    /// What had to be read for this write is damaged.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// A read that gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The disk gave other bytes than were stored. The group has left the chunk's have-set: fetch it again.
    #[error("group {group} of chunk {cid} is damaged on the disk")]
    Corrupt {
        /// The chunk.
        cid: ChunkCid,
        /// Its group.
        group: GroupIndex,
    },
    /// The store's own records cannot be read.
    #[error("the store's records cannot be read: {0}")]
    Io(String),
}

/// What a database error means to us.
pub(crate) enum Fault {
    /// No space, and nothing that was acknowledged is in doubt.
    Full,
    /// Damaged content.
    Corrupt,
    /// Anything else.
    Other,
}

impl From<rocksdb::Error> for ReadError {
    fn from(error: rocksdb::Error) -> Self {
        Self::Io(error.into_string())
    }
}

impl Fault {
    pub(crate) fn of(error: &rocksdb::Error) -> Self {
        // The binding keeps the kind of an error but not its sub-kind, so a full disk is known by its text only.
        // A sync that fails for want of space is not harmless: the kernel may have dropped the pages.
        let text = error.as_ref();
        let syncing = ["sync", "Sync"].iter().any(|word| text.contains(word));
        match error.kind() {
            rocksdb::ErrorKind::IOError if text.contains("No space left") && !syncing => Self::Full,
            rocksdb::ErrorKind::Corruption => Self::Corrupt,
            _ => Self::Other,
        }
    }
}
