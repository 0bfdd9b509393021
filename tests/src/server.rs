//! A server in this process, on a free loopback port, with a database of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use api::auth::AuthUser;
use api::config::{Config, Mode, Switch};
use api::server::Running;
use api::surface::Surface;
use chrono::TimeDelta;
use commands::Clock;
use commands::gateways::market::MarketData;
use data_encoding::BASE64URL_NOPAD;
use domain::identity::role::Role;
use domain::log::Log;
use domain::metadata::{TenantId, UserId};
use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::answer::Answer;
use crate::engine::Engine;
use crate::fresh_id;
use crate::postgres::Database;

/// A running server. It stops with this value; its data go with it.
pub struct TestServer {
    pub log: Arc<dyn Log>,
    pub models: projections::ReadModels,
    address: SocketAddr,
    app: api::app::App,
    _serving: Serving,
    // Dropped after the server.
    _data: TempDir,
    _database: Option<Database>,
}

impl TestServer {
    /// An empty server on `engine`, rate limits off.
    pub async fn start(engine: Engine) -> Self {
        let database = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(Database::create().await),
        };
        let server =
            Self::start_with(Config { database_url: database.as_ref().map(Database::url), ..settings() }).await;
        Self { _database: database, ..server }
    }

    /// A server with these settings, but a data directory of its own.
    pub async fn start_with(config: Config) -> Self {
        let data = TempDir::new().unwrap();
        let config = Config { data_dir: data.path().to_owned(), ..config };
        let running = Running::start(config, Clock::system()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (log, models, app) = (Arc::clone(&running.storage().log), running.storage().models.clone(), running.app());
        let serving = tokio::spawn(async move { running.serve(listener, std::future::pending()).await.unwrap() });
        Self { log, models, address, app, _serving: Serving(serving), _data: data, _database: None }
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
        let user = AuthUser { id: UserId(fresh_id()), tenant, role, session: fresh_id() };
        let token = self.app.tokens.access(&user, surface, self.app.clock().now(), TimeDelta::hours(1), fresh_id());
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

    /// Its market data.
    pub fn market(&self) -> &dyn MarketData {
        self.app.market.as_ref()
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

/// The settings of every test server: no limits on requests.
pub fn settings() -> Config {
    Config { rate_limits: Switch::Off, mode: Mode::Development, ..Config::default() }
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
        Self { http: reqwest::Client::new(), url: format!("http://{address}"), token: None, headers: Vec::new() }
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

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body.to_string())).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, Some(body.to_string())).await
    }

    /// A request with any body, or none. Fails when the server does not answer.
    pub async fn send(&self, method: Method, path: &str, body: Option<String>) -> Answer {
        self.try_send(method, path, body).await.unwrap()
    }

    /// A request that may find nobody, or be cut off.
    pub async fn try_send(&self, method: Method, path: &str, body: Option<String>) -> Result<Answer, reqwest::Error> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        Answer::read(request.send().await?).await
    }
}
