//! How clients write an order: by the document's names, and by those of older clients.

use domain::hosting::miner_order::{MinerOrder, POOLS_MAX, Pool};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::error::{ApiError, ErrorKind};

/// Orders that other systems know and no gateway of this one gives.
const NOT_GIVEN: [&str; 8] = [
    "fetch_logs",
    "factory_reset",
    "power_mode",
    "power_target",
    "overclock",
    "static_ip",
    "change_password",
    "blink_led",
];

/// One order.
#[derive(Deserialize, ToSchema)]
pub(super) struct CommandBody {
    /// `restart`, `shutdown`, `start`, `set_pool` or `set_fan`.
    #[serde(alias = "command_type")]
    command: String,
    #[serde(default, alias = "parameters")]
    params: Option<OrderParams>,
    /// Tells a miner even if it is thought to be in that state already.
    #[serde(default, alias = "force_status")]
    pub(super) force: bool,
}

/// A change between running and stopped.
#[derive(Deserialize, ToSchema)]
pub(super) struct SwitchBody {
    /// Tells a miner even if it is thought to be in that state already.
    #[serde(default, alias = "force_status")]
    pub(super) force: bool,
}

#[derive(Default, Deserialize, ToSchema)]
struct OrderParams {
    /// For `set_pool`: the pools, first one first.
    pools: Option<Vec<PoolBody>>,
    /// For `set_pool` with one pool.
    #[serde(alias = "pool_url")]
    url: Option<String>,
    #[serde(alias = "user", alias = "worker_name")]
    worker: Option<String>,
    /// For `set_fan`, in percent.
    #[serde(alias = "fan_speed", alias = "speed")]
    speed_percent: Option<i64>,
    /// For `set_fan`: `auto` or `manual`.
    mode: Option<String>,
}

#[derive(Deserialize, ToSchema)]
struct PoolBody {
    #[serde(alias = "pool_url")]
    url: String,
    #[serde(alias = "user", alias = "worker_name")]
    worker: String,
}

impl CommandBody {
    /// The order that was meant.
    ///
    /// # Errors
    /// That there is no such order, or what is wrong with its parameters.
    pub(super) fn order(self) -> Result<MinerOrder, ApiError> {
        let params = self.params.unwrap_or_default();
        match self.command.as_str() {
            "restart" | "reboot" => Ok(MinerOrder::Restart),
            "shutdown" | "disable" => Ok(MinerOrder::Shutdown),
            "start" | "enable" => Ok(MinerOrder::Start),
            "set_pool" | "change_pools" => params.set_pool(),
            "set_fan" | "fan_mode" => params.set_fan(),
            word if NOT_GIVEN.contains(&word) => Err(unsupported(word)),
            word => Err(ApiError::field(
                "command",
                format!("{word:?} is none of restart, shutdown, start, set_pool, set_fan"),
            )),
        }
    }
}

fn unsupported(word: &str) -> ApiError {
    ApiError::new(ErrorKind::Invalid, "miner_command.unsupported", format!("the command {word} is not supported"))
}

impl OrderParams {
    fn set_pool(self) -> Result<MinerOrder, ApiError> {
        let one = self.url.map(|url| PoolBody { url, worker: self.worker.unwrap_or_default() });
        let pools = self.pools.unwrap_or_else(|| one.into_iter().collect());
        if !(1..=POOLS_MAX).contains(&pools.len()) {
            return Err(ApiError::field("params.pools", format!("must list 1 to {POOLS_MAX} pools")));
        }
        let pools = pools.into_iter().map(|pool| Pool { url: pool.url, worker: pool.worker }).collect();
        Ok(MinerOrder::SetPool { pools })
    }

    fn set_fan(self) -> Result<MinerOrder, ApiError> {
        match (self.speed_percent, self.mode.as_deref()) {
            (None, Some("auto")) => Ok(MinerOrder::SetFan { speed_percent: None }),
            (Some(speed), None | Some("manual")) => match u8::try_from(speed) {
                Ok(percent @ 0..=100) => Ok(MinerOrder::SetFan { speed_percent: Some(percent) }),
                Ok(_) | Err(_) => Err(ApiError::field("params.speed_percent", "must be between 0 and 100")),
            },
            (Some(_), Some(_)) => Err(ApiError::field("params.mode", "a fixed speed goes with the mode manual")),
            (None, Some(_) | None) => {
                Err(ApiError::field("params.speed_percent", "is needed, or the mode auto instead"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn order(body: Value) -> Result<MinerOrder, &'static str> {
        serde_json::from_value::<CommandBody>(body).unwrap().order().map_err(|error| error.code)
    }

    #[test]
    fn both_spellings_mean_the_same() {
        assert_eq!(order(json!({"command": "restart", "params": {}})), Ok(MinerOrder::Restart));
        assert_eq!(order(json!({"command_type": "reboot", "parameters": null})), Ok(MinerOrder::Restart));
        let pool = Pool { url: "stratum+tcp://a:1".into(), worker: "w".into() };
        let pools = MinerOrder::SetPool { pools: vec![pool] };
        let listed = json!({"command": "set_pool", "params": {"pools": [{"url": "stratum+tcp://a:1", "worker": "w"}]}});
        let single =
            json!({"command_type": "change_pools", "parameters": {"pool_url": "stratum+tcp://a:1", "user": "w"}});
        assert_eq!((order(listed), order(single)), (Ok(pools.clone()), Ok(pools)));
        let fixed = MinerOrder::SetFan { speed_percent: Some(80) };
        assert_eq!(order(json!({"command": "set_fan", "params": {"speed": 80}})), Ok(fixed));
        let automatic = MinerOrder::SetFan { speed_percent: None };
        assert_eq!(order(json!({"command": "set_fan", "params": {"mode": "auto"}})), Ok(automatic));
    }

    #[test]
    fn what_is_meant_must_be_clear() {
        for params in [json!({}), json!({"speed": 101}), json!({"speed": -1}), json!({"speed": 5, "mode": "auto"})] {
            assert_eq!(order(json!({"command": "set_fan", "params": params})), Err("invalid_request"), "{params}");
        }
        assert_eq!(order(json!({"command": "set_pool"})), Err("invalid_request"));
        assert_eq!(order(json!({"command": "dance"})), Err("invalid_request"));
        assert_eq!(order(json!({"command": "overclock"})), Err("miner_command.unsupported"));
    }
}
