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
        let mut orders = self.0.lock();
        if let Some((_, order)) = orders.iter().flatten().find(|(of, _)| *of == key) {
            return order.clone();
        }
        let order = make();
        orders.rotate_right(1);
        orders[0] = Some((key, order.clone()));
        order
    }
}
