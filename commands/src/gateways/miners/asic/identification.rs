//! Finding out what answers at an address, and if nothing does, why.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asic_rs::MinerFactory;
use asic_rs::core::data::command::DiscoveryCommand;
use asic_rs::core::errors::ModelSelectionError;
use asic_rs::core::traits::auth::MinerAuth;
use asic_rs::core::traits::discovery::DiscoveryCommands;
use asic_rs::core::traits::entry::FirmwareEntry;
use asic_rs::core::traits::identification::{FirmwareIdentification, WebResponse};
use asic_rs::core::traits::miner::Miner;
use asic_rs::factory::default_firmware_registry;
use async_trait::async_trait;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::{MinerFault, MinerTarget};
use super::locked;

/// The web server of an Antminer, and the port on which both makes take their remote calls.
const PORTS: [u16; 2] = [4028, 80];

/// Succeeds if anything listens where a miner would.
pub(super) async fn probe(address: IpAddr, limit: Duration) -> Result<(), MinerFault> {
    let [calls, web] = PORTS.map(|port| connect(address, port, limit));
    match futures::future::select_ok([Box::pin(calls), Box::pin(web)]).await {
        Ok(_) => Ok(()),
        Err(last) => Err(MinerFault::Unreachable { reason: format!("{last} on the ports 80 and 4028 of {address}") }),
    }
}

async fn connect(address: IpAddr, port: u16, limit: Duration) -> Result<(), String> {
    let attempt = timeout(limit, TcpStream::connect((address, port))).await;
    let error = match attempt {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) => error,
        Err(_) => io::Error::from(io::ErrorKind::TimedOut),
    };
    Err(error.kind().to_string())
}

/// Asks whoever answers at the address what it is.
pub(super) async fn identify(target: &MinerTarget, limit: Duration) -> Result<Box<dyn Miner>, MinerFault> {
    let refusal = Arc::new(Mutex::new(None));
    let factory = MinerFactory::new().with_firmwares(witnessed(target, &refusal)).with_identification_timeout(limit);
    let reason = match factory.get_miner(target.address).await {
        Ok(Some(miner)) => return Ok(miner),
        Ok(None) => match locked(&refusal).take() {
            Some(reason) => format!("it does not tell its model; the credentials may be wrong ({reason})"),
            None => "what answers is no miner with a known firmware".to_owned(),
        },
        Err(error) => error.to_string(),
    };
    Err(MinerFault::Unreachable { reason })
}

fn witnessed(target: &MinerTarget, refusal: &Arc<Mutex<Option<String>>>) -> Vec<Arc<dyn FirmwareEntry>> {
    let credentials =
        target.credentials.as_ref().map(|given| MinerAuth::new(given.username.as_str(), given.password.as_str()));
    let witness = |firmware| -> Arc<dyn FirmwareEntry> {
        Arc::new(Witness { firmware, credentials: credentials.clone(), refusal: Arc::clone(refusal) })
    };
    default_firmware_registry().into_iter().map(witness).collect()
}

/// A firmware of the crate that signs in with the credentials of one miner, and keeps the reason why the miner could
/// not be built. The crate would only log it.
#[derive(Debug)]
struct Witness {
    firmware: Arc<dyn FirmwareEntry>,
    credentials: Option<MinerAuth>,
    refusal: Arc<Mutex<Option<String>>>,
}

impl fmt::Display for Witness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.firmware.fmt(formatter)
    }
}

impl DiscoveryCommands for Witness {
    fn get_discovery_commands(&self) -> Vec<DiscoveryCommand> {
        self.firmware.get_discovery_commands()
    }
}

impl FirmwareIdentification for Witness {
    fn identify_rpc(&self, response: &str) -> bool {
        self.firmware.identify_rpc(response)
    }

    fn identify_web(&self, response: &WebResponse<'_>) -> bool {
        self.firmware.identify_web(response)
    }

    fn is_stock(&self) -> bool {
        self.firmware.is_stock()
    }
}

#[async_trait]
impl FirmwareEntry for Witness {
    async fn build_miner(&self, ip: IpAddr, auth: Option<&MinerAuth>) -> Result<Box<dyn Miner>, ModelSelectionError> {
        let built = self.firmware.build_miner(ip, self.credentials.as_ref().or(auth)).await;
        built.inspect_err(|error| *locked(&self.refusal) = Some(error.to_string()))
    }
}
