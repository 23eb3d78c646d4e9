//! Compiled kernels and their specialisations.

use std::path::PathBuf;
use std::sync::Arc;

use super::{GpuError, Options};
use crate::sim::compile::{self, CompiledLibrary};
use crate::sim::exec::Entry;
use crate::sim::module::{self, Module};
use crate::sim::translate::{FunctionConstant, KernelInfo};

/// The value of a function constant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constant {
    /// `[[function_constant(index)]]`
    pub index: u32,
    /// Its value.
    pub value: ConstantValue,
}

/// A value and its type.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs, reason = "the names are the types")]
pub enum ConstantValue {
    Bool(bool),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    F32(f32),
    /// The bits of a `half`.
    F16(u16),
}

impl ConstantValue {
    /// The types of the language that hold it.
    fn types(self) -> &'static [&'static str] {
        match self {
            Self::Bool(_) => &["bool"],
            Self::I8(_) => &["char", "int8_t"],
            Self::U8(_) => &["uchar", "uint8_t"],
            Self::I16(_) => &["short", "int16_t"],
            Self::U16(_) => &["ushort", "uint16_t"],
            Self::I32(_) => &["int", "int32_t"],
            Self::U32(_) => &["uint", "uint32_t"],
            Self::I64(_) => &["long", "int64_t"],
            Self::U64(_) => &["ulong", "uint64_t", "size_t"],
            Self::F32(_) => &["float"],
            Self::F16(_) => &["half"],
        }
    }

    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Bool(value) => vec![u8::from(value)],
            Self::I8(value) => value.to_ne_bytes().to_vec(),
            Self::U8(value) => vec![value],
            Self::I16(value) => value.to_ne_bytes().to_vec(),
            Self::U16(value) | Self::F16(value) => value.to_ne_bytes().to_vec(),
            Self::I32(value) => value.to_ne_bytes().to_vec(),
            Self::U32(value) => value.to_ne_bytes().to_vec(),
            Self::I64(value) => value.to_ne_bytes().to_vec(),
            Self::U64(value) => value.to_ne_bytes().to_vec(),
            Self::F32(value) => value.to_ne_bytes().to_vec(),
        }
    }
}

/// The kernels of one text. Clones are the same library.
#[derive(Clone)]
pub struct Library {
    inner: Arc<Inner>,
}

struct Inner {
    label: String,
    compiled: CompiledLibrary,
    plain: Arc<Module>,
    /// The build that reports its memory accesses, for a device that listens.
    traced: Option<Arc<Module>>,
}

impl Library {
    pub(super) fn new(source: &str, label: &str, options: &Options) -> Result<Self, GpuError> {
        let Options { include, only, cache, .. } = options;
        let build = |traced: bool| -> Result<(CompiledLibrary, Arc<Module>), GpuError> {
            let compiled = compile::compile(source, label, include, only, traced, cache)?;
            let module = Module::load(&compiled.object)?;
            Ok((compiled, module))
        };
        let (compiled, plain) = build(false)?;
        let traced = options.sanitize || options.count;
        let traced = if traced { Some(build(true)?.1) } else { None };
        Ok(Self { inner: Arc::new(Inner { label: label.to_owned(), compiled, plain, traced }) })
    }

    /// Its kernels, in the order of the text.
    pub fn kernels(&self) -> &[KernelInfo] {
        &self.inner.compiled.kernels
    }

    /// Its function constants, in the order of the text.
    pub fn constants(&self) -> &[FunctionConstant] {
        &self.inner.compiled.constants
    }

    fn kernel(&self, function: &str) -> Result<usize, GpuError> {
        let kernels = self.kernels();
        kernels.iter().position(|kernel| kernel.name == function).ok_or_else(|| {
            let known: Vec<&str> = kernels.iter().map(|kernel| kernel.name.as_str()).collect();
            GpuError::UnknownFunction {
                library: self.inner.label.clone(),
                function: function.to_owned(),
                known: if known.is_empty() { "none".to_owned() } else { known.join(", ") },
            }
        })
    }
}

/// A kernel with its function constants. Clones are the same pipeline.
#[derive(Clone)]
pub struct Pipeline {
    inner: Arc<Specialised>,
}

struct Specialised {
    library: Library,
    kernel: usize,
    constants: Vec<module::Constant>,
    plain: Entry,
    traced: Option<Entry>,
}

impl Pipeline {
    /// `warn` hears of constants without a value that the kernel may use.
    pub(super) fn new(
        library: &Library,
        function: &str,
        constants: &[Constant],
        warn: &mut dyn FnMut(String),
    ) -> Result<Self, GpuError> {
        let kernel = library.kernel(function)?;
        let info = &library.kernels()[kernel];
        let constants = specialise(library, function, &info.constants, constants)?;
        for constant in library.constants() {
            let missing = constants.iter().any(|set| set.index == constant.index && set.bytes.is_empty());
            if missing && info.possible_constants.contains(&constant.index) {
                let (index, name) = (constant.index, &constant.name);
                warn(format!(
                    "kernel '{function}' may use function constant {index} ('{name}'), which has no value"
                ));
            }
        }
        let Some(symbol) = &info.entry else {
            return Err(GpuError::LeftOut {
                library: library.inner.label.clone(),
                function: function.to_owned(),
            });
        };
        let plain = library.inner.plain.entry(symbol)?;
        let traced = library.inner.traced.as_ref().map(|module| module.entry(symbol)).transpose()?;
        let library = library.clone();
        Ok(Self { inner: Arc::new(Specialised { library, kernel, constants, plain, traced }) })
    }

    /// The kernel's name.
    pub fn function(&self) -> &str {
        &self.kernel().name
    }

    /// The kernel.
    pub fn kernel(&self) -> &KernelInfo {
        &self.inner.library.kernels()[self.inner.kernel]
    }

    pub(super) fn constants(&self) -> &[module::Constant] {
        &self.inner.constants
    }

    pub(super) fn plain(&self) -> (&Module, Entry) {
        (&self.inner.library.inner.plain, self.inner.plain)
    }

    pub(super) fn traced(&self) -> Option<(&Module, Entry)> {
        Some((self.inner.library.inner.traced.as_deref()?, self.inner.traced?))
    }
}

/// A value for every function constant of the library, in their order.
fn specialise(
    library: &Library,
    function: &str,
    needed: &[u32],
    constants: &[Constant],
) -> Result<Vec<module::Constant>, GpuError> {
    let problem = |index: u32, problem: String| GpuError::Constant {
        library: library.inner.label.clone(),
        function: function.to_owned(),
        index,
        problem,
    };
    for constant in constants {
        let Some(declared) = library.constants().iter().find(|declared| declared.index == constant.index)
        else {
            return Err(problem(constant.index, " is not declared in the text".to_owned()));
        };
        if !constant.value.types().contains(&declared.ty.as_str()) {
            let given = constant.value.types()[0];
            let (name, ty) = (&declared.name, &declared.ty);
            return Err(problem(
                constant.index,
                format!(" ('{name}') is of type {ty}, the value is of type {given}"),
            ));
        }
    }
    let mut values = Vec::new();
    for declared in library.constants() {
        let given = constants.iter().rfind(|constant| constant.index == declared.index);
        if given.is_none() && needed.contains(&declared.index) {
            let (name, ty) = (&declared.name, &declared.ty);
            return Err(problem(declared.index, format!(" ('{name}', of type {ty}) has no value")));
        }
        let bytes = given.map(|constant| constant.value.bytes()).unwrap_or_default();
        values.push(module::Constant { index: declared.index, bytes });
    }
    Ok(values)
}

/// Where compiled kernels are kept unless a device is told otherwise: the folder that `FORGELLM_METAL_CACHE` names, the
/// user's cache folder, or that for temporary files.
pub(super) fn default_cache() -> PathBuf {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = of("FORGELLM_METAL_CACHE") {
        return folder;
    }
    let user = of("XDG_CACHE_HOME").or_else(|| Some(of("HOME")?.join(".cache")));
    user.map_or_else(std::env::temp_dir, |folder| folder.join("forgellm")).join("metal-sim")
}
