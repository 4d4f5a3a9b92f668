//! Functions in a plan.

pub(crate) mod captures;
pub(crate) mod function;
pub(crate) mod placeholder;
pub(crate) mod sessions;
