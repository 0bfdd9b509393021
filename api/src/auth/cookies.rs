//! Cookies of browsers, and whether a browser's request comes from our own pages.

use axum::http::header::{COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use chrono::TimeDelta;

use crate::config::Mode;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The value of cookie `name`.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|line| line.split(';'));
    pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// A `Set-Cookie` that scripts cannot read; a `life` of zero removes the cookie. `value` must be a token: letters,
/// digits, `-`, `_` and `.`.
pub(crate) fn set_cookie(name: &str, value: &str, life: TimeDelta, mode: Mode) -> Option<HeaderValue> {
    let secure = match mode {
        Mode::Production => "; Secure",
        Mode::Development => "",
    };
    let seconds = life.num_seconds();
    HeaderValue::try_from(format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")).ok()
}

/// Whether a request is not another site's doing: browsers say where it comes from, and nobody else carries cookies
/// against their owner's will.
pub(crate) fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(site) = text(SEC_FETCH_SITE) {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = text(ORIGIN) else { return true };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some() && authority == text(HOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let headers = headers(&[("cookie", "a=1; session=x.y-z; session2=2")]);
        assert_eq!(cookie(&headers, "session"), Some("x.y-z"));
        assert_eq!(cookie(&headers, "b"), None);
    }

    #[test]
    fn cookies_are_secure_in_production() {
        let in_mode = |mode| set_cookie("session", "t", TimeDelta::hours(8), mode).unwrap();
        assert_eq!(in_mode(Mode::Development), "session=t; Path=/; Max-Age=28800; HttpOnly; SameSite=Lax");
        assert_eq!(in_mode(Mode::Production), "session=t; Path=/; Max-Age=28800; HttpOnly; SameSite=Lax; Secure");
    }

    #[test]
    fn requests_of_other_sites_are_told_apart() {
        let host = ("host", "corelog.example:8000");
        assert!(is_same_origin(&headers(&[host])));
        assert!(is_same_origin(&headers(&[host, ("origin", "https://corelog.example:8000")])));
        assert!(is_same_origin(&headers(&[host, ("sec-fetch-site", "same-origin")])));
        for other in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(!is_same_origin(&headers(&[host, other])), "{other:?}");
        }
    }
}
