//! The composition root: opens the log and the read models, starts the readers, listens, drains.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use commands::gateways::alert_watch::{self, AlertWatch};
use commands::gateways::curtailment_clock::CurtailmentClock;
use commands::gateways::gpu_server_clock::GpuServerClock;
use commands::gateways::heartbeats::Heartbeats;
use commands::gateways::log_lines::{LineQueue, LineWriter, UserActions};
use commands::gateways::mail::MailGateway;
use commands::gateways::miner_orders::MinerOrders;
use commands::gateways::miners::AsicMiners;
use commands::gateways::notifications::{Notifications, Outside, Words};
use commands::gateways::task_clock::TaskClock;
use commands::gateways::{Gateway, GatewayRunner};
use commands::processes::{self, ProcessRunner};
use commands::{Clock, CommandBus, Holdups, Readers, Turns};
use projections::{Runner, catalogue, checkpoint};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::app::{App, Server};
use crate::as_of::PastLists;
use crate::auth::first_start::{self, FirstOwner};
use crate::auth::{OpenSessions, Tokens, UnknownLogins};
use crate::config::Config;
use crate::current::CurrentModels;
use crate::limits::Limits;
use crate::log_lines;
use crate::market;
use crate::metrics;
use crate::readings;
use crate::router::router;
use crate::secrets::Secrets;
use crate::storage::{Storage, data_dir, place_of_log};
use crate::zinnia::alert_words;
use crate::zinnia::code_limits::CodeLimits;
use crate::zinnia::known_devices::KnownDevices;
use crate::zinnia::live::LiveFeed;
use crate::zinnia::notification_preferences::vapid_key;
use crate::zinnia::token_usage::TokenUsage;

/// How long a server that stops waits for what it writes last.
const LAST_LINES_MAX: Duration = Duration::from_secs(5);

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

impl StartError {
    pub(crate) fn because(what: &str, error: &dyn std::fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }
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
        let (app, followers) = assembled(config, clock, &storage).await?;
        let mut readers = JoinSet::new();
        followers.start(&app, &storage.leading, &mut readers);
        start_gateways(&app, &storage.leading, &mut readers)?;
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
        let mut readers = self.readers;
        let served = tokio::select! {
            served = axum::serve(listener, service).with_graceful_shutdown(stop) => served,
            broken = broken(&mut readers) => return Err(broken),
        };
        // The last lines may be the ones that matter, unless there is nobody to take them.
        match tokio::time::timeout(LAST_LINES_MAX, self.app.line_queue.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last log lines were not kept"),
            Err(_) => tracing::warn!("the last log lines were not kept in time"),
        }
        // Until the last answer is given the readers go on, because answers wait for them.
        drop(readers);
        let usage = self.app.token_usage.write_down(self.app.models.as_they_are());
        if tokio::time::timeout(LAST_LINES_MAX, usage).await.is_err() {
            tracing::warn!("the last uses of tokens were not kept in time");
        }
        served
    }
}

/// Returns when one of `readers` has panicked: answers would wait for it, and lists stand still, until the server is
/// started again.
async fn broken(readers: &mut JoinSet<()>) -> std::io::Error {
    while let Some(ended) = readers.join_next().await {
        if let Err(error) = ended.map_err(|error| error.to_string()) {
            tracing::error!(critical = true, error, "a reader of the log broke down");
            return std::io::Error::other(format!("a reader of the log broke down: {error}"));
        }
    }
    std::future::pending().await
}

/// What moves along the log beside the requests, ready to start.
struct Followers {
    projections: Runner,
    processes: ProcessRunner,
    line_writer: LineWriter,
    actions: UserActions,
    /// What handlers know of the leadership.
    leads: watch::Sender<bool>,
    /// Where the log ends.
    head: u64,
}

/// Everything that handlers reach, over read models that are up to date.
async fn assembled(config: Config, clock: Clock, storage: &Storage) -> Result<(App, Followers), StartError> {
    let head = storage.log.head().await;
    let head = head.map_err(|error| StartError::because("the log does not answer", &error))?;
    let secrets = secrets(&config, head)?;
    let log_lines = log_lines::open(&config).await?;
    let (line_queue, line_writer) = LineQueue::new(Arc::clone(&log_lines), clock.clone());
    let actions = UserActions::new(Arc::clone(&storage.log), Arc::clone(&log_lines));
    let heartbeats = Arc::new(Heartbeats::default());
    let bus = Arc::new(CommandBus::new(Arc::clone(&storage.log), clock));
    let projections = up_to_date(storage).await?;
    let holdups = Arc::new(Holdups::default());
    let processes = ProcessRunner::new(Arc::clone(&bus), processes::all(), Arc::clone(&holdups));
    let leads = watch::Sender::new(*storage.leading.borrow());
    let alone = storage.log.of_one_server();
    let readers = Readers::new(projections.position(), projections.wanted(), processes.handled(), alone);
    let app = Arc::new(Server {
        models: CurrentModels::new(storage.models.clone(), readers.clone(), projections.paused()),
        readers,
        statuses: projections.statuses(),
        paused: projections.paused(),
        holdups,
        leading: leads.subscribe(),
        past: PastLists::default(),
        market: market::open(&config).await?,
        readings: readings::open(&config).await?,
        heartbeats,
        turns: Turns::new(),
        key_turns: Turns::new(),
        log_lines,
        line_queue,
        actions: actions.progress(),
        tokens: Tokens::new(&secrets),
        sessions: OpenSessions::following(head),
        unknown_logins: UnknownLogins::default(),
        limits: Limits::new(&config),
        metrics: metrics::recorder(),
        devices: KnownDevices::following(head),
        token_usage: TokenUsage::default(),
        code_limits: CodeLimits::default(),
        live: LiveFeed::default(),
        outside: outside(&config)?,
        secrets,
        config,
        bus,
    });
    Ok((app, Followers { projections, processes, line_writer, actions, leads, head }))
}

/// Refuses a log that ends before what was made of it: one of the two is of another time, and what comes next would be
/// taken for known.
async fn check_end_of_log(storage: &Storage) -> Result<(), StartError> {
    let checkpoints = checkpoint::load_all(&storage.models.read).await;
    let checkpoints = checkpoints.map_err(|error| StartError::because("the read models do not answer", &error))?;
    // Tables of former versions are not read any more.
    let present = catalogue();
    let positions = present.iter().filter_map(|projector| checkpoints.get(projector.table())).map(|seen| seen.position);
    let seen = positions.max().unwrap_or(0);
    let no_answer = |error| StartError::because("the log does not answer", &error);
    let handled = storage.log.reader_positions().await.map_err(no_answer)?;
    let head = storage.log.head().await.map_err(no_answer)?;
    let of_log = |reader: &str| reader != alert_watch::READER;
    if let Some((reader, position)) = handled.into_iter().find(|(name, position)| of_log(name) && *position > head) {
        let what = format!("{reader} has handled events up to {position}, but the log ends at {head}");
        return Err(StartError(format!("{what}: it is not whole")));
    }
    if seen > head {
        let what = format!("the read models know events up to {seen}, but the log ends at {head}");
        let remedy = "`corelog replay rebuild` makes them anew";
        return Err(StartError(format!(
            "{what}: one of them is of another time. If the log is the right one, {remedy}"
        )));
    }
    Ok(())
}

/// The projections, which a server that leads brings up to date before it answers anybody.
async fn up_to_date(storage: &Storage) -> Result<Runner, StartError> {
    check_end_of_log(storage).await?;
    let mut projections = Runner::new(Arc::clone(&storage.log), &storage.models, catalogue());
    if *storage.leading.borrow() {
        let caught_up = projections.catch_up().await;
        caught_up.map_err(|error| {
            StartError(format!(
                "the read models cannot be brought up to date: {error}. If it is for what is in them, `corelog replay \
                 rebuild` makes them anew"
            ))
        })?;
    }
    Ok(projections)
}

impl Followers {
    fn start(self, app: &App, leading: &watch::Receiver<bool>, readers: &mut JoinSet<()>) {
        let Self { projections, processes, line_writer, actions, leads, head } = self;
        readers.spawn(pass_on(leading.clone(), leads));
        readers.spawn(projections.run(leading.clone()));
        readers.spawn(processes.run(leading.clone()));
        readers.spawn(line_writer.run(app.config.log_lines.retention(), leading.clone()));
        readers.spawn(actions.run(leading.clone()));
        readers.spawn(OpenSessions::follow(Arc::clone(app)));
        readers.spawn(KnownDevices::follow(Arc::clone(app)));
        readers.spawn(LiveFeed::follow_log(Arc::clone(app), head));
        readers.spawn(LiveFeed::follow_readings(Arc::clone(app)));
        readers.spawn(TokenUsage::keep_writing(Arc::clone(app)));
        readers.spawn(metrics::keep_up(app.metrics.clone()));
    }
}

/// Tells handlers whether this server leads. They do not hold the leadership itself: a connection may outlive the server,
/// which would never let go of it.
async fn pass_on(mut leading: watch::Receiver<bool>, told: watch::Sender<bool>) {
    loop {
        told.send_replace(*leading.borrow_and_update());
        if leading.changed().await.is_err() {
            return;
        }
    }
}

/// Starts what acts on the world outside, or looks at it.
fn start_gateways(app: &App, leading: &watch::Receiver<bool>, readers: &mut JoinSet<()>) -> Result<(), StartError> {
    for gateway in gateways(app)? {
        let runner = GatewayRunner::new(Arc::clone(&app.bus), gateway, Arc::clone(&app.holdups));
        readers.spawn(runner.run(leading.clone()));
    }
    let (bus, readings, holdups) = (Arc::clone(&app.bus), Arc::clone(&app.readings), Arc::clone(&app.holdups));
    let watch = AlertWatch::new(bus, readings, app.config.alerts.check_every(), holdups);
    readers.spawn(watch.run(leading.clone()));
    readers.spawn(readings::drop_old(Arc::clone(app), leading.clone()));
    readers.spawn(readings::listen_to_broker(Arc::clone(app), leading.clone()));
    Ok(())
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
        Arc::new(GpuServerClock::new(Arc::clone(&app.heartbeats), app.config.agents.patience())),
        Arc::new(TaskClock::new(Arc::clone(&app.heartbeats))),
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

/// The secret, for a log that ends at `head`.
fn secrets(config: &Config, head: u64) -> Result<Secrets, StartError> {
    if let Some(secrets) = config.secret_key.as_deref().and_then(Secrets::from_hex) {
        return Ok(secrets);
    }
    let path = data_dir(config)?.join("secret.key");
    if head == 0 && path.exists() {
        let (secret, log) = (path.display(), place_of_log(config));
        tracing::warn!(%secret, log, "there is a secret of an earlier installation, but nothing in the log: was it lost?");
    }
    if head > 0 && !path.exists() {
        let secret = path.display();
        let lost = "codes, device keys, tokens and sealed secrets in the log that were made with another one are worth nothing";
        tracing::warn!(%secret, "the log has events, but there is no secret: one is made, and {lost}");
    }
    Secrets::open(&path)
        .map_err(|error| StartError::because(&format!("the secret in {} cannot be used", path.display()), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_panics_is_told_and_one_that_is_done_is_not() {
        let mut readers = JoinSet::new();
        readers.spawn(async {});
        readers.spawn(async { panic!("out of its mind") });
        let error = broken(&mut readers).await;
        assert!(error.to_string().contains("out of its mind"), "{error}");
    }
}
