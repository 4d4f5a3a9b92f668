//! `TensorferryCast`: a cast that checks every value.

use crate::api::Api;
use crate::code::Code;
use crate::kernel::{Call, Definition, Kernel, Node, register as register_kernel};
use crate::status::Failure;
use std::ffi::CStr;
use tensorferry::{Casting, DType, convert};

/// An attribute for any dtype that tensorferry has.
macro_rules! any_dtype {
    ($name:literal) => {
        match CStr::from_bytes_with_nul(
            concat!(
                $name,
                ": {bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64, half, ",
                "bfloat16, float, double, complex64, complex128}\0",
            )
            .as_bytes(),
        ) {
            Ok(attribute) => attribute,
            Err(_) => c"",
        }
    };
}

#[derive(Default)]
struct Cast {
    casting: Casting,
}

impl Kernel for Cast {
    const NAME: &'static CStr = c"TensorferryCast";
    const DEFINITION: Definition = Definition {
        attributes: &[any_dtype!("S"), any_dtype!("D"), c"casting: string = 'checked'"],
        elementwise: true,
        ..Definition::new(&[c"x: S"], &[c"y: D"])
    };

    fn create(node: &Node) -> Result<Self, Failure> {
        let name = node.string(c"casting")?;
        let casting = name
            .parse::<Casting>()
            .map_err(|error| Failure::new(Code::INVALID_ARGUMENT, error.to_string()))?;
        Ok(Self { casting })
    }

    fn compute(&self, call: &Call) -> Result<(), Failure> {
        let Some(dtype) = DType::from_tensorflow(call.output_type(0)) else {
            return Err(Failure::new(Code::UNIMPLEMENTED, "the dtype to cast to is not supported"));
        };
        let input = call.input(0)?;
        let tensor = convert(&input.view()?, dtype, self.casting)?;
        call.output(0, &tensor)
    }
}

pub(crate) fn register(api: &'static Api) -> Result<(), String> {
    register_kernel::<Cast>(api)
}
