//! A shared object that the compiler made: its kernels, its function constants, and where its instructions come from.

use std::collections::HashMap;
use std::ffi::c_void;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use libloading::Library;
use object::{Object, ObjectSegment, ObjectSymbol};

use super::abi::Host;
use super::exec::{Entry, HOST};

mod places;

use places::Places;
pub use places::{Frame, Place};

/// Why an object cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// The dynamic loader refuses it.
    #[error("cannot load the compiled kernels {path}: {source}")]
    Load {
        /// The object.
        path: PathBuf,
        /// What the loader says.
        source: libloading::Error,
    },
    /// The file cannot be read.
    #[error("cannot read the compiled kernels {path}: {source}")]
    Read {
        /// The object.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is no object.
    #[error("the compiled kernels {path} are no object file: {source}; delete the file to build it again")]
    Format {
        /// The object.
        path: PathBuf,
        /// What is wrong with it.
        source: object::Error,
    },
    /// A symbol of the ABI is missing.
    #[error("the compiled kernels {path} have no symbol {symbol}")]
    Symbol {
        /// The object.
        path: PathBuf,
        /// What is missing.
        symbol: String,
    },
}

/// A loaded object. All users of a file in this process share it, since the loader gives them the same memory.
pub struct Module {
    path: PathBuf,
    library: Library,
    /// What to add to an address in the file to get one in memory.
    base: usize,
    /// The object's own code and data, in memory.
    ranges: Vec<Range<usize>>,
    places: Mutex<Places>,
    /// The values that its function constants have now. Held while a dispatch runs that depends on them.
    constants: Mutex<Vec<Constant>>,
}

/// A function constant and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sim) struct Constant {
    pub(in crate::sim) index: u32,
    /// Empty: the constant is not defined.
    pub(in crate::sim) bytes: Vec<u8>,
}

static LOADED: Mutex<Option<HashMap<PathBuf, Weak<Module>>>> = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Module {
    /// Loads an object, or finds it among the loaded ones.
    pub fn load(path: &Path) -> Result<Arc<Self>, ModuleError> {
        let mut loaded = lock(&LOADED);
        let loaded = loaded.get_or_insert_default();
        let read = |source| ModuleError::Read { path: path.to_owned(), source };
        let path = std::fs::canonicalize(path).map_err(read)?;
        if let Some(module) = loaded.get(&path).and_then(Weak::upgrade) {
            return Ok(module);
        }
        let module = Arc::new(Self::open(path.clone())?);
        loaded.insert(path, Arc::downgrade(&module));
        Ok(module)
    }

    fn open(path: PathBuf) -> Result<Self, ModuleError> {
        let bytes =
            std::fs::read(&path).map_err(|source| ModuleError::Read { path: path.clone(), source })?;
        let format = |source| ModuleError::Format { path: path.clone(), source };
        let file = object::File::parse(&*bytes).map_err(format)?;
        let missing = |symbol: &str| ModuleError::Symbol { path: path.clone(), symbol: symbol.to_owned() };
        let name = "ms_host_table";
        let in_file = file
            .dynamic_symbols()
            .chain(file.symbols())
            .find(|symbol| symbol.is_definition() && symbol.name() == Ok(name))
            .ok_or_else(|| missing(name))?
            .address();
        // SAFETY: the object was made by our compiler from a kernel; it has no constructors that do anything.
        let library = unsafe { Library::new(&path) }
            .map_err(|source| ModuleError::Load { path: path.clone(), source })?;
        // SAFETY: the symbol is a pointer variable by the ABI.
        let table = unsafe { library.get::<*mut *const Host>(name) }.map_err(|_| missing(name))?;
        // SAFETY: as above; nobody runs code of this object yet.
        unsafe { **table = &raw const HOST };
        let base = (*table as usize).wrapping_sub(in_file as usize);
        let ranges = file
            .segments()
            .map(|segment| {
                let start = base.wrapping_add(segment.address() as usize);
                start..start.wrapping_add(segment.size() as usize)
            })
            .collect();
        drop(file);
        let places = Mutex::new(Places::new(bytes));
        Ok(Self { path, library, base, ranges, places, constants: Mutex::new(Vec::new()) })
    }

    /// The function that runs one thread of a kernel.
    pub fn entry(&self, symbol: &str) -> Result<Entry, ModuleError> {
        // SAFETY: entries have this type by the ABI.
        let entry = unsafe { self.library.get::<Entry>(symbol) };
        Ok(*entry.map_err(|_| self.missing(symbol))?)
    }

    /// Whether an address belongs to the object's own code or data.
    pub(in crate::sim) fn owns(&self, address: usize) -> bool {
        self.ranges.iter().any(|range| range.contains(&address))
    }

    /// Where the object begins in memory.
    pub(in crate::sim) fn base(&self) -> usize {
        self.base
    }

    /// The source of an instruction, given the address behind it (a return address).
    pub fn place(&self, pc: usize) -> Arc<Place> {
        lock(&self.places).find(pc.wrapping_sub(self.base))
    }

    /// Gives the function constants their values. They keep them as long as the guard lives. An object
    /// without function constants needs none.
    pub(in crate::sim) fn specialise(
        &self,
        wanted: &[Constant],
    ) -> Result<Option<MutexGuard<'_, Vec<Constant>>>, ModuleError> {
        if wanted.is_empty() {
            return Ok(None);
        }
        let mut set = lock(&self.constants);
        if *set != wanted {
            set.clear();
            for constant in wanted {
                self.set(constant)?;
            }
            self.recompute();
            set.extend_from_slice(wanted);
        }
        Ok(Some(set))
    }

    fn set(&self, constant: &Constant) -> Result<(), ModuleError> {
        let storage = self.variable(&format!("ms_constant_{}", constant.index))?;
        let defined = self.variable(&format!("ms_constant_set_{}", constant.index))?;
        // SAFETY: the storage has the constant's type, whose size the pipeline has checked; the flag is a bool.
        // No kernel that reads them runs, since a dispatch holds the lock.
        unsafe {
            std::ptr::copy_nonoverlapping(constant.bytes.as_ptr(), storage.cast(), constant.bytes.len());
            defined.cast::<u8>().write(u8::from(!constant.bytes.is_empty()));
        }
        Ok(())
    }

    /// Constants that are computed from function constants. Not every object has any.
    fn recompute(&self) {
        // SAFETY: the function has this type by the ABI, and no kernel runs that reads what it writes.
        unsafe {
            if let Ok(changed) = self.library.get::<unsafe extern "C" fn()>("ms_constants_changed") {
                changed();
            }
        }
    }

    fn variable(&self, symbol: &str) -> Result<*mut c_void, ModuleError> {
        // SAFETY: the symbol is a variable by the ABI; only its address is taken.
        let variable = unsafe { self.library.get::<*mut c_void>(symbol) };
        Ok(*variable.map_err(|_| self.missing(symbol))?)
    }

    fn missing(&self, symbol: &str) -> ModuleError {
        ModuleError::Symbol { path: self.path.clone(), symbol: symbol.to_owned() }
    }
}
