//! A server in this process, on a free loopback port, with a database of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::auth::{AuthUser, Grant, TokenKind};
use api::config::{AlertSettings, Config, MinerSettings, Mode, Switch};
use api::server::Running;
use api::surface::Surface;
use chrono::TimeDelta;
use commands::Clock;
use commands::gateways::market::MarketData;
use commands::gateways::readings::BatteryReadings;
use data_encoding::BASE64URL_NOPAD;
use domain::identity::plan::Plan;
use domain::identity::role::Role;
use domain::log::Log;
use domain::metadata::{TenantId, UserId};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::answer::Answer;
use crate::engine::Engine;
use crate::fresh_id;
use crate::postgres::Database;
use crate::program::{ADMIN_EMAIL, ADMIN_PASSWORD};

/// How long a test waits for what must happen.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// A running server. It stops with this value; its data go with it.
pub struct TestServer {
    pub log: Arc<dyn Log>,
    pub models: projections::ReadModels,
    address: SocketAddr,
    app: api::app::App,
    _serving: Serving,
    // Dropped after the server.
    data: TempDir,
    _database: Option<Database>,
}

impl TestServer {
    /// A server on `engine` with nobody but its owner, rate limits off.
    pub async fn start(engine: Engine) -> Self {
        Self::start_by(engine, Clock::system()).await
    }

    /// The same, by a clock that the test turns.
    pub async fn start_by(engine: Engine, clock: Clock) -> Self {
        Self::start_as(engine, settings(), clock).await
    }

    /// A server on `engine` with these settings, by a clock that the test turns.
    pub async fn start_as(engine: Engine, config: Config, clock: Clock) -> Self {
        let database = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(Database::create().await),
        };
        let config = Config { database_url: database.as_ref().map(Database::url), ..config };
        Self { _database: database, ..Self::run(config, clock).await }
    }

    /// A server with these settings, but a data directory of its own.
    pub async fn start_with(config: Config) -> Self {
        Self::run(config, Clock::system()).await
    }

    /// The directory of its data.
    pub fn data_dir(&self) -> &std::path::Path {
        self.data.path()
    }

    /// Makes the server, which is on SQLite, forget what it answered under an idempotency key: as if it had died after
    /// the commands of the request and before the answer was kept.
    pub fn lose_answer(&self, key: &str) {
        let log = rusqlite::Connection::open(self.data.path().join("log.db")).unwrap();
        log.busy_timeout(WAIT_MAX).unwrap();
        log.execute_batch("DROP TRIGGER commands_are_answered_once").unwrap();
        let lost = log.execute("UPDATE commands SET answer = NULL WHERE key = 'http:' || ?1", [key]).unwrap();
        assert_eq!(lost, 1, "no answer is kept under {key}");
    }

    /// Registers somebody with Zinnia, and signs in.
    pub async fn zinnia_user(&self, name: &str) -> Client {
        let (anonymous, password) = (self.anonymous(), "SecurePass123!");
        let body = json!({ "email": format!("{name}@example.com"), "username": name, "password": password });
        anonymous.post("/api/v1/users/register", body).await.expect(201);
        let entered = anonymous.post("/api/v1/users/login", json!({ "login": name, "password": password })).await;
        anonymous.with_token(entered.expect(200).at("/data/access_token").as_str().unwrap())
    }

    async fn run(config: Config, clock: Clock) -> Self {
        let data = TempDir::new().unwrap();
        let config = Config { data_dir: data.path().to_owned(), ..config };
        let running = Running::start(config, clock).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (log, models, app) = (Arc::clone(&running.storage().log), running.storage().models.clone(), running.app());
        let serving = tokio::spawn(async move { running.serve(listener, std::future::pending()).await.unwrap() });
        Self { log, models, address, app, _serving: Serving(serving), data, _database: None }
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client of `surface` that is not signed in.
    pub fn anonymous(&self) -> Client {
        Client::anonymous(self.address)
    }

    /// A client of `surface` with a token for a user of `role` in `tenant`, without a registration behind it.
    pub fn signed_in(&self, surface: Surface, role: Role, tenant: TenantId) -> Client {
        let plan = Plan::of_role(role);
        let user = AuthUser { id: UserId(fresh_id()), tenant, role, plan, customer_id: None, session: fresh_id() };
        let (now, kind) = (self.app.clock().now(), TokenKind::Access);
        let expires_at = now + TimeDelta::days(365);
        let grant = Grant { user: user.id, session: user.session, kind, surface, id: fresh_id(), expires_at };
        let token = self.app.tokens.sign(grant, now);
        self.app.sessions.admit(user, expires_at);
        Client { token: Some(token.unwrap()), ..self.anonymous() }
    }

    /// An administrator of the default tenant.
    pub fn admin(&self, surface: Surface) -> Client {
        self.signed_in(surface, Role::Owner, TenantId::DEFAULT)
    }

    /// A plain user of the default tenant.
    pub fn user(&self, surface: Surface) -> Client {
        self.signed_in(surface, Role::User, TenantId::DEFAULT)
    }

    /// The settings it runs with.
    pub fn config(&self) -> &Config {
        &self.app.config
    }

    /// Its battery readings.
    pub fn readings(&self) -> Arc<dyn BatteryReadings> {
        Arc::clone(&self.app.readings)
    }

    /// What its handlers reach.
    pub fn app(&self) -> &api::app::Server {
        &self.app
    }

    /// Its market data.
    pub fn market(&self) -> &dyn MarketData {
        self.app.market.as_ref()
    }

    /// Asks `client` for a list until it shows what `done` looks for.
    pub async fn get_until(&self, client: &Client, path: &str, done: impl Fn(&Answer) -> bool) -> Answer {
        let mut last = None;
        let asking = async {
            loop {
                let head = self.head().await;
                let answer = client.with("Corelog-Min-Position", &head.to_string()).get(path).await.expect(200);
                if done(&answer) {
                    return answer;
                }
                last = Some(answer);
                self.log.grown(head).await;
            }
        };
        let answer = tokio::time::timeout(WAIT_MAX, asking).await;
        answer.unwrap_or_else(|_| panic!("{path} never shows it: {last:?}"))
    }

    /// The highest position of the log: unchanged when nothing was appended.
    pub async fn head(&self) -> u64 {
        self.log.head().await.unwrap()
    }
}

/// Stops serving when it is dropped.
struct Serving(JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The settings of every test server: no limits on requests, and little patience with miners.
pub fn settings() -> Config {
    let miners = MinerSettings {
        tries_max: 2,
        try_again_ms: 20,
        read_every_ms: 50,
        patience_ms: Some(2_000),
        connect_ms: 1_000,
        ..MinerSettings::default()
    };
    Config {
        admin_email: ADMIN_EMAIL.to_owned(),
        admin_password: Some(ADMIN_PASSWORD.to_owned()),
        rate_limits: Switch::Off,
        mode: Mode::Development,
        miners,
        // Receivers of tests are on this machine.
        alerts: AlertSettings { check_every_ms: 1_000, retry_after_ms: [20, 20, 20], allow_private_targets: true },
        ..Config::default()
    }
}

/// Somebody who calls the server.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
    headers: Vec<(String, String)>,
}

impl Client {
    /// Somebody who is not signed in.
    pub fn anonymous(address: SocketAddr) -> Self {
        // Redirects are answers like any other.
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { http, url: format!("http://{address}"), token: None, headers: Vec::new() }
    }

    /// The same client, showing a token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The id of the user whose token it shows.
    pub fn user_id(&self) -> Uuid {
        let claims = self.token.as_deref().unwrap().split('.').nth(1).unwrap();
        let claims: Value = serde_json::from_slice(&BASE64URL_NOPAD.decode(claims.as_bytes()).unwrap()).unwrap();
        claims["sub"].as_str().unwrap().parse().unwrap()
    }

    /// The same client, calling another address.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Self {
        Self { token: self.token.clone(), headers: self.headers.clone(), ..Self::anonymous(address) }
    }

    /// The same client, sending one more header.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    /// The token that it shows.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body.to_string())).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, Some(body.to_string())).await
    }

    /// Sends a form as a browser does.
    pub async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        Answer::read(self.request(Method::POST, path).form(fields).send().await.unwrap()).await.unwrap()
    }

    /// A request with any body, or none. Fails when the server does not answer.
    pub async fn send(&self, method: Method, path: &str, body: Option<String>) -> Answer {
        self.try_send(method, path, body).await.unwrap()
    }

    /// A request that may find nobody, or be cut off.
    pub async fn try_send(&self, method: Method, path: &str, body: Option<String>) -> Result<Answer, reqwest::Error> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        Answer::read(request.send().await?).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request
    }
}
