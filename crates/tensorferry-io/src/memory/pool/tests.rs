use crate::memory::pages::HUGE_PAGE;
use crate::memory::pool::*;
use crate::memory::shelves::{Class, Pool};

/// Sizes around every border: alignment, the first class, steps, huge pages.
const SIZES: [usize; 14] = [
    0,
    1,
    63,
    64,
    65,
    4096,
    POOLED_FROM - 65,
    POOLED_FROM - 64,
    POOLED_FROM - 1,
    POOLED_FROM,
    100_000,
    HUGE_PAGE,
    HUGE_PAGE + 1,
    9 << 20,
];

/// A separate pool per test, so that tests do not see each other's blocks.
fn pool(limit: usize) -> Pool {
    Pool::new(limit)
}

fn class(len: usize) -> Class {
    Class::holding(len).unwrap()
}

impl Pool {
    fn acquire_block(&self, len: usize) -> NonNull<u8> {
        self.acquire(class(len)).unwrap().0
    }

    fn release_block(&self, block: NonNull<u8>, len: usize) {
        // SAFETY: the tests release what they acquired, once, with the same length.
        unsafe { self.release(block, class(len)) };
    }
}

#[test]
fn classes_hold_their_length_waste_at_most_an_eighth_and_have_one_index_each() {
    let mut seen = std::collections::BTreeMap::new();
    for log2 in 10..40 {
        for near in [0, 1, 2, 4097, (1 << log2) / 3, (1 << log2) / 2, (1 << log2) - 1] {
            let len = (1_usize << log2) + near;
            let class = class(len);
            assert!(class.bytes >= len && class.bytes - len <= len / 8 + 1, "{len}: {class:?}");
            assert_eq!(*seen.entry(class.index).or_insert(class.bytes), class.bytes);
            assert_eq!(Class::holding(class.bytes), Some(class), "a class holds exactly itself");
            assert_eq!(footprint(len), if len < POOLED_FROM { len } else { class.bytes });
        }
    }
    assert!(seen.values().is_sorted(), "a greater index is a greater size");
    assert_eq!(Class::holding(usize::MAX), None);
}

#[test]
fn every_size_is_aligned_and_writable_from_end_to_end() {
    for len in SIZES {
        let mut buffer = take(len).unwrap();
        assert_eq!(buffer.as_mut_ptr().addr() % ALIGNMENT, 0, "{len}");
        buffer.as_mut_slice().fill(0xA5);
        let buffer = buffer.freeze();
        assert_eq!(buffer.len(), len);
        assert!(buffer.as_slice().iter().all(|&byte| byte == 0xA5), "{len}");
    }
}

#[test]
fn impossible_sizes_are_errors() {
    assert!(matches!(take(usize::MAX), Err(Error::Allocation { bytes: usize::MAX })));
    assert!(matches!(take(isize::MAX.unsigned_abs() / 4), Err(Error::Allocation { .. })));
    assert!(allocate(usize::MAX, false).is_null());
    assert!(allocate(isize::MAX.unsigned_abs() / 4, true).is_null());
}

#[test]
fn a_block_that_comes_back_is_handed_out_again() {
    let pool = pool(64 << 20);
    for len in [POOLED_FROM, 3 << 20] {
        let block = pool.acquire_block(len);
        pool.release_block(block, len);
        assert_eq!(pool.retained(), class(len).bytes);
        assert_eq!(
            pool.acquire(class(len - 1)),
            Some((block, false)),
            "also for a length of the same class"
        );
        assert_eq!(pool.retained(), 0);
        pool.release_block(block, len);
        pool.trim();
        assert_eq!(pool.retained(), 0);
    }
}

#[test]
fn the_longest_unused_go_when_the_limit_is_reached() {
    let len = 1 << 20;
    let pool = pool(2 * len + len / 2);
    let blocks = [(); 3].map(|()| pool.acquire_block(len));
    for block in blocks {
        pool.release_block(block, len);
    }
    assert_eq!(pool.retained(), 2 * len);
    assert_eq!(pool.acquire_block(len), blocks[2]);
    assert_eq!(pool.acquire_block(len), blocks[1]);
    let (fourth, fresh) = pool.acquire(class(len)).unwrap();
    assert!(fresh, "the first is gone: a new one is made");
    for block in [blocks[1], blocks[2], fourth] {
        pool.release_block(block, len);
    }
    pool.trim();
}

#[test]
fn a_block_larger_than_the_limit_is_not_kept() {
    for limit in [0, 1 << 20] {
        let pool = pool(limit);
        let block = pool.acquire_block(4 << 20);
        pool.release_block(block, 4 << 20);
        assert_eq!(pool.retained(), 0);
    }
}

#[test]
fn a_lock_that_is_never_given_back_stops_nobody() {
    let pool = pool(64 << 20);
    let first = pool.acquire_block(POOLED_FROM);
    let held = pool.shelves.lock().unwrap();
    let second = pool.acquire_block(POOLED_FROM);
    pool.release_block(first, POOLED_FROM);
    assert!(pool.shelves.is_abandoned(), "no caller waits a second time");
    drop(held);
    assert_eq!(pool.retained(), 0, "the block went back to the system");
    pool.release_block(second, POOLED_FROM);
    assert_eq!(pool.retained(), class(POOLED_FROM).bytes);
    pool.trim();
}

#[test]
fn threads_never_share_a_block() {
    let frozen: Vec<_> = (0..4_u8)
        .map(|thread| {
            std::thread::spawn(move || {
                let mut last = None;
                for round in 0..200_usize {
                    let mut buffer = take(POOLED_FROM + round % 3 * 70_000).unwrap();
                    buffer.as_mut_slice().fill(thread);
                    std::thread::yield_now();
                    let buffer = buffer.freeze();
                    assert!(buffer.as_slice().iter().all(|&byte| byte == thread));
                    last = Some(buffer);
                }
                last.unwrap()
            })
        })
        .collect();
    for (thread, handle) in (0..4).zip(frozen) {
        let buffer = handle.join().unwrap(); // dropped on another thread than the one that took it
        assert!(buffer.as_slice().iter().all(|&byte| byte == thread));
    }
}

fn bytes<'a>(ptr: *mut u8, len: usize) -> &'a mut [u8] {
    // SAFETY: the tests pass memory they allocated with this size and wrote or had zeroed, and use
    // one slice at a time.
    unsafe { core::slice::from_raw_parts_mut(ptr, len) }
}

#[test]
fn zeroed_memory_is_zero_after_recycling() {
    for len in SIZES {
        for _ in 0..3 {
            let ptr = allocate(len, true);
            assert_eq!(ptr.addr() % ALIGNMENT, 0);
            assert!(bytes(ptr, len).iter().all(|&byte| byte == 0), "{len}");
            bytes(ptr, len).fill(0xFF);
            // SAFETY: allocated above, used no more.
            unsafe { deallocate(ptr) };
        }
    }
}

#[test]
fn reallocating_keeps_the_contents_whatever_the_sizes() {
    for from in SIZES {
        for to in SIZES {
            let ptr = allocate(from, false);
            bytes(ptr, from)
                .iter_mut()
                .enumerate()
                .for_each(|(i, byte)| *byte = (i % 251).to_le_bytes()[0]);
            // SAFETY: allocated above.
            let ptr = unsafe { reallocate(ptr, to) };
            assert_eq!(ptr.addr() % ALIGNMENT, 0);
            assert!(
                bytes(ptr, from.min(to))
                    .iter()
                    .enumerate()
                    .all(|(i, &byte)| byte == (i % 251).to_le_bytes()[0]),
                "{from} -> {to}"
            );
            bytes(ptr, to).fill(1); // room for all of it
            // SAFETY: reallocated above, used no more.
            unsafe { deallocate(ptr) };
        }
    }
}

#[test]
fn a_failed_reallocation_leaves_the_block() {
    let ptr = allocate(100, true);
    // SAFETY: allocated above.
    assert!(unsafe { reallocate(ptr, usize::MAX) }.is_null());
    assert_eq!(bytes(ptr, 100), [0; 100]);
    // SAFETY: still allocated.
    unsafe { deallocate(ptr) };
    // SAFETY: null is allowed.
    unsafe { deallocate(core::ptr::null_mut()) };
    // SAFETY: null is allowed.
    let fresh = unsafe { reallocate(core::ptr::null_mut(), 10) };
    assert!(!fresh.is_null());
    // SAFETY: allocated above, used no more.
    unsafe { deallocate(fresh) };
}
