//! Conversion of any layout, byte order and alignment, in one pass and without allocation.
//!
//! # Rationale
//! Kernels take packed elements in native order only. Elements that are packed go to them directly;
//! others pass through a block that stays in the first-level cache. So an unusual layout costs one
//! more pass through that cache, not through memory, and needs no kernels of its own.

use super::Casting;
use super::dispatch::{Kernel, kernel};
use super::scalar;
use super::stream;
use super::transfer::{Swap, transfer};
use super::traversal::{Tile, Traversal, is_packed};
use crate::{ByteOrder, DType, Dims, Error, Misfits, Result, View, ViewMut};
use alloc::boxed::Box;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

/// The bytes of a block. Two blocks, and the elements read and written, fit in any first-level
/// cache.
const BLOCK: usize = 4096;

/// Shorter rows are gathered into a block, which costs less than a kernel call for each.
const SHORT_ROW: usize = 32;

#[repr(align(64))]
struct Block(MaybeUninit<[u8; BLOCK]>);

impl Block {
    fn new() -> Self {
        Self(MaybeUninit::uninit())
    }

    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }
}

/// The elements of a conversion's source or destination.
#[derive(Clone, Copy, Debug)]
struct End {
    size: usize,
    /// The swap that makes the elements native.
    swap: Swap,
}

impl End {
    fn new(dtype: DType, order: ByteOrder) -> Self {
        Self { size: dtype.size(), swap: Swap::between(dtype, order, ByteOrder::Native) }
    }

    fn is_packed(&self, strides: [isize; 2], tile: &Tile) -> bool {
        self.swap == Swap::No && is_packed(strides, tile.rows, tile.cols, self.size)
    }

    fn packed(&self, cols: usize) -> [isize; 2] {
        [(cols * self.size).cast_signed(), self.size.cast_signed()]
    }
}

/// A prepared conversion, which can be split to run its parts on different threads.
///
/// ```
/// use tensorferry_core::convert::Conversion;
/// use tensorferry_core::{Casting, View, ViewMut};
///
/// let (source, mut target) = (vec![7_i64; 100], vec![0_i32; 100]);
/// let view = View::from_slice(&source, &[100])?;
/// let mut out = ViewMut::from_slice(&mut target, &[100])?;
/// let (head, tail) = Conversion::new(&view, &mut out, Casting::Checked)?.split_at(60);
/// assert!(head.run() && tail.run());
/// assert_eq!(target, [7; 100]);
/// # Ok::<(), tensorferry_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Conversion<'a> {
    traversal: Traversal,
    kernel: Kernel,
    from: End,
    to: End,
    src: *const u8,
    dst: *mut u8,
    /// Whether the result is too large for the caches.
    pub(super) streams: bool,
    memory: PhantomData<(&'a [u8], &'a mut [u8])>,
}

// SAFETY: a Conversion accesses memory like the View and the ViewMut that it borrows, which are
// Send. Parts made by `split_at` write different elements, and no two elements of a ViewMut share a
// byte.
unsafe impl Send for Conversion<'_> {}

impl<'a> Conversion<'a> {
    /// Chooses the kernel and the order of the elements.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`], [`Error::CastNotDefined`]; [`Error::SizeOverflow`] if a layout's
    /// item size is not that of its dtype.
    pub fn new(src: &'a View<'_>, out: &'a mut ViewMut<'_>, casting: Casting) -> Result<Self> {
        let (from, to) = (src.dtype(), out.dtype());
        let kernel = defined(from, to, casting)?;
        check_itemsize(src.layout(), from)?;
        check_itemsize(out.layout(), to)?;
        if src.layout().shape() != out.layout().shape() {
            return Err(Error::ShapeMismatch {
                from: src.layout().shape().into(),
                to: out.layout().shape().into(),
            });
        }
        let traversal = Traversal::convert(src.layout(), out.layout());
        let (from, to) = (End::new(from, src.byte_order()), End::new(to, out.byte_order()));
        let streams = stream::pays(out.layout().nbytes());
        Ok(Self {
            traversal,
            kernel,
            from,
            to,
            src: src.as_ptr(),
            dst: out.as_mut_ptr(),
            streams,
            memory: PhantomData,
        })
    }

    /// The bytes read and written.
    #[must_use]
    pub fn nbytes(&self) -> usize {
        self.traversal.len().saturating_mul(self.from.size + self.to.size)
    }

    /// The number of positions for [`Conversion::split_at`]. 0 only if there are no elements.
    #[must_use]
    pub fn splits(&self) -> usize {
        self.traversal.splits()
    }

    /// The part before position `at` of [`Conversion::splits`], and the rest.
    #[must_use]
    pub fn split_at(self, at: usize) -> (Self, Self) {
        let (head, rest) = self.traversal.split_at(at);
        (Self { traversal: head, ..self }, Self { traversal: rest, ..self })
    }

    /// Converts, and returns whether all values fit. If not, some elements of the destination are
    /// unspecified, and [`diagnose`] returns the error.
    #[must_use]
    pub fn run(self) -> bool {
        let (cols, strides) = self.traversal.inner();
        let native = self.from.swap == Swap::No && self.to.swap == Swap::No;
        let packed = is_packed([0, strides[0]], 1, cols, self.from.size)
            && is_packed([0, strides[1]], 1, cols, self.to.size);
        if native && packed && (cols >= SHORT_ROW || self.traversal.ndim() == 1) {
            return self.traversal.rows(|[s, d], n| {
                let (src, dst) = (self.src.wrapping_offset(s), self.dst.wrapping_offset(d));
                if self.streams {
                    // SAFETY: a row of both arrays, packed and native in both.
                    unsafe { self.run_streamed(src, dst, n) }
                } else {
                    // SAFETY: as above.
                    unsafe { self.kernel.run(src, dst, n) }
                }
            });
        }
        self.run_tiles()
    }

    /// Runs the kernel part by part, and writes whole cache lines of the destination past the
    /// caches.
    ///
    /// # Safety
    /// As [`Kernel::run`].
    unsafe fn run_streamed(&self, src: *const u8, dst: *mut u8, n: usize) -> bool {
        let (from, to) = (self.from.size, self.to.size);
        let (part, gap) = (stream::PART / from.max(to), dst.align_offset(stream::LINE));
        let head = gap / to;
        // memcpy bypasses the caches itself when it copies that much at once.
        if gap % to != 0 || n < head + part || (self.kernel.is_copy && stream::pays(n * to)) {
            // SAFETY: the caller's promise.
            return unsafe { self.kernel.run(src, dst, n) };
        }
        // SAFETY: the first of the caller's elements.
        let mut fits = unsafe { self.kernel.run(src, dst, head) };
        let (mut block, mut at) = (Block::new(), head);
        while fits && at + part <= n {
            let mut packed = src.wrapping_add(at * from);
            stream::prefetch(packed, part * from);
            if !self.kernel.is_copy {
                // SAFETY: elements of the caller's from `at`, and a block with room for them.
                fits = unsafe { self.kernel.run(packed, block.as_mut_ptr(), part) };
                packed = block.as_mut_ptr();
            }
            // SAFETY: elements of the destination's dtype that fill whole lines of it.
            unsafe { stream::copy(packed, dst.wrapping_add(at * to), part * to / stream::LINE) };
            at += part;
        }
        stream::fence();
        // SAFETY: the last of the caller's elements.
        fits && unsafe {
            self.kernel.run(src.wrapping_add(at * from), dst.wrapping_add(at * to), n - at)
        }
    }

    /// [`Conversion::run`] for strided, byte-swapped or short rows.
    fn run_tiles(&self) -> bool {
        let (mut gathered, mut converted) = (Block::new(), Block::new());
        let limit = BLOCK / self.from.size.max(self.to.size);
        self.traversal.tiles(limit, false, |[s, d], tile| {
            let (src, dst) = (self.src.wrapping_offset(s), self.dst.wrapping_offset(d));
            if self.kernel.is_copy {
                let swap = if self.from.swap == self.to.swap {
                    Swap::No
                } else {
                    self.from.swap.max(self.to.swap)
                };
                // SAFETY: a tile of both arrays, whose elements have one size.
                unsafe { transfer(self.from.size, swap, src, dst, tile) };
                return true;
            }
            // SAFETY: a tile of the source, and a block with room for it.
            let packed = unsafe { gather(self.from, src, tile, &mut gathered) };
            if self.to.is_packed(tile.dst, &tile) {
                // SAFETY: the tile's elements, packed and native in both.
                return unsafe { self.kernel.run(packed, dst, tile.len()) };
            }
            let block = converted.as_mut_ptr();
            // SAFETY: the tile's elements, packed and native, and a block with room for them.
            let fits = unsafe { self.kernel.run(packed, block, tile.len()) };
            let scattered = Tile { src: self.to.packed(tile.cols), ..tile };
            // SAFETY: the block holds the tile's elements, and `dst` is a tile of the destination.
            unsafe { transfer(self.to.size, self.to.swap, block, dst, scattered) };
            fits
        })
    }
}

/// The elements of a tile, packed and native: in place if they are so, else copied to the block.
///
/// # Safety
/// The tile at `src` is readable and initialised, and has no more than [`BLOCK`] bytes.
unsafe fn gather(end: End, src: *const u8, tile: Tile, block: &mut Block) -> *const u8 {
    if end.is_packed(tile.src, &tile) {
        return src;
    }
    let packed = Tile { dst: end.packed(tile.cols), ..tile };
    // SAFETY: the caller's promise; the block has room for the tile and does not overlap it.
    unsafe { transfer(end.size, end.swap, src, block.as_mut_ptr(), packed) };
    block.as_mut_ptr()
}

fn defined(from: DType, to: DType, casting: Casting) -> Result<Kernel> {
    kernel(from, to, casting).ok_or(Error::CastNotDefined { from, to, casting })
}

/// Checks the item size: a smaller one than the dtype's would let reads pass the end.
fn check_itemsize(layout: &crate::Layout, dtype: DType) -> Result<()> {
    if layout.itemsize() == dtype.size() {
        return Ok(());
    }
    Err(Error::SizeOverflow { shape: layout.shape().into(), itemsize: layout.itemsize() })
}

/// The elements that [`blocks`] visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visit {
    /// All, in row-major order.
    RowMajor,
    /// Every memory location once, in the order of the memory.
    Memory,
}

/// Visits the elements, packed and native, block by block until `visit` returns false. Returns
/// whether it never did.
///
/// `visit` takes a pointer to initialised elements and their number. Elements of the dtype's size
/// or of `other` bytes, whichever is greater, fill at most [`BLOCK`] bytes.
pub(super) fn blocks(
    src: &View<'_>,
    order: Visit,
    other: usize,
    mut visit: impl FnMut(*const u8, usize) -> bool,
) -> Result<bool> {
    check_itemsize(src.layout(), src.dtype())?;
    let traversal = if order == Visit::Memory {
        Traversal::scan(src.layout())
    } else {
        Traversal::row_major(src.layout())
    };
    let end = End::new(src.dtype(), src.byte_order());
    let mut block = Block::new();
    let limit = BLOCK / end.size.max(other);
    Ok(traversal.tiles(limit, order == Visit::RowMajor, |[s, _], tile| {
        // SAFETY: a tile of the view, of at most `limit` elements.
        let packed = unsafe { gather(end, src.as_ptr().wrapping_offset(s), tile, &mut block) };
        visit(packed, tile.len())
    }))
}

/// Converts `src` into memory that the caller owns. Allocates nothing unless it fails or there are
/// more than six dimensions.
///
/// `tensorferry::convert_into` writes the same values and uses all cores.
///
/// ```
/// # use tensorferry_core::{Casting, View, ViewMut, convert_into};
/// let mut out = [0_u8; 3];
/// let source = View::from_slice(&[1_i64, 2, 3], &[3])?;
/// convert_into(&source, &mut ViewMut::from_slice(&mut out, &[3])?, Casting::Checked)?;
/// assert_eq!(out, [1, 2, 3]);
/// # Ok::<(), tensorferry_core::Error>(())
/// ```
///
/// # Errors
/// Those of [`Conversion::new`]; [`Error::ValuesDoNotFit`], after which the elements of `out` are
/// unspecified; [`Error::SourceChanged`] if another thread writes to the source.
pub fn convert_into(src: &View<'_>, out: &mut ViewMut<'_>, casting: Casting) -> Result<()> {
    let to = out.dtype();
    let fits = match run_packed(src, out, casting) {
        Some(fits) => fits,
        None => Conversion::new(src, out, casting)?.run(),
    };
    if fits { Ok(()) } else { Err(diagnose(src, to, casting)) }
}

/// Converts packed native arrays without a traversal, which would take as long to make as a
/// thousand elements to convert. `None` for other arrays.
fn run_packed(src: &View<'_>, out: &mut ViewMut<'_>, casting: Casting) -> Option<bool> {
    let (from, to) = (src.layout(), out.layout());
    let native = src.byte_order() == ByteOrder::Native && out.byte_order() == ByteOrder::Native;
    let sized = from.itemsize() == src.dtype().size() && to.itemsize() == out.dtype().size();
    let packed = from.is_c_contiguous() && to.is_c_contiguous();
    if !(native && sized && packed && from.shape() == to.shape()) {
        return None;
    }
    let (n, kernel) = (from.len(), kernel(src.dtype(), out.dtype(), casting)?);
    if n == 0 {
        return Some(true); // the address of an empty layout may be any
    }
    // SAFETY: two arrays of `n` packed native elements of those dtypes, which do not overlap
    // because one is borrowed exclusively.
    Some(unsafe { kernel.run(src.as_ptr(), out.as_mut_ptr(), n) })
}

/// Whether [`convert_into`] memory of dtype `to` would succeed. Stops at the first value that does
/// not fit, and allocates nothing.
///
/// `tensorferry::can_convert` returns the same and uses all cores.
///
/// ```
/// # use tensorferry_core::{Casting, DType, View, can_convert};
/// let source = View::from_slice(&[1_i64, 300], &[2])?;
/// assert!(can_convert(&source, DType::Int16, Casting::Checked));
/// assert!(!can_convert(&source, DType::UInt8, Casting::Checked));
/// # Ok::<(), tensorferry_core::Error>(())
/// ```
#[must_use]
pub fn can_convert(src: &View<'_>, to: DType, casting: Casting) -> bool {
    let Some(kernel) = kernel(src.dtype(), to, casting) else { return false };
    if casting != Casting::Checked || kernel.is_copy {
        return check_itemsize(src.layout(), src.dtype()).is_ok();
    }
    let mut scratch = Block::new();
    let fits = blocks(src, Visit::Memory, to.size(), |packed, n| {
        // SAFETY: `n` packed native elements, and a block with room for `n` of `to`.
        unsafe { kernel.run(packed, scratch.as_mut_ptr(), n) }
    });
    fits.unwrap_or(false)
}

/// The error of a conversion whose values do not all fit. Reads the source again to count the
/// values and to find the first one and its index.
///
/// [`Error::SourceChanged`] if all values fit now.
#[must_use]
pub fn diagnose(src: &View<'_>, to: DType, casting: Casting) -> Error {
    let from = src.dtype();
    let kernel = match defined(from, to, casting) {
        Ok(kernel) => kernel,
        Err(error) => return error,
    };
    let (mut scratch, mut seen, mut count, mut first) = (Block::new(), 0, 0, None);
    let walked = blocks(src, Visit::RowMajor, to.size(), |packed, n| {
        // SAFETY: `n` packed native elements, and a block with room for `n` of `to`.
        if !unsafe { kernel.run(packed, scratch.as_mut_ptr(), n) } {
            for i in 0..n {
                let at = packed.wrapping_add(i * from.size());
                // SAFETY: element `i < n` is readable and initialised.
                let element = unsafe { core::slice::from_raw_parts(at, from.size()) };
                let value = scalar::read(from, ByteOrder::Native, element);
                if scalar::convert_scalar(value, to, casting).is_none() {
                    count += 1;
                    first.get_or_insert((seen + i, value));
                }
            }
        }
        seen += n;
        true
    });
    match (walked, first) {
        (Err(error), _) => error,
        (_, None) => Error::SourceChanged { from, to },
        (_, Some((at, value))) => {
            let index = unravel(at, src.layout().shape());
            Error::ValuesDoNotFit(Box::new(Misfits {
                from,
                to,
                count,
                total: seen,
                index,
                value: value.to_scalar(from),
            }))
        }
    }
}

fn unravel(mut at: usize, shape: &[usize]) -> Dims {
    let mut index = Dims::from_elem(0, shape.len());
    for (part, &dim) in index.iter_mut().zip(shape).rev() {
        (*part, at) = (at % dim, at / dim);
    }
    index
}
