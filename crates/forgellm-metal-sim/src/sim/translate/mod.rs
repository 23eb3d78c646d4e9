//! Metal Shading Language to C++, token by token.
//!
//! clang parses both languages alike but for a few things that need a look at declarations: which functions are
//! kernels and what their parameters are bound to, which local variables are threadgroup memory, which constants the
//! program sets when it builds a pipeline. Those are found and rewritten here; types, names and expressions are left
//! to the compiler. [`translate`] takes *preprocessed* text, so macros are already expanded and every token knows its
//! line in the user's file.

mod attributes;
mod bodies;
mod constants;
mod declarations;
mod emit;
mod error;
mod kernels;
mod lexer;

mod parameters;
mod rules;
mod spaces;
mod spellings;
mod uses;

pub use emit::LineMap;
pub(super) use emit::quoted;
pub use error::{Position, TranslateError};

/// What a library of kernels looks like from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelInfo {
    /// The name a pipeline asks for: `host_name` if given, else the function's.
    pub name: String,
    /// The exported function that runs one thread; none if the kernel is not among those that were asked for.
    pub entry: Option<String>,
    /// Where the kernel is declared or instantiated.
    pub at: Position,
    /// In the order of the declaration.
    pub parameters: Vec<Parameter>,
    /// `max_total_threads_per_threadgroup`, where it is written as a number.
    pub max_total_threads: Option<u32>,
    /// The indexes of function constants without whose values it cannot run.
    pub constants: Vec<u32>,
    /// Those that it may use by way of functions that it calls.
    pub possible_constants: Vec<u32>,
}

/// One parameter of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name; empty if it has none.
    pub name: String,
    /// What the program binds to it.
    pub kind: ParameterKind,
    /// Where it is declared.
    pub at: Position,
}

/// What a parameter is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterKind {
    /// A buffer, or bytes set in the encoder.
    Buffer {
        /// `[[buffer(index)]]`, or the first free index.
        index: u32,
        /// Declared in `device` memory and not `const`.
        writable: bool,
        /// `device` or `constant`.
        space: AddressSpace,
        /// The type pointed to, as written.
        element: String,
        /// `T &` rather than `T *`.
        reference: bool,
        /// Has a `function_constant` attribute, so it need not be bound.
        optional: bool,
    },
    /// Threadgroup memory whose size the encoder sets.
    Threadgroup {
        /// `[[threadgroup(index)]]`, or the first free index.
        index: u32,
    },
    /// A built-in value such as `thread_position_in_grid`.
    Builtin(Builtin),
}

/// Where a buffer parameter points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressSpace {
    /// `device`
    Device,
    /// `constant`
    Constant,
}

pub use attributes::Builtin;

/// A constant that is set when a pipeline is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionConstant {
    /// `[[function_constant(index)]]`
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its type as written. Its storage is exported as `ms_constant_<index>`, whether it is set as
    /// `ms_constant_set_<index>`.
    pub ty: String,
    /// Where it is declared.
    pub at: Position,
}

/// A translated text.
#[derive(Debug, Clone)]
pub struct Translation {
    /// C++ for clang, to be compiled with the simulator's headers.
    pub text: String,
    /// Back from places in `text` to the user's text.
    pub lines: LineMap,
    /// In the order of the text.
    pub kernels: Vec<KernelInfo>,
    /// In the order of the text.
    pub constants: Vec<FunctionConstant>,
    /// Whether the object exports `ms_constants_changed`, which must be called after setting function constants.
    pub derived_constants: bool,
}

/// Translates preprocessed text. `label` names the text where it has no line marker.
pub fn translate(preprocessed: &str, label: &str) -> Result<Translation, TranslateError> {
    translate_only(preprocessed, label, &[])
}

/// Translates what the kernels named in `only` need, so that there is less to compile; all kernels if it is empty.
pub fn translate_only(
    preprocessed: &str,
    label: &str,
    only: &[String],
) -> Result<Translation, TranslateError> {
    translate_for(Purpose::Run, preprocessed, label, only)
}

/// The text for a pass of the compiler in which pointers know their address spaces, as they do on the GPU. It is only to
/// be checked: it has no entry functions.
pub fn translate_with_spaces(
    preprocessed: &str,
    label: &str,
    only: &[String],
) -> Result<(String, LineMap), TranslateError> {
    translate_for(Purpose::CheckSpaces, preprocessed, label, only)
        .map(|translation| (translation.text, translation.lines))
}

/// What a translation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Run,
    CheckSpaces,
}

fn translate_for(
    purpose: Purpose,
    preprocessed: &str,
    label: &str,
    only: &[String],
) -> Result<Translation, TranslateError> {
    let tokens = lexer::tokens(preprocessed, label)?;
    rules::check(&tokens)?;
    let mut translator = Translator {
        purpose,
        only,
        edits: emit::Edits::new(&tokens),
        tokens: &tokens,
        kernels: Vec::new(),
        templates: Vec::new(),
        constants: constants::Constants::default(),
        uses: uses::Uses::new(&tokens),
        threadgroup_variables: 0,
        seen: spaces::Seen::new(),
        classes: Vec::new(),
    };
    translator.spellings();
    translator.declarations(0, tokens.all.len(), &[])?;
    translator.finish_constants();
    let (text, lines) = translator.edits.write();
    Ok(Translation {
        text,
        lines,
        derived_constants: translator.constants.any_derived(),
        kernels: translator.kernels,
        constants: translator.constants.declared,
    })
}

/// The state of one translation.
struct Translator<'t> {
    purpose: Purpose,
    /// The kernels that get entry functions; empty: all.
    only: &'t [String],
    tokens: &'t lexer::Tokens<'t>,
    edits: emit::Edits<'t>,
    kernels: Vec<KernelInfo>,
    templates: Vec<kernels::Template>,
    constants: constants::Constants,
    uses: uses::Uses<'t>,
    /// Threadgroup variables so far: each has a number of its own.
    threadgroup_variables: u32,
    seen: spaces::Seen,
    /// First tokens of the classes around the current declaration.
    classes: Vec<usize>,
}
