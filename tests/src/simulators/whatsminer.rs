//! A stock `WhatsMiner` M50S with firmware of the year 2023: plain calls to read, and calls under a token and AES-256 to
//! write. It refuses a write with the wrong password, as the real one does.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use aes::Aes256;
use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use data_encoding::BASE64;
use md5crypt::md5crypt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{MinerState, Shared, SimulatedMiner, SimulatedPool, Temper, calls, captured, loopback, with_state};

const UPTIME_SECONDS: u64 = 25_000;
const BLOCK_BYTES: usize = 16;
const POOL_SLOTS: usize = 3;
/// Power of the control board and a resting supply.
const SLEEP_WATTS: u64 = 35;

const TOKEN_TIME: &str = "5626";
const TOKEN_SALT: &str = "BQ5hoXV9";
const TOKEN_NEW_SALT: &str = "jbzkfQls";

/// A simulated `WhatsMiner` that is not running yet.
#[derive(Debug, Clone)]
pub struct WhatsMiner {
    temper: Temper,
    password: String,
    silent_about: Option<&'static str>,
}

impl WhatsMiner {
    /// One that does as it is told.
    pub fn obedient() -> Self {
        Self { temper: Temper::Obedient, password: "admin".to_owned(), silent_about: None }
    }

    /// One that acknowledges everything and does nothing.
    pub fn deaf() -> Self {
        Self { temper: Temper::Deaf, ..Self::obedient() }
    }

    /// The password of the user `admin`.
    #[must_use]
    pub fn password(self, password: &str) -> Self {
        Self { password: password.to_owned(), ..self }
    }

    /// Refuses one of the calls that read, as a firmware does that lacks it.
    #[must_use]
    pub fn silent_about(self, call: &'static str) -> Self {
        Self { silent_about: Some(call), ..self }
    }

    /// Starts it on a loopback address.
    ///
    /// # Errors
    /// If the address is none of loopback, or its port 4028 is taken.
    pub async fn listen(self, address: &str) -> io::Result<SimulatedMiner> {
        self.listen_on(loopback(address)?).await
    }

    /// Starts it on a free loopback address.
    ///
    /// # Errors
    /// As [`WhatsMiner::listen`].
    pub async fn listen_anywhere(self) -> io::Result<SimulatedMiner> {
        super::anywhere(|address| self.clone().listen_on(address)).await
    }

    async fn listen_on(self, address: IpAddr) -> io::Result<SimulatedMiner> {
        let listener = TcpListener::bind((address, calls::PORT)).await?;
        let replies = Replies::captured();
        let state: Shared = Arc::new(Mutex::new(MinerState::captured(UPTIME_SECONDS, &replies.pools)));
        let machine =
            Machine { cipher: Cipher::new(&self.password), settings: self, state: Arc::clone(&state), replies };
        let servers = vec![tokio::spawn(calls::serve(listener, move |request| machine.answer(request)))];
        Ok(SimulatedMiner { address, state, writes: Arc::new(Semaphore::new(0)), servers })
    }
}

#[derive(Debug)]
struct Replies {
    devs: Value,
    error_codes: Value,
    info: Value,
    pools: Value,
    psu: Value,
    status: Value,
    summary: Value,
    version: Value,
}

impl Replies {
    fn captured() -> Self {
        Self {
            devs: captured(include_str!("../../fixtures/miners/whatsminer/devs.json")),
            error_codes: captured(include_str!("../../fixtures/miners/whatsminer/get_error_code.json")),
            info: captured(include_str!("../../fixtures/miners/whatsminer/get_miner_info.json")),
            pools: captured(include_str!("../../fixtures/miners/whatsminer/pools.json")),
            psu: captured(include_str!("../../fixtures/miners/whatsminer/get_psu.json")),
            status: captured(include_str!("../../fixtures/miners/whatsminer/status.json")),
            summary: captured(include_str!("../../fixtures/miners/whatsminer/summary.json")),
            version: captured(include_str!("../../fixtures/miners/whatsminer/get_version.json")),
        }
    }
}

struct Machine {
    settings: WhatsMiner,
    state: Shared,
    replies: Replies,
    cipher: Cipher,
}

impl Machine {
    fn answer(&self, request: &Value) -> Value {
        if let Some(data) = request["data"].as_str() {
            return self.answer_sealed(data);
        }
        match request["command"].as_str().filter(|call| self.settings.silent_about != Some(*call)) {
            Some("devdetails") => device_details(),
            Some("devs") => self.devices(),
            Some("get_error_code") => self.replies.error_codes.clone(),
            Some("get_miner_info") => self.replies.info.clone(),
            Some("get_psu") => self.replies.psu.clone(),
            Some("get_token") => token(),
            Some("get_version") => self.replies.version.clone(),
            Some("pools") => with_state(&self.state, |state| state.pools_answer(&self.replies.pools)),
            Some("status") => self.status(),
            Some("summary") => self.summary(),
            _ => calls::invalid_command(),
        }
    }

    /// A write: it counts only if it can be opened with the password, and carries the token that follows from it.
    fn answer_sealed(&self, data: &str) -> Value {
        let opened = self.cipher.open(data).and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        match opened {
            Some(request) if request["token"] == self.cipher.token.as_str() => {
                json!({"enc": self.cipher.seal(&self.write(&request).to_string())})
            }
            _ => json!({"STATUS": "E", "Code": 135, "Msg": "check token err", "Description": ""}),
        }
    }

    fn write(&self, request: &Value) -> Value {
        let Some(command @ ("power_off" | "power_on" | "reboot" | "update_pools")) = request["command"].as_str() else {
            return calls::invalid_command();
        };
        match self.settings.temper {
            Temper::Deaf => {}
            Temper::Obedient => with_state(&self.state, |state| match command {
                "power_off" => state.is_mining = false,
                "power_on" => state.is_mining = true,
                "reboot" => state.reboot(),
                _ => state.pools = ordered_pools(request),
            }),
        }
        json!({"STATUS": "S", "Code": 131, "Msg": "API command OK", "Description": ""})
    }

    fn devices(&self) -> Value {
        let mut answer = self.replies.devs.clone();
        if !with_state(&self.state, |state| state.is_mining) {
            for device in answer["DEVS"].as_array_mut().into_iter().flatten() {
                device["MHS av"] = json!(0.0);
            }
        }
        answer
    }

    fn status(&self) -> Value {
        let mut answer = self.replies.status.clone();
        let is_off = with_state(&self.state, |state| !state.is_mining);
        answer["Msg"]["mineroff"] = is_off.to_string().into();
        answer
    }

    fn summary(&self) -> Value {
        let mut answer = self.replies.summary.clone();
        with_state(&self.state, |state| {
            let summary = &mut answer["SUMMARY"][0];
            summary["Elapsed"] = state.uptime_seconds().into();
            summary["Uptime"] = state.uptime_seconds().into();
            if !state.is_mining {
                summary["HS RT"] = json!(0.0);
                summary["Power"] = SLEEP_WATTS.into();
            }
        });
        answer
    }
}

/// No captured reply of this call is published; these are the keys that the crate reads.
fn device_details() -> Value {
    let device = |id: u8| json!({"DEVDETAILS": id, "ID": id, "Name": "SM", "Driver": "bitmicro", "Model": "M50S_VH50"});
    json!({"STATUS": [{"STATUS": "S", "Msg": "Device Details"}], "DEVDETAILS": [device(0), device(1), device(2)]})
}

fn token() -> Value {
    let parts = json!({"time": TOKEN_TIME, "salt": TOKEN_SALT, "newsalt": TOKEN_NEW_SALT});
    json!({"STATUS": "S", "Code": 134, "Msg": parts, "Description": ""})
}

fn ordered_pools(request: &Value) -> Vec<SimulatedPool> {
    let text = |key: String| request[key].as_str().unwrap_or_default().to_owned();
    (1..=POOL_SLOTS)
        .map(|slot| SimulatedPool { url: text(format!("pool{slot}")), worker: text(format!("worker{slot}")) })
        .filter(|pool| !pool.url.is_empty())
        .collect()
}

/// Key and token, both from the password: AES-256 block by block over JSON that is filled up with zero bytes.
struct Cipher {
    blocks: Aes256,
    token: String,
}

impl Cipher {
    fn new(password: &str) -> Self {
        let secret = hashed(password, TOKEN_SALT);
        let token = hashed(&format!("{secret}{TOKEN_TIME}"), TOKEN_NEW_SALT);
        Self { blocks: Aes256::new(GenericArray::from_slice(&Sha256::digest(secret.as_bytes()))), token }
    }

    fn open(&self, text: &str) -> Option<Vec<u8>> {
        let mut bytes = BASE64.decode(text.as_bytes()).ok()?;
        for block in bytes.chunks_exact_mut(BLOCK_BYTES) {
            self.blocks.decrypt_block(GenericArray::from_mut_slice(block));
        }
        let end = bytes.iter().rposition(|byte| *byte != 0)?;
        bytes.truncate(end + 1);
        Some(bytes)
    }

    fn seal(&self, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
        for block in bytes.chunks_exact_mut(BLOCK_BYTES) {
            self.blocks.encrypt_block(GenericArray::from_mut_slice(block));
        }
        BASE64.encode(&bytes)
    }
}

/// The last part of an md5crypt text, `$1$salt$this`.
fn hashed(key: &str, salt: &str) -> String {
    let text = md5crypt(key.as_bytes(), salt.as_bytes());
    String::from_utf8_lossy(&text).rsplit('$').next().unwrap_or_default().to_owned()
}
