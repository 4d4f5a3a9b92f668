//! [`Parts`]: what `shard` divides a dataset into.

/// Which elements [`Dataset::shard_with`](crate::Dataset::shard_with) gives to each worker. The
/// parts of all workers are equally long, or the first ones are longer by one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// Worker `i` of `n` takes the elements `i`, `i + n`, `i + 2 * n` and so on.
    Strided,
    /// Each worker takes consecutive elements.
    Contiguous,
}
