//! Rate limits, as the products' documents state them. The counters are not state: a restart forgets them.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use domain::identity::plan::Plan;
use domain::metadata::UserId;
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{NotUntil, Quota, RateLimiter};

use crate::config::{Config, Switch};
use crate::error::{ApiError, ErrorKind};
use crate::request::RequestContext;
use crate::surface::Surface;

type Keyed = RateLimiter<Counted, DefaultKeyedStateStore<Counted>, DefaultClock, StateInformationMiddleware>;
type Applies = fn(&RequestContext, &Method, &str) -> bool;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
/// After so many requests those who are not near their limit are forgotten, so that addresses do not pile up.
const TIDY_EVERY: u32 = 1_024;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Whose requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Counted {
    Address(IpAddr),
    User(UserId),
}

/// What an address is counted as: a host has whole networks of 64 bits of IPv6 to itself.
pub(crate) fn counted_address(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
    }
}

/// By what requests are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Per {
    Address,
    User,
}

/// One limit: so many requests in so long, for the requests it applies to.
struct Limit {
    applies: Applies,
    per: Per,
    requests: NonZeroU32,
    period: Duration,
    counters: Keyed,
    since_tidied: AtomicU32,
}

/// All limits; none when they are switched off.
#[derive(Default)]
pub struct Limits {
    /// Of these the first that applies counts.
    first: Vec<Limit>,
    /// These count as well.
    besides: Vec<Limit>,
}

/// How a caller stands with the limit that counted a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    requests: u32,
    period: Duration,
    /// Requests that would be let through now.
    remaining: u32,
    /// Seconds until the whole quota is there again; after a refusal until the next request is let through.
    reset: u64,
}

impl Limits {
    /// The documented limits; or none.
    pub fn new(config: &Config) -> Self {
        if config.rate_limits == Switch::Off {
            return Self::default();
        }
        let plans = &config.plans;
        let first = vec![
            limit(is_bitrun_auth, Per::Address, 5, MINUTE),
            limit(is_bitrun_account, Per::Address, 20, MINUTE),
            limit(is_bitrun_status_change, Per::Address, 10, MINUTE),
            limit(|request, _, _| request.surface == Surface::Bitrun, Per::Address, 100, MINUTE),
            limit(is_hashinsight_anonymous, Per::Address, 10, HOUR),
            limit(|request, _, _| is_hashinsight_on(request, Plan::Free), Per::User, plans.free_per_hour, HOUR),
            limit(|request, _, _| is_hashinsight_on(request, Plan::Basic), Per::User, plans.basic_per_hour, HOUR),
            limit(|request, _, _| is_hashinsight_on(request, Plan::Pro), Per::User, plans.pro_per_hour, HOUR),
            limit(is_sign_in, Per::Address, 20, MINUTE),
            limit(is_redemption, Per::User, 5, 10 * MINUTE),
            limit(is_password_change, Per::User, 10, 10 * MINUTE),
        ];
        Self { first, besides: vec![limit(is_redemption, Per::Address, 60, 10 * MINUTE)] }
    }

    /// Counts a request, or refuses it with the seconds to wait. Takes note of how the caller stands.
    pub(crate) fn check(&self, context: &RequestContext, method: &Method, path: &str) -> Result<(), ApiError> {
        let applies = |limit: &&Limit| (limit.applies)(context, method, path);
        let first = self.first.iter().find(applies);
        let mut tightest: Option<Standing> = None;
        for limit in first.into_iter().chain(self.besides.iter().filter(applies)) {
            match limit.count(context) {
                Ok(standing) if tightest.is_some_and(|other| other.remaining <= standing.remaining) => {}
                Ok(standing) => tightest = Some(standing),
                Err(refused) => {
                    context.stands(refused);
                    let (refusal, auth) = (too_many(refused), is_bitrun_auth(context, method, path));
                    return Err(if auth { refusal.with("code", "AUTH_RATE_LIMITED") } else { refusal });
                }
            }
        }
        tightest.into_iter().for_each(|standing| context.stands(standing));
        Ok(())
    }
}

impl Limit {
    /// Counts a request: how the caller stands after it, or after it was refused.
    fn count(&self, context: &RequestContext) -> Result<Standing, Standing> {
        if self.since_tidied.fetch_add(1, Ordering::Relaxed) >= TIDY_EVERY {
            self.since_tidied.store(0, Ordering::Relaxed);
            self.counters.retain_recent();
        }
        let counted = match context.user {
            Some(user) if self.per == Per::User => Counted::User(user),
            _ => Counted::Address(counted_address(context.remote_addr)),
        };
        self.counters.check_key(&counted).map(|state| self.after(&state)).map_err(|until| self.refused(&until))
    }

    fn after(&self, state: &StateSnapshot) -> Standing {
        let remaining = state.remaining_burst_capacity().min(self.requests.get());
        let missing = self.requests.get() - remaining;
        let reset = (self.period / self.requests.get() * missing).as_secs_f64().ceil();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the period, in seconds")]
        let reset = reset as u64;
        Standing { requests: self.requests.get(), period: self.period, remaining, reset }
    }

    fn refused(&self, until: &NotUntil<<DefaultClock as governor::clock::Clock>::Instant>) -> Standing {
        let wait = until.wait_time_from(DefaultClock::default().now());
        Standing { requests: self.requests.get(), period: self.period, remaining: 0, reset: wait.as_secs() + 1 }
    }
}

impl Standing {
    /// Says it in the headers of an answer, as the IETF's draft names them.
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, HeaderValue::from(self.requests));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(RESET, HeaderValue::from(self.reset));
        if let Ok(policy) = HeaderValue::try_from(format!("{};w={}", self.requests, self.period.as_secs())) {
            headers.insert(POLICY, policy);
        }
    }
}

fn limit(applies: Applies, per: Per, requests: u32, period: Duration) -> Limit {
    let requests = NonZeroU32::new(requests).unwrap_or(NonZeroU32::MIN);
    let quota =
        Quota::with_period(period / requests.get()).unwrap_or(Quota::per_second(requests)).allow_burst(requests);
    let counters = RateLimiter::keyed(quota).with_middleware();
    Limit { applies, per, requests, period, counters, since_tidied: AtomicU32::new(0) }
}

fn too_many(refused: Standing) -> ApiError {
    let (requests, seconds) = (refused.requests, refused.period.as_secs());
    let message = format!("Rate limit exceeded: {requests} per {seconds} seconds");
    let refusal = ApiError::new(ErrorKind::TooManyRequests, "rate_limit_exceeded", message);
    ApiError { retry_after: Some(refused.reset), ..refusal }.with("limit", requests).with("period_seconds", seconds)
}

fn is_bitrun_auth(request: &RequestContext, _: &Method, path: &str) -> bool {
    request.surface == Surface::Bitrun && path.starts_with("/api/v1/auth/")
}

/// An account made, or its connection tried.
fn is_bitrun_account(request: &RequestContext, method: &Method, path: &str) -> bool {
    let account = path.strip_prefix("/api/v1/accounts").filter(|rest| rest.is_empty() || rest.ends_with("/test"));
    request.surface == Surface::Bitrun && method == Method::POST && account.is_some()
}

fn is_bitrun_status_change(request: &RequestContext, method: &Method, path: &str) -> bool {
    let strategies = path.starts_with("/api/v1/strategies/") || path.starts_with("/api/v1/quant-strategies/");
    request.surface == Surface::Bitrun && method == Method::POST && strategies && path.ends_with("/status")
}

fn is_hashinsight_anonymous(request: &RequestContext, _: &Method, _: &str) -> bool {
    request.surface == Surface::HashInsight && request.user.is_none()
}

fn is_hashinsight_on(request: &RequestContext, plan: Plan) -> bool {
    request.surface == Surface::HashInsight && request.plan == Some(plan)
}

fn is_sign_in(request: &RequestContext, method: &Method, path: &str) -> bool {
    let password = path.ends_with("/login") || path.ends_with("/register") || path.ends_with("/refresh");
    request.user.is_none() && method == Method::POST && password
}

/// Guessing codes is limited per user and per address.
fn is_redemption(request: &RequestContext, method: &Method, path: &str) -> bool {
    let redeems = path == "/api/recharge/redeem" || path == "/api/recharge/use";
    request.surface == Surface::Owl && method == Method::POST && redeems
}

/// Whoever found an open session does not guess its password.
fn is_password_change(request: &RequestContext, method: &Method, path: &str) -> bool {
    let of_owl = method == Method::POST && path == "/api/users/change-password";
    request.user.is_some() && (of_owl || (method == Method::PUT && path == "/api/v1/users/me/password"))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use commands::Clock;
    use domain::metadata::TenantId;
    use uuid::Uuid;

    use super::*;
    use crate::config::PlanSettings;

    fn limits() -> Limits {
        Limits::new(&Config::default())
    }
    fn context(surface: Surface, last_octet: u8) -> RequestContext {
        let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last_octet));
        RequestContext::new(Uuid::nil(), surface, address, Clock::system())
    }
    fn on_plan(user: u128, plan: Plan) -> RequestContext {
        let mut context = context(Surface::HashInsight, 1).signed_in(UserId(Uuid::from_u128(user)), TenantId::DEFAULT);
        context.plan = Some(plan);
        context
    }
    fn written(context: &RequestContext) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        context.standing().unwrap().write(&mut headers);
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn a_network_of_one_host_is_counted_as_one() {
        let counted = |text: &str| counted_address(text.parse().unwrap()).to_string();
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(counted("203.0.113.9"), "203.0.113.9");
    }

    #[test]
    fn the_sixth_sign_in_of_a_minute_from_one_address_is_refused() {
        let (limits, path) = (limits(), "/api/v1/auth/login");
        for _ in 0..5 {
            assert!(limits.check(&context(Surface::Bitrun, 1), &Method::POST, path).is_ok());
        }
        let refused = limits.check(&context(Surface::Bitrun, 1), &Method::POST, path).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::TooManyRequests);
        assert!(refused.retry_after.is_some_and(|seconds| (1..=13).contains(&seconds)));
        assert!(limits.check(&context(Surface::Bitrun, 2), &Method::POST, path).is_ok());
    }

    #[test]
    fn every_limited_answer_says_how_the_caller_stands() {
        let limits = limits();
        let first = context(Surface::HashInsight, 1);
        limits.check(&first, &Method::GET, "/login").unwrap();
        let expected = [("limit", "10"), ("remaining", "9"), ("reset", "360"), ("policy", "10;w=3600")];
        assert_eq!(written(&first), expected.map(|(name, value)| (format!("ratelimit-{name}"), value.to_owned())));
        for _ in 0..9 {
            limits.check(&context(Surface::HashInsight, 1), &Method::GET, "/login").unwrap();
        }
        let refused = context(Surface::HashInsight, 1);
        let refusal = limits.check(&refused, &Method::GET, "/login").unwrap_err();
        assert!(written(&refused).contains(&("ratelimit-remaining".into(), "0".into())));
        assert_eq!(refusal.retry_after, Some(refused.standing().unwrap().reset));
    }

    #[test]
    fn subscribers_get_what_their_plan_gives() {
        // So few that none comes back while the test runs.
        let plans = PlanSettings { free_per_hour: 2, basic_per_hour: 3, pro_per_hour: 4 };
        let limits = Limits::new(&Config { plans, ..Config::default() });
        for (user, (plan, requests)) in (1..).zip([(Plan::Free, 2), (Plan::Basic, 3), (Plan::Pro, 4)]) {
            for _ in 0..requests {
                assert!(limits.check(&on_plan(user, plan), &Method::GET, "/crm/api/deals").is_ok());
            }
            assert!(limits.check(&on_plan(user, plan), &Method::GET, "/crm/api/deals").is_err());
            // Others on the same plan, even behind the same address, are counted for themselves.
            assert!(limits.check(&on_plan(user + 100, plan), &Method::GET, "/crm/api/deals").is_ok());
        }
    }

    #[test]
    fn those_who_were_quiet_are_forgotten() {
        let limit = limit(|_, _, _| true, Per::Address, 1_000_000, Duration::from_millis(1));
        for n in 0..=TIDY_EVERY * 2 {
            let [_, a, b, c] = n.to_be_bytes();
            let address = IpAddr::V4(Ipv4Addr::new(10, a, b, c));
            let context = RequestContext::new(Uuid::nil(), Surface::Owl, address, Clock::system());
            assert!(limit.count(&context).is_ok());
        }
        assert!(limit.counters.len() <= 2 * TIDY_EVERY as usize);
    }

    #[test]
    fn guessing_codes_is_limited_per_user_and_per_address() {
        let limits = limits();
        let guesses: Vec<&str> = ["/api/recharge/redeem", "/api/recharge/use"].into_iter().cycle().take(5).collect();
        let by = |user: u128, address| {
            context(Surface::Owl, address).signed_in(UserId(Uuid::from_u128(user)), TenantId::DEFAULT)
        };
        let goes = |user, address, path: &str| limits.check(&by(user, address), &Method::POST, path).is_ok();
        assert!(guesses.iter().all(|path| goes(1, 1, path)));
        assert!(!goes(1, 1, guesses[0]), "the sixth of one user");
        assert!(!goes(1, 2, guesses[0]), "from wherever");
        for user in 2..13 {
            assert!(guesses.iter().all(|path| goes(user, 1, path)));
        }
        assert!(!goes(13, 1, guesses[0]), "the 61st from one address");
        assert!(goes(13, 2, guesses[0]));
    }

    #[test]
    fn switched_off_nothing_is_counted() {
        let limits = Limits::new(&Config { rate_limits: Switch::Off, ..Config::default() });
        let context = context(Surface::Bitrun, 1);
        assert!((0..100).all(|_| limits.check(&context, &Method::POST, "/api/v1/auth/login").is_ok()));
        assert!(context.standing().is_none());
    }
}
