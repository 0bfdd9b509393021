//! One live connection, from its beginning to its end.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};
use uuid::Uuid;

use super::callers::{LiveCaller, is_fault};
use super::feed::Listener;
use super::message::{AuthType, ErrorCode, Inbound, Outbound};
use super::registry::Push;
use crate::app::App;
use crate::request::RequestContext;
use crate::zinnia::envelope;
use crate::zinnia::reports::{self, BatchOut, ReportBody};

/// Devices that one connection listens to.
const DEVICES_MAX: usize = 100;
/// Tokens that may be wrong.
const AUTH_ATTEMPTS_MAX: u32 = 3;
/// Time for one message to leave.
const SEND_MAX: Duration = Duration::from_secs(10);

/// Goes on, or is over.
type Step = ControlFlow<()>;

struct Connection {
    app: App,
    request: RequestContext,
    listener: Listener,
    socket: WebSocket,
    caller: Option<LiveCaller>,
    attempts: u32,
    heard_at: Instant,
}

/// Serves one connection until either side ends it.
pub(super) async fn serve(app: App, request: RequestContext, listener: Listener, socket: WebSocket) {
    let (caller, attempts, heard_at) = (None, 0, Instant::now());
    let mut connection = Connection { app, request, listener, socket, caller, attempts, heard_at };
    let auth_timeout = connection.app.config.live.auth_timeout();
    let server_time = connection.app.clock().now();
    let connected =
        Outbound::Connected { message: "连接成功，请认证", server_time, auth_timeout: auth_timeout.as_secs() };
    if connection.say(&connected).await.is_continue() {
        connection.run(Instant::now() + auth_timeout).await;
    }
}

impl Connection {
    async fn run(&mut self, auth_until: Instant) {
        let mut heartbeat = interval(self.app.config.live.heartbeat());
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        heartbeat.tick().await;
        loop {
            let step = tokio::select! {
                received = self.socket.recv() => match received {
                    Some(Ok(message)) => self.take(message).await,
                    Some(Err(_)) | None => Step::Break(()),
                },
                push = self.listener.next() => match push {
                    Some(push) => self.push(push).await,
                    None => self.end(ErrorCode::SlowClient, "接收过慢").await,
                },
                _ = heartbeat.tick() => self.beat().await,
                () = sleep_until(auth_until.into()), if self.caller.is_none() => {
                    self.end(ErrorCode::AuthTimeout, "认证超时").await
                }
            };
            if step.is_break() {
                return;
            }
        }
    }

    async fn take(&mut self, message: Message) -> Step {
        self.heard_at = Instant::now();
        match message {
            Message::Text(text) => match Inbound::parse(text.as_str()) {
                Ok(inbound) => self.answer(inbound).await,
                Err((code, why)) => self.say(&Outbound::error(code, why)).await,
            },
            Message::Binary(_) => self.say(&Outbound::error(ErrorCode::InvalidFormat, "只接受文本消息")).await,
            Message::Ping(_) | Message::Pong(_) => Step::Continue(()),
            Message::Close(_) => Step::Break(()),
        }
    }

    async fn answer(&mut self, inbound: Inbound) -> Step {
        match inbound {
            Inbound::Ping {} => {
                let server_time = self.app.clock().now();
                self.say(&Outbound::Pong { server_time }).await
            }
            Inbound::Auth { token, auth_type } if self.caller.is_none() => self.authenticate(token, auth_type).await,
            Inbound::Auth { .. } => self.say(&Outbound::error(ErrorCode::InvalidMessage, "已经认证")).await,
            Inbound::BatteryReport { msg_id, reading } => self.report(msg_id, reading).await,
            Inbound::BatchBatteryReport { msg_id, data } => self.report_batch(msg_id, data).await,
            Inbound::Subscribe { device_ids } => self.subscribe(device_ids).await,
            Inbound::Unsubscribe { device_ids } => {
                let unsubscribed: Vec<Uuid> = device_ids.iter().filter_map(|id| id.parse().ok()).collect();
                unsubscribed.iter().for_each(|device| self.listener.unsubscribe(*device));
                self.say(&Outbound::UnsubscribeResult { success: true, unsubscribed }).await
            }
        }
    }

    async fn authenticate(&mut self, token: String, auth_type: AuthType) -> Step {
        self.attempts += 1;
        match LiveCaller::of(&self.app, &self.request, token, auth_type).await {
            Ok(caller) if self.listener.identify(caller.id()) => {
                let (user_id, device_id) = match &caller {
                    LiveCaller::User { user, .. } => (Some(user.id.0), None),
                    LiveCaller::Device { id, .. } => (None, Some(*id)),
                };
                self.caller = Some(caller);
                self.say(&Outbound::AuthResult { success: true, message: "认证成功", user_id, device_id }).await
            }
            Ok(_) => self.end(ErrorCode::TooManyConnections, "连接数过多").await,
            Err(_) => {
                let failed = "认证失败";
                let result = Outbound::AuthResult { success: false, message: failed, user_id: None, device_id: None };
                let step = self.say(&result).await;
                if self.attempts < AUTH_ATTEMPTS_MAX { step } else { self.end(ErrorCode::Unauthorized, failed).await }
            }
        }
    }

    async fn report(&mut self, msg_id: Option<Value>, reading: ReportBody) -> Step {
        let Some(caller) = &self.caller else { return self.unauthorized().await };
        let outcome = match caller.reporting(&self.app, &self.request).await {
            Ok(device) => reports::accept_one(&self.app, &device, reading).await,
            Err(error) => Err(error),
        };
        let (data, error) = match outcome {
            Ok(kept) => (Some(kept.into()), None),
            Err(error) => (None, Some(envelope::sentence(&error))),
        };
        self.say(&Outbound::BatteryReportResult { msg_id, success: error.is_none(), data, error }).await
    }

    async fn report_batch(&mut self, msg_id: Option<Value>, readings: Vec<ReportBody>) -> Step {
        let Some(caller) = &self.caller else { return self.unauthorized().await };
        let outcome = match caller.reporting(&self.app, &self.request).await {
            Ok(device) => reports::accept(&self.app, &device, readings).await,
            Err(error) => Err(error),
        };
        let (data, error) = match outcome {
            Ok(accepted) => (Some(BatchOut::from(&accepted)), None),
            Err(error) => (None, Some(envelope::sentence(&error))),
        };
        self.say(&Outbound::BatchBatteryReportResult { msg_id, success: error.is_none(), data, error }).await
    }

    async fn subscribe(&mut self, device_ids: Vec<String>) -> Step {
        let Some(caller) = &self.caller else { return self.unauthorized().await };
        if device_ids.len() > DEVICES_MAX {
            let too_many = format!("最多订阅 {DEVICES_MAX} 个设备");
            return self.say(&Outbound::error(ErrorCode::InvalidMessage, too_many)).await;
        }
        let (mut subscribed, mut failed) = (Vec::new(), Vec::new());
        for text in device_ids {
            let Ok(device) = text.parse::<Uuid>() else {
                failed.push(text);
                continue;
            };
            // In this order, so that a share that ends in between is noticed.
            let has_room = self.listener.subscribe(device, DEVICES_MAX);
            let may = has_room && caller.may_listen(&self.app, &self.request, device).await.unwrap_or(false);
            if may {
                subscribed.push(device);
            } else {
                self.listener.unsubscribe(device);
                failed.push(text);
            }
        }
        self.say(&Outbound::SubscribeResult { success: failed.is_empty(), subscribed, failed }).await
    }

    async fn push(&mut self, push: Push) -> Step {
        match push {
            Push::Text(text) => self.send(Message::Text(text.as_ref().into())).await,
            Push::DeviceChanged { device, position } => self.check_device(device, position).await,
            Push::CallerChanged { position } => {
                // A read model that is late is asked again with the next heartbeat.
                let _ = self.app.readers.projected(position).await;
                // What is kept in memory may not have heard of it yet.
                self.caller.iter().for_each(|caller| caller.forget(&self.app));
                self.check_caller().await
            }
        }
    }

    async fn check_device(&mut self, device: Uuid, position: u64) -> Step {
        let Some(caller) = &self.caller else { return Step::Continue(()) };
        let known = self.app.readers.projected(position).await.is_ok();
        self.app.devices.forget(device);
        match caller.may_listen(&self.app, &self.request, device).await {
            Ok(true) if known => Step::Continue(()),
            // What is not known for sure is not shown.
            Ok(_) | Err(_) => {
                self.listener.unsubscribe(device);
                self.say(&Outbound::SubscriptionEnded { device_id: device }).await
            }
        }
    }

    async fn check_caller(&mut self) -> Step {
        let Some(caller) = &mut self.caller else { return Step::Continue(()) };
        match caller.check(&self.app, &self.request).await {
            Err(error) if !is_fault(&error) => self.end(ErrorCode::Unauthorized, "会话已结束").await,
            Ok(()) | Err(_) => Step::Continue(()),
        }
    }

    async fn beat(&mut self) -> Step {
        if self.heard_at.elapsed() > self.app.config.live.silence_max() {
            return Step::Break(());
        }
        if self.send(Message::Ping(Vec::new().into())).await.is_break() {
            return Step::Break(());
        }
        self.check_caller().await
    }

    async fn unauthorized(&mut self) -> Step {
        self.say(&Outbound::error(ErrorCode::Unauthorized, "请先认证")).await
    }

    async fn say(&mut self, outbound: &Outbound) -> Step {
        self.send(Message::Text(outbound.to_text().as_ref().into())).await
    }

    /// Says why, and closes.
    async fn end(&mut self, code: ErrorCode, why: &'static str) -> Step {
        if self.say(&Outbound::error(code, why)).await.is_continue() {
            let frame = CloseFrame { code: close_code::POLICY, reason: why.into() };
            let _ = self.send(Message::Close(Some(frame))).await;
        }
        Step::Break(())
    }

    /// A client that does not read is not waited for.
    async fn send(&mut self, message: Message) -> Step {
        match timeout(SEND_MAX, self.socket.send(message)).await {
            Ok(Ok(())) => Step::Continue(()),
            Ok(Err(_)) | Err(_) => Step::Break(()),
        }
    }
}
