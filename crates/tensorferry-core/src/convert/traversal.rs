//! The order in which elements are visited: dimensions sorted by memory, merged and cut into tiles.

use crate::{Dims, Layout, Strides};

/// The dimensions to visit, outermost first, with their strides in the source and the destination.
#[derive(Clone, Debug)]
pub(super) struct Traversal {
    shape: Dims,
    src: Strides,
    dst: Strides,
    /// The bytes from element `[0, 0, ...]` to the first one visited, in source and destination.
    pub(super) start: [isize; 2],
}

/// Elements to visit at once: `rows` x `cols`, with the strides of the rows and of the columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) src: [isize; 2],
    pub(super) dst: [isize; 2],
}

impl Tile {
    pub(super) fn len(&self) -> usize {
        self.rows * self.cols
    }
}

/// Whether `rows` x `cols` elements of `size` bytes are packed.
pub(super) fn is_packed(strides: [isize; 2], rows: usize, cols: usize, size: usize) -> bool {
    let row = (cols * size).cast_signed();
    (cols == 1 || strides[1] == size.cast_signed()) && (rows == 1 || strides[0] == row)
}

impl Traversal {
    /// Visits the elements of two layouts of the same shape in the order of the destination's
    /// memory.
    pub(super) fn convert(src: &Layout, dst: &Layout) -> Self {
        if src.is_c_contiguous() && dst.is_c_contiguous() {
            // The result of merging, computed directly because it speeds up small conversions.
            let [from, to] =
                [src, dst].map(|layout| Strides::from_slice(&[layout.itemsize().cast_signed()]));
            return Self {
                shape: Dims::from_slice(&[src.len()]),
                src: from,
                dst: to,
                start: [0, 0],
            };
        }
        let mut traversal = Self::new(src.shape(), src.strides(), dst.strides());
        traversal.follow_destination();
        traversal
    }

    /// Visits each memory location of a layout once, in the order of its memory.
    pub(super) fn scan(src: &Layout) -> Self {
        let shape: Dims = src
            .shape()
            .iter()
            .zip(src.strides())
            .map(|(&dim, &stride)| if stride == 0 { dim.min(1) } else { dim })
            .collect();
        // The destination's strides determine the order, so they start as those of the source.
        let mut traversal = Self::new(&shape, src.strides(), src.strides());
        traversal.follow_destination();
        traversal.dst.fill(0);
        traversal.start[1] = 0;
        traversal
    }

    /// Visits the elements of a layout in row-major order.
    pub(super) fn row_major(src: &Layout) -> Self {
        let still = Strides::from_elem(0, src.ndim());
        let mut traversal = Self::new(src.shape(), src.strides(), &still);
        traversal.merge();
        traversal
    }

    fn new(shape: &[usize], src: &[isize], dst: &[isize]) -> Self {
        let mut traversal =
            Self { shape: Dims::new(), src: Strides::new(), dst: Strides::new(), start: [0, 0] };
        for ((&dim, &src), &dst) in shape.iter().zip(src).zip(dst) {
            if dim != 1 {
                traversal.shape.push(dim);
                traversal.src.push(src);
                traversal.dst.push(dst);
            }
        }
        traversal
    }

    /// Puts the dimensions in the order of the destination's memory.
    fn follow_destination(&mut self) {
        self.ascend();
        self.sort();
        self.merge();
    }

    /// Reverses the dimensions that run backwards in the destination.
    fn ascend(&mut self) {
        for axis in 0..self.shape.len() {
            if self.dst[axis] < 0 && self.shape[axis] > 0 {
                let last = (self.shape[axis] - 1).cast_signed();
                self.start[0] += last * self.src[axis];
                self.start[1] += last * self.dst[axis];
                self.src[axis] = -self.src[axis];
                self.dst[axis] = -self.dst[axis];
            }
        }
    }

    /// Sorts by descending strides of the destination. Insertion sort, because dimensions are few
    /// and mostly in order.
    fn sort(&mut self) {
        for end in 1..self.shape.len() {
            let mut at = end;
            while at > 0 && self.dst[at - 1] < self.dst[at] {
                self.shape.swap(at - 1, at);
                self.src.swap(at - 1, at);
                self.dst.swap(at - 1, at);
                at -= 1;
            }
        }
    }

    /// Merges two dimensions wherever a stride of the outer one is the whole inner one, in source
    /// and destination.
    fn merge(&mut self) {
        let mut kept = 0;
        for axis in 1..self.shape.len() {
            let dim = self.shape[axis].cast_signed();
            let whole = |outer: isize, inner: isize| inner.checked_mul(dim) == Some(outer);
            if whole(self.src[kept], self.src[axis]) && whole(self.dst[kept], self.dst[axis]) {
                self.shape[kept] *= self.shape[axis];
            } else {
                kept += 1;
                self.shape[kept] = self.shape[axis];
            }
            self.src[kept] = self.src[axis];
            self.dst[kept] = self.dst[axis];
        }
        if self.shape.is_empty() {
            self.shape.push(1);
            self.src.push(0);
            self.dst.push(0);
        } else {
            self.shape.truncate(kept + 1);
            self.src.truncate(kept + 1);
            self.dst.truncate(kept + 1);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The innermost dimension: its length and strides.
    pub(super) fn inner(&self) -> (usize, [isize; 2]) {
        let last = self.shape.len() - 1;
        (self.shape[last], [self.src[last], self.dst[last]])
    }

    pub(super) fn ndim(&self) -> usize {
        self.shape.len()
    }

    /// The dimension along which to split work: the outermost, or the longest if that is short.
    fn split_axis(&self) -> usize {
        if self.shape[0] >= 16 {
            return 0;
        }
        (0..self.shape.len())
            .max_by_key(|&axis| (self.shape[axis], core::cmp::Reverse(axis)))
            .unwrap_or(0)
    }

    /// The number of pieces it can be split into.
    pub(super) fn splits(&self) -> usize {
        self.shape[self.split_axis()]
    }

    /// The parts before and from position `at`, of [`Traversal::splits`].
    pub(super) fn split_at(mut self, at: usize) -> (Self, Self) {
        let axis = self.split_axis();
        let mut rest = self.clone();
        let at = at.min(self.shape[axis]);
        rest.shape[axis] -= at;
        rest.start[0] += at.cast_signed() * self.src[axis];
        rest.start[1] += at.cast_signed() * self.dst[axis];
        self.shape[axis] = at;
        (self, rest)
    }

    /// Visits whole rows of the innermost dimension until `visit` returns false.
    pub(super) fn rows(&self, mut visit: impl FnMut([isize; 2], usize) -> bool) -> bool {
        let last = self.shape.len() - 1;
        let cols = self.shape[last];
        if last == 0 {
            return visit(self.start, cols);
        }
        self.outer([last, last], |start| visit(start, cols))
    }

    /// Visits tiles of at most `limit` elements until `visit` returns false.
    ///
    /// With `in_order`, the elements come in the order of the dimensions. Without it, tiles are
    /// square where source and destination run along different dimensions, so that both use whole
    /// cache lines.
    pub(super) fn tiles(
        &self,
        limit: usize,
        in_order: bool,
        mut visit: impl FnMut([isize; 2], Tile) -> bool,
    ) -> bool {
        if self.shape.contains(&0) {
            return true;
        }
        let last = self.shape.len() - 1;
        let (row, transposed) =
            if in_order { (last.saturating_sub(1), false) } else { self.partner() };
        let (all_rows, all_cols) = (if last == 0 { 1 } else { self.shape[row] }, self.shape[last]);
        let square = 1 << (limit.ilog2() / 2);
        let cols = if transposed {
            all_cols.min(square.max(limit / all_rows))
        } else {
            all_cols.min(limit)
        };
        let rows = if in_order && cols < all_cols { 1 } else { all_rows.min(limit / cols) };
        let (src, dst) = ([self.src[row], self.src[last]], [self.dst[row], self.dst[last]]);
        self.outer([row, last], |start| {
            let mut r = 0;
            while r < all_rows {
                let rows = rows.min(all_rows - r);
                let mut c = 0;
                while c < all_cols {
                    let cols = cols.min(all_cols - c);
                    let (down, right) = (r.cast_signed(), c.cast_signed());
                    let at = [
                        start[0] + down * src[0] + right * src[1],
                        start[1] + down * dst[0] + right * dst[1],
                    ];
                    if !visit(at, Tile { rows, cols, src, dst }) {
                        return false;
                    }
                    c += cols;
                }
                r += rows;
            }
            true
        })
    }

    /// The dimension that forms tiles with the innermost one, and whether the source runs along it.
    fn partner(&self) -> (usize, bool) {
        let last = self.shape.len() - 1;
        let step = |axis: usize| self.src[axis].unsigned_abs();
        let nearest = (0..last).filter(|&axis| step(axis) > 0).min_by_key(|&axis| step(axis));
        match nearest {
            Some(axis) if step(axis) < step(last) => (axis, true),
            _ => (last.saturating_sub(1), false),
        }
    }

    /// Visits the first element of every index of the dimensions other than `inner`.
    fn outer(&self, inner: [usize; 2], mut visit: impl FnMut([isize; 2]) -> bool) -> bool {
        let mut index = Dims::from_elem(0, self.shape.len());
        let mut at = self.start;
        if self.shape.contains(&0) {
            return true;
        }
        loop {
            if !visit(at) {
                return false;
            }
            let mut axis = self.shape.len();
            loop {
                if axis == 0 {
                    return true;
                }
                axis -= 1;
                if inner.contains(&axis) {
                    continue;
                }
                index[axis] += 1;
                at[0] += self.src[axis];
                at[1] += self.dst[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                let back = self.shape[axis].cast_signed();
                at[0] -= back * self.src[axis];
                at[1] -= back * self.dst[axis];
                index[axis] = 0;
            }
        }
    }
}
