//! A request thread: one core, one runtime, its own sockets. Connections are dealt out so that a
//! few long ones do not load one core while others idle.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::access_log::AccessLog;
use crate::connection::{self, SWEEP};
use crate::core::{Core, Shared};
use crate::fault::Fault;
use crate::listener::{Command, Entrance};
use crate::metrics::CoreMetrics;

/// What a request thread is started with.
pub struct Start {
    /// Its number, from 0.
    pub index: usize,
    /// In common with the others.
    pub shared: Arc<Shared>,
    /// What it counts.
    pub metrics: Arc<CoreMetrics>,
    /// Where its records go.
    pub access_log: AccessLog,
    /// What it is told.
    pub commands: UnboundedReceiver<Command>,
    /// The others, itself included, to hand connections to.
    pub threads: Vec<UnboundedSender<Command>>,
    /// Cancelled when the node drains: take nothing new, end when all is done.
    pub drain: CancellationToken,
    /// Cancelled when the time for that is over.
    pub stop: CancellationToken,
}

/// Starts a request thread.
///
/// # Errors
///
/// Where the system gives no thread.
pub fn spawn(start: Start) -> io::Result<std::thread::JoinHandle<()>> {
    let name = format!("request-{}", start.index);
    std::thread::Builder::new().name(name).spawn(move || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            // Look for new events as often as for new tasks: both are the same work here.
            .event_interval(31)
            .build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => runtime.block_on(run(start)),
            Err(error) => tracing::error!(%error, "start a request thread"),
        }
    })
}

async fn run(start: Start) {
    let Start { index, shared, metrics, access_log, mut commands, threads, drain, stop } = start;
    let core = Rc::new(Core::new(index, shared, metrics, access_log));
    let mut listeners: HashMap<SocketAddr, Vec<JoinHandle<()>>> = HashMap::new();
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            command = commands.recv() => match command {
                Some(Command::Listen(socket, entrance)) => {
                    let accepting = accept(Rc::clone(&core), socket, entrance, threads.clone());
                    let accepting = tokio::task::spawn_local(accepting);
                    listeners.entry(entrance.address).or_default().push(accepting);
                }
                Some(Command::Close(address)) => close(listeners.remove(&address)),
                Some(Command::Serve(stream, address, entrance)) => {
                    take_over(&core, stream, address, entrance);
                }
                None => break,
            },
            _ = sweep.tick() => {
                let is_draining = drain.is_cancelled();
                if is_draining {
                    for (_, accepting) in listeners.drain() {
                        close(Some(accepting));
                    }
                }
                look_after(&core, is_draining);
                if is_draining && core.connections.count() == 0 {
                    break;
                }
            }
        }
    }
    core.access_log.flush();
}

fn close(accepting: Option<Vec<JoinHandle<()>>>) {
    for task in accepting.into_iter().flatten() {
        task.abort();
    }
}

/// What is done once in a while.
fn look_after(core: &Core, is_draining: bool) {
    let now = tokio::time::Instant::now();
    core.coarse_now.set(now);
    let plan = core.plan();
    core.connections.sweep(now, &plan.gateway.limits, is_draining);
    core.pool.sweep(now);
    core.access_log.flush();
}

async fn accept(
    core: Rc<Core>,
    socket: std::net::TcpListener,
    entrance: Entrance,
    threads: Vec<UnboundedSender<Command>>,
) {
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "listen on a request thread"),
    };
    loop {
        match listener.accept().await {
            Ok((stream, address)) => deal(&core, &threads, stream, address, entrance),
            Err(error) => {
                // Mostly: no file descriptors left. Others may be closed soon.
                tracing::warn!(%error, "accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Serves a connection here, or gives it to the thread that has fewest.
fn deal(
    core: &Rc<Core>,
    threads: &[UnboundedSender<Command>],
    stream: TcpStream,
    address: SocketAddr,
    entrance: Entrance,
) {
    let loads = &core.shared.loads;
    let open: usize = loads.iter().map(|load| load.load(Ordering::Relaxed)).sum();
    let limit = core.plan().gateway.limits.connections;
    if open >= usize::try_from(limit).unwrap_or(usize::MAX) {
        core.metrics.connections_refused.add(1);
        return refuse(core, &stream, entrance);
    }
    let own = loads.get(core.index).map_or(0, |load| load.load(Ordering::Relaxed));
    let least = (0..).zip(loads).map(|(i, load)| (load.load(Ordering::Relaxed), i)).min();
    let index = match least {
        Some((load, index)) if load < own => index,
        _ => core.index,
    };
    // Counted before it is served, so that a burst is not all given to one thread.
    if let Some(load) = loads.get(index) {
        load.fetch_add(1, Ordering::Relaxed);
    }
    if index == core.index {
        return serve(core, stream, address, entrance);
    }
    match stream.into_std() {
        Ok(stream) => {
            if let Some(thread) = threads.get(index) {
                let _ = thread.send(Command::Serve(stream, address, entrance));
            }
        }
        Err(error) => {
            tracing::debug!(%error, "hand a connection over");
            release(core, index);
        }
    }
}

/// One write of a refusal: who overloads a node gets no more of it.
fn refuse(core: &Core, stream: &TcpStream, entrance: Entrance) {
    // Who waits for a handshake could not read it.
    if !connection::is_clear(core, entrance) {
        return;
    }
    let _ = stream.try_write(&connection::refusal_message(core, Fault::Overloaded));
    // Closed with bytes unread, the client's system may throw the refusal away.
    let _ = stream.try_read(&mut [0; 4096]);
}

fn take_over(
    core: &Rc<Core>,
    stream: std::net::TcpStream,
    address: SocketAddr,
    entrance: Entrance,
) {
    match TcpStream::from_std(stream) {
        Ok(stream) => serve(core, stream, address, entrance),
        Err(error) => {
            tracing::debug!(%error, "take a connection over");
            release(core, core.index);
        }
    }
}

fn serve(core: &Rc<Core>, stream: TcpStream, address: SocketAddr, entrance: Entrance) {
    // Without it, a small answer waits up to 40 ms for the client's delayed acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "set TCP_NODELAY");
    }
    core.metrics.connections_accepted.add(1);
    let core = Rc::clone(core);
    tokio::task::spawn_local(async move {
        connection::serve(Rc::clone(&core), stream, address, entrance).await;
        core.metrics.connections_closed.add(1);
        release(&core, core.index);
    });
}

fn release(core: &Core, index: usize) {
    if let Some(load) = core.shared.loads.get(index) {
        load.fetch_sub(1, Ordering::Relaxed);
    }
}
