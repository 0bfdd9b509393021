//! The pages of the way in. They work without scripts.

use chrono::{DateTime, TimeDelta};
use data_encoding::HEXLOWER;
use subtle::ConstantTimeEq as _;

use crate::app::Server;

/// How long a form may lie open.
const FORM_LIFE: TimeDelta = TimeDelta::hours(8);

/// Proof that a form came from this server: when, and a keyed hash of it.
pub(super) struct FormToken(String);

impl FormToken {
    /// A token for a form shown now.
    pub(super) fn new(server: &Server) -> Self {
        Self::made_at(server, server.clock().now().timestamp())
    }

    /// Whether this server made `token`, not too long ago.
    pub(super) fn is_ours(server: &Server, token: &str) -> bool {
        let Some(made_at) = token.split('.').next().and_then(|seconds| seconds.parse().ok()) else { return false };
        let Some(shown) = DateTime::from_timestamp(made_at, 0) else { return false };
        let age = server.clock().now() - shown;
        let made = Self::made_at(server, made_at);
        age >= TimeDelta::zero() && age < FORM_LIFE && made.0.as_bytes().ct_eq(token.as_bytes()).into()
    }

    fn made_at(server: &Server, seconds: i64) -> Self {
        let proof = server.secrets.fingerprint("csrf", &[&seconds.to_be_bytes()]);
        Self(format!("{seconds}.{}", HEXLOWER.encode(&proof)))
    }
}

/// The login page.
pub(super) fn login(token: &FormToken, message: Option<&str>) -> String {
    let fields = concat!(
        r#"<label>Email or username <input name="email" autocomplete="username" required autofocus></label>"#,
        r#"<label>Password <input name="password" type="password" autocomplete="current-password" required></label>"#,
    );
    form("Sign in", "/login", token, fields, message, r#"<a href="/register">Create an account</a>"#)
}

/// The registration page.
pub(super) fn register(token: &FormToken, message: Option<&str>) -> String {
    let fields = concat!(
        r#"<label>Email <input name="email" type="email" autocomplete="email" required autofocus></label>"#,
        r#"<label>Username (optional) <input name="username" autocomplete="username"></label>"#,
        r#"<label>Name (optional) <input name="name" autocomplete="name"></label>"#,
        r#"<label>Password <input name="password" type="password" autocomplete="new-password" required></label>"#,
        "<p>At least 8 characters with upper and lower case, a digit and a special character.</p>",
    );
    form("Create an account", "/register", token, fields, message, r#"<a href="/login">Sign in instead</a>"#)
}

fn form(title: &str, action: &str, token: &FormToken, fields: &str, message: Option<&str>, elsewhere: &str) -> String {
    let alert = message.map(|message| format!(r#"<p class="alert" role="alert">{}</p>"#, escaped(message)));
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · HashInsight</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 22rem; margin: 12vh auto; padding: 0 1rem }}
label, input, button {{ display: block; width: 100%; box-sizing: border-box }}
input, button {{ font: inherit; padding: .5rem; margin: .25rem 0 1rem }}
.alert {{ background: #fde8e8; color: #8a1c1c; padding: .5rem .75rem }}
</style>
</head>
<body>
<h1>{title}</h1>
{alert}
<form method="post" action="{action}">
<input type="hidden" name="csrf_token" value="{token}">
{fields}
<button>{title}</button>
</form>
<p>{elsewhere}</p>
</body>
</html>
"#,
        alert = alert.unwrap_or_default(),
        token = token.0,
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
