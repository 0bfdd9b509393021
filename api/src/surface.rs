//! The surfaces: four products and the platform's own API, on one port.

use axum::response::Response;
use uuid::Uuid;

use crate::error::ApiError;

/// Whose API a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Surface {
    HashInsight,
    Zinnia,
    Bitrun,
    Owl,
    Platform,
}

impl Surface {
    /// Every surface.
    pub const ALL: [Self; 5] = [Self::HashInsight, Self::Zinnia, Self::Bitrun, Self::Owl, Self::Platform];

    /// The name in events and tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::HashInsight => "hashinsight",
            Self::Zinnia => "zinnia",
            Self::Bitrun => "bitrun",
            Self::Owl => "owl",
            Self::Platform => "platform",
        }
    }

    /// The surface that an unknown path most likely meant: its error body is used.
    pub fn of_path(path: &str) -> Self {
        const ZINNIA: [&str; 7] =
            ["users", "devices", "battery", "compat", "alerts", "notifications/preferences", "notifications/web-push"];
        const HASHINSIGHT: [&str; 2] = ["telemetry", "ai"];
        let within = |prefix: &str| path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        if within("/platform").is_some() {
            return Self::Platform;
        }
        if let Some(rest) = within("/api/v1") {
            let rest = rest.trim_start_matches('/');
            let among =
                |words: &[&str]| words.iter().any(|word| rest == *word || rest.starts_with(&format!("{word}/")));
            let registration = ["auth/recaptcha", "auth/registration", "auth/verification", "auth/password-reset"];
            let sessions = ["auth/exchange", "auth/token", "auth/revoke"];
            return if among(&ZINNIA) || among(&registration) || among(&sessions) {
                Self::Zinnia
            } else if among(&HASHINSIGHT) {
                Self::HashInsight
            } else {
                Self::Bitrun
            };
        }
        if within("/api/wallet").is_some() || within("/api/export").is_some() {
            return Self::HashInsight;
        }
        if within("/api").is_some() { Self::Owl } else { Self::HashInsight }
    }

    /// Writes the body of an error in the words of the surface; `request` is the id of what is answered.
    pub fn render(self, request: Option<Uuid>, response: Response) -> Response {
        let (mut parts, body) = response.into_parts();
        let Some(error) = parts.extensions.remove::<ApiError>() else { return Response::from_parts(parts, body) };
        let mut rendered = match self {
            Self::HashInsight => crate::hashinsight::envelope::error(&error),
            Self::Zinnia => crate::zinnia::envelope::error(request, &error),
            Self::Bitrun => crate::bitrun::envelope::error(&error),
            Self::Owl => crate::owl::envelope::error(&error),
            Self::Platform => crate::platform::envelope::error(&error),
        };
        for (name, value) in parts.headers.drain().filter_map(|(name, value)| name.map(|name| (name, value))) {
            if name != axum::http::header::CONTENT_LENGTH && !rendered.headers().contains_key(&name) {
                rendered.headers_mut().insert(name, value);
            }
        }
        rendered
    }
}
