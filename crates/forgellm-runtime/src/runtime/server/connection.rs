//! Connections, from the listener to the end of the server.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout_at};

use crate::runtime::scheduler::SubmitError;
use crate::runtime::server::patient::Patient;
use crate::runtime::server::race::{First, race};
use crate::runtime::server::{Service, route};

/// Connections at a time; more wait until one ends.
const MOST_CONNECTIONS: usize = 1024;
/// Threads that read prompts, beside those of the model.
pub(super) const PROMPT_THREADS: usize = 2;
/// How often is looked whether the server is to end.
pub(super) const LOOK: Duration = Duration::from_millis(20);
/// After the running requests were ended, so long their clients have to hear of it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves until it is told to end or the engine is lost; then takes no more connections and lets running requests finish, within the
/// limit of the options.
pub(super) fn serve(
    listener: TcpListener,
    service: &Arc<Service>,
    is_to_end: &dyn Fn() -> bool,
) -> Result<(), io::Error> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_io().enable_time().max_blocking_threads(PROMPT_THREADS).build()?;
    runtime.block_on(accept(listener, service, is_to_end))?;
    // A prompt that is still being read may take longer than we wait.
    runtime.shutdown_background();
    Ok(())
}

async fn accept(
    listener: TcpListener,
    service: &Arc<Service>,
    is_to_end: &dyn Fn() -> bool,
) -> Result<(), io::Error> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (end, ends) = watch::channel(());
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    {
        let mut is_over = pin!(is_over(service, is_to_end));
        loop {
            let place = async {
                let place = places.clone().acquire_owned().await;
                (listener.accept().await, place)
            };
            match race(pin!(place), is_over.as_mut()).await {
                First::Left((Ok((stream, _)), place)) => {
                    let connection = connection(stream, service.clone(), ends.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                // The client has left already, or the system has no more files to give: others may end.
                First::Left((Err(_), _)) => sleep(LOOK).await,
                First::Right(()) => break,
            }
            while connections.try_join_next().is_some() {}
        }
    }
    drop(listener);
    service.queue.close();
    drop(end);
    let limit = Instant::now() + service.options.shutdown_time;
    if !joined(&mut connections, limit).await {
        service.queue.abort();
        joined(&mut connections, Instant::now() + LAST_WORDS).await;
    }
    Ok(())
}

/// Waits for all connections; `false` if some are left at the deadline.
async fn joined(connections: &mut JoinSet<()>, deadline: Instant) -> bool {
    loop {
        match timeout_at(deadline, connections.join_next()).await {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// Waits for the user's interruption or the loss of the engine.
async fn is_over(service: &Service, is_to_end: &dyn Fn() -> bool) {
    let mut look = interval(LOOK);
    while !is_to_end() && !matches!(service.queue.check(), Err(SubmitError::Lost(_))) {
        look.tick().await;
    }
}

async fn connection(stream: TcpStream, service: Arc<Service>, mut ends: watch::Receiver<()>) {
    // Each event is to leave at once, however small.
    let _ = stream.set_nodelay(true);
    let request_time = service.options.request_time;
    let respond = service_fn(move |request| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(route::respond(service, request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(request_time);
    let mut connection =
        pin!(http.serve_connection(TokioIo::new(Patient::new(stream, request_time)), respond));
    // A client that breaks the protocol or leaves ends its own connection; there is nobody to tell.
    match race(connection.as_mut(), pin!(ends.changed())).await {
        First::Left(_) => {}
        First::Right(_) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
