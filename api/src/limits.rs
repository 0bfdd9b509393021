//! Rate limits, as the products' documents state them. The counters are not state: a restart forgets them.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::extract::Request;
use axum::http::Method;
use domain::metadata::UserId;
use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use crate::error::{ApiError, ErrorKind};
use crate::request::RequestContext;
use crate::surface::Surface;

type Keyed = RateLimiter<Caller, DefaultKeyedStateStore<Caller>, DefaultClock>;

/// Whose requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Caller {
    Address(IpAddr),
    User(UserId),
}

/// One limit: so many requests in so long, for the requests it applies to.
struct Limit {
    applies: fn(&RequestContext, &Method, &str) -> bool,
    per_user: bool,
    requests: NonZeroU32,
    period: Duration,
    counters: Keyed,
}

/// All limits; none when they are switched off.
pub struct Limits(Vec<Limit>);

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

impl Limits {
    /// The documented limits, first match counts; or none.
    pub fn new(on: bool) -> Self {
        if !on {
            return Self(Vec::new());
        }
        Self(vec![
            limit(is_bitrun_auth, false, 5, MINUTE),
            limit(is_bitrun_account_creation, false, 20, MINUTE),
            limit(is_bitrun_status_change, false, 10, MINUTE),
            limit(|request, _, _| request.surface == Surface::Bitrun, false, 100, MINUTE),
            limit(is_hashinsight_anonymous, false, 10, HOUR),
            limit(is_hashinsight_signed_in, true, 1_000, HOUR),
            limit(is_sign_in, false, 20, MINUTE),
            limit(is_password_change, true, 10, 15 * MINUTE),
            limit(is_redemption, true, 5, 10 * MINUTE),
        ])
    }

    /// Counts the request, or refuses it with the seconds to wait.
    pub(crate) fn check(&self, context: &RequestContext, request: &Request) -> Result<(), ApiError> {
        let path = request.uri().path();
        let Some(limit) = self.0.iter().find(|limit| (limit.applies)(context, request.method(), path)) else {
            return Ok(());
        };
        let caller = match context.user {
            Some(user) if limit.per_user => Caller::User(user),
            _ => Caller::Address(context.remote_addr),
        };
        limit.counters.check_key(&caller).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            let refusal = too_many(limit, wait.as_secs() + 1);
            if is_bitrun_auth(context, request.method(), path) {
                refusal.with("code", "AUTH_RATE_LIMITED")
            } else {
                refusal
            }
        })
    }
}

fn limit(
    applies: fn(&RequestContext, &Method, &str) -> bool,
    per_user: bool,
    requests: u32,
    period: Duration,
) -> Limit {
    let requests = NonZeroU32::new(requests).unwrap_or(NonZeroU32::MIN);
    let quota =
        Quota::with_period(period / requests.get()).unwrap_or(Quota::per_second(requests)).allow_burst(requests);
    Limit { applies, per_user, requests, period, counters: RateLimiter::keyed(quota) }
}

fn too_many(limit: &Limit, seconds: u64) -> ApiError {
    let message = format!("Rate limit exceeded: {} per {} seconds", limit.requests, limit.period.as_secs());
    let refusal = ApiError::new(ErrorKind::TooManyRequests, "rate_limit_exceeded", message);
    ApiError { retry_after: Some(seconds), ..refusal }
        .with("limit", limit.requests.get())
        .with("period_seconds", limit.period.as_secs())
}

fn is_bitrun_auth(request: &RequestContext, _: &Method, path: &str) -> bool {
    request.surface == Surface::Bitrun && path.starts_with("/api/v1/auth/")
}

fn is_bitrun_account_creation(request: &RequestContext, method: &Method, path: &str) -> bool {
    request.surface == Surface::Bitrun && method == Method::POST && path == "/api/v1/accounts"
}

fn is_bitrun_status_change(request: &RequestContext, method: &Method, path: &str) -> bool {
    let strategies = path.starts_with("/api/v1/strategies/") || path.starts_with("/api/v1/quant-strategies/");
    request.surface == Surface::Bitrun && method == Method::POST && strategies && path.ends_with("/status")
}

fn is_hashinsight_anonymous(request: &RequestContext, method: &Method, _: &str) -> bool {
    request.surface == Surface::HashInsight && request.user.is_none() && method != Method::GET
}

fn is_hashinsight_signed_in(request: &RequestContext, _: &Method, _: &str) -> bool {
    request.surface == Surface::HashInsight && request.user.is_some()
}

fn is_sign_in(request: &RequestContext, method: &Method, path: &str) -> bool {
    let password = path.ends_with("/login") || path.ends_with("/register") || path.ends_with("/refresh");
    request.user.is_none() && method == Method::POST && password
}

/// A stolen session is no way to guess the password.
fn is_password_change(request: &RequestContext, method: &Method, path: &str) -> bool {
    request.user.is_some() && method == Method::PUT && path == "/api/v1/users/me/password"
}

/// Guessing codes is limited per user.
fn is_redemption(request: &RequestContext, method: &Method, path: &str) -> bool {
    request.surface == Surface::Owl && method == Method::POST && path == "/api/recharge/redeem"
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::body::Body;
    use commands::Clock;
    use uuid::Uuid;

    use super::*;

    fn request(method: Method, path: &str) -> Request {
        Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
    }
    fn context(surface: Surface, last_octet: u8) -> RequestContext {
        let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last_octet));
        RequestContext::new(Uuid::nil(), surface, address, Clock::system())
    }

    #[test]
    fn the_sixth_sign_in_of_a_minute_from_one_address_is_refused() {
        let limits = Limits::new(true);
        let login = request(Method::POST, "/api/v1/auth/login");
        for _ in 0..5 {
            assert!(limits.check(&context(Surface::Bitrun, 1), &login).is_ok());
        }
        let refused = limits.check(&context(Surface::Bitrun, 1), &login).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::TooManyRequests);
        assert!(refused.retry_after.is_some_and(|seconds| (1..=13).contains(&seconds)));
        assert!(limits.check(&context(Surface::Bitrun, 2), &login).is_ok());
    }

    #[test]
    fn switched_off_nothing_is_counted() {
        let limits = Limits::new(false);
        let login = request(Method::POST, "/api/v1/auth/login");
        assert!((0..100).all(|_| limits.check(&context(Surface::Bitrun, 1), &login).is_ok()));
    }
}
