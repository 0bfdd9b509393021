//! All settings: `corelog.toml`, then `CORELOG_*` variables. Each is described in `corelog.example.toml`.

mod agents;
mod alerts;
mod battery;
mod live;
mod mail;
mod miners;
mod plans;
mod registration;
mod sentences;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::cors;
use crate::log_lines::LogLineSettings;

pub use agents::AgentSettings;
pub use alerts::AlertSettings;
pub use battery::{BatterySettings, MqttSettings};
pub use live::LiveSettings;
pub use mail::MailSettings;
pub use miners::MinerSettings;
pub use plans::PlanSettings;
pub use registration::RegistrationSettings;

/// On or off, as words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    On,
    Off,
}

/// Whether the server serves the public or somebody at work on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// API documentation is served.
    Development,
    /// API documentation is not served; cookies are `Secure`.
    Production,
}

/// The settings of a server.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address and port.
    pub listen: SocketAddr,
    /// Where SQLite files, the secret and the lock live.
    pub data_dir: PathBuf,
    /// `postgres://…`; SQLite in `data_dir` when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_url: Option<String>,
    /// 64 hexadecimal digits shared by all servers on one PostgreSQL; a file in `data_dir` when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<String>,
    pub admin_email: String,
    /// Made up and printed once when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_password: Option<String>,
    pub rate_limits: Switch,
    /// `CORELOG_PLANS__FREE_PER_HOUR` and the like.
    pub plans: PlanSettings,
    /// Networks of proxies that are believed when they say for whom a request is.
    pub trusted_proxies: Vec<IpNet>,
    /// Sites whose pages may call from a browser, as `scheme://host:port`.
    pub cors_origins: Vec<String>,
    pub mode: Mode,
    /// A filter like `info` or `commands=debug,info`.
    pub log: String,
    pub log_format: LogFormat,
    /// `CORELOG_MINERS__READ_EVERY_MS` and the like.
    pub miners: MinerSettings,
    pub mail: MailSettings,
    pub registration: RegistrationSettings,
    pub alerts: AlertSettings,
    pub live: LiveSettings,
    pub battery: BatterySettings,
    /// `CORELOG_AGENTS__HEARTBEAT_MS` and the like.
    pub agents: AgentSettings,
    /// How long log lines are kept.
    pub log_lines: LogLineSettings,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            data_dir: PathBuf::from("data"),
            database_url: None,
            secret_key: None,
            admin_email: "admin@corelog.local".to_owned(),
            admin_password: None,
            rate_limits: Switch::On,
            plans: PlanSettings::default(),
            trusted_proxies: Vec::new(),
            cors_origins: vec!["http://localhost:3000".to_owned(), "http://localhost:5173".to_owned()],
            mode: Mode::Development,
            log: "info".to_owned(),
            log_format: LogFormat::Text,
            miners: MinerSettings::default(),
            mail: MailSettings::default(),
            registration: RegistrationSettings::default(),
            alerts: AlertSettings::default(),
            live: LiveSettings::default(),
            battery: BatterySettings::default(),
            agents: AgentSettings::default(),
            log_lines: LogLineSettings::default(),
        }
    }
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl Config {
    /// The settings from `file` (which may be missing unless it was named) and the environment.
    ///
    /// # Errors
    /// A sentence that names the wrong setting.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        if let Some(file) = file.filter(|file| !file.is_file()) {
            return Err(ConfigError(format!("the settings file {} does not exist", file.display())));
        }
        let file = file.unwrap_or(Path::new("corelog.toml"));
        // Variables of tests and of benchmarks have names of their own below this prefix.
        let environment =
            Env::prefixed("CORELOG_").filter(|name| !name.starts_with("test_") && !name.starts_with("bench_"));
        let environment = environment.split("__");
        let figment = Figment::from(Serialized::defaults(Self::default())).merge(Toml::file(file)).merge(environment);
        let config: Self = figment.extract().map_err(|error| ConfigError(sentences::unreadable(error)))?;
        config.checked()
    }

    fn checked(self) -> Result<Self, ConfigError> {
        match self.wrong() {
            Some((setting, why)) => Err(ConfigError(format!("the setting {} {why}", sentences::named(&setting)))),
            None => Ok(self),
        }
    }

    /// What is wrong with them, if anything: the setting and why.
    fn wrong(&self) -> Option<(String, &'static str)> {
        let of_all = self.wrong_for_all().map(|(setting, why)| (setting.to_owned(), why));
        of_all.or_else(|| {
            let groups = [
                ("plans", self.plans.wrong()),
                ("miners", self.miners.wrong()),
                ("mail", self.mail.wrong()),
                ("registration", self.registration.wrong()),
                ("alerts", self.alerts.wrong()),
                ("live", self.live.wrong()),
                ("battery", self.battery.wrong()),
                ("agents", self.agents.wrong()),
                ("log_lines", self.log_lines.wrong()),
            ];
            let wrong = |(group, wrong): (_, Option<(_, _)>)| wrong.map(|(name, why)| (format!("{group}.{name}"), why));
            groups.into_iter().find_map(wrong)
        })
    }

    /// The same of those that are in no group.
    fn wrong_for_all(&self) -> Option<(&'static str, &'static str)> {
        let is_postgres = |url: &str| url.starts_with("postgres://") || url.starts_with("postgresql://");
        if self.data_dir.as_os_str().is_empty() {
            Some(("data_dir", "must name a directory"))
        } else if self.database_url.as_deref().is_some_and(|url| !is_postgres(url)) {
            Some(("database_url", "must begin with postgres://; leave it out to use SQLite"))
        } else if self.secret_key.as_deref().is_some_and(|hex| crate::secrets::Secrets::from_hex(hex).is_none()) {
            Some(("secret_key", "must be 64 hexadecimal digits"))
        } else if !self.admin_email.contains('@') {
            Some(("admin_email", "must be an e-mail address"))
        } else if self.admin_password.as_deref().is_some_and(|password| password.chars().count() < 8) {
            Some(("admin_password", "must have at least 8 characters"))
        } else if !self.cors_origins.iter().all(|origin| cors::is_origin(origin)) {
            Some(("cors_origins", "must be a list of origins such as https://owl.example.com, without a path"))
        } else if self.log.parse::<tracing_subscriber::EnvFilter>().is_err() {
            Some(("log", "is not a log filter such as `info`"))
        } else {
            None
        }
    }

    /// The settings as JSON, secrets masked.
    ///
    /// # Errors
    /// When a value cannot be written as JSON.
    pub fn shown(&self) -> Result<String, serde_json::Error> {
        let masked = |secret: &Option<String>| secret.as_ref().map(|_| "(set)".to_owned());
        let shown = Self {
            secret_key: masked(&self.secret_key),
            admin_password: masked(&self.admin_password),
            miners: MinerSettings { password: masked(&self.miners.password), ..self.miners.clone() },
            mail: MailSettings { smtp_url: self.mail.smtp_url.as_deref().map(without_password), ..self.mail.clone() },
            registration: RegistrationSettings {
                recaptcha_secret: masked(&self.registration.recaptcha_secret),
                ..self.registration.clone()
            },
            battery: self.battery.masked(),
            database_url: self.database_url.as_deref().map(without_password),
            ..self.clone()
        };
        serde_json::to_string_pretty(&shown)
    }
}

/// `postgres://user:secret@host/db` as `postgres://user:***@host/db`, and the same of a password in the query.
fn without_password(url: &str) -> String {
    let (place, query) = url.split_once('?').map_or((url, None), |(place, query)| (place, Some(query)));
    let user_and_host = place.rsplit_once('@').and_then(|(before, host)| {
        let user_end = before.rfind(':').filter(|end| before[..*end].contains("//"))?;
        Some(format!("{}:***@{host}", &before[..user_end]))
    });
    let place = user_and_host.unwrap_or_else(|| place.to_owned());
    let masked = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("password") => format!("{name}=***"),
        _ => pair.to_owned(),
    };
    match query {
        Some(query) => format!("{place}?{}", query.split('&').map(masked).collect::<Vec<_>>().join("&")),
        None => place,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_masked() {
        assert_eq!(without_password("postgres://me:s3cret@db:5432/x"), "postgres://me:***@db:5432/x");
        assert_eq!(without_password("postgres://db/x"), "postgres://db/x");
        let in_query = "postgres://db/x?user=me&password=s3cret&sslmode=require";
        assert_eq!(without_password(in_query), "postgres://db/x?user=me&password=***&sslmode=require");
    }

    #[test]
    fn a_wrong_setting_is_named() {
        let config = Config { secret_key: Some("short".into()), ..Config::default() };
        assert!(config.checked().err().unwrap().to_string().contains("secret_key (CORELOG_SECRET_KEY)"));
        let config = Config { cors_origins: vec!["*".into()], ..Config::default() };
        assert!(config.checked().err().unwrap().to_string().contains("cors_origins (CORELOG_CORS_ORIGINS)"));
    }
}
