//! `TensorferryCast`: a cast that checks every value.

use crate::api::Api;
use crate::kernel::{Call, Definition, Kernel, Node, register as register_kernel};
use crate::status::{Code, Failure};
use tensorferry::{Casting, DType, convert};

const NUMBERS: &std::ffi::CStr =
    c"S: {bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64, half, bfloat16, float, \
        double, complex64, complex128}";
const TARGETS: &std::ffi::CStr =
    c"D: {bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64, half, bfloat16, float, \
        double, complex64, complex128}";

struct Cast {
    casting: Casting,
}

impl Kernel for Cast {
    const NAME: &'static std::ffi::CStr = c"TensorferryCast";
    const DEFINITION: Definition = Definition {
        inputs: &[c"x: S"],
        outputs: &[c"y: D"],
        attributes: &[NUMBERS, TARGETS, c"casting: string = 'checked'"],
        stateful: false,
        elementwise: true,
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
            return Err(Failure::new(
                Code::UNIMPLEMENTED,
                "a dtype that tensorferry does not have",
            ));
        };
        let input = call.input(0)?;
        let tensor = convert(&input.view()?, dtype, self.casting)?;
        call.output(0, &tensor)
    }
}

pub(crate) fn register(api: &'static Api) -> Result<(), String> {
    register_kernel::<Cast>(api)
}
