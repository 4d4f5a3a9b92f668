//! Any numbers in a DLPack structure: an error, or a tensor with elements at the given addresses.
//! The deleter runs once.
#![no_main]

use arbitrary::Arbitrary;
use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicUsize, Ordering};
use libfuzzer_sys::fuzz_target;
use tensorferry_core::dlpack::{
    DLDataType, DLDevice, DLManagedTensor, DLManagedTensorVersioned, DLPackVersion, DLTensor,
    import, import_versioned,
};
use tensorferry_core::{Result, Tensor};

const MEMORY: usize = 1 << 16;
static MEMORY_BYTES: [u8; MEMORY] = {
    let mut bytes = [0; MEMORY];
    let mut i = 0;
    while i < MEMORY {
        bytes[i] = i.to_le_bytes()[0];
        i += 1;
    }
    bytes
};
const DTYPES: [(u8, u8); 8] =
    [(0, 8), (0, 32), (0, 64), (1, 16), (2, 32), (4, 16), (5, 128), (6, 8)];

#[derive(Arbitrary, Debug)]
struct Input {
    device: Option<i32>,
    dtype: (u8, u8, u16),
    known_dtype: bool,
    ndim: Option<i32>,
    shape: Vec<i64>,
    strides: Option<Vec<i64>>,
    small: bool,
    byte_offset: u64,
    null: (bool, bool),
    version: Option<(u32, u32)>,
    flags: u64,
}

unsafe extern "C" fn count(managed: *mut DLManagedTensor) {
    // SAFETY: called with its own structure, whose context is the counter below.
    unsafe { (*(*managed).manager_ctx.cast::<AtomicUsize>()).fetch_add(1, Ordering::SeqCst) };
}

unsafe extern "C" fn count_versioned(managed: *mut DLManagedTensorVersioned) {
    // SAFETY: as in `count`.
    unsafe { (*(*managed).manager_ctx.cast::<AtomicUsize>()).fetch_add(1, Ordering::SeqCst) };
}

/// Small numbers, so that elements often lie in the memory, unless the input selects any.
fn tame(numbers: &mut [i64], small: bool) {
    if small {
        numbers.iter_mut().for_each(|number| *number %= 9);
    }
}

fuzz_target!(|input: Input| {
    let Input {
        device,
        dtype,
        known_dtype,
        ndim,
        mut shape,
        strides,
        small,
        mut byte_offset,
        null,
        version,
        flags,
    } = input;
    tame(&mut shape, small);
    let own_ndim = i32::try_from(shape.len()).unwrap_or(i32::MAX);
    let mut strides = strides.map(|mut strides| {
        strides.resize(shape.len().max(64), 1);
        tame(&mut strides, small);
        strides
    });
    shape.resize(shape.len().max(64), 2); // a false ndim must stay within these arrays
    if small {
        byte_offset %= 1024;
    }
    let (code, bits) =
        if known_dtype { DTYPES[usize::from(dtype.0) % DTYPES.len()] } else { (dtype.0, dtype.1) };
    let dl_tensor = DLTensor {
        data: if null.0 {
            null_mut()
        } else {
            MEMORY_BYTES.as_ptr().wrapping_add(MEMORY / 2).cast_mut().cast::<c_void>()
        },
        device: DLDevice { device_type: device.unwrap_or(1), device_id: 0 },
        ndim: ndim.unwrap_or(own_ndim),
        dtype: DLDataType { code, bits, lanes: if known_dtype { 1 } else { dtype.2 } },
        shape: if null.1 { null_mut() } else { shape.as_mut_ptr() },
        strides: strides.as_mut().map_or(null_mut(), |strides| strides.as_mut_ptr()),
        byte_offset,
    };
    let deleted = AtomicUsize::new(0);
    let manager_ctx = core::ptr::from_ref(&deleted).cast_mut().cast::<c_void>();
    match version {
        None => {
            let mut managed = DLManagedTensor { dl_tensor, manager_ctx, deleter: Some(count) };
            // SAFETY: shape and strides have room for 64 dimensions; elements are read only if
            // they lie in the memory.
            let imported = unsafe { import(NonNull::from(&mut managed)) };
            look(imported.map(|imported| imported.tensor), &dl_tensor, &deleted);
        }
        Some((major, minor)) => {
            let version = DLPackVersion { major: if small { 1 } else { major }, minor };
            let mut managed = DLManagedTensorVersioned {
                version,
                manager_ctx,
                deleter: Some(count_versioned),
                flags,
                dl_tensor,
            };
            // SAFETY: as above.
            let imported = unsafe { import_versioned(NonNull::from(&mut managed)) };
            if let Ok(imported) = &imported {
                assert_eq!((imported.read_only, imported.copied), (flags & 1 != 0, flags & 2 != 0));
            }
            look(imported.map(|imported| imported.tensor), &dl_tensor, &deleted);
        }
    }
});

fn look(tensor: Result<Tensor>, described: &DLTensor, deleted: &AtomicUsize) {
    let Ok(tensor) = tensor else {
        assert_eq!(deleted.load(Ordering::SeqCst), 1, "an error has freed the tensor");
        return;
    };
    assert_eq!(deleted.load(Ordering::SeqCst), 0, "the tensor is alive");
    assert_eq!(tensor.shape().len(), usize::try_from(described.ndim).expect("checked by import"));
    if !tensor.layout().is_empty() {
        let origin = described.data.addr() as i128 + i128::from(described.byte_offset);
        assert_eq!(tensor.as_ptr().addr() as i128, origin);
        let span = tensor.layout().span();
        let base = MEMORY_BYTES.as_ptr().addr() as i128;
        let (low, high) = (origin - base + span.start as i128, origin - base + span.end as i128);
        assert_eq!(tensor.buffer().as_ptr().addr() as i128, base + low);
        if low >= 0 && high <= MEMORY as i128 {
            let range = usize::try_from(low).expect("not negative")
                ..usize::try_from(high).expect("not negative");
            assert_eq!(tensor.buffer().as_slice(), &MEMORY_BYTES[range]);
        }
    }
    drop(tensor);
    assert_eq!(deleted.load(Ordering::SeqCst), 1, "dropping has freed the tensor, once");
}
