//! Between our words and those of the crate.

use asic_rs::core::config::fan::FanConfig;
use asic_rs::core::config::pools::{PoolConfig, PoolGroupConfig};
use asic_rs::core::data::collector::DataField;
use asic_rs::core::data::hashrate::{HashRate, HashRateUnit};
use asic_rs::core::data::miner::MinerData;
use asic_rs::core::data::pool::{PoolData, PoolURL};
use asic_rs::core::traits::miner::Miner;
use domain::hosting::miner_order::{MinerOrder, Pool};

use super::super::{FanControl, MinerCapabilities, MinerFault, MinerReading, PoolReading, PowerReading, PowerSource};
use super::Answer;

/// Target of fans that go back to automatic. Antminers ignore it and use their own.
const FAN_TARGET_CELSIUS: f64 = 70.0;

/// Pools want a password and ignore it.
const POOL_PASSWORD: &str = "x";

/// What a reading needs; the rest would only cost further questions.
const FIELDS: [DataField; 11] = [
    DataField::Mac,
    DataField::SerialNumber,
    DataField::FirmwareVersion,
    DataField::Hashboards,
    DataField::Hashrate,
    DataField::ExpectedHashrate,
    DataField::Fans,
    DataField::Wattage,
    DataField::Uptime,
    DataField::IsMining,
    DataField::Pools,
];

pub(super) fn capabilities(miner: &dyn Miner) -> MinerCapabilities {
    MinerCapabilities {
        restart: miner.supports_restart(),
        shutdown: miner.supports_pause(),
        start: miner.supports_resume(),
        set_pool: miner.supports_pools_config(),
        set_fan: miner.supports_fan_config(),
    }
}

pub(super) fn supported(miner: &dyn Miner, order: &MinerOrder) -> Result<(), MinerFault> {
    if capabilities(miner).allow(order) {
        return Ok(());
    }
    let device = miner.get_device_info();
    Err(MinerFault::Unsupported { order: order.name(), make: device.make, model: device.model })
}

/// Gives the order. What comes back is what the crate understood of the answer, which is no proof of obedience.
pub(super) async fn give(miner: &dyn Miner, order: &MinerOrder) -> Answer {
    let accepted = match order {
        MinerOrder::Restart => miner.restart().await,
        MinerOrder::Shutdown => miner.pause(None).await,
        MinerOrder::Start => miner.resume(None).await,
        MinerOrder::SetPool { pools } => miner.set_pools_config(vec![pool_group(pools)?]).await,
        MinerOrder::SetFan { speed_percent } => miner.set_fan_config(fan_config(*speed_percent)).await,
    };
    match accepted {
        Ok(true) => Ok(()),
        Ok(false) => Err("it did not accept the change".to_owned()),
        Err(error) => Err(format!("{error:#}")),
    }
}

fn pool_group(pools: &[Pool]) -> Result<PoolGroupConfig, String> {
    let pools = pools.iter().map(pool_config).collect::<Result<_, _>>()?;
    Ok(PoolGroupConfig { name: String::new(), quota: 1, pools })
}

fn pool_config(pool: &Pool) -> Result<PoolConfig, String> {
    let url = PoolURL::from(pool.url.clone());
    // This is how the crate marks a URL that it cannot parse.
    if url.port == 0 || url.host.is_empty() {
        return Err(format!("{} is no address of a pool", pool.url));
    }
    Ok(PoolConfig { url, username: pool.worker.clone(), password: POOL_PASSWORD.to_owned() })
}

fn fan_config(speed_percent: Option<u8>) -> FanConfig {
    speed_percent
        .map_or_else(|| FanConfig::auto(FAN_TARGET_CELSIUS, None), |percent| FanConfig::manual(u64::from(percent)))
}

/// Reads the miner, or says what its answers lack.
///
/// The crate takes a miner that does not answer for one that mines, so the answer itself is looked at first.
pub(super) async fn read(miner: &dyn Miner) -> Result<MinerReading, String> {
    let answers = miner.get_collector().collect(&FIELDS).await;
    if !answers.contains_key(&DataField::IsMining) {
        return Err("it does not say whether it mines".to_owned());
    }
    let fan_control = fan_control(miner).await;
    Ok(reading(miner.parse_data(answers), fan_control, capabilities(miner)))
}

async fn fan_control(miner: &dyn Miner) -> Option<FanControl> {
    if !miner.supports_fan_config() {
        return None;
    }
    match miner.get_fan_config().await.ok()? {
        FanConfig::Auto { .. } => Some(FanControl::Automatic),
        FanConfig::Manual { fan_speed } => {
            u8::try_from(fan_speed).ok().map(|speed_percent| FanControl::Fixed { speed_percent })
        }
    }
}

fn reading(data: MinerData, fan_control: Option<FanControl>, capabilities: MinerCapabilities) -> MinerReading {
    MinerReading {
        temperature_max_celsius: temperature_max_celsius(&data),
        make: data.device_info.make,
        model: data.device_info.model,
        firmware: data.device_info.firmware,
        firmware_version: data.firmware_version,
        serial_number: data.serial_number,
        mac_address: data.mac.map(|mac| mac.to_string()),
        is_mining: data.is_mining,
        hashrate_ths: data.hashrate.map(ths),
        expected_hashrate_ths: data.expected_hashrate.map(ths),
        power: data.wattage.map(|power| PowerReading { power_watts: power.as_watts(), source: PowerSource::Firmware }),
        uptime_seconds: data.uptime.map(|uptime| uptime.as_secs()),
        fan_control,
        fan_speeds_rpm: data.fans.iter().filter_map(|fan| fan.rpm).map(|speed| speed.as_rpm()).collect(),
        pools: data.pools.into_iter().flat_map(|group| group.pools).filter_map(pool_reading).collect(),
        capabilities,
    }
}

fn ths(hashrate: HashRate) -> f64 {
    hashrate.as_unit(HashRateUnit::TeraHash).value
}

fn temperature_max_celsius(data: &MinerData) -> Option<f64> {
    let of_boards = data
        .hashboards
        .iter()
        .flat_map(|board| [board.board_temperature, board.inlet_chip_temperature, board.outlet_chip_temperature]);
    let of_chips = data.hashboards.iter().flat_map(|board| &board.chips).map(|chip| chip.temperature);
    of_boards.chain(of_chips).flatten().map(|temperature| temperature.as_celsius()).reduce(f64::max)
}

/// An empty slot is no pool.
fn pool_reading(pool: PoolData) -> Option<PoolReading> {
    let url = pool.url.filter(|url| !url.host.is_empty())?;
    Some(PoolReading { url: url.to_string(), worker: pool.user, is_active: pool.active })
}
