//! Row maps: native stages that change each row of a batch while it is gathered.

pub(crate) mod boxes;
pub(crate) mod cast;
pub(crate) mod factor;
pub(crate) mod flip;
pub(crate) mod lookup;
pub(crate) mod measured;
pub(crate) mod one_hot;
pub(crate) mod pad_to;
pub(crate) mod positions;
pub(crate) mod random_crop;
#[allow(clippy::module_inception, reason = "a stage has the name of its folder")]
pub(crate) mod row_map;
pub(crate) mod scale;
pub(crate) mod stage;
