//! What templates find in transformers' Jinja environment beyond Jinja itself.

use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, Output, State, Value, escape_formatter};
use minijinja_contrib::pycompat;

use super::dates::strftime;
use super::json::{python_float, tojson};

/// Adds methods of Python's strings, lists and dictionaries, and transformers' functions, to what Jinja itself has.
pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.set_unknown_method_callback(method);
    environment.set_formatter(write);
    environment.add_filter("tojson", tojson);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment.add_test("iterable", is_iterable);
    environment.add_test("sequence", is_sequence);
}

/// The template without the tags `generation` and `endgeneration`, by which transformers notes where answers are: to a prompt, they are
/// blocks that change nothing.
pub(super) fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start + 2);
        let Some(end) = tag.find("%}") else { break };
        let (inside, behind) = tag.split_at(end);
        out.push_str(before);
        match inside.trim_matches(['-', '+']).trim() {
            "generation" => out.push_str(&inside.replacen("generation", "with", 1)),
            "endgeneration" => out.push_str(&inside.replacen("endgeneration", "endwith", 1)),
            _ => out.push_str(inside),
        }
        rest = behind;
    }
    out + rest
}

/// Numbers as Python writes them.
fn write(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match f64::try_from(value.clone()) {
        Ok(float) if value.kind() == ValueKind::Number && !value.is_integer() => {
            out.write_str(&python_float(float)).map_err(Error::from)
        }
        _ => escape_formatter(out, state, value),
    }
}

/// Methods of Python's types, those that the library has and those that it lacks.
fn method(state: &mut State<'_, '_>, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    let Some(text) = value.as_str() else {
        return pycompat::unknown_method_callback(state, value, name, arguments);
    };
    match (name, arguments) {
        ("title", []) => Ok(title(text).into()),
        ("removeprefix", [prefix]) => {
            let prefix = prefix.as_str().unwrap_or_default();
            Ok(text.strip_prefix(prefix).unwrap_or(text).into())
        }
        ("removesuffix", [suffix]) => {
            let suffix = suffix.as_str().unwrap_or_default();
            Ok(text.strip_suffix(suffix).unwrap_or(text).into())
        }
        ("rsplit", [separator, rest @ ..]) if separator.as_str().is_some_and(|text| !text.is_empty()) => {
            let most = rest.first().cloned().map(i64::try_from).transpose()?.unwrap_or(-1);
            let most = usize::try_from(most).map_or(usize::MAX, |most| most.saturating_add(1));
            let mut parts: Vec<Value> =
                text.rsplitn(most, separator.as_str().unwrap_or_default()).map(Value::from).collect();
            parts.reverse();
            Ok(parts.into())
        }
        _ => pycompat::unknown_method_callback(state, value, name, arguments),
    }
}

/// Each letter that follows no letter is large, all others are small.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut follows_letter = false;
    for character in text.chars() {
        match follows_letter {
            true => out.extend(character.to_lowercase()),
            false => out.extend(character.to_uppercase()),
        }
        follows_letter = character.is_alphabetic();
    }
    out
}

/// Whether Python iterates over it.
fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

/// Whether it has a length and elements: texts and dictionaries, too.
fn is_sequence(value: &Value) -> bool {
    let kinds = [ValueKind::Seq, ValueKind::Map, ValueKind::String, ValueKind::Undefined];
    kinds.contains(&value.kind())
}

/// Stands before the message of `raise_exception` in an error's detail.
const RAISED: &str = "raise_exception: ";

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, format!("{RAISED}{message}")))
}

/// The message that the template raised, if it did.
pub(super) fn raised(detail: &str) -> Option<&str> {
    detail.strip_prefix(RAISED)
}

/// `datetime.now().strftime(format)`: the date where the program runs.
fn strftime_now(format: String) -> Result<String, Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    strftime(&format, now.saturating_add_signed(seconds_east(now)))
}

/// How far the clocks here are ahead of UTC at this time.
#[cfg(unix)]
fn seconds_east(now: u64) -> i64 {
    let Ok(now) = libc::time_t::try_from(now) else { return 0 };
    // SAFETY: a tm of zeros is a valid one, its pointer a null pointer.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to values that live through the call.
    let result = unsafe { libc::localtime_r(&now, &mut local) };
    if result.is_null() { 0 } else { local.tm_gmtoff as i64 }
}

/// Without a way to ask, UTC.
#[cfg(not(unix))]
fn seconds_east(_: u64) -> i64 {
    0
}
