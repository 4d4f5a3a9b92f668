//! Whether one specification admits everything that another one admits.

use crate::spec::Component;
use tensorferry_core::Shape;

/// Whether elements of the specification `is` match `promised`: always (`Some(true)`), never
/// (`Some(false)`), or depending on the element (`None`).
pub(crate) fn keeps(is: &[Component], promised: &[Component]) -> Option<bool> {
    if is.len() != promised.len() {
        return Some(false);
    }
    let all = is.iter().zip(promised).map(|parts| match parts {
        (Component::Tensor(is), Component::Tensor(promised)) if is.dtype == promised.dtype => {
            keeps_shape(&is.shape, &promised.shape)
        }
        // The elements of a nested dataset are not checked when they are computed.
        (Component::Dataset(is), Component::Dataset(promised)) => {
            Some(keeps(is, promised) == Some(true))
        }
        _ => Some(false),
    });
    all.fold(Some(true), both)
}

fn keeps_shape(is: &Shape, promised: &Shape) -> Option<bool> {
    let Some(promised) = promised.dims() else { return Some(true) };
    let is = is.dims()?;
    if is.len() != promised.len() {
        return Some(false);
    }
    let dims = is.iter().zip(promised).map(|dims| match dims {
        (_, None) => Some(true),
        (None, Some(_)) => None,
        (Some(is), Some(promised)) => Some(is == promised),
    });
    dims.fold(Some(true), both)
}

/// Whether both are kept.
fn both(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensorferry_core::DType;
    use tensorferry_core::TensorSpec;

    #[test]
    fn a_specification_keeps_one_that_promises_less() {
        let of = |dtype, shape| vec![Component::Tensor(TensorSpec::new(dtype, shape))];
        let pair = of(DType::Int64, Shape::fixed(&[2]));
        let some = of(DType::Int64, Shape::new([None]));
        let any = of(DType::Int64, Shape::unknown());
        let nested = vec![Component::Dataset(pair.clone())];
        assert_eq!(keeps(&pair, &pair), Some(true));
        assert_eq!(keeps(&pair, &some), Some(true));
        assert_eq!(keeps(&pair, &any), Some(true));
        assert_eq!(keeps(&some, &pair), None);
        assert_eq!(keeps(&any, &some), None);
        assert_eq!(keeps(&of(DType::Int32, Shape::fixed(&[2])), &any), Some(false));
        assert_eq!(keeps(&of(DType::Int64, Shape::fixed(&[])), &some), Some(false));
        assert_eq!(keeps(&of(DType::Int64, Shape::fixed(&[3])), &pair), Some(false));
        assert_eq!(keeps(&[], &any), Some(false));
        assert_eq!(keeps(&nested, &nested), Some(true));
        assert_eq!(keeps(&nested, &pair), Some(false));
        let open = vec![Component::Dataset(some.clone())];
        assert_eq!(keeps(&nested, &open), Some(true));
        assert_eq!(keeps(&open, &nested), Some(false));
    }
}
