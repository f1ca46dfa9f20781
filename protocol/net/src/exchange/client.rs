//! Fetching: one request at a time on a lane, every group verified before it is given out.

use std::collections::VecDeque;
use std::io;

use aftercast_protocol::ids::{ChunkCid, DeviceId, GroupIndex, RequestId};
use aftercast_protocol::limits::{LANE_STALL, MAX_LANE_ANSWER_BYTES};
use aftercast_protocol::serve::Class;
use aftercast_protocol::time::Micros;
use aftercast_protocol::verify::{BadGroup, BadHashes, GroupHashes, GroupRange};
use aftercast_protocol::wire::lane::{Described, LaneAnswer, LaneRefusal, LaneRequest, LaneStatus, What};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::pool::Home;
use super::{duration, read_header};
use crate::errors::{DialError, LaneError};
use crate::lane::Lane;

/// What is wanted of a chunk.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The chunk.
    pub cid: ChunkCid,
    /// The groups; may reach beyond the end where the length is not known.
    pub groups: GroupRange,
    /// What for.
    pub class: Class,
    /// From now; afterwards the bytes are of no use.
    pub deadline: Micros,
    /// The chunk's length in bytes, where a signed fact or manifest says it. Without it a source that sends a false
    /// list of hashes cannot be convicted ([`aftercast_protocol::verify`]).
    pub len: Option<u64>,
    /// The proven list of hashes, where it is known already; otherwise it is asked for.
    pub hashes: Option<GroupHashes>,
}

/// What a source sent that is not the chunk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lie {
    /// Another length than the signed one.
    #[error("length {0} is not the chunk's")]
    Length(u64),
    /// A list of hashes that is not the chunk's.
    #[error(transparent)]
    Hashes(#[from] BadHashes),
    /// A group that is not the chunk's.
    #[error(transparent)]
    Group(#[from] BadGroup),
    /// No list of hashes although it was asked for, or groups nobody asked for.
    #[error("answer does not fit the request")]
    Answer,
}

/// Why a fetch ended without all it wanted.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The source has too much to do; it is welcome to be asked again.
    #[error("source is busy, again in {} ms", .retry_after.0 / 1000)]
    Busy {
        /// When.
        retry_after: Micros,
    },
    /// The source has none of it.
    #[error("source does not have it")]
    NotFound,
    /// The source does not serve us, or not now.
    #[error("source refuses: {0}")]
    Refused(LaneRefusal),
    /// The source sent something that is not the chunk.
    #[error("source lies: {lie}")]
    Lie {
        /// What.
        lie: Lie,
        /// Whether the lie is the source's beyond doubt: the chunk's length was known from elsewhere.
        proven: bool,
    },
    /// The lane broke or was reset; a source that has too many lanes open resets new ones.
    #[error("lane broke: {0}")]
    Broken(#[from] io::Error),
    /// There is no lane to the source.
    #[error(transparent)]
    NoLane(#[from] LaneError),
    /// The source cannot be reached.
    #[error(transparent)]
    Unreachable(#[from] DialError),
    /// No progress for `limits::LANE_STALL`.
    #[error("source makes no progress")]
    Timeout,
}

/// A lane that asks. One request at a time; a request that was dropped unfinished took the lane with it.
#[derive(Debug)]
pub struct LaneClient {
    lane: Lane,
    next: u64,
}

impl LaneClient {
    /// Asks on this lane, which must be fresh.
    #[must_use]
    pub fn new(lane: Lane) -> Self {
        Self { lane, next: 0 }
    }

    /// Who is asked.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.lane.device()
    }

    /// Asks, and waits for the answer's header. Dropping the future resets the lane, which cancels.
    ///
    /// # Errors
    /// See [`FetchError`]. After a Busy, NotFound or Refused the lane is given back.
    pub async fn fetch(self, wanted: &Wanted) -> Result<Transfer, (FetchError, Option<Self>)> {
        let Begun { lane, groups, hashes, proven } = self.begin(wanted).await?;
        Ok(Transfer { lane: Some(lane), home: None, groups, hashes, proven })
    }

    async fn begin(mut self, wanted: &Wanted) -> Result<Begun, (FetchError, Option<Self>)> {
        let what = What::Groups { range: wanted.groups, want_hashes: wanted.hashes.is_none() };
        let (described, ranges) = match self.ask(wanted.cid, what, wanted.class, wanted.deadline).await {
            Ok(LaneStatus::Ok(described)) => (described, None),
            Ok(LaneStatus::Partial(described, ranges)) => (described, Some(ranges)),
            Ok(other) => return Err(self.refused(other)),
            Err(error) => return Err((error, None)),
        };
        let proven = wanted.len.is_some() || wanted.hashes.is_some();
        let checked = proven_hashes(wanted, described)
            .and_then(|hashes| groups_of(wanted, &hashes, ranges).map(|groups| (groups, hashes)));
        match checked {
            Ok((groups, hashes)) => Ok(Begun { lane: self, groups, hashes, proven }),
            Err(lie) => Err((FetchError::Lie { lie, proven }, None)),
        }
    }

    /// What an answer without what was asked for means. The lane can still be used where the source said why.
    pub(super) fn refused(self, status: LaneStatus) -> (FetchError, Option<Self>) {
        match status {
            LaneStatus::NotFound => (FetchError::NotFound, Some(self)),
            LaneStatus::Refused(reason) => (FetchError::Refused(reason), Some(self)),
            LaneStatus::Busy { retry_after_ms } => {
                (FetchError::Busy { retry_after: Micros::from_millis(u64::from(retry_after_ms)) }, Some(self))
            }
            // Bytes of another kind follow.
            LaneStatus::Ok(_) | LaneStatus::Partial(..) | LaneStatus::Part { .. } => {
                (FetchError::Lie { lie: Lie::Answer, proven: false }, None)
            }
        }
    }

    pub(super) async fn ask(
        &mut self,
        cid: ChunkCid,
        what: What,
        class: Class,
        deadline: Micros,
    ) -> Result<LaneStatus, FetchError> {
        let deadline_ms = u32::try_from(deadline.0 / 1000).unwrap_or(u32::MAX);
        let request = LaneRequest { id: RequestId(self.next), cid, what, deadline_ms, class };
        self.next = self.next.wrapping_add(1);
        let talk = async {
            self.lane.write_all(&request.to_frame()).await?;
            self.lane.flush().await?;
            read_header(&mut self.lane, MAX_LANE_ANSWER_BYTES).await
        };
        let header = timeout(duration(LANE_STALL), talk).await.map_err(|_| FetchError::Timeout)??;
        let header = header.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        let answer = LaneAnswer::from_header(&header).map_err(io::Error::other)?;
        if answer.id != request.id {
            return Err(FetchError::Broken(io::Error::other("answer to another request")));
        }
        Ok(answer.status)
    }

    /// Fills the buffer with what follows an answer.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> Result<(), FetchError> {
        fill(&mut self.lane, buffer).await
    }
}

/// A request that was answered with groups.
struct Begun {
    lane: LaneClient,
    groups: VecDeque<GroupIndex>,
    hashes: GroupHashes,
    proven: bool,
}

/// The list that the groups are held against.
fn proven_hashes(wanted: &Wanted, described: Described) -> Result<GroupHashes, Lie> {
    let known = wanted.hashes.as_ref().map(GroupHashes::len_bytes).or(wanted.len);
    if known.is_some_and(|len| len != described.len) {
        return Err(Lie::Length(described.len));
    }
    match (&wanted.hashes, described.hashes) {
        (Some(hashes), _) => Ok(hashes.clone()),
        (None, Some(list)) => Ok(GroupHashes::checked_bytes(wanted.cid, described.len, &list)?),
        (None, None) => Err(Lie::Answer),
    }
}

/// The groups that follow the answer, in order.
fn groups_of(
    wanted: &Wanted,
    hashes: &GroupHashes,
    ranges: Option<Vec<GroupRange>>,
) -> Result<VecDeque<GroupIndex>, Lie> {
    let asked = GroupRange::new(wanted.groups.start, wanted.groups.end.min(hashes.groups()));
    let ranges = ranges.unwrap_or_else(|| vec![asked]);
    let inside = |range: &GroupRange| asked.start <= range.start && range.end <= asked.end && !range.is_empty();
    if !ranges.iter().all(inside) {
        return Err(Lie::Answer);
    }
    Ok(ranges.into_iter().flat_map(GroupRange::iter).collect())
}

/// Groups on their way. Dropping it before [`Transfer::next`] said `None` resets the lane, which cancels.
#[derive(Debug)]
pub struct Transfer {
    /// None once the lane is of no more use here.
    lane: Option<LaneClient>,
    home: Option<Home>,
    groups: VecDeque<GroupIndex>,
    hashes: GroupHashes,
    proven: bool,
}

impl Transfer {
    /// Asks on a lane of a pool. A lane or a right to one that is still good comes back with the error.
    pub(super) async fn begin(
        lane: LaneClient,
        wanted: &Wanted,
        home: Home,
    ) -> Result<Self, (FetchError, Option<LaneClient>, Home)> {
        match lane.begin(wanted).await {
            Ok(Begun { lane, groups, hashes, proven }) => {
                Ok(Self { lane: Some(lane), home: Some(home), groups, hashes, proven })
            }
            Err((error, lane)) => Err((error, lane, home)),
        }
    }

    /// The chunk's proven list of hashes; worth keeping for the next request.
    #[must_use]
    pub fn hashes(&self) -> &GroupHashes {
        &self.hashes
    }

    /// Groups still to come, in order: fewer than asked for where the source has only a part.
    #[must_use]
    pub fn remaining(&self) -> &VecDeque<GroupIndex> {
        &self.groups
    }

    /// The next group, verified. None when all have come. Not safe to drop in the middle: a dropped call loses its
    /// place, so drop the transfer with it.
    ///
    /// # Errors
    /// See [`FetchError`]; the transfer is over then.
    pub async fn next(&mut self) -> Option<Result<(GroupIndex, Bytes), FetchError>> {
        let lane = self.lane.as_mut()?;
        let Some(index) = self.groups.front().copied() else {
            self.give_back();
            return None;
        };
        let mut group = vec![0; self.hashes.group_len(index)];
        let error = match lane.read(&mut group).await {
            Ok(()) => match self.hashes.check_group(index, &group) {
                Ok(()) => {
                    self.groups.pop_front();
                    if self.groups.is_empty() {
                        self.give_back();
                    }
                    return Some(Ok((index, group.into())));
                }
                Err(bad) => FetchError::Lie { lie: bad.into(), proven: self.proven },
            },
            Err(error) => error,
        };
        self.lane = None;
        Some(Err(error))
    }

    /// The lane, when the transfer is complete and belongs to no pool.
    #[must_use]
    pub fn into_lane(mut self) -> Option<LaneClient> {
        self.lane.take().filter(|_| self.groups.is_empty())
    }

    /// A finished lane goes back to its pool.
    fn give_back(&mut self) {
        if let Some(home) = self.home.take()
            && let Some(lane) = self.lane.take()
        {
            home.give_back(lane);
        }
    }
}

/// Fills the buffer; every read must bring something in time.
async fn fill(lane: &mut Lane, buffer: &mut [u8]) -> Result<(), FetchError> {
    let mut at = 0;
    while let Some(rest) = buffer.get_mut(at..).filter(|rest| !rest.is_empty()) {
        let read = timeout(duration(LANE_STALL), lane.read(rest)).await.map_err(|_| FetchError::Timeout)??;
        if read == 0 {
            return Err(FetchError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        at += read;
    }
    Ok(())
}
