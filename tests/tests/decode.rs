//! Decoding an event: what was written is read, and nothing is allocated.
#![expect(unsafe_code, reason = "the kernel writes an event as it lies in memory")]

use std::slice;

use tcptrace::live::decode;
use tcptrace_core::{
    event::{Event, VERSION},
    handshake::Transition,
};
use tcptrace_tests::allocations::{self, Counting};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn octets(event: &Event) -> &[u8] {
    // SAFETY: integers under repr(C), without a gap: it has a field `pad`.
    unsafe { slice::from_raw_parts((&raw const *event).cast(), size_of::<Event>()) }
}

#[test]
fn an_event_is_read_without_an_allocation() {
    for (number, transition) in (0..).zip(Transition::ALL) {
        let size = size_of::<Event>() as u16;
        let written = Event { version: VERSION, transition: number, size, window: 7, ..Event::default() };
        let before = allocations::so_far();
        let read = decode::event(octets(&written));
        assert_eq!(allocations::so_far() - before, 0, "{transition:?}");
        assert_eq!(read, Some((transition, written)));
    }
}

#[test]
fn the_allocator_counts() {
    let before = allocations::so_far();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(allocations::so_far() - before, 1);
}
