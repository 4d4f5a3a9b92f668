//! A cache of the orders of recent epochs or groups.

use tensorferry_io::sync::fork_safe::ForkSafe;

/// The last two orders. Where one epoch or group ends and the next begins, threads need both.
pub(crate) struct Orders<K, T>(ForkSafe<[Option<(K, T)>; 2]>);

impl<K, T> Default for Orders<K, T> {
    fn default() -> Self {
        Self(ForkSafe::default())
    }
}

impl<K: PartialEq, T: Clone> Orders<K, T> {
    /// The order of `key`, computed if it is not cached.
    pub(crate) fn of(&self, key: K, make: impl FnOnce() -> T) -> T {
        let made: Result<T, std::convert::Infallible> = self.try_of(key, || Ok(make()));
        match made {
            Ok(order) => order,
            Err(never) => match never {},
        }
    }

    /// As [`Orders::of`], for an order that may fail to be computed.
    ///
    /// # Errors
    /// Those of `make`.
    pub(crate) fn try_of<E>(&self, key: K, make: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let mut orders = self.0.lock();
        if let Some((_, order)) = orders.iter().flatten().find(|(of, _)| *of == key) {
            return Ok(order.clone());
        }
        let order = make()?;
        orders.rotate_right(1);
        orders[0] = Some((key, order.clone()));
        Ok(order)
    }
}
