//! From an instruction to the lines of source that it comes from, inlined calls included.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use gimli::{EndianArcSlice, RunTimeEndian};
use object::{Object, ObjectSection};

type Reader = EndianArcSlice<RunTimeEndian>;

/// One function on the way to an instruction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Frame {
    /// The file as the compiler knew it.
    pub file: String,
    /// From 1; 0 if unknown.
    pub line: u32,
    /// From 1; 0 if unknown.
    pub column: u32,
}

/// Where an instruction comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// From the innermost inlined function to the function itself. Empty if nothing is known.
    pub frames: Vec<Frame>,
}

impl std::fmt::Display for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl Place {
    /// The innermost function that is the user's, rather than of the headers that stand in for `metal_stdlib`.
    pub fn user_frame(&self) -> Option<&Frame> {
        let ours = |file: &str| file.rsplit('/').next().is_some_and(is_header);
        self.frames.iter().find(|frame| frame.line != 0 && !ours(&frame.file))
    }
}

fn is_header(name: &str) -> bool {
    name.starts_with("ms_") && name.ends_with(".h") || name.starts_with("metal_") && !name.contains('.')
}

/// Looks places up in an object's debug information, and remembers them.
pub(super) struct Places {
    /// The object's bytes until the first question.
    object: Vec<u8>,
    context: Option<addr2line::Context<Reader>>,
    known: HashMap<usize, Arc<Place>>,
}

impl Places {
    pub(super) fn new(object: Vec<u8>) -> Self {
        Self { object, context: None, known: HashMap::new() }
    }

    /// The place of the instruction before `address`, which is relative to the object.
    pub(super) fn find(&mut self, address: usize) -> Arc<Place> {
        if !self.object.is_empty() {
            self.context = context(&std::mem::take(&mut self.object));
        }
        if let Some(place) = self.known.get(&address) {
            return Arc::clone(place);
        }
        let place = self.context.as_ref().and_then(|context| frames(context, address.wrapping_sub(1) as u64));
        let place = Arc::new(place.unwrap_or_default());
        self.known.insert(address, Arc::clone(&place));
        place
    }
}

/// Without debug information there are no places, which is no error: a message then names no line.
fn context(object: &[u8]) -> Option<addr2line::Context<Reader>> {
    let file = object::File::parse(object).ok()?;
    let endian = if file.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
    let load = |id: gimli::SectionId| -> Result<Reader, gimli::Error> {
        let section = file.section_by_name(id.name());
        let data = section.and_then(|section| section.uncompressed_data().ok());
        let data = data.unwrap_or(Cow::Borrowed(&[]));
        Ok(Reader::new(Arc::from(&*data), endian))
    };
    addr2line::Context::from_dwarf(gimli::Dwarf::load(load).ok()?).ok()
}

fn frames(context: &addr2line::Context<Reader>, address: u64) -> Option<Place> {
    let mut found = context.find_frames(address).skip_all_loads().ok()?;
    let mut frames = Vec::new();
    while let Ok(Some(frame)) = found.next() {
        let Some(location) = frame.location else { continue };
        frames.push(Frame {
            file: location.file.map_or("", |file| file.strip_prefix("./").unwrap_or(file)).to_owned(),
            line: location.line.unwrap_or(0),
            column: location.column.unwrap_or(0),
        });
    }
    Some(Place { frames })
}
