//! [`ObjectInfo`]: what a list says of an object.

/// An object of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its name in the store.
    pub key: String,
    /// Time of its last change by the store's clock, in seconds since 1970.
    pub modified: i64,
}
