//! A control plane as a whole: started, run, stopped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{self, Admin, Parts};
use crate::authority::{Authority, AuthorityError};
use crate::change::Changes;
use crate::changelog::{self, Following, Log};
use crate::content::Contents;
use crate::enrolment::EnrolmentService;
use crate::fanout::Fanout;
use crate::identity::{
    AdminTokens, First, IdentityError, JoinError, JoinTokens, NewJoinToken, Shown,
};
use crate::live::{Live, LiveError};
use crate::metrics::Metrics;
use crate::nodes::Nodes;
use crate::purges::Purges;
use crate::seal::{ClusterKeys, MasterKey, SealError, Sealer};
use crate::settings::Settings;
use crate::snapshot::Snapshots;
use crate::store::{Store, StoreError};
use crate::stream::{Shared, SyncService};
use crate::transport;

/// How long what is under way may take when the control plane stops.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// What keeps a control plane from starting.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken, or may not be used.
    #[error("listen on {address} for {what}; take another one with `{flag}` or `{variable}`")]
    Listen {
        /// The address that was to be used.
        address: SocketAddr,
        /// What was to be there.
        what: &'static str,
        /// The flag that changes it.
        flag: &'static str,
        /// The variable that changes it.
        variable: &'static str,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The store cannot be opened.
    #[error("open the store; `--database` or `TOLLGATE_DATABASE_URL` names it")]
    Store(#[source] StoreError),
    /// The master key is none, or not the store's.
    #[error(
        "use the master key of `TOLLGATE_MASTER_KEY`, `TOLLGATE_MASTER_KEY_FILE` or the data folder"
    )]
    MasterKey(#[source] SealError),
    /// The certificate authority cannot be used.
    #[error("set up the certificates of the nodes' port")]
    Authority(#[from] AuthorityError),
    /// The first administrator's token cannot be made.
    #[error("make the first administrator's token")]
    Token(#[from] IdentityError),
    /// What is in the store does not read.
    #[error("read the configuration from the store")]
    Live(#[from] LiveError),
    /// No random bytes.
    #[error("draw a name for this process")]
    Random,
}

/// What ends a control plane that was not told to end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The nodes' port is not served any more.
    #[error("serve the nodes")]
    Nodes(#[from] tonic::transport::Error),
}

/// A control plane that is ready to run; both of its ports are taken already.
pub struct ControlPlane {
    shared: Arc<Shared>,
    admin: Admin,
    changes: Changes,
    following: Arc<Following>,
    join_tokens: JoinTokens,
    enrolment: EnrolmentService,
    acceptor: TlsAcceptor,
    admin_listener: TcpListener,
    grpc_listener: TcpListener,
    admin_address: SocketAddr,
    grpc_address: SocketAddr,
    first_token: First,
    admin_token_path: PathBuf,
}

impl ControlPlane {
    /// Opens everything that a control plane needs.
    ///
    /// # Errors
    ///
    /// What is missing, and which setting mends it.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let settings = settings.with_secrets();
        let now = Timestamp::now();
        let (admin_listener, admin_address) =
            listen(settings.admin, "the admin API", "--admin", "TOLLGATE_ADMIN").await?;
        let (grpc_listener, grpc_address) =
            listen(settings.grpc, "the nodes", "--grpc", "TOLLGATE_GRPC").await?;

        let sealer = Arc::new(Sealer::new(&master_key(&settings).await?));
        let store = Store::open(&settings.database_url()).await.map_err(StartError::Store)?;
        let keys = ClusterKeys::open(&store, &sealer).await.map_err(key_trouble)?;
        let keys = Arc::new(keys);
        let authority = Arc::new(Authority::open(&store, &sealer, now).await?);
        let tls = authority.server_config(&names(&settings, grpc_address), Timestamp::now)?;

        let tokens = AdminTokens::new(store.clone(), Arc::clone(&keys));
        let admin_token_path = settings.admin_token_path();
        let given = settings.admin_token.as_ref().map(|token| token.expose());
        let first_token = tokens.first(given, &admin_token_path, now).await?;
        tell(&first_token);
        let join_tokens =
            JoinTokens::new(store.clone(), Arc::clone(&keys), authority.fingerprint());

        let contents = Contents::new(sealer, Arc::clone(&keys));
        let live = Live::load(&store, contents, Fanout::new(settings.stream.clone())).await?;
        let live = Arc::new(live);
        let tasks = TaskTracker::new();
        let changes = Changes::new(store.clone(), Arc::clone(&live), tasks.clone());
        let purges = Purges::open(&store).await.map_err(StartError::Store)?;
        let shared = Arc::new(Shared {
            purges,
            questions: Arc::default(),
            nodes: Arc::new(Nodes::new(store.clone(), process_name()?)),
            store: store.clone(),
            live,
            keys,
            metrics: Arc::new(Metrics::default()),
            snapshots: Snapshots::default(),
            tasks,
            stopping: CancellationToken::new(),
        });
        let following = Arc::new(Following::default());
        let admin = Admin::new(Parts {
            shared: Arc::clone(&shared),
            changes: changes.clone(),
            tokens,
            join_tokens: join_tokens.clone(),
            following: Arc::clone(&following),
        });
        Ok(Self {
            shared,
            admin,
            changes,
            following,
            enrolment: EnrolmentService::new(store, authority, join_tokens.clone()),
            join_tokens,
            acceptor: TlsAcceptor::from(Arc::new(tls)),
            admin_listener,
            grpc_listener,
            admin_address,
            grpc_address,
            first_token,
            admin_token_path,
        })
    }

    /// Where the admin API listens.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Where nodes connect.
    #[must_use]
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// Where the first administrator's token is, if it was made here.
    #[must_use]
    pub fn admin_token_path(&self) -> &Path {
        &self.admin_token_path
    }

    /// What came of the first administrator's token.
    #[must_use]
    pub fn first_token(&self) -> &First {
        &self.first_token
    }

    /// Makes a join token for one node of a gateway, good for `ttl`: for nodes in the same process.
    ///
    /// # Errors
    ///
    /// Why it could not be made.
    pub async fn make_join_token(&self, gateway: &str, ttl: Duration) -> Result<Shown, JoinError> {
        let now = Timestamp::now();
        let ttl = SignedDuration::try_from(ttl).unwrap_or(SignedDuration::MAX);
        let new = NewJoinToken {
            gateway: gateway.to_owned(),
            created_by: "tollgate".to_owned(),
            expires_at: now.checked_add(ttl).unwrap_or(Timestamp::MAX),
            use_limit: Some(1),
        };
        let (_, shown) = self.join_tokens.create(new, now).await?;
        Ok(shown)
    }

    /// Runs until `shutdown`, then finishes what is under way, for 10 seconds at most.
    ///
    /// # Errors
    ///
    /// What ended it before.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RunError> {
        let (tasks, stopping) = (self.shared.tasks.clone(), self.shared.stopping.clone());
        tracing::info!(admin = %self.admin_address, grpc = %self.grpc_address, "the control plane runs");
        let shared = Arc::clone(&self.shared);
        let ended = self.serve(shutdown).await;
        stopping.cancel();
        finish(&tasks).await;
        shared.store.close().await;
        tracing::info!("the control plane has stopped");
        ended
    }

    /// Serves both ports until `shutdown`.
    async fn serve(self, shutdown: CancellationToken) -> Result<(), RunError> {
        let (tasks, stopping) = (self.shared.tasks.clone(), self.shared.stopping.clone());
        let log = Log { shared: Arc::clone(&self.shared), changes: self.changes };
        let (following, token) = (self.following, stopping.clone());
        tasks.spawn(async move { changelog::follow(log, &following, token).await });
        let (nodes, token) = (Arc::clone(&self.shared.nodes), stopping.clone());
        tasks.spawn(async move { nodes.keep(token).await });
        let (router, token, inner) = (admin::router(self.admin), stopping.clone(), tasks.clone());
        let listener = self.admin_listener;
        tasks.spawn(async move { admin::serve::serve(listener, router, &inner, token).await });

        let services = (SyncService::new(self.shared), self.enrolment);
        let serving =
            transport::serve(self.grpc_listener, self.acceptor, services, &tasks, stopping.clone());
        let mut serving = Box::pin(serving);
        let ended = tokio::select! {
            ended = &mut serving => ended,
            () = shutdown.cancelled() => {
                stopping.cancel();
                // Nodes close their connections; one that does not is left behind.
                tokio::time::timeout(STOP_LIMIT, serving).await.unwrap_or(Ok(()))
            }
        };
        Ok(ended?)
    }
}

fn tell(first: &First) {
    match first {
        First::Made(path) => {
            tracing::info!(file = %path.display(), "the first administrator's token is in a file");
        }
        First::Ignored => {
            tracing::warn!(
                "TOLLGATE_ADMIN_TOKEN is set and has no effect: the store has another \
                 administrator's token already, or this one was revoked; log in with one of the \
                 store's, or unset the variable"
            );
        }
        First::Given | First::Present => {}
    }
}

/// Waits for what is under way, but not for ever.
async fn finish(tasks: &TaskTracker) {
    tasks.close();
    if tokio::time::timeout(STOP_LIMIT, tasks.wait()).await.is_err() {
        tracing::warn!("not everything was finished in time");
    }
}

async fn listen(
    address: SocketAddr,
    what: &'static str,
    flag: &'static str,
    variable: &'static str,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let refused = |source| StartError::Listen { address, what, flag, variable, source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    Ok((listener, bound))
}

async fn master_key(settings: &Settings) -> Result<MasterKey, StartError> {
    if let Some(text) = &settings.master_key {
        return MasterKey::from_text(text.expose()).map_err(StartError::MasterKey);
    }
    let path = settings.master_key_path();
    let is_named = settings.master_key_file.is_some();
    let read = move || {
        // One that was named is not made up: the name may be wrong.
        if is_named { MasterKey::from_file(&path) } else { MasterKey::from_file_or_new(&path) }
    };
    let key = tokio::task::spawn_blocking(read).await;
    key.unwrap_or(Err(SealError::Cipher)).map_err(StartError::MasterKey)
}

fn key_trouble(error: SealError) -> StartError {
    match error {
        SealError::Store(error) => StartError::Store(error),
        error @ (SealError::KeyFile { .. }
        | SealError::KeyText
        | SealError::WrongKey
        | SealError::Damaged { .. }
        | SealError::Cipher
        | SealError::NotHashed(_)) => StartError::MasterKey(error),
    }
}

/// What nodes may call this control plane by.
fn names(settings: &Settings, bound: SocketAddr) -> Vec<String> {
    let own =
        ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned(), bound.ip().to_string()];
    let given = settings.grpc_name.iter().map(|name| name.trim().to_owned());
    own.into_iter().chain(given.filter(|name| !name.is_empty())).collect()
}

/// Tells this process from all others of the store.
fn process_name() -> Result<String, StartError> {
    let mut bytes = [0_u8; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_unspecified| StartError::Random)?;
    Ok(crate::seal::to_hex(&bytes))
}
