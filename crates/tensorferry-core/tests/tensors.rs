//! Layouts, tensors and views: overflow, indices, lifetime of memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use tensorferry_core::{
    ALIGNMENT, Buffer, BufferMut, ByteOrder, DType, Index, Layout, MAX_NDIM, Tensor, View,
};

fn code<T>(result: tensorferry_core::Result<T>) -> &'static str {
    result.err().map_or("no error", |error| error.code())
}

#[test]
fn sizes_that_overflow_are_refused() {
    assert_eq!(code(Layout::contiguous(&[usize::MAX, 2], 1)), "size_overflow");
    assert_eq!(code(Layout::contiguous(&[1 << 62], 4)), "size_overflow");
    assert_eq!(code(Layout::contiguous(&[0, usize::MAX, 3], 1)), "size_overflow");
    assert_eq!(code(Layout::contiguous(&[1; MAX_NDIM + 1], 1)), "too_many_dimensions");
    assert_eq!(code(Layout::strided(&[2], &[isize::MAX], 8)), "size_overflow");
    assert_eq!(code(Layout::strided(&[2, 2], &[isize::MIN, 8], 8)), "size_overflow");
    assert_eq!(code(Layout::strided(&[3], &[], 8)), "strides_mismatch");
    assert_eq!(Layout::contiguous(&[1; MAX_NDIM], 1).unwrap().len(), 1);
}

#[test]
fn contiguity_ignores_dimensions_of_length_one_and_empty_arrays() {
    assert!(Layout::strided(&[1, 3], &[999, 4], 4).unwrap().is_c_contiguous());
    assert!(Layout::strided(&[3, 1], &[4, -7], 4).unwrap().is_f_contiguous());
    assert!(Layout::strided(&[0, 3], &[1, 1], 4).unwrap().is_c_contiguous());
    assert!(!Layout::strided(&[3], &[-4], 4).unwrap().is_c_contiguous());
    assert!(!Layout::strided(&[2, 3], &[4, 8], 4).unwrap().is_c_contiguous());
    assert!(Layout::strided(&[2, 3], &[4, 8], 4).unwrap().is_f_contiguous());
    assert!(Layout::contiguous(&[], 8).unwrap().is_c_contiguous());
}

#[test]
fn a_span_starts_below_the_first_element_for_negative_strides() {
    assert_eq!(Layout::strided(&[3, 2], &[-8, 4], 4).unwrap().span(), -16..8);
    assert_eq!(Layout::contiguous(&[0], 4).unwrap().span(), 0..0);
}

#[test]
fn a_tensor_never_reaches_outside_its_memory() {
    let buffer = Buffer::from_owner(vec![0_u8; 16]);
    let layout = Layout::contiguous(&[4], 4).unwrap();
    let new = |layout: &Layout, offset| {
        Tensor::new(DType::Int32, ByteOrder::Native, layout.clone(), buffer.clone(), offset)
    };
    assert!(new(&layout, 0).is_ok());
    assert_eq!(code(new(&layout, 1)), "out_of_bounds");
    assert_eq!(code(new(&layout, usize::MAX)), "out_of_bounds");
    let reversed = Layout::strided(&[4], &[-4], 4).unwrap();
    assert!(new(&reversed, 12).is_ok());
    assert_eq!(code(new(&reversed, 8)), "out_of_bounds");
    assert_eq!(code(new(&Layout::contiguous(&[4], 2).unwrap(), 0)), "size_overflow");
    assert_eq!(code(View::from_slice(&[1_u8, 2], &[3])), "out_of_bounds");
}

#[test]
fn indexing_shares_memory_and_selects_the_right_elements() {
    let tensor = Tensor::from_vec((0..24_i16).collect(), &[2, 3, 4]).unwrap();
    let row = tensor
        .index(&[Index::At(-1), Index::Ellipsis, Index::Slice { start: 3, step: -2, len: 2 }])
        .unwrap();
    assert_eq!(row.shape(), [3, 2]);
    assert_eq!(row.view::<i16>().unwrap().iter().collect::<Vec<_>>(), [15, 13, 19, 17, 23, 21]);
    let axis = tensor.index(&[Index::NewAxis, Index::At(0), Index::At(1), Index::At(2)]).unwrap();
    assert_eq!((axis.shape(), axis.view::<i16>().unwrap().get(&[0])), (&[1][..], Some(6)));
    assert_eq!(axis.buffer().as_ptr(), tensor.buffer().as_ptr());
}

#[test]
fn indices_out_of_range_are_refused_and_empty_slices_are_not() {
    let tensor = Tensor::from_vec(vec![1_u8, 2, 3], &[3]).unwrap();
    assert_eq!(code(tensor.index(&[Index::At(3)])), "index_out_of_range");
    assert_eq!(code(tensor.index(&[Index::At(-4)])), "index_out_of_range");
    assert_eq!(code(tensor.index(&[Index::At(isize::MIN)])), "index_out_of_range");
    assert_eq!(code(tensor.index(&[Index::At(0), Index::At(0)])), "too_many_indices");
    assert_eq!(code(tensor.index(&[Index::Ellipsis, Index::Ellipsis])), "too_many_indices");
    assert_eq!(
        code(tensor.index(&[Index::Slice { start: 1, step: 1, len: 3 }])),
        "index_out_of_range"
    );
    assert_eq!(
        code(tensor.index(&[Index::Slice { start: 0, step: isize::MAX, len: 3 }])),
        "index_out_of_range"
    );
    let empty = tensor.index(&[Index::Slice { start: 3, step: 1, len: 0 }]).unwrap();
    assert_eq!(empty.view::<u8>().unwrap().as_slice(), Some(&[][..]));
    assert_eq!(code(tensor.index(&[Index::NewAxis; MAX_NDIM])), "too_many_dimensions");
}

#[test]
fn a_typed_view_refuses_swapped_misaligned_and_invalid_elements() {
    let bytes = |n| Buffer::from_owner(vec![2_u8; n]);
    let layout = |size| Layout::contiguous(&[2], size).unwrap();
    let swapped = Tensor::new(DType::Int32, ByteOrder::Swapped, layout(4), bytes(8), 0).unwrap();
    assert_eq!(code(swapped.view::<i32>()), "not_viewable");
    let bools = Tensor::new(DType::Bool, ByteOrder::Native, layout(1), bytes(2), 0).unwrap();
    assert_eq!(code(bools.view::<bool>()), "not_viewable");
    let gaps = |bytes| {
        let tensor = Tensor::from_vec::<u8>(bytes, &[2, 3]).unwrap();
        let layout = Layout::strided(&[2, 2], &[3, -2], 1).unwrap();
        Tensor::new(DType::Bool, ByteOrder::Native, layout, tensor.buffer().clone(), 2).unwrap()
    };
    let strided = gaps(vec![1, 9, 0, 0, 9, 1]);
    let bools: Vec<bool> = strided.view::<bool>().unwrap().iter().collect();
    assert_eq!(bools, [false, true, true, false]);
    assert_eq!(code(gaps(vec![1, 9, 0, 2, 9, 1]).view::<bool>()), "not_viewable");
    let misaligned = Tensor::new(
        DType::Float64,
        ByteOrder::Native,
        layout(8),
        BufferMut::zeroed(24).unwrap().freeze(),
        4,
    )
    .unwrap();
    assert_eq!(code(misaligned.view::<f64>()), "not_viewable");
    assert_eq!(code(misaligned.view::<f32>()), "dtype_mismatch");
}

#[test]
fn memory_lives_as_long_as_its_last_tensor() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Owner(Vec<u8>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Owner {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::SeqCst);
        }
    }
    let buffer = Buffer::from_owner(Owner(vec![7; 4]));
    let tensor = Tensor::new(
        DType::UInt8,
        ByteOrder::Native,
        Layout::contiguous(&[4], 1).unwrap(),
        buffer,
        0,
    )
    .unwrap();
    let part = tensor.index(&[Index::At(2)]).unwrap();
    drop(tensor);
    assert_eq!((DROPPED.load(Ordering::SeqCst), part.view::<u8>().unwrap().get(&[])), (0, Some(7)));
    std::thread::spawn(move || drop(part)).join().unwrap();
    assert_eq!(DROPPED.load(Ordering::SeqCst), 1);
}

#[test]
fn fresh_memory_is_aligned_and_zero() {
    for len in [0, 1, 63, 64, 65, 4097] {
        let buffer = BufferMut::zeroed(len).unwrap();
        assert!(buffer.as_slice().as_ptr().addr().is_multiple_of(ALIGNMENT));
        assert!(buffer.as_slice().len() == len && buffer.as_slice().iter().all(|&byte| byte == 0));
    }
    assert_eq!(
        code(BufferMut::zeroed(isize::MAX.unsigned_abs()).map(BufferMut::freeze)),
        "allocation"
    );
}
