//! Requests to addresses that users name: never into the network that the server itself stands in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use super::Fault;

const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Whether addresses of private networks and of this machine may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrivateTargets {
    Refused,
    Allowed,
}

/// An address that is not called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    #[error("is no http or https address")]
    NoAddress,
    #[error("lies in a private network")]
    Private,
}

/// Calls addresses of the public network. Names are looked up and checked for each connection, so that a name cannot be
/// made to point elsewhere after it was checked. Redirects are not followed.
#[derive(Clone)]
pub struct Outside {
    http: Client,
    private: PrivateTargets,
}

impl Outside {
    /// A caller of public addresses, or of all.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn new(private: PrivateTargets) -> Result<Self, reqwest::Error> {
        let client = Client::builder().redirect(Policy::none()).no_proxy().timeout(TIME_LIMIT);
        let client = match private {
            PrivateTargets::Allowed => client,
            PrivateTargets::Refused => client.dns_resolver(std::sync::Arc::new(PublicNames)),
        };
        Ok(Self { http: client.build()?, private })
    }

    /// The address in `text`, if it may be called. A name is looked up only later.
    ///
    /// # Errors
    /// [`BadTarget`].
    pub fn check(&self, text: &str) -> Result<Url, BadTarget> {
        let url: Url = text.parse().map_err(|_| BadTarget::NoAddress)?;
        let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https")).ok_or(BadTarget::NoAddress)?;
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let private = address.is_ok_and(|address| !is_public(address));
        if private && self.private == PrivateTargets::Refused { Err(BadTarget::Private) } else { Ok(url) }
    }

    /// Sends `body`; answers the status.
    pub(super) async fn post(&self, url: &str, headers: HeaderMap, body: Vec<u8>) -> Result<u16, Fault> {
        let url = self.check(url).map_err(|bad| Fault::Lasting(format!("the address {bad}")))?;
        let answer = self.http.post(url).headers(headers).body(body).send().await;
        // The address is the user's secret: it does not belong into a reason.
        let answer = answer.map_err(|error| Fault::Passing(reason(&error.without_url())))?;
        Ok(answer.status().as_u16())
    }
}

/// The error and what is behind it.
fn reason(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Looks names up, and knows only their public addresses.
struct PublicNames;

impl Resolve for PublicNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(BadTarget::Private.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast();
    // This network, shared address space, protocol assignments, benchmarks, reserved and broadcast.
    let reserved = a == 0
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && b & 0xfe == 18)
        || a >= 240;
    !special && !reserved
}

/// Of the global unicast block, without documentation and what carries an address of version 4.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let global = first & 0xe000 == 0x2000;
    let documentation = first == 0x2001 && second == 0x0db8;
    let tunnelled = first == 0x2002 || (first == 0x2001 && second == 0);
    global && !documentation && !tunnelled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_not_called() {
        let outside = Outside::new(PrivateTargets::Refused).unwrap();
        for private in [
            "http://127.0.0.1/x",
            "http://127.1/x",
            "http://2130706433/",
            "http://0x7f000001/",
            "https://10.1.2.3",
            "http://192.168.0.1:8080/hook",
            "http://172.16.0.1",
            "http://169.254.169.254/latest/meta-data",
            "http://100.64.0.1",
            "http://0.0.0.0",
            "http://[::1]/",
            "http://[fe80::1]/",
            "http://[fd00::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[2002:7f00:1::]/",
        ] {
            assert_eq!(outside.check(private), Err(BadTarget::Private), "{private}");
        }
        for bad in ["", "hook", "ftp://example.com/", "file:///etc/passwd", "http://"] {
            assert_eq!(outside.check(bad), Err(BadTarget::NoAddress), "{bad}");
        }
        for public in ["https://example.com/hook", "http://93.184.216.34/", "https://[2606:4700::1]/"] {
            assert!(outside.check(public).is_ok(), "{public}");
        }
    }

    #[tokio::test]
    async fn a_name_that_points_inside_is_not_called() {
        let outside = Outside::new(PrivateTargets::Refused).unwrap();
        let refused = outside.post("http://localhost:1/", HeaderMap::new(), vec![]).await.unwrap_err();
        assert!(refused.to_string().contains("private network"), "{refused}");
    }
}
