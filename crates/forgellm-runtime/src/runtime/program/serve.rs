//! The command `serve`: from its arguments to a running server.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::runtime::cli::ServeArguments;
use crate::runtime::engine::{Capacity, Engine, EngineError, EngineMemory};
use crate::runtime::generate::GenerateError;
use crate::runtime::program::{ProgramError, Streams, report};
use crate::runtime::server::trace::{self, TraceWriter};
use crate::runtime::server::{self, Model, Options};

const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 8080;
/// Where the key may stand instead of among the arguments, which other users of the machine can see.
const API_KEY_VARIABLE: &str = "FORGELLM_API_KEY";

/// Takes the address.
pub(super) fn listen(arguments: &ServeArguments) -> Result<TcpListener, ProgramError> {
    let host = arguments.host.as_deref().unwrap_or(DEFAULT_HOST);
    let port = arguments.port.unwrap_or(DEFAULT_PORT);
    let failed = |source| ProgramError::Listen { address: format!("{host} port {port}"), source };
    TcpListener::bind((host, port)).map_err(failed)
}

/// The limits, where nothing else was said.
pub(super) fn options(arguments: &ServeArguments) -> Options {
    let seconds =
        |given: Option<usize>, default| Duration::from_secs(given.map_or(default, |given| given as u64));
    let from_environment = || std::env::var(API_KEY_VARIABLE).ok().filter(|key| !key.is_empty());
    Options {
        parallel: arguments.parallel.unwrap_or(4),
        queue: arguments.queue.unwrap_or(64),
        api_key: arguments.api_key.clone().or_else(from_environment),
        body_limit: arguments.max_body.unwrap_or(4 << 20),
        request_time: seconds(arguments.request_timeout, 30),
        timeout: seconds(arguments.timeout, 600),
        shutdown_time: seconds(arguments.shutdown_timeout, 30),
        trace: None,
    }
}

/// Where tokens are noted.
pub(super) struct TraceFile {
    path: PathBuf,
    writer: TraceWriter,
}

/// Begins the trace, if one is asked for.
pub(super) fn trace(
    arguments: &ServeArguments,
    options: &mut Options,
) -> Result<Option<TraceFile>, ProgramError> {
    let Some(path) = arguments.trace.clone() else { return Ok(None) };
    let file = match File::create(&path) {
        Ok(file) => file,
        Err(source) => return Err(ProgramError::Trace { path, source }),
    };
    let (trace, writer) = trace::start(file);
    options.trace = Some(trace);
    Ok(Some(TraceFile { path, writer }))
}

impl TraceFile {
    /// Writes what is left.
    pub fn finish(self) -> Result<(), ProgramError> {
        self.writer.finish().map_err(|source| ProgramError::Trace { path: self.path, source })
    }
}

/// Takes the memory for all sequences, so that no answer fails for want of it.
pub(super) fn reserve<E: Engine>(engine: &mut E) -> Result<(), ProgramError> {
    let needed = engine.memory().map_or(0, |memory| memory.cache.saturating_add(memory.step));
    let Capacity { sequences, positions: context, .. } = engine.capacity();
    let too_much = || ProgramError::NoMemory { sequences, context, megabytes: needed / 1_000_000 };
    // The system promises more than it has.
    if physical_memory().is_some_and(|there| needed > there) {
        return Err(too_much());
    }
    engine.reserve().map_err(|error| match error {
        EngineError::NoFreePage => too_much(),
        other => GenerateError::from(other).into(),
    })
}

/// Bytes of memory that the machine has; none where the system does not tell.
#[cfg(unix)]
fn physical_memory() -> Option<u64> {
    // SAFETY: the function reads and writes nothing of ours.
    let [pages, page] = [libc::_SC_PHYS_PAGES, libc::_SC_PAGESIZE].map(|name| unsafe { libc::sysconf(name) });
    u64::try_from(pages).ok()?.checked_mul(u64::try_from(page).ok()?)
}

#[cfg(not(unix))]
fn physical_memory() -> Option<u64> {
    None
}

/// What is said of a server at its start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Served {
    /// The model.
    pub name: &'static str,
    /// Answers at a time.
    pub parallel: usize,
    /// Bytes of the weights.
    pub weights: u64,
}

/// Says where the server is and what memory it will take; from now on SIGTERM ends it in order.
pub(super) fn announce<E: Engine>(
    served: Served,
    engine: &E,
    listener: &TcpListener,
    json: bool,
    streams: &mut Streams<'_>,
) -> Result<(), ProgramError> {
    on_terminate::install();
    let address = listener.local_addr().map_err(server::ServeError::from)?;
    let Served { name, parallel, weights } = served;
    let (memory, capacity) = (engine.memory(), engine.capacity());
    let context = capacity.positions;
    if json {
        let mut value = json!({
            "url": format!("http://{address}"), "model": name, "parallel": parallel, "context": context,
            "memory": {"weights": weights},
        });
        if let Some(EngineMemory { cache, step }) = memory {
            value["memory"]["cache_at_most"] = json!(cache);
            value["memory"]["step"] = json!(step);
        }
        let line = report::json_line(&value)?;
        let written = streams.out.write_all(line.as_bytes()).and_then(|()| streams.out.flush());
        return written.map_err(ProgramError::Output);
    }
    // That nobody reads it is no reason to fail.
    let _ = writeln!(
        streams.err,
        "{}\n{name} is served at http://{address}/v1, {parallel} answers at a time, each with a context of {context}; Ctrl-C ends it",
        memory_line(weights, memory, capacity.sequences),
    );
    Ok(())
}

/// Serves until it is told to end.
pub(super) fn run<E: Engine>(
    engine: &mut E,
    model: Model,
    options: Options,
    listener: TcpListener,
    interrupted: &AtomicBool,
) -> Result<(), ProgramError> {
    let is_to_end = || interrupted.load(Ordering::Relaxed) || on_terminate::was_told();
    Ok(server::serve(engine, model, options, listener, &is_to_end)?)
}

/// What the server takes of memory.
fn memory_line(weights: u64, memory: Option<EngineMemory>, sequences: usize) -> String {
    let mega = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let weights = mega(weights);
    match memory {
        Some(EngineMemory { cache, step }) => {
            let (cache, step) = (mega(cache), mega(step));
            format!(
                "memory: {weights} of weights, {step} for a step, and up to {cache} for keys and values of {sequences} sequences"
            )
        }
        None => {
            format!("memory: {weights} of weights; this device layer does not tell what it takes besides")
        }
    }
}

/// SIGTERM, by which service managers end a server.
mod on_terminate {
    use std::sync::atomic::{AtomicBool, Ordering};

    static TOLD: AtomicBool = AtomicBool::new(false);

    pub fn was_told() -> bool {
        TOLD.load(Ordering::Relaxed)
    }

    #[cfg(unix)]
    pub fn install() {
        extern "C" fn handle(_: libc::c_int) {
            TOLD.store(true, Ordering::Relaxed);
        }
        let handler: extern "C" fn(libc::c_int) = handle;
        // SAFETY: the handler only stores to an atomic, which a signal handler may do.
        unsafe {
            libc::signal(libc::SIGTERM, handler as libc::sighandler_t);
        }
    }

    #[cfg(not(unix))]
    pub fn install() {}
}
