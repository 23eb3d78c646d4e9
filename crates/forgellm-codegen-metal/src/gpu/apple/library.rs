//! Kernels: from source or precompiled, specialised by constants.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;

use dispatch2::DispatchData;
use objc2::rc::{Retained, autoreleasepool};
use objc2::runtime::{NSObjectProtocol, ProtocolObject};
use objc2::sel;
use objc2_foundation::{NSError, NSString};
use objc2_metal::{
    MTLCompileOptions, MTLComputePipelineState, MTLDataType, MTLDevice, MTLFunctionConstantValues,
    MTLLibrary, MTLMathFloatingPointFunctions, MTLMathMode,
};

use super::constant::{Constant, ConstantValue};
use super::device::Device;
use super::error::GpuError;
use super::limits::KernelLimits;

/// Lanes of a simdgroup, which the kernels are written for.
const LANES: usize = 32;

/// Compiled kernels. Clones are the same library.
#[derive(Clone)]
pub struct Library {
    raw: Retained<ProtocolObject<dyn MTLLibrary>>,
    label: String,
}

/// A kernel ready to run. Clones are the same pipeline.
#[derive(Clone)]
pub struct Pipeline(Arc<State>);

struct State {
    raw: Retained<ProtocolObject<dyn MTLComputePipelineState>>,
    function: String,
    limits: KernelLimits,
}

impl Device {
    /// Compiles Metal source.
    pub fn library(&self, source: &str, label: &str) -> Result<Library, GpuError> {
        autoreleasepool(|_| {
            let result = self.raw().newLibraryWithSource_options_error(
                &NSString::from_str(source),
                Some(&self.compile_options()),
            );
            named(result, label)
        })
    }

    /// Loads what Apple's compiler made of the source when the program was built (the bytes of a `.metallib`). A system that is older
    /// than the compiler's target refuses it.
    pub fn compiled_library(&self, metallib: &'static [u8], label: &str) -> Result<Library, GpuError> {
        autoreleasepool(|_| {
            let data = DispatchData::from_static_bytes(metallib);
            named(self.raw().newLibraryWithData_error(&data), label)
        })
    }

    /// Makes the kernel `function` ready to run with `constants` as its function constants.
    pub fn pipeline(
        &self,
        library: &Library,
        function: &str,
        constants: &[Constant],
    ) -> Result<Pipeline, GpuError> {
        let fail = |reason| GpuError::Pipeline {
            library: library.label.clone(),
            function: function.to_owned(),
            reason,
        };
        let raw = autoreleasepool(|_| {
            let name = NSString::from_str(function);
            let specialised =
                library.raw.newFunctionWithName_constantValues_error(&name, &constant_values(constants));
            let specialised = match specialised {
                Ok(specialised) => specialised,
                Err(error) => {
                    let reason = error.localizedDescription().to_string();
                    return Err(library.unknown(function).unwrap_or_else(|| fail(reason)));
                }
            };
            self.raw()
                .newComputePipelineStateWithFunction_error(&specialised)
                .map_err(|error| fail(error.localizedDescription().to_string()))
        })?;
        if raw.threadExecutionWidth() != LANES {
            let lanes = raw.threadExecutionWidth();
            return Err(fail(format!("its simdgroups have {lanes} lanes, and the kernels need {LANES}")));
        }
        let limits = KernelLimits {
            threads: raw.maxTotalThreadsPerThreadgroup(),
            declared_memory: raw.staticThreadgroupMemoryLength(),
            device_memory: self.threadgroup_memory(),
        };
        Ok(Pipeline(Arc::new(State { raw, function: function.to_owned(), limits })))
    }

    fn compile_options(&self) -> Retained<MTLCompileOptions> {
        let options = MTLCompileOptions::new();
        options.setLanguageVersion(self.language());
        // Sums may be reordered and functions be fast, but infinities (masks) and NaN (damaged weights) keep their meaning.
        if options.respondsToSelector(sel!(setMathMode:)) {
            options.setMathMode(MTLMathMode::Relaxed);
            options.setMathFloatingPointFunctions(MTLMathFloatingPointFunctions::Fast);
        } else {
            // Before macOS 15 the choice is between a mode that assumes neither occurs and the safe one.
            #[expect(deprecated, reason = "the systems that lack its successor have only this")]
            options.setFastMathEnabled(false);
        }
        options
    }
}

impl Library {
    /// That the library has no kernel `function`, if so.
    fn unknown(&self, function: &str) -> Option<GpuError> {
        let known: Vec<String> = self.raw.functionNames().iter().map(|name| name.to_string()).collect();
        if known.iter().any(|known| known == function) {
            return None;
        }
        Some(GpuError::UnknownFunction {
            library: self.label.clone(),
            function: function.to_owned(),
            known: if known.is_empty() { "none".to_owned() } else { known.join(", ") },
        })
    }
}

impl Pipeline {
    /// The kernel's name.
    pub fn function(&self) -> &str {
        &self.0.function
    }

    pub(super) fn raw(&self) -> &ProtocolObject<dyn MTLComputePipelineState> {
        &self.0.raw
    }

    pub(super) fn limits(&self) -> KernelLimits {
        self.0.limits
    }

    pub(super) fn is(&self, other: &Pipeline) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

fn named(
    result: Result<Retained<ProtocolObject<dyn MTLLibrary>>, Retained<NSError>>,
    label: &str,
) -> Result<Library, GpuError> {
    let raw = result.map_err(|error| GpuError::Library {
        library: label.to_owned(),
        reason: error.localizedDescription().to_string(),
    })?;
    raw.setLabel(Some(&NSString::from_str(label)));
    Ok(Library { raw, label: label.to_owned() })
}

fn constant_values(constants: &[Constant]) -> Retained<MTLFunctionConstantValues> {
    let values = MTLFunctionConstantValues::new();
    for constant in constants {
        let bytes = constant.value.bytes();
        // SAFETY: Metal copies the value, whose size the type gives: at most the eight bytes that are there.
        unsafe {
            values.setConstantValue_type_atIndex(
                NonNull::from(&bytes).cast::<c_void>(),
                data_type(constant.value),
                constant.index as usize,
            );
        }
    }
    values
}

fn data_type(value: ConstantValue) -> MTLDataType {
    match value {
        ConstantValue::Bool(_) => MTLDataType::Bool,
        ConstantValue::I8(_) => MTLDataType::Char,
        ConstantValue::U8(_) => MTLDataType::UChar,
        ConstantValue::I16(_) => MTLDataType::Short,
        ConstantValue::U16(_) => MTLDataType::UShort,
        ConstantValue::I32(_) => MTLDataType::Int,
        ConstantValue::U32(_) => MTLDataType::UInt,
        ConstantValue::I64(_) => MTLDataType::Long,
        ConstantValue::U64(_) => MTLDataType::ULong,
        ConstantValue::F32(_) => MTLDataType::Float,
        ConstantValue::F16(_) => MTLDataType::Half,
    }
}
