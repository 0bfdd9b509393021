//! A stock Antminer S19 Pro: a web server with digest authentication (RFC 2617) that holds the configuration, and
//! cgminer calls that tell what the machine really does.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use digest_auth::{AuthContext, AuthorizationHeader, HttpMethod};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{MinerState, Shared, SimulatedMiner, SimulatedPool, Temper, calls, captured, loopback, with_state};

const WEB_PORT: u16 = 80;
const BODY_BYTES_MAX: usize = 64 * 1024;
const UPTIME_SECONDS: u64 = 50_474;
const USERNAME: &str = "root";
const CHALLENGE: &str =
    r#"Digest realm="antMiner Configuration", nonce="7a1f6a0c52d5e3b1", qop="auth", algorithm=MD5, charset=UTF-8"#;

/// Fan speed of this model in revolutions a minute for one percent.
const RPM_A_PERCENT: u64 = 60;

/// The generation of the firmware; the crate has a backend for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AntminerFirmware {
    /// Its pause believes the acknowledgement. Work mode as text.
    December2022,
    /// Its pause reads the work mode back. Work mode as number.
    October2025,
}

impl AntminerFirmware {
    fn compile_time(self) -> &'static str {
        match self {
            Self::December2022 => "Tue Dec  6 16:12:30 CST 2022",
            Self::October2025 => "Thu Oct  9 18:55:45 CST 2025",
        }
    }

    /// 0 is normal, 1 is sleep.
    fn work_mode(self, is_mining: bool) -> Value {
        let mode = u8::from(!is_mining);
        match self {
            Self::December2022 => json!(mode.to_string()),
            Self::October2025 => json!(mode),
        }
    }
}

/// A simulated Antminer that is not running yet.
#[derive(Debug, Clone)]
pub struct Antminer {
    temper: Temper,
    firmware: AntminerFirmware,
    password: String,
    holds_writes: bool,
}

impl Antminer {
    /// One with firmware of today that does as it is told.
    pub fn obedient() -> Self {
        let firmware = AntminerFirmware::October2025;
        Self { temper: Temper::Obedient, firmware, password: "root".to_owned(), holds_writes: false }
    }

    /// One with old firmware that answers "success" and does nothing, as there are in the field.
    pub fn deaf() -> Self {
        Self { temper: Temper::Deaf, firmware: AntminerFirmware::December2022, ..Self::obedient() }
    }

    #[must_use]
    pub fn firmware(self, firmware: AntminerFirmware) -> Self {
        Self { firmware, ..self }
    }

    /// The password of the user `root`.
    #[must_use]
    pub fn password(self, password: &str) -> Self {
        Self { password: password.to_owned(), ..self }
    }

    /// Answers a change of its configuration only after [`SimulatedMiner::release_writes`].
    #[must_use]
    pub fn holding_writes(self) -> Self {
        Self { holds_writes: true, ..self }
    }

    /// Starts it on a loopback address.
    ///
    /// # Errors
    /// If the address is none of loopback, or its ports 80 and 4028 cannot be bound; port 80 needs a privilege.
    pub async fn listen(self, address: &str) -> io::Result<SimulatedMiner> {
        self.listen_on(loopback(address)?).await
    }

    /// Starts it on a free loopback address.
    ///
    /// # Errors
    /// As [`Antminer::listen`].
    pub async fn listen_anywhere(self) -> io::Result<SimulatedMiner> {
        super::anywhere(|address| self.clone().listen_on(address)).await
    }

    async fn listen_on(self, address: IpAddr) -> io::Result<SimulatedMiner> {
        let calls = TcpListener::bind((address, calls::PORT)).await?;
        let web = TcpListener::bind((address, WEB_PORT)).await?;
        let replies = Replies::captured(self.firmware);
        let state: Shared = Arc::new(Mutex::new(MinerState::captured(UPTIME_SECONDS, &replies.pools)));
        let writes = Arc::new(Semaphore::new(0));
        if !self.holds_writes {
            writes.close();
        }
        let machine =
            Arc::new(Machine { settings: self, state: Arc::clone(&state), writes: Arc::clone(&writes), replies });
        let router = Router::new().fallback(answer_web).with_state(Arc::clone(&machine));
        let servers = vec![
            tokio::spawn(calls::serve(calls, move |request| machine.answer_call(request))),
            tokio::spawn(async move { drop(axum::serve(web, router).await) }),
        ];
        Ok(SimulatedMiner { address, state, writes, servers })
    }
}

/// Captured replies, each with what this firmware says of itself.
#[derive(Debug)]
struct Replies {
    version: Value,
    stats: Value,
    summary: Value,
    pools: Value,
    system_info: Value,
}

impl Replies {
    fn captured(firmware: AntminerFirmware) -> Self {
        let mut version = captured(include_str!("../../fixtures/miners/antminer/version.json"));
        let mut stats = captured(include_str!("../../fixtures/miners/antminer/stats.json"));
        version["VERSION"][0]["CompileTime"] = firmware.compile_time().into();
        stats["STATS"][0]["CompileTime"] = firmware.compile_time().into();
        Self {
            version,
            stats,
            summary: captured(include_str!("../../fixtures/miners/antminer/summary.json")),
            pools: captured(include_str!("../../fixtures/miners/antminer/pools.json")),
            system_info: captured(include_str!("../../fixtures/miners/antminer/system_info.json")),
        }
    }
}

#[derive(Debug)]
struct Machine {
    settings: Antminer,
    state: Shared,
    writes: Arc<Semaphore>,
    replies: Replies,
}

impl Machine {
    fn answer_call(&self, request: &Value) -> Value {
        with_state(&self.state, |state| match request["command"].as_str() {
            Some("version") => self.replies.version.clone(),
            Some("stats") => self.stats(state),
            Some("summary") => self.summary(state),
            Some("pools") => state.pools_answer(&self.replies.pools),
            _ => calls::invalid_command(),
        })
    }

    fn stats(&self, state: &MinerState) -> Value {
        let mut answer = self.replies.stats.clone();
        let figures = &mut answer["STATS"][1];
        figures["Elapsed"] = state.uptime_seconds().into();
        if !state.is_mining {
            figures["GHS 5s"] = json!(0.0);
            for chain in 1..=3 {
                figures[format!("chain_rate{chain}")] = json!("0.00");
            }
        }
        if let Some(percent) = state.fan_percent {
            for fan in 1..=4 {
                figures[format!("fan{fan}")] = (u64::from(percent) * RPM_A_PERCENT).into();
            }
        }
        answer
    }

    fn summary(&self, state: &MinerState) -> Value {
        let mut answer = self.replies.summary.clone();
        let summary = &mut answer["SUMMARY"][0];
        summary["Elapsed"] = state.uptime_seconds().into();
        if !state.is_mining {
            summary["GHS 5s"] = json!(0.0);
        }
        answer
    }

    /// No captured reply of this page is published; these are the keys that the crate reads and writes.
    fn configuration(&self) -> Value {
        with_state(&self.state, |state| {
            let pools = state.pools.iter().map(|pool| json!({"url": pool.url, "user": pool.worker, "pass": "x"}));
            json!({
                "pools": pools.collect::<Vec<_>>(),
                "api-listen": true,
                "api-network": true,
                "bitmain-fan-ctrl": state.fan_percent.is_some(),
                "bitmain-fan-pwm": state.fan_percent.unwrap_or(100).to_string(),
                "bitmain-freq-level": "100",
                "bitmain-work-mode": self.settings.firmware.work_mode(state.is_mining),
            })
        })
    }

    async fn configure(&self, change: &Value) -> Value {
        // An error means that nothing is held back any more.
        drop(self.writes.acquire().await);
        match self.settings.temper {
            Temper::Deaf => {}
            Temper::Obedient => with_state(&self.state, |state| apply(state, change)),
        }
        json!({"stats": "success", "code": "M000", "msg": "OK!"})
    }

    fn reboot(&self) -> Value {
        match self.settings.temper {
            Temper::Deaf => {}
            Temper::Obedient => with_state(&self.state, MinerState::reboot),
        }
        json!({"stats": "success"})
    }

    fn page(&self, path: &str) -> Option<Value> {
        let model = &self.replies.version["VERSION"][0]["Type"];
        Some(match path {
            "/cgi-bin/miner_type.cgi" => json!({"miner_type": model, "subtype": "AMLCtrl_BHB42601"}),
            "/cgi-bin/summary.cgi" => json!({
                "INFO": {"CompileTime": self.settings.firmware.compile_time(), "type": model},
                "SUMMARY": [{"status": [{"type": "rate", "status": "s", "code": 0, "msg": ""}]}],
            }),
            "/cgi-bin/get_system_info.cgi" => self.replies.system_info.clone(),
            "/cgi-bin/get_miner_conf.cgi" => self.configuration(),
            "/cgi-bin/get_blink_status.cgi" => json!({"blink": false}),
            _ => return None,
        })
    }

    fn is_authorised(&self, request: &Request) -> bool {
        let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(given) = header.and_then(|text| AuthorizationHeader::parse(text).ok()) else {
            return false;
        };
        let method = HttpMethod::from(request.method().as_str());
        let context = AuthContext::new_with_method(
            USERNAME,
            self.settings.password.as_str(),
            given.uri.as_str(),
            None::<&[u8]>,
            method,
        );
        let mut expected = given.clone();
        expected.digest(&context);
        expected.response == given.response && given.uri == request.uri().path()
    }
}

/// Changes what the configuration names and leaves the rest; empty slots are no pools.
fn apply(state: &mut MinerState, change: &Value) {
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    if let Some(mode) = change.get("miner-mode").or_else(|| change.get("bitmain-work-mode")).and_then(number) {
        state.is_mining = mode != 1;
    }
    if let Some(is_fixed) = change.get("bitmain-fan-ctrl").and_then(Value::as_bool) {
        let percent = change.get("bitmain-fan-pwm").and_then(number).and_then(|percent| u8::try_from(percent).ok());
        state.fan_percent = is_fixed.then_some(percent.unwrap_or(100));
    }
    if let Some(slots) = change.get("pools").and_then(Value::as_array) {
        let text = |slot: &Value, key: &str| slot[key].as_str().unwrap_or_default().to_owned();
        let pools = slots.iter().map(|slot| SimulatedPool { url: text(slot, "url"), worker: text(slot, "user") });
        state.pools = pools.filter(|pool| !pool.url.is_empty()).collect();
    }
}

async fn answer_web(State(machine): State<Arc<Machine>>, request: Request) -> Response {
    let mut response = route(&machine, request).await;
    // A kept connection would go on answering after the miner stopped.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn route(machine: &Machine, request: Request) -> Response {
    if !machine.is_authorised(&request) {
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, CHALLENGE)]).into_response();
    }
    let path = request.uri().path().to_owned();
    if request.method() == Method::GET {
        return machine.page(&path).map_or_else(not_found, |page| Json(page).into_response());
    }
    match path.as_str() {
        "/cgi-bin/set_miner_conf.cgi" => match json_body(request.into_body()).await {
            Some(change) => Json(machine.configure(&change).await).into_response(),
            None => StatusCode::BAD_REQUEST.into_response(),
        },
        "/cgi-bin/reboot.cgi" => Json(machine.reboot()).into_response(),
        _ => not_found(),
    }
}

async fn json_body(body: Body) -> Option<Value> {
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn not_found() -> Response {
    StatusCode::NOT_FOUND.into_response()
}
