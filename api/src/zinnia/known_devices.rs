//! Devices by what they report under: looked up once in the read models, then kept in memory until the log says that
//! something happened to the device. A rotated key or a revoked token is worth nothing at once.

mod kept;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::devices::device::{DeviceStatus, Settings, TokenPermission};
use domain::log::{Log, LogError, PAGE_EVENTS_MAX};
use domain::metadata::{TenantId, UserId};
use ipnet::IpNet;
use projections::devices::{device_tokens, devices};
use uuid::Uuid;

use self::kept::Kept;
use super::device_secrets::{self, Kind};
use crate::app::Server;
use crate::error::ApiError;

/// How often the log is looked at for what other servers did; what this one did counts at once.
const INTERVAL: Duration = Duration::from_millis(20);
const PAUSE_AFTER_FAULT: Duration = Duration::from_millis(100);

/// A device as whatever it reports under found it.
#[derive(Debug, Clone)]
pub struct FoundDevice {
    pub id: Uuid,
    pub tenant: TenantId,
    pub owner: UserId,
    pub name: String,
    pub status: DeviceStatus,
    pub settings: Settings,
    /// Sessions that were opened before this position are over.
    pub sessions_since: u64,
    /// The token that found it; none for its key.
    pub token: Option<FoundToken>,
}

/// A token that was not revoked.
#[derive(Debug, Clone)]
pub struct FoundToken {
    pub id: Uuid,
    pub permission: TokenPermission,
    pub expires_at: Option<DateTime<Utc>>,
    pub rate_limit_per_minute: Option<u32>,
    networks: Vec<IpNet>,
}

impl FoundToken {
    fn of(row: &device_tokens::Model) -> Result<Self, ApiError> {
        Ok(Self {
            id: row.id.parse().map_err(|error| ApiError::internal(&error))?,
            permission: row.token_permission()?,
            expires_at: row.expires_at,
            rate_limit_per_minute: row.rate_limit_per_minute.map(i32::unsigned_abs),
            networks: row
                .networks()
                .map(str::parse)
                .collect::<Result<_, _>>()
                .map_err(|error| ApiError::internal(&error))?,
        })
    }

    /// Whether it may be used from `address`.
    pub fn admits(&self, address: IpAddr) -> bool {
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(&address.to_canonical()))
    }
}

impl FoundDevice {
    fn of(row: devices::Model, token: Option<FoundToken>) -> Result<Self, ApiError> {
        Ok(Self {
            id: row.device_id()?,
            tenant: row.tenant_id()?,
            owner: row.owner()?,
            status: row.device_status()?,
            settings: row.settings(),
            sessions_since: row.sessions_since.unsigned_abs(),
            name: row.name,
            token,
        })
    }
}

/// By what a device is found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Lookup {
    Key(String),
    Token(String),
    Device(Uuid),
}

/// The devices that were found, on this server.
pub struct KnownDevices(Kept<Lookup, FoundDevice>);

impl KnownDevices {
    /// None yet; the log is followed from `position` on.
    pub fn following(position: u64) -> Self {
        Self(Kept::following(position))
    }

    /// `device` is looked up anew from now on.
    pub fn forget(&self, device: Uuid) {
        self.0.forget(device);
    }

    /// The device that a key or token belongs to.
    ///
    /// # Errors
    /// When the read models do not answer.
    pub async fn by_secret(&self, server: &Server, secret: &str) -> Result<Option<Arc<FoundDevice>>, ApiError> {
        let hash = || device_secrets::hash(&server.secrets, secret);
        match Kind::of(secret) {
            Some(Kind::Key) => self.find(server, Lookup::Key(hash())).await,
            Some(Kind::Token) => self.find(server, Lookup::Token(hash())).await,
            None => Ok(None),
        }
    }

    /// The device of this id, of whatever tenant.
    ///
    /// # Errors
    /// When the read models do not answer.
    pub async fn by_id(&self, server: &Server, id: Uuid) -> Result<Option<Arc<FoundDevice>>, ApiError> {
        self.find(server, Lookup::Device(id)).await
    }

    async fn find(&self, server: &Server, lookup: Lookup) -> Result<Option<Arc<FoundDevice>>, ApiError> {
        if let Some(known) = self.0.get(&lookup) {
            return Ok(Some(known));
        }
        let (forgotten, seen) = self.0.moment();
        server.readers.projected(seen).await?;
        let Some(found) = look_up(server, &lookup).await?.map(Arc::new) else { return Ok(None) };
        self.0.keep(lookup, (found.id, Arc::clone(&found)), forgotten);
        Ok(Some(found))
    }

    /// Follows the log for ever, and forgets devices to which something happened.
    pub async fn follow(server: Arc<Server>) {
        let kept = &server.devices.0;
        loop {
            let (_, seen) = kept.moment();
            server.log().grown(seen).await;
            if let Err(error) = catch_up(kept, server.log().as_ref(), seen).await {
                tracing::warn!(%error, "what other servers did to devices is not known");
                kept.forget_all();
                tokio::time::sleep(PAUSE_AFTER_FAULT).await;
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

async fn catch_up(kept: &Kept<Lookup, FoundDevice>, log: &dyn Log, seen: u64) -> Result<(), LogError> {
    let page = log.read_all(seen, &["device"], PAGE_EVENTS_MAX).await?;
    // First, so that whoever looks up what is forgotten from here on waits for what made it so.
    kept.saw(page.through);
    let devices = page.events.iter().filter_map(|event| event.aggregate_id.parse().ok());
    devices.for_each(|device| kept.forget(device));
    Ok(())
}

async fn look_up(server: &Server, lookup: &Lookup) -> Result<Option<FoundDevice>, ApiError> {
    let db = server.models.read().await;
    let (row, token) = match lookup {
        Lookup::Key(hash) => (devices::find_by_key(db, hash).await?, None),
        Lookup::Device(id) => (devices::find_anywhere(db, *id).await?, None),
        Lookup::Token(hash) => {
            let Some(token) = device_tokens::find_by_hash(db, hash).await? else { return Ok(None) };
            let Ok(id) = token.device_id.parse() else { return Ok(None) };
            (devices::find_anywhere(db, id).await?, Some(FoundToken::of(&token)?))
        }
    };
    row.map(|row| FoundDevice::of(row, token)).transpose()
}
