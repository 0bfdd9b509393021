//! The composition root: opens the log and the read models, starts the readers, listens, drains.

use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::serve::ListenerExt;
use commands::gateways::alert_watch::AlertWatch;
use commands::gateways::curtailment_clock::CurtailmentClock;
use commands::gateways::fleet::Fleet;
use commands::gateways::gpu_server_clock::GpuServerClock;
use commands::gateways::log_lines::{LineQueue, UserActions};
use commands::gateways::mail::MailGateway;
use commands::gateways::miner_orders::MinerOrders;
use commands::gateways::miners::AsicMiners;
use commands::gateways::notifications::{Notifications, Outside, Words};
use commands::gateways::task_clock::TaskClock;
use commands::gateways::{Gateway, GatewayRunner};
use commands::log::{
    PostgresLog, PostgresOptions, PostgresRestore, ReadOnlySqliteLog, Restore, SqliteLog, SqliteRestore,
};
use commands::processes::{self, ProcessRunner};
use commands::{Clock, CommandBus, Readers, Turns};
use domain::log::Log;
use projections::{ReadModels, Runner, catalogue};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::app::{App, Server};
use crate::as_of::PastLists;
use crate::auth::first_start::{self, FirstOwner};
use crate::auth::{OpenSessions, Tokens};
use crate::config::Config;
use crate::limits::Limits;
use crate::log_lines;
use crate::market;
use crate::metrics;
use crate::readings;
use crate::router::router;
use crate::secrets::Secrets;
use crate::zinnia::alert_words;
use crate::zinnia::code_limits::CodeLimits;
use crate::zinnia::known_devices::KnownDevices;
use crate::zinnia::live::LiveFeed;
use crate::zinnia::notification_preferences::vapid_key;
use crate::zinnia::token_usage::TokenUsage;

const LOG_FILE: &str = "log.db";
const READ_MODELS_FILE: &str = "read.db";

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
            Some(url) => {
                let log = postgres_log(url).await?;
                let leading = log.lead().await;
                Self { log: Arc::new(log), models: postgres_models(url).await?, leading }
            }
            None => {
                let directory = &config.data_dir;
                fs::create_dir_all(directory).map_err(|error| in_directory(directory, &error))?;
                let log =
                    SqliteLog::open(&directory.join(LOG_FILE)).map_err(|error| in_directory(directory, &error))?;
                let leading = watch::Sender::new(true).subscribe();
                Self { log: Arc::new(log), models: sqlite_models(directory).await?, leading }
            }
        };
        storage.with_tables().await
    }

    /// Opens what `config` names for looking at its history, while a server may run on it. It never leads, and a log in
    /// a file can only be read.
    ///
    /// # Errors
    /// A sentence that says what could not be opened.
    pub async fn history(config: &Config) -> Result<Self, StartError> {
        let leading = watch::Sender::new(false).subscribe();
        let storage = match &config.database_url {
            Some(url) => Self { log: Arc::new(postgres_log(url).await?), models: postgres_models(url).await?, leading },
            None => {
                let directory = &config.data_dir;
                let log = ReadOnlySqliteLog::open(&directory.join(LOG_FILE));
                let log = log.map_err(|error| in_directory(directory, &error))?;
                Self { log: Arc::new(log), models: sqlite_models(directory).await?, leading }
            }
        };
        storage.with_tables().await
    }

    /// Begins to fill the log that `config` names, which must be empty.
    ///
    /// # Errors
    /// A sentence that says why it cannot be filled.
    pub async fn restore(config: &Config) -> Result<Box<dyn Restore>, StartError> {
        match &config.database_url {
            Some(url) => Ok(Box::new(PostgresRestore::begin(url).await.map_err(|error| in_database(&error))?)),
            None => {
                let directory = &config.data_dir;
                fs::create_dir_all(directory).map_err(|error| in_directory(directory, &error))?;
                let restore = SqliteRestore::begin(&directory.join(LOG_FILE));
                Ok(Box::new(restore.map_err(|error| in_directory(directory, &error))?))
            }
        }
    }

    async fn with_tables(self) -> Result<Self, StartError> {
        let tables = self.models.create_tables(&catalogue()).await;
        tables.map_err(|error| StartError::because("the tables of the read models cannot be created", &error))?;
        Ok(self)
    }
}

fn in_directory(directory: &Path, error: &dyn std::fmt::Display) -> StartError {
    let setting = format!("the setting data_dir (CORELOG_DATA_DIR) {} cannot be used", directory.display());
    StartError::because(&setting, error)
}

fn in_database(error: &dyn std::fmt::Display) -> StartError {
    StartError::because("the setting database_url (CORELOG_DATABASE_URL) cannot be used", error)
}

async fn sqlite_models(directory: &Path) -> Result<ReadModels, StartError> {
    ReadModels::sqlite(&directory.join(READ_MODELS_FILE)).await.map_err(|error| in_directory(directory, &error))
}

async fn postgres_log(url: &str) -> Result<PostgresLog, StartError> {
    PostgresLog::connect(url, PostgresOptions::default()).await.map_err(|error| in_database(&error))
}

async fn postgres_models(url: &str) -> Result<ReadModels, StartError> {
    ReadModels::postgres(url).await.map_err(|error| in_database(&error))
}

/// A server that is ready to listen.
pub struct Running {
    app: App,
    storage: Storage,
    /// The readers; they end with this value.
    readers: JoinSet<()>,
    first_owner: Option<FirstOwner>,
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
        let battery_readings = readings::open(&config).await?;
        let fleet = Arc::new(Fleet::new(clock.now()));
        let log_lines = log_lines::open(&config).await?;
        let (line_queue, line_writer) = LineQueue::new(Arc::clone(&log_lines), clock.clone());
        let actions = UserActions::new(Arc::clone(&storage.log), Arc::clone(&log_lines));
        let bus = Arc::new(CommandBus::new(Arc::clone(&storage.log), clock));
        let mut projections = Runner::new(Arc::clone(&storage.log), &storage.models, catalogue());
        if *storage.leading.borrow() {
            let caught_up = projections.catch_up().await;
            caught_up.map_err(|error| StartError::because("the read models cannot be brought up to date", &error))?;
        }
        let head = storage.log.head().await;
        let head = head.map_err(|error| StartError::because("the log does not answer", &error))?;
        let processes = ProcessRunner::new(Arc::clone(&bus), processes::all());
        let app = Arc::new(Server {
            readers: Readers::new(projections.position(), processes.handled()),
            statuses: projections.statuses(),
            models: storage.models.clone(),
            past: PastLists::default(),
            market,
            readings: battery_readings,
            fleet,
            submissions: Turns::new(),
            log_lines,
            line_queue,
            actions: actions.progress(),
            tokens: Tokens::new(&secrets),
            sessions: OpenSessions::following(head),
            limits: Limits::new(&config),
            metrics: metrics::recorder(),
            devices: KnownDevices::following(head),
            token_usage: TokenUsage::default(),
            code_limits: CodeLimits::default(),
            live: LiveFeed::default(),
            outside: outside(&config)?,
            secrets,
            config,
            bus: Arc::clone(&bus),
        });
        let mut readers = JoinSet::new();
        readers.spawn(projections.run(storage.leading.clone()));
        readers.spawn(processes.run(storage.leading.clone()));
        for gateway in gateways(&app)? {
            readers.spawn(GatewayRunner::new(Arc::clone(&bus), gateway).run(storage.leading.clone()));
        }
        readers.spawn(OpenSessions::follow(Arc::clone(&app)));
        readers.spawn(line_writer.run(app.config.log_lines.retention(), storage.leading.clone()));
        readers.spawn(actions.run(storage.leading.clone()));
        readers.spawn(metrics::keep_up(app.metrics.clone()));
        readers.spawn(KnownDevices::follow(Arc::clone(&app)));
        readers.spawn(TokenUsage::keep_writing(Arc::clone(&app)));
        let watch = AlertWatch::new(Arc::clone(&bus), Arc::clone(&app.readings), app.config.alerts.check_every());
        readers.spawn(watch.run(storage.leading.clone()));
        readers.spawn(LiveFeed::follow_readings(Arc::clone(&app)));
        readers.spawn(LiveFeed::follow_log(Arc::clone(&app), head));
        readers.spawn(readings::drop_old(Arc::clone(&app), storage.leading.clone()));
        readers.spawn(readings::listen_to_broker(Arc::clone(&app), storage.leading.clone()));
        let first_owner = first_start::make_owner(&app).await;
        let first_owner = first_owner.map_err(|error| {
            StartError::because("the owner (admin_email, admin_password) cannot be registered", &error.message)
        })?;
        Ok(Self { app, storage, readers, first_owner })
    }

    /// What handlers reach.
    pub fn app(&self) -> App {
        Arc::clone(&self.app)
    }

    /// The owner that this start made, if it was the first.
    pub fn first_owner(&self) -> Option<&FirstOwner> {
        self.first_owner.as_ref()
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
        // An answer that is written in parts does not wait for the client to say that it got the first.
        let listener = listener.tap_io(|connection| {
            let _ = connection.set_nodelay(true);
        });
        let served = axum::serve(listener, service).with_graceful_shutdown(stop).await;
        // The last lines may be the ones that matter.
        if let Err(error) = self.app.line_queue.keep(Vec::new()).await {
            tracing::warn!(%error, "the last log lines were not kept");
        }
        // Until the last answer is given the readers go on, because answers wait for them.
        drop(self.readers);
        self.app.token_usage.write_down(&self.app.models).await;
        served
    }
}

/// Every gateway there is. A new one is one line here.
fn gateways(app: &Server) -> Result<Vec<Arc<dyn Gateway>>, StartError> {
    let Config { miners, mail, .. } = &app.config;
    let mail_server = mail.server().map_err(|error| StartError::because("the section mail cannot be used", &error))?;
    let asic = Arc::new(AsicMiners::new(miners.conversation()));
    Ok(vec![
        Arc::new(CurtailmentClock),
        Arc::new(MinerOrders::new(asic, miners.credentials(), miners.orders())),
        Arc::new(MailGateway::new(mail_server, Arc::new(app.secrets.clone()), mail.limits())),
        Arc::new(notifications(app)?),
        Arc::new(GpuServerClock::new(Arc::clone(&app.fleet), app.config.agents.patience())),
        Arc::new(TaskClock::new(Arc::clone(&app.fleet))),
    ])
}

fn notifications(app: &Server) -> Result<Notifications, StartError> {
    let words = Words { sentence: alert_words::sentence, level: alert_words::level };
    let vapid = vapid_key(app).map_err(|error| StartError::because("web push cannot be signed", &error.message))?;
    let (outside, secrets) = (app.outside.clone(), Arc::new(app.secrets.clone()));
    Ok(Notifications::new(outside, secrets, words, vapid, app.config.alerts.retry_after()))
}

fn outside(config: &Config) -> Result<Outside, StartError> {
    let outside = Outside::new(config.alerts.private_targets());
    outside.map_err(|error| StartError::because("no client can be made for addresses of users", &error))
}

fn secrets(config: &Config) -> Result<Secrets, StartError> {
    if let Some(secrets) = config.secret_key.as_deref().and_then(Secrets::from_hex) {
        return Ok(secrets);
    }
    let path = config.data_dir.join("secret.key");
    let opened = fs::create_dir_all(&config.data_dir).and_then(|()| Secrets::open(&path));
    opened.map_err(|error| StartError::because(&format!("the secret in {} cannot be used", path.display()), &error))
}
