//! What all ops share: the definition, and the callbacks that TensorFlow calls.

use crate::api::{self, Api};
use crate::code::Code;
use crate::status::{Failure, Status};
use crate::tensor::{Input, hand_over};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use tensorferry::Tensor;

/// An op's signature in a graph: lines of `OpDef` (`tensorflow/c/ops.h`).
pub(crate) struct Definition {
    pub(crate) inputs: &'static [&'static CStr],
    pub(crate) outputs: &'static [&'static CStr],
    pub(crate) attributes: &'static [&'static CStr],
    /// Whether equal calls may have different results: TensorFlow then neither merges, folds nor
    /// reorders calls.
    pub(crate) stateful: bool,
    /// Whether the one output has the shape of the one input; else shapes are unknown.
    pub(crate) elementwise: bool,
}

impl Definition {
    /// A stateless op without attributes, its shapes unknown.
    pub(crate) const fn new(
        inputs: &'static [&'static CStr],
        outputs: &'static [&'static CStr],
    ) -> Self {
        Self { inputs, outputs, attributes: &[], stateful: false, elementwise: false }
    }
}

/// An op's implementation on the CPU: one value for each node of a graph.
pub(crate) trait Kernel: Default + Sync {
    const NAME: &'static CStr;
    const DEFINITION: Definition;

    fn create(_node: &Node) -> Result<Self, Failure> {
        Ok(Self::default())
    }

    /// Several threads may call it at once.
    fn compute(&self, call: &Call) -> Result<(), Failure>;
}

/// A node of a graph.
pub(crate) struct Node {
    api: &'static Api,
    raw: *mut api::Construction,
}

impl Node {
    /// The value of a string attribute of at most 63 bytes.
    pub(crate) fn string(&self, name: &CStr) -> Result<String, Failure> {
        let mut bytes = [0_u8; 64];
        let status = Status::new(self.api);
        let (room, len) = (bytes.as_mut_ptr().cast::<c_char>(), bytes.len() - 1);
        // SAFETY: the construction is live during `create`; `room` has more than `len` bytes.
        unsafe { (self.api.get_string)(self.raw, name.as_ptr(), room, len, status.raw()) };
        status.check()?;
        let text = CStr::from_bytes_until_nul(&bytes).unwrap_or_default();
        Ok(text.to_string_lossy().into_owned())
    }
}

/// One execution of a node.
pub(crate) struct Call {
    pub(crate) api: &'static Api,
    raw: *mut api::KernelContext,
}

impl Call {
    pub(crate) fn input(&self, at: c_int) -> Result<Input, Failure> {
        let status = Status::new(self.api);
        let mut tensor = ptr::null_mut();
        // SAFETY: the context is live during `compute`; `tensor` receives a tensor that this
        // call owns.
        unsafe { (self.api.get_input)(self.raw, at, &raw mut tensor, status.raw()) };
        status.check()?;
        // SAFETY: TF_GetInput passed ownership.
        Ok(unsafe { Input::new(self.api, tensor) })
    }

    pub(crate) fn output_count(&self) -> c_int {
        // SAFETY: the context is live during `compute`.
        unsafe { (self.api.num_outputs)(self.raw) }
    }

    /// The `TF_DataType` that the graph expects of an output, which exists.
    pub(crate) fn output_type(&self, at: c_int) -> c_int {
        // SAFETY: the context is live during `compute`, and the caller asks within `output_count`.
        unsafe { (self.api.output_type)(self.raw, at) }
    }

    pub(crate) fn output(&self, at: c_int, tensor: &Tensor) -> Result<(), Failure> {
        self.set_output(at, tensor, &Status::new(self.api))
    }

    /// As [`Call::output`]. `status` is reused between outputs: each is an allocation.
    pub(crate) fn set_output(
        &self,
        at: c_int,
        tensor: &Tensor,
        status: &Status,
    ) -> Result<(), Failure> {
        if tensor.dtype().tensorflow() != self.output_type(at) {
            return Err(Failure::new(
                Code::INVALID_ARGUMENT,
                format!("output {at} is {}, but the graph expects another dtype", tensor.dtype()),
            ));
        }
        let raw = hand_over(self.api, tensor)?;
        // SAFETY: context and tensor are live; TensorFlow takes a reference of its own.
        unsafe { (self.api.set_output)(self.raw, at, raw, status.raw()) };
        // SAFETY: `hand_over` made it, and this reference to it ends here.
        unsafe { (self.api.delete_tensor)(raw) };
        status.check()
    }
}

/// Turns a panic, which must not unwind into TensorFlow, into an error.
fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let what = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or(panic.downcast_ref::<&str>().copied());
        Err(Failure::new(
            Code::UNKNOWN,
            format!("a bug in tensorferry: {}", what.unwrap_or("panic")),
        ))
    })
}

unsafe extern "C" fn create<K: Kernel>(raw: *mut api::Construction) -> *mut c_void {
    let Some(api) = api::api() else { return ptr::null_mut() };
    match guarded(|| K::create(&Node { api, raw })) {
        Ok(kernel) => Box::into_raw(Box::new(kernel)).cast(),
        Err(failure) => {
            // SAFETY: TensorFlow calls this with a live construction; the status is copied.
            unsafe { (api.fail_construction)(raw, Status::of(api, &failure).raw()) };
            ptr::null_mut()
        }
    }
}

unsafe extern "C" fn compute<K: Kernel>(kernel: *mut c_void, raw: *mut api::KernelContext) {
    let Some(api) = api::api() else { return };
    // SAFETY: TensorFlow passes what `create` returned, until it calls `delete`; kernels are Sync.
    let kernel = unsafe { kernel.cast::<K>().as_ref() };
    let outcome = guarded(|| match kernel {
        Some(kernel) => kernel.compute(&Call { api, raw }),
        None => Err(Failure::new(Code::FAILED_PRECONDITION, "the op was not constructed")),
    });
    if let Err(failure) = outcome {
        // SAFETY: the context is live during the call; the status is copied.
        unsafe { (api.fail)(raw, Status::of(api, &failure).raw()) };
    }
}

unsafe extern "C" fn delete<K: Kernel>(kernel: *mut c_void) {
    if !kernel.is_null() {
        // SAFETY: `create` boxed it, and TensorFlow deletes a kernel once.
        drop(unsafe { Box::from_raw(kernel.cast::<K>()) });
    }
}

unsafe extern "C" fn same_shape(ctx: *mut api::ShapeContext, status: *mut api::Status) {
    let Some(api) = api::api() else { return };
    // SAFETY: takes nothing.
    let shape = unsafe { (api.new_shape)() };
    // SAFETY: TensorFlow passes a live context and status; the shape is live.
    unsafe { (api.input_shape)(ctx, 0, shape, status) };
    // SAFETY: as above.
    unsafe { (api.output_shape)(ctx, 0, shape, status) };
    // SAFETY: made above; TensorFlow has copied it.
    unsafe { (api.delete_shape)(shape) };
}

unsafe extern "C" fn any_shape(ctx: *mut api::ShapeContext, status: *mut api::Status) {
    let Some(api) = api::api() else { return };
    // SAFETY: TensorFlow passes a live context and status.
    unsafe { (api.unknown_shapes)(ctx, status) };
}

/// Registers an op and its CPU kernel with TensorFlow.
pub(crate) fn register<K: Kernel>(api: &'static Api) -> Result<(), String> {
    let status = Status::new(api);
    let named = |failure: Failure| format!("{}: {}", K::NAME.to_string_lossy(), failure.message);
    // SAFETY: the name is a C string.
    let op = unsafe { (api.new_op)(K::NAME.as_ptr()) };
    let definition = K::DEFINITION;
    for attribute in definition.attributes {
        // SAFETY: the builder is live, the line is a C string.
        unsafe { (api.add_attr)(op, attribute.as_ptr()) };
    }
    for input in definition.inputs {
        // SAFETY: as above.
        unsafe { (api.add_input)(op, input.as_ptr()) };
    }
    for output in definition.outputs {
        // SAFETY: as above.
        unsafe { (api.add_output)(op, output.as_ptr()) };
    }
    if definition.stateful {
        // Only then: TensorFlow ignores the value of the flag.
        // SAFETY: as above.
        unsafe { (api.set_stateful)(op, true) };
    }
    // SAFETY: as above; the functions live as long as the program.
    unsafe { (api.set_shapes)(op, if definition.elementwise { same_shape } else { any_shape }) };
    // SAFETY: the builder is live, and freed by this call.
    unsafe { (api.register_op)(op, status.raw()) };
    status.check().map_err(named)?;
    // SAFETY: the names are C strings, the functions have the types of the header and live as long
    // as the program.
    let kernel = unsafe {
        (api.new_kernel)(
            K::NAME.as_ptr(),
            c"CPU".as_ptr(),
            Some(create::<K>),
            compute::<K>,
            Some(delete::<K>),
        )
    };
    // SAFETY: the builder is live, and freed by this call.
    unsafe { (api.register_kernel)(K::NAME.as_ptr(), kernel, status.raw()) };
    status.check().map_err(named)
}
