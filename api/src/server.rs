//! The composition root: opens the log and the read models, starts the readers, listens, drains.

use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use commands::gateways::curtailment_clock::CurtailmentClock;
use commands::gateways::miner_orders::MinerOrders;
use commands::gateways::miners::AsicMiners;
use commands::gateways::{Gateway, GatewayRunner};
use commands::log::{PostgresLog, PostgresOptions, SqliteLog};
use commands::processes::{self, ProcessRunner};
use commands::{Clock, CommandBus, Readers};
use domain::log::Log;
use metrics_exporter_prometheus::PrometheusBuilder;
use projections::{ReadModels, Runner, catalogue};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::app::{App, Server};
use crate::as_of::PastLists;
use crate::auth::Tokens;
use crate::config::{Config, MinerSettings, Switch};
use crate::limits::Limits;
use crate::market;
use crate::router::router;
use crate::secrets::Secrets;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

impl StartError {
    pub(crate) fn because(what: &str, error: &dyn std::fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }
}

/// The log and the read models of an installation.
pub struct Storage {
    pub log: Arc<dyn Log>,
    pub models: ReadModels,
    /// Whether this server drives projections, processes and gateways: one of those on one database does.
    pub leading: watch::Receiver<bool>,
}

impl Storage {
    /// Opens what `config` names and creates the tables that are missing.
    ///
    /// # Errors
    /// A sentence that says what could not be opened.
    pub async fn open(config: &Config) -> Result<Self, StartError> {
        let storage = match &config.database_url {
            Some(url) => Self::postgres(url).await?,
            None => Self::sqlite(&config.data_dir).await?,
        };
        let tables = storage.models.create_tables(&catalogue()).await;
        tables.map_err(|error| StartError::because("the tables of the read models cannot be created", &error))?;
        Ok(storage)
    }

    async fn sqlite(data_dir: &Path) -> Result<Self, StartError> {
        let place = |error: &dyn std::fmt::Display| {
            StartError::because(
                &format!("the setting data_dir (CORELOG_DATA_DIR) {} cannot be used", data_dir.display()),
                error,
            )
        };
        fs::create_dir_all(data_dir).map_err(|error| place(&error))?;
        let log = SqliteLog::open(&data_dir.join("log.db")).map_err(|error| place(&error))?;
        let models = ReadModels::sqlite(&data_dir.join("read.db")).await.map_err(|error| place(&error))?;
        Ok(Self { log: Arc::new(log), models, leading: watch::Sender::new(true).subscribe() })
    }

    async fn postgres(url: &str) -> Result<Self, StartError> {
        let place = |error: &dyn std::fmt::Display| {
            StartError::because("the setting database_url (CORELOG_DATABASE_URL) cannot be used", error)
        };
        let log = PostgresLog::connect(url, PostgresOptions::default()).await.map_err(|error| place(&error))?;
        let leading = log.lead().await;
        let models = ReadModels::postgres(url).await.map_err(|error| place(&error))?;
        Ok(Self { log: Arc::new(log), models, leading })
    }
}

/// A server that is ready to listen.
pub struct Running {
    app: App,
    storage: Storage,
    /// The readers; they end with this value.
    readers: JoinSet<()>,
}

impl Running {
    /// Opens everything, brings the read models up to date, and starts the readers.
    ///
    /// # Errors
    /// A sentence that says what could not be opened.
    pub async fn start(config: Config, clock: Clock) -> Result<Self, StartError> {
        let storage = Storage::open(&config).await?;
        let secrets = secrets(&config)?;
        let market = market::open(&config).await?;
        let bus = Arc::new(CommandBus::new(Arc::clone(&storage.log), clock));
        let mut projections = Runner::new(Arc::clone(&storage.log), storage.models.write.clone(), catalogue());
        if *storage.leading.borrow() {
            let caught_up = projections.catch_up().await;
            caught_up.map_err(|error| StartError::because("the read models cannot be brought up to date", &error))?;
        }
        let processes = ProcessRunner::new(Arc::clone(&bus), processes::all());
        let app = Arc::new(Server {
            readers: Readers::new(projections.position(), processes.handled()),
            statuses: projections.statuses(),
            models: storage.models.clone(),
            past: PastLists::default(),
            market,
            tokens: Tokens::new(&secrets),
            limits: Limits::new(config.rate_limits == Switch::On),
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            secrets,
            config,
            bus: Arc::clone(&bus),
        });
        let mut readers = JoinSet::new();
        readers.spawn(projections.run(storage.leading.clone()));
        readers.spawn(processes.run(storage.leading.clone()));
        for gateway in gateways(&app.config.miners) {
            readers.spawn(GatewayRunner::new(Arc::clone(&bus), gateway).run(storage.leading.clone()));
        }
        Ok(Self { app, storage, readers })
    }

    /// What handlers reach.
    pub fn app(&self) -> App {
        Arc::clone(&self.app)
    }

    /// Where the events and the read models are.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Serves on `listener` until `stop`, then finishes the requests that have begun.
    ///
    /// # Errors
    /// What the network said.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let service = router(&self.app).into_make_service_with_connect_info::<SocketAddr>();
        let served = axum::serve(listener, service).with_graceful_shutdown(stop).await;
        // Until the last answer is given the readers go on, because answers wait for them.
        drop(self.readers);
        served
    }
}

/// Every gateway there is. A new one is one line here.
fn gateways(miners: &MinerSettings) -> Vec<Arc<dyn Gateway>> {
    let asic = Arc::new(AsicMiners::new(miners.conversation()));
    vec![Arc::new(CurtailmentClock), Arc::new(MinerOrders::new(asic, miners.credentials(), miners.orders()))]
}

fn secrets(config: &Config) -> Result<Secrets, StartError> {
    if let Some(secrets) = config.secret_key.as_deref().and_then(Secrets::from_hex) {
        return Ok(secrets);
    }
    let path = config.data_dir.join("secret.key");
    let opened = fs::create_dir_all(&config.data_dir).and_then(|()| Secrets::open(&path));
    opened.map_err(|error| StartError::because(&format!("the secret in {} cannot be used", path.display()), &error))
}
