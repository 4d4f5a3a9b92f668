//! Round trips, wrong descriptions, and how often deleters run.

use super::abi::Managed;
use super::*;
use crate::{Buffer, ByteOrder, DType, Error, Index, Layout, Tensor};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicUsize, Ordering};

/// A foreign producer: a structure whose deleter counts.
struct Foreign {
    managed: Box<DLManagedTensor>,
    versioned: Box<DLManagedTensorVersioned>,
    _shape: Vec<i64>,
    _strides: Vec<i64>,
    deleted: Arc<AtomicUsize>,
}

unsafe extern "C" fn count<M: Managed>(managed: *mut M) {
    // SAFETY: a deleter is called with its own structure.
    let counter = unsafe { M::context(managed) }.cast::<AtomicUsize>();
    // SAFETY: the context is the counter of a Foreign that outlives its tensors.
    unsafe { counter.as_ref() }.unwrap().fetch_add(1, Ordering::SeqCst);
}

impl Foreign {
    fn new(data: *const i32, shape: &[i64], strides: Option<&[i64]>) -> Self {
        let (mut shape, deleted) = (shape.to_vec(), Arc::new(AtomicUsize::new(0)));
        let mut owned = strides.unwrap_or(&[]).to_vec();
        let dl_tensor = DLTensor {
            data: data.cast_mut().cast(),
            device: DLDevice { device_type: CPU, device_id: 0 },
            ndim: i32::try_from(shape.len()).unwrap(),
            dtype: DLDataType { code: 0, bits: 32, lanes: 1 },
            shape: shape.as_mut_ptr(),
            strides: if strides.is_some() { owned.as_mut_ptr() } else { null_mut() },
            byte_offset: 0,
        };
        let manager_ctx = Arc::as_ptr(&deleted).cast_mut().cast::<c_void>();
        let managed = Box::new(DLManagedTensor { dl_tensor, manager_ctx, deleter: Some(count) });
        let version = DLPackVersion { major: 1, minor: 3 };
        let versioned = Box::new(DLManagedTensorVersioned {
            version,
            manager_ctx,
            deleter: Some(count),
            flags: 0,
            dl_tensor,
        });
        Self { managed, versioned, _shape: shape, _strides: owned, deleted }
    }

    fn with(mut self, change: impl FnOnce(&mut DLTensor)) -> Self {
        change(&mut self.managed.dl_tensor);
        self.versioned.dl_tensor = self.managed.dl_tensor;
        self
    }

    fn import(&mut self) -> crate::Result<Imported> {
        // SAFETY: valid structures. Descriptions that pass the checks are true.
        unsafe { import(NonNull::from(&mut *self.managed)) }
    }

    fn import_versioned(&mut self) -> crate::Result<Imported> {
        // SAFETY: as above.
        unsafe { import_versioned(NonNull::from(&mut *self.versioned)) }
    }

    fn deleted(&self) -> usize {
        self.deleted.load(Ordering::SeqCst)
    }
}

fn back(tensor: Tensor) -> Tensor {
    // SAFETY: a fresh export that is used only here.
    unsafe { import(export(tensor).unwrap()) }.unwrap().tensor
}

fn values(tensor: &Tensor) -> Vec<i32> {
    tensor.view::<i32>().unwrap().iter().collect()
}

#[test]
fn tensors_come_back_the_same_in_any_strides() {
    let tensor = Tensor::from_vec((0..24).collect::<Vec<i32>>(), &[2, 3, 4]).unwrap();
    let reversed = Index::Slice { start: 2, step: -2, len: 2 };
    for index in [
        vec![],
        vec![Index::At(1)],
        vec![Index::At(0), reversed],
        vec![Index::Ellipsis, reversed],
        vec![Index::NewAxis],
    ] {
        let part = tensor.index(&index).unwrap();
        let back = back(part.clone());
        assert_eq!(back.shape(), part.shape());
        assert_eq!(back.layout().strides(), part.layout().strides());
        assert_eq!(back.as_ptr(), part.as_ptr(), "no copy");
        assert_eq!(values(&back), values(&part));
    }
}

#[test]
fn every_dtype_comes_back() {
    for dtype in DType::ALL {
        let layout = Layout::contiguous(&[3], dtype.size()).unwrap();
        let tensor =
            Tensor::new(dtype, ByteOrder::Native, layout, Buffer::from_owner(vec![1_u8; 48]), 0)
                .unwrap();
        assert_eq!(back(tensor).dtype(), dtype);
    }
}

#[test]
fn zero_dimensions_sixty_four_and_no_elements_come_back() {
    let scalar = back(Tensor::from_vec(vec![7], &[]).unwrap());
    assert_eq!((scalar.shape(), values(&scalar)), (&[][..], vec![7]));
    assert_eq!(back(Tensor::from_vec(vec![7], &[1; 64]).unwrap()).shape(), &[1; 64]);
    let empty = export(Tensor::from_vec(Vec::<i32>::new(), &[0, 3]).unwrap()).unwrap();
    // SAFETY: a fresh export.
    let data = unsafe { empty.as_ref() }.dl_tensor.data;
    assert_eq!((data.addr() % crate::ALIGNMENT, data.is_null()), (0, false));
    // SAFETY: a fresh export that is used only here.
    assert_eq!(unsafe { import(empty) }.unwrap().tensor.shape(), &[0, 3]);
}

#[test]
fn an_export_keeps_the_memory_until_the_deleter_runs() {
    let memory = Arc::new(vec![1_u8; 16]);
    struct Shared(Arc<Vec<u8>>);
    impl AsRef<[u8]> for Shared {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    let tensor = || {
        let layout = Layout::contiguous(&[4], 4).unwrap();
        Tensor::new(
            DType::Int32,
            ByteOrder::Native,
            layout,
            Buffer::from_owner(Shared(memory.clone())),
            0,
        )
        .unwrap()
    };
    let legacy = export(tensor()).unwrap();
    let versioned = export_versioned(tensor(), FLAG_READ_ONLY).unwrap();
    assert_eq!(Arc::strong_count(&memory), 3);
    // SAFETY: a fresh export that is not used any more.
    unsafe { delete(legacy) };
    assert_eq!(Arc::strong_count(&memory), 2);
    // SAFETY: as above.
    let imported = unsafe { import_versioned(versioned) }.unwrap();
    assert_eq!((imported.read_only, imported.copied), (true, false));
    std::thread::spawn(move || drop(imported)).join().unwrap();
    assert_eq!(Arc::strong_count(&memory), 1);
}

#[test]
fn swapped_bytes_and_partial_strides_are_refused() {
    let buffer = Buffer::from_owner(vec![0_u8; 16]);
    let swapped = Tensor::new(
        DType::Int32,
        ByteOrder::Swapped,
        Layout::contiguous(&[4], 4).unwrap(),
        buffer.clone(),
        0,
    )
    .unwrap();
    assert!(matches!(export(swapped), Err(Error::DLPack { .. })));
    let packed_field = Layout::strided(&[2], &[6], 4).unwrap();
    let packed_field =
        Tensor::new(DType::Int32, ByteOrder::Native, packed_field, buffer, 0).unwrap();
    assert!(matches!(export_versioned(packed_field, 0), Err(Error::DLPack { value: 6, .. })));
}

#[test]
fn the_deleter_runs_once_after_the_last_clone() {
    let data = [1, 2, 3, 4, 5, 6];
    let mut foreign = Foreign::new(data.as_ptr(), &[2, 3], None);
    let tensor = foreign.import().unwrap().tensor;
    assert_eq!(values(&tensor), data);
    let row = tensor.index(&[Index::At(1)]).unwrap();
    drop(tensor);
    assert_eq!(foreign.deleted(), 0);
    assert_eq!(values(&row), [4, 5, 6]);
    drop(row);
    assert_eq!(foreign.deleted(), 1);
    drop(foreign.import_versioned().unwrap());
    assert_eq!(foreign.deleted(), 2);
}

#[test]
fn a_missing_deleter_is_allowed() {
    let data = [1];
    let mut foreign = Foreign::new(data.as_ptr(), &[1], None);
    foreign.managed.deleter = None;
    assert_eq!(values(&foreign.import().unwrap().tensor), [1]);
}

#[test]
fn negative_zero_and_unused_strides_are_supported() {
    let data = [1, 2, 3, 4, 5, 6];
    let last = data.as_ptr().wrapping_add(5);
    assert_eq!(
        values(&Foreign::new(last, &[6], Some(&[-1])).import().unwrap().tensor),
        [6, 5, 4, 3, 2, 1]
    );
    assert_eq!(
        values(&Foreign::new(data.as_ptr(), &[2, 2], Some(&[0, 1])).import().unwrap().tensor),
        [1, 2, 1, 2]
    );
    assert_eq!(
        values(
            &Foreign::new(data.as_ptr(), &[1, 2], Some(&[i64::MAX, 1])).import().unwrap().tensor
        ),
        [1, 2]
    );
    assert!(
        values(
            &Foreign::new(core::ptr::null(), &[0, 2], Some(&[i64::MIN, 1]))
                .import()
                .unwrap()
                .tensor
        )
        .is_empty()
    );
    let mut shifted = Foreign::new(data.as_ptr(), &[2], None).with(|tensor| tensor.byte_offset = 8);
    assert_eq!(values(&shifted.import().unwrap().tensor), [3, 4]);
}

#[test]
fn flags_are_reported() {
    let data = [1];
    for (flags, read_only, copied) in
        [(0, false, false), (1, true, false), (2, false, true), (7, true, true)]
    {
        let mut foreign = Foreign::new(data.as_ptr(), &[1], None);
        foreign.versioned.flags = flags;
        let imported = foreign.import_versioned().unwrap();
        assert_eq!((imported.read_only, imported.copied), (read_only, copied));
    }
}

#[test]
fn wrong_descriptions_are_refused_after_running_the_deleter() {
    let data = [1, 2, 3, 4];
    let at = data.as_ptr();
    let plain = || Foreign::new(at, &[2, 2], None);
    let cases: Vec<(&str, Foreign)> = vec![
        ("dlpack", plain().with(|t| t.device.device_type = 2)),
        ("dlpack", plain().with(|t| t.device.device_type = 0)),
        ("unsupported_dtype", plain().with(|t| t.dtype.lanes = 2)),
        ("unsupported_dtype", plain().with(|t| t.dtype.lanes = 0)),
        ("unsupported_dtype", plain().with(|t| t.dtype.bits = 4)),
        ("unsupported_dtype", plain().with(|t| t.dtype.code = 255)),
        ("dlpack", plain().with(|t| t.ndim = -1)),
        ("dlpack", plain().with(|t| t.ndim = i32::MIN)),
        ("too_many_dimensions", plain().with(|t| t.ndim = 65)),
        ("too_many_dimensions", plain().with(|t| t.ndim = i32::MAX)),
        ("dlpack", plain().with(|t| t.shape = null_mut())),
        ("dlpack", plain().with(|t| t.data = null_mut())),
        ("dlpack", plain().with(|t| t.byte_offset = u64::MAX)),
        ("dlpack", plain().with(|t| t.data = core::ptr::without_provenance_mut(usize::MAX - 8))),
        ("dlpack", Foreign::new(at, &[2, -2], None)),
        ("dlpack", Foreign::new(at, &[i64::MIN], None)),
        ("size_overflow", Foreign::new(at, &[i64::MAX], None)),
        ("size_overflow", Foreign::new(at, &[i64::MAX, i64::MAX, 0], None)),
        ("size_overflow", Foreign::new(at, &[1 << 32, 1 << 32], Some(&[0, 0]))),
        ("size_overflow", Foreign::new(at, &[3], Some(&[i64::MAX / 4]))),
        ("dlpack", Foreign::new(at, &[2], Some(&[i64::MAX]))),
        ("dlpack", Foreign::new(at, &[2], Some(&[i64::MIN / 8]))),
    ];
    for (i, (code, mut foreign)) in cases.into_iter().enumerate() {
        assert_eq!(foreign.import().unwrap_err().code(), code, "case {i}");
        assert_eq!(foreign.deleted(), 1, "case {i}");
        assert_eq!(foreign.import_versioned().unwrap_err().code(), code, "case {i}");
        assert_eq!(foreign.deleted(), 2, "case {i}");
    }
}

#[test]
fn a_structure_of_another_major_version_is_refused_unread() {
    let mut foreign = Foreign::new(core::ptr::without_provenance(1), &[1], None)
        .with(|t| t.shape = core::ptr::without_provenance_mut(8));
    foreign.versioned.version.major = 2;
    assert_eq!(foreign.import_versioned().unwrap_err().code(), "dlpack");
    assert_eq!(foreign.deleted(), 1);
}
