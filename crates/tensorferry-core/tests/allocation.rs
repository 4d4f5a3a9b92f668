//! `convert_into` and `can_convert` do not allocate. Each thread counts its own allocations.
#![allow(clippy::unwrap_used, reason = "a test panics when it fails")]

use std::alloc::{GlobalAlloc, Layout as Block, System};
use std::cell::Cell;
use tensorferry_core::{
    ByteOrder, Casting, DType, Layout, View, ViewMut, can_convert, convert_into,
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, block: Block) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(block) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, block: Block) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, block) };
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn converting_up_to_six_dimensions_allocates_nothing() {
    let source = vec![5_i64; 4096];
    let mut target = vec![0_i32; 4096];
    let shape = [4_usize; 6];
    let layouts = [
        Layout::contiguous(&shape, 8),
        Layout::fortran(&shape, 8),
        Layout::strided(&shape, &[0, 8, 0, 32, 0, 128], 8),
    ];
    for (layout, order) in layouts
        .iter()
        .flat_map(|layout| [(layout, ByteOrder::Native), (layout, ByteOrder::Swapped)])
    {
        let layout = layout.as_ref().unwrap().clone();
        // SAFETY: 4096 elements at most.
        let view = unsafe { View::from_raw(DType::Int64, order, layout, source.as_ptr().cast()) };
        let mut out = ViewMut::from_slice(&mut target, &shape).unwrap();
        let before = ALLOCATIONS.get();
        let done = convert_into(&view, &mut out, Casting::Wrap);
        let fits = can_convert(&view, DType::Int32, Casting::Checked);
        let after = ALLOCATIONS.get();
        done.unwrap();
        assert_eq!((before, fits), (after, order == ByteOrder::Native));
    }
    assert!(ALLOCATIONS.get() > 0);
}
