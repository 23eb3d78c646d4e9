//! The pipelines of a program: kernels, specialised by function constants, made when first asked for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::gpu::{Constant, ConstantValue, Device, GpuError, Library, Pipeline};

/// What a program's kernel source must hold for an operation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelNeeds {
    /// Files below `kernels/`, in the order in which they must stand.
    pub files: Vec<&'static str>,
    /// Lines that instantiate templates.
    pub instantiations: Vec<String>,
}

impl KernelNeeds {
    /// Both together; what stands in both is needed once.
    pub fn and(mut self, other: KernelNeeds) -> KernelNeeds {
        for file in other.files {
            if !self.files.contains(&file) {
                self.files.push(file);
            }
        }
        for line in other.instantiations {
            if !self.instantiations.contains(&line) {
                self.instantiations.push(line);
            }
        }
        self
    }
}

/// The pipelines that were made so far.
pub(crate) struct Kernels {
    device: Device,
    library: Library,
    pipelines: RefCell<HashMap<Key, Rc<Pipeline>>>,
}

/// A kernel's name and its constants as bits.
type Key = (String, Vec<(u32, u64)>);

impl Kernels {
    /// No pipelines yet.
    pub(crate) fn new(device: Device, library: Library) -> Kernels {
        Kernels { device, library, pipelines: RefCell::default() }
    }

    /// The pipeline of `function` with these constants.
    pub(crate) fn pipeline(&self, function: &str, constants: &[Constant]) -> Result<Rc<Pipeline>, GpuError> {
        let constants_key = constants.iter().map(|constant| (constant.index, bits(constant.value))).collect();
        let key: Key = (function.to_owned(), constants_key);
        if let Some(known) = self.pipelines.borrow().get(&key) {
            return Ok(Rc::clone(known));
        }
        let made = Rc::new(self.device.pipeline(&self.library, function, constants)?);
        self.pipelines.borrow_mut().insert(key, Rc::clone(&made));
        Ok(made)
    }
}

/// The value as bits; within one kernel a constant always has the same type.
fn bits(value: ConstantValue) -> u64 {
    match value {
        ConstantValue::Bool(value) => value.into(),
        ConstantValue::I8(value) => value as u64,
        ConstantValue::U8(value) => value.into(),
        ConstantValue::I16(value) => value as u64,
        ConstantValue::U16(value) | ConstantValue::F16(value) => value.into(),
        ConstantValue::I32(value) => value as u64,
        ConstantValue::U32(value) => value.into(),
        ConstantValue::I64(value) => value as u64,
        ConstantValue::U64(value) => value,
        ConstantValue::F32(value) => value.to_bits().into(),
    }
}
