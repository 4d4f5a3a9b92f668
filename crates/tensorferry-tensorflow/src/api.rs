//! The functions that this crate uses of TensorFlow's C API
//! (`tensorflow/c/{ops,kernels,tf_tensor,tf_status}.h`).

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

/// TensorFlow's types, which are only seen behind a pointer.
macro_rules! opaque {
    ($($name:ident)*) => {
        $(#[repr(C)]
        #[derive(Debug)]
        pub(crate) struct $name {
            _opaque: [u8; 0],
        })*
    };
}

opaque! { Status OpBuilder ShapeContext KernelBuilder Construction KernelContext TfTensor }

type InferShape = unsafe extern "C" fn(*mut ShapeContext, *mut Status);
type Create = unsafe extern "C" fn(*mut Construction) -> *mut c_void;
type Compute = unsafe extern "C" fn(*mut c_void, *mut KernelContext);
type Delete = unsafe extern "C" fn(*mut c_void);
type Deallocate = unsafe extern "C" fn(*mut c_void, usize, *mut c_void);

/// Declares [`Api`] and its lookup: a line for each function has its C name and its type.
macro_rules! functions {
    ($($field:ident = $symbol:literal: $type:ty;)*) => {
        /// The functions, looked up.
        pub(crate) struct Api {
            $(pub(crate) $field: $type,)*
        }

        impl Api {
            /// # Safety
            /// `library` is a handle from `dlopen` of TensorFlow's framework library, which is
            /// never closed.
            unsafe fn find(library: *mut c_void) -> Result<Self, String> {
                Ok(Self {
                    $($field: {
                        // SAFETY: the handle is live by the caller's promise, and the name is a C
                        // string.
                        let symbol = unsafe { libc::dlsym(library, $symbol.as_ptr()) };
                        if symbol.is_null() {
                            return Err(format!("no function {}", $symbol.to_string_lossy()));
                        }
                        // SAFETY: the C API's header declares the function of this name with this
                        // type, and the API is stable.
                        unsafe { std::mem::transmute::<*mut c_void, $type>(symbol) }
                    },)*
                })
            }
        }
    };
}

functions! {
    new_status = c"TF_NewStatus": unsafe extern "C" fn() -> *mut Status;
    delete_status = c"TF_DeleteStatus": unsafe extern "C" fn(*mut Status);
    set_status = c"TF_SetStatus": unsafe extern "C" fn(*mut Status, c_int, *const c_char);
    get_code = c"TF_GetCode": unsafe extern "C" fn(*const Status) -> c_int;
    message = c"TF_Message": unsafe extern "C" fn(*const Status) -> *const c_char;
    new_op = c"TF_NewOpDefinitionBuilder": unsafe extern "C" fn(*const c_char) -> *mut OpBuilder;
    register_op = c"TF_RegisterOpDefinition": unsafe extern "C" fn(*mut OpBuilder, *mut Status);
    add_attr = c"TF_OpDefinitionBuilderAddAttr":
        unsafe extern "C" fn(*mut OpBuilder, *const c_char);
    add_input = c"TF_OpDefinitionBuilderAddInput":
        unsafe extern "C" fn(*mut OpBuilder, *const c_char);
    add_output = c"TF_OpDefinitionBuilderAddOutput":
        unsafe extern "C" fn(*mut OpBuilder, *const c_char);
    set_stateful = c"TF_OpDefinitionBuilderSetIsStateful":
        unsafe extern "C" fn(*mut OpBuilder, bool);
    set_shapes = c"TF_OpDefinitionBuilderSetShapeInferenceFunction":
        unsafe extern "C" fn(*mut OpBuilder, InferShape);
    unknown_shapes = c"TF_ShapeInferenceContextSetUnknownShape":
        unsafe extern "C" fn(*mut ShapeContext, *mut Status);
    new_shape = c"TF_NewShapeHandle": unsafe extern "C" fn() -> *mut c_void;
    delete_shape = c"TF_DeleteShapeHandle": unsafe extern "C" fn(*mut c_void);
    input_shape = c"TF_ShapeInferenceContextGetInput":
        unsafe extern "C" fn(*mut ShapeContext, c_int, *mut c_void, *mut Status);
    output_shape = c"TF_ShapeInferenceContextSetOutput":
        unsafe extern "C" fn(*mut ShapeContext, c_int, *mut c_void, *mut Status);
    new_kernel = c"TF_NewKernelBuilder":
        unsafe extern "C" fn(
            *const c_char, *const c_char, Option<Create>, Compute, Option<Delete>,
        ) -> *mut KernelBuilder;
    register_kernel = c"TF_RegisterKernelBuilder":
        unsafe extern "C" fn(*const c_char, *mut KernelBuilder, *mut Status);
    get_string = c"TF_OpKernelConstruction_GetAttrString":
        unsafe extern "C" fn(*mut Construction, *const c_char, *mut c_char, usize, *mut Status);
    fail_construction = c"TF_OpKernelConstruction_Failure":
        unsafe extern "C" fn(*mut Construction, *mut Status);
    get_input = c"TF_GetInput":
        unsafe extern "C" fn(*mut KernelContext, c_int, *mut *mut TfTensor, *mut Status);
    set_output = c"TF_SetOutput":
        unsafe extern "C" fn(*mut KernelContext, c_int, *const TfTensor, *mut Status);
    num_outputs = c"TF_NumOutputs": unsafe extern "C" fn(*mut KernelContext) -> c_int;
    output_type = c"TF_ExpectedOutputDataType":
        unsafe extern "C" fn(*mut KernelContext, c_int) -> c_int;
    fail = c"TF_OpKernelContext_Failure": unsafe extern "C" fn(*mut KernelContext, *mut Status);
    new_tensor = c"TF_NewTensor":
        unsafe extern "C" fn(
            c_int, *const i64, c_int, *mut c_void, usize, Deallocate, *mut c_void,
        ) -> *mut TfTensor;
    delete_tensor = c"TF_DeleteTensor": unsafe extern "C" fn(*mut TfTensor);
    tensor_type = c"TF_TensorType": unsafe extern "C" fn(*const TfTensor) -> c_int;
    num_dims = c"TF_NumDims": unsafe extern "C" fn(*const TfTensor) -> c_int;
    dim = c"TF_Dim": unsafe extern "C" fn(*const TfTensor, c_int) -> i64;
    byte_size = c"TF_TensorByteSize": unsafe extern "C" fn(*const TfTensor) -> usize;
    data = c"TF_TensorData": unsafe extern "C" fn(*const TfTensor) -> *mut c_void;
}

static API: OnceLock<Api> = OnceLock::new();

/// The functions, once [`load`] has found them; always so inside an op.
pub(crate) fn api() -> Option<&'static Api> {
    API.get()
}

/// Looks up the functions in the library at `path`, which the process has already loaded.
pub(crate) fn load(path: &CStr) -> Result<&'static Api, String> {
    if let Some(api) = API.get() {
        return Ok(api);
    }
    let shown = path.to_string_lossy();
    // SAFETY: the path is a C string; with NOLOAD nothing is loaded and no code runs.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
    if library.is_null() {
        return Err(format!("{shown} is not loaded in this process"));
    }
    // SAFETY: the handle was just opened, and is not closed anywhere.
    let found = unsafe { Api::find(library) }.map_err(|what| format!("{shown}: {what}"))?;
    Ok(API.get_or_init(|| found))
}
