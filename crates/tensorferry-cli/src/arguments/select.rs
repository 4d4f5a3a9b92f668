//! Named arrays, and the dtypes to convert them to.

use crate::outcome::{Outcome, wrong};
use tensorferry::{Array, Casting, DType};

/// The long help of `--dtype`.
pub(crate) const DTYPE_HELP: &str = "dtype to convert to, of all arrays or of one\n\nA name \
    (int32), or NumPy's for it (i4, half, double). As in TensorFlow, float is float32 and int is \
    int32.";

/// An array, and its name where it has one.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: Option<String>,
    pub(crate) array: Array,
}

/// The values of `--dtype`: one for all arrays, or some by name.
#[derive(Debug, Default)]
pub(crate) struct DTypes {
    all: Option<DType>,
    by_name: Vec<(String, DType)>,
}

impl DTypes {
    pub(crate) fn parse(texts: &[String]) -> Outcome<Self> {
        let mut dtypes = Self::default();
        for text in texts {
            let (name, dtype) = match text.rsplit_once('=') {
                // A byte order, not a name.
                Some(("", _)) => (None, text.as_str()),
                Some((name, dtype)) => (Some(name), dtype),
                None => (None, text.as_str()),
            };
            let dtype = crate::arguments::dtype::wanted(dtype)
                .map_err(|why| wrong(format!("--dtype {text}: {why}")))?;
            let again = match name {
                None => dtypes.all.replace(dtype).is_some(),
                Some(name) => {
                    let again = dtypes.by_name.iter().any(|(other, _)| other == name);
                    dtypes.by_name.push((name.to_owned(), dtype));
                    again
                }
            };
            if again {
                return Err(wrong(format!("--dtype {text}: the dtype was already given")));
            }
        }
        Ok(dtypes)
    }

    /// The dtype to convert each array to, if any.
    pub(crate) fn of(&self, arrays: &[Named]) -> Outcome<Vec<Option<DType>>> {
        let has = |name: &str| arrays.iter().any(|array| array.name.as_deref() == Some(name));
        if let Some((name, dtype)) = self.by_name.iter().find(|(name, _)| !has(name)) {
            return Err(wrong(format!("--dtype {name}={dtype}: no array has the name {name:?}")));
        }
        let of = |array: &Named| {
            let own = self.by_name.iter().find(|(name, _)| array.name.as_ref() == Some(name));
            own.map(|(_, dtype)| *dtype).or(self.all)
        };
        Ok(arrays.iter().map(of).collect())
    }

    /// The arrays, converted when they are read.
    pub(crate) fn cast(&self, arrays: Vec<Named>, casting: Casting) -> Outcome<Vec<Named>> {
        let dtypes = self.of(&arrays)?;
        let cast = |(Named { name, array }, dtype): (Named, Option<DType>)| {
            let array =
                dtype.map_or_else(|| Ok(array.clone()), |dtype| array.cast(dtype, casting))?;
            Ok(Named { name, array })
        };
        arrays.into_iter().zip(dtypes).map(cast).collect()
    }
}
