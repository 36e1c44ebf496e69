//! Where the node listens: one socket a request thread for each address, so that the kernel deals
//! out connections, and what an operator adds while it runs.

use std::collections::HashSet;
use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc::UnboundedSender;
use tollgate_model::Issues;
use tollgate_model::gateway::Gateway;

/// Connections that the kernel keeps until they are taken.
const BACKLOG: i32 = 4096;

/// What request threads are told.
#[derive(Debug)]
pub enum Command {
    /// Take connections from here too.
    Listen(TcpListener, Entrance),
    /// Take no more from this address.
    Close(SocketAddr),
    /// A connection that another thread took.
    Serve(std::net::TcpStream, SocketAddr, Entrance),
}

/// Where a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entrance {
    /// The address that was listened on.
    pub address: SocketAddr,
    /// Whether it is the node's own, which is there without a gateway's word.
    pub is_own: bool,
}

/// The addresses that the node listens on, and the threads that take from them.
pub struct Listeners {
    threads: Vec<UnboundedSender<Command>>,
    own: SocketAddr,
    of_gateway: HashSet<SocketAddr>,
    /// Closed by this node, perhaps not by all of its threads yet.
    closed: HashSet<SocketAddr>,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process has it.
    #[error("port {port} is in use: another process listens on {address}; stop it, or choose another address with --listen", port = .address.port())]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// It is not this machine's, not allowed, or there are no sockets left.
    #[error("listen on {address}")]
    Other {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl Listeners {
    /// Listens on the node's own address. Port 0 takes a free one; see [`Self::address`].
    ///
    /// # Errors
    ///
    /// Where that cannot be had.
    pub fn open(
        address: SocketAddr,
        threads: Vec<UnboundedSender<Command>>,
    ) -> Result<Self, ListenError> {
        let mut listeners =
            Self { threads, own: address, of_gateway: HashSet::new(), closed: HashSet::new() };
        listeners.own = listeners.listen(address, true)?;
        Ok(listeners)
    }

    /// The node's own address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.own
    }

    /// Listens as a gateway says: what is new is opened, what is gone is closed, the rest stays as
    /// it is. `unserved` are addresses that the gateway names and nothing can be done with. Returns
    /// what cannot be had.
    pub fn follow(&mut self, gateway: &Gateway, unserved: &[SocketAddr]) -> Issues {
        let mut issues = Issues::default();
        let wanted: Vec<SocketAddr> = gateway.listeners.iter().map(|l| l.address.0).collect();
        self.of_gateway.retain(|address| {
            let stays = wanted.contains(address) && !unserved.contains(address);
            if !stays {
                for thread in &self.threads {
                    // A thread that is gone takes no connections.
                    let _ = thread.send(Command::Close(*address));
                }
                self.closed.insert(*address);
            }
            stays
        });
        for (i, address) in wanted.into_iter().enumerate() {
            let is_known = self.of_gateway.contains(&address) || address == self.own;
            if is_known || unserved.contains(&address) {
                continue;
            }
            match self.listen(address, false) {
                Ok(_) => {
                    self.of_gateway.insert(address);
                }
                Err(error) => {
                    let code = match &error {
                        ListenError::InUse { .. } => "port_in_use",
                        ListenError::Other { .. } => "cannot_listen",
                    };
                    let problem = match &error {
                        ListenError::InUse { .. } => error.to_string(),
                        ListenError::Other { source, .. } => format!("{error}: {source}"),
                    };
                    issues.add(format!("/spec/listeners/{i}/address"), code, problem);
                }
            }
        }
        issues
    }

    fn listen(&self, address: SocketAddr, is_own: bool) -> Result<SocketAddr, ListenError> {
        let failed = |source: io::Error| {
            if source.kind() == io::ErrorKind::AddrInUse {
                ListenError::InUse { address }
            } else {
                ListenError::Other { address, source }
            }
        };
        // A first socket without SO_REUSEPORT tells whether another process has the address: with
        // it, two nodes would share their calls unnoticed.
        let actual = if self.closed.contains(&address) {
            address
        } else {
            let probe = socket(address, false).map_err(failed)?;
            probe.local_addr().map_err(failed)?
        };
        let mut sockets = Vec::with_capacity(self.threads.len());
        for _ in &self.threads {
            sockets.push(socket(actual, true).map_err(failed)?);
        }
        for (thread, socket) in self.threads.iter().zip(sockets) {
            let entrance = Entrance { address: actual, is_own };
            let _ = thread.send(Command::Listen(socket, entrance));
        }
        Ok(actual)
    }
}

fn socket(address: SocketAddr, is_shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if is_shared {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}
