//! [`RemoteObject`]: an object of a store in one state, and how it is reached.

use crate::error::Result;
use crate::storage::cache::CachedObject;
use crate::storage::object_store::fetch::Target;
use crate::storage::object_store::store::{Store, store};
use crate::storage::options::StorageOptions;
use crate::sync::fork_safe::ForkSafe;
use std::sync::Arc;

/// An object in one state.
#[derive(Debug)]
pub(super) struct RemoteObject {
    pub(super) target: Target,
    pub(super) cached: Option<CachedObject>,
    options: StorageOptions,
    /// The connections of this process.
    store: ForkSafe<Option<Arc<Store>>>,
}

impl RemoteObject {
    /// An object that is reached by the connections of this process.
    pub(super) fn new(
        target: Target,
        cached: Option<CachedObject>,
        options: StorageOptions,
        store: Arc<Store>,
    ) -> Self {
        let object = Self { target, cached, options, store: ForkSafe::per_process(Some(store)) };
        // The first look at them notes whose they are.
        drop(object.store.lock());
        object
    }

    /// The connections of this process.
    ///
    /// # Errors
    /// As [`store`].
    pub(super) fn store(&self) -> Result<Arc<Store>> {
        let mut kept = self.store.lock();
        match &*kept {
            Some(store) => Ok(Arc::clone(store)),
            None => Ok(Arc::clone(kept.insert(store(&self.target.url, &self.options)?))),
        }
    }
}
