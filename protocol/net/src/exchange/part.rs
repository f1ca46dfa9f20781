//! Fetching what repair needs: the unit index of a chunk, and the packets of single units.

use aftercast_protocol::ids::ChunkCid;
use aftercast_protocol::serve::Class;
use aftercast_protocol::time::Micros;
use aftercast_protocol::wire::lane::{ByteRange, LaneStatus, Part, What};

use super::client::{FetchError, LaneClient, Lie};

/// A part of a chunk. It does not prove itself: whoever gets it checks it by [`aftercast_protocol::ccf::Repair`].
#[derive(Debug, Clone)]
pub struct WantedPart {
    /// The chunk.
    pub cid: ChunkCid,
    /// What of it.
    pub part: Part,
    /// What for.
    pub class: Class,
    /// From now; afterwards the bytes are of no use.
    pub deadline: Micros,
}

impl LaneClient {
    /// Asks for a part and reads it: at most `limits::MAX_PART_BYTES`. The lane comes back where it can still be used.
    pub(super) async fn fetch_part(
        mut self,
        wanted: &WantedPart,
    ) -> Result<(Self, Vec<u8>), (FetchError, Option<Self>)> {
        let what = What::Part(wanted.part.clone());
        let len = match self.ask(wanted.cid, what, wanted.class, wanted.deadline).await {
            Ok(LaneStatus::Part { len }) => len,
            Ok(other) => return Err(self.refused(other)),
            Err(error) => return Err((error, None)),
        };
        let expected = match &wanted.part {
            Part::Index(_) => len,
            Part::Bytes(ranges) => ranges.iter().map(|range: &ByteRange| range.len()).sum(),
        };
        if len != expected {
            return Err((FetchError::Lie { lie: Lie::Answer, proven: false }, None));
        }
        let mut bytes = vec![0; len as usize];
        match self.read(&mut bytes).await {
            Ok(()) => Ok((self, bytes)),
            Err(error) => Err((error, None)),
        }
    }
}
