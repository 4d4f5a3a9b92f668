//! What commands found, as text, JSON and HTML.

mod inspected;
pub(crate) mod json;
pub(crate) mod network;
pub(crate) mod page;
pub(crate) mod stream;
pub(crate) mod text;

pub(crate) use inspected::Inspected;
