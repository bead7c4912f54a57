//! The reader of the ring buffer.
//!
//! It is woken when the kernel says that there is something, reads in batches, and rests a moment when it has read all:
//! a burst costs a few wake-ups and not one an event. When its caller falls behind, the ring fills, and the kernel
//! counts the events that find no room.

use std::{io, time::Duration};

use aya::maps::{MapData, RingBuf};
use tcptrace_core::{event::Event, handshake::Transition};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{self, Instant},
};

use super::decode;

/// Events read at a time, before the caller looks at what else there is.
pub const BATCH: usize = 1024;
/// The rest when all has been read.
const REST: Duration = Duration::from_millis(20);

/// A decoded record.
pub type Decoded = (Transition, Event);

/// The ring, as its reader holds it.
pub struct Reader {
    ring: AsyncFd<RingBuf<MapData>>,
    /// The ring is read no earlier.
    rests_until: Instant,
    /// It was not read to its end.
    has_more: bool,
    /// Records that were no events of this version.
    pub undecodable: u64,
}

impl Reader {
    /// A reader of a ring that nobody else reads.
    ///
    /// # Errors
    /// When the ring cannot be polled.
    pub fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        // SAFETY: the ring keeps one descriptor open until it is dropped.
        #[expect(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }?;
        Ok(Self { ring, rests_until: Instant::now(), has_more: false, undecodable: 0 })
    }

    /// Waits until there is something to read. Whoever waits reads next, up to [`BATCH`] events or to the end.
    ///
    /// # Errors
    /// When the ring cannot be polled any more.
    pub async fn ready(&mut self) -> io::Result<()> {
        if !self.has_more {
            time::sleep_until(self.rests_until).await;
            self.ring.readable().await?.clear_ready();
        }
        Ok(())
    }

    /// The next event; `None` when all has been read.
    pub fn read(&mut self) -> Option<Decoded> {
        while let Some(record) = self.ring.get_mut().next() {
            self.has_more = true;
            match decode::event(&record) {
                Some(event) => return Some(event),
                None => self.undecodable += 1,
            }
        }
        self.has_more = false;
        self.rests_until = Instant::now() + REST;
        None
    }
}
