//! The accessors that tensors, views and mutable views share.

/// Implements them for a type with the fields `dtype`, `order` and `layout`.
macro_rules! accessors {
    () => {
        /// The dtype, without the byte order.
        #[must_use]
        pub fn dtype(&self) -> $crate::DType {
            self.dtype
        }

        /// Whether elements are stored in this machine's byte order.
        #[must_use]
        pub fn byte_order(&self) -> $crate::ByteOrder {
            self.order
        }

        /// The shape and strides.
        #[must_use]
        pub fn layout(&self) -> &$crate::Layout {
            &self.layout
        }

        /// The length of each dimension.
        #[must_use]
        pub fn shape(&self) -> &[usize] {
            self.layout.shape()
        }
    };
}

pub(crate) use accessors;
