//! The first start: an installation without an owner gets one, or nobody could ever come in.

use commands::CommandContext;
use domain::identity::role::Role;
use domain::identity::user::Registrar;
use domain::metadata::{Metadata, TenantId};
use projections::Paging;
use projections::identity::users::{self, UserFilter};
use rand::RngExt;

use super::registration::{Registration, carry_out};
use crate::app::Server;
use crate::error::ApiError;

/// Nothing that looks like something else: the password is read from a screen.
const ALPHABET: &[u8; 54] = b"abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456";
const PASSWORD_CHARS: usize = 20;

/// The owner that the first start made.
#[derive(Clone)]
pub struct FirstOwner {
    pub email: String,
    /// The password, when it was made up here: it is shown once and stored nowhere.
    pub password: Option<String>,
}

/// Makes the owner of the default tenant, unless there is one.
///
/// # Errors
/// When the log or the read models do not answer, or the configured e-mail address is none.
pub(crate) async fn make_owner(server: &Server) -> Result<Option<FirstOwner>, ApiError> {
    let owners = UserFilter { roles: vec![Role::Owner], ..UserFilter::default() };
    let paging = Paging::new(None, Some(1), 1, 1);
    if users::list(server.models.read().await, TenantId::DEFAULT, &owners, paging).await?.total > 0 {
        return Ok(None);
    }
    let email = server.config.admin_email.clone();
    let made_up = server.config.admin_password.is_none().then(password);
    let registration = Registration {
        email: email.clone(),
        username: Some("admin".to_owned()),
        name: None,
        password: server.config.admin_password.clone().or_else(|| made_up.clone()).unwrap_or_default(),
        role: Role::Owner,
        by: Registrar::Installation,
    };
    let context = || {
        let id = server.clock().new_id();
        CommandContext::new(Metadata::of(TenantId::DEFAULT, "system", "cli", id))
    };
    let registered = match carry_out(server, &registration, context).await {
        // A first start was cut off after it had claimed the name. The claim lapses; the owner comes without.
        Err(error) if error.code == "username.taken" => {
            carry_out(server, &Registration { username: None, ..registration }, context).await
        }
        registered => registered,
    };
    match registered {
        Ok(registered) => {
            server.readers.passed(registered.user.position).await?;
            Ok(Some(FirstOwner { email, password: made_up }))
        }
        // Another server of this installation was faster.
        Err(error) if error.code == "user.already_registered" => Ok(None),
        Err(error) => Err(error),
    }
}

/// Letters, digits and, for the sake of every product's rules, one of each sort.
fn password() -> String {
    let mut rng = rand::rng();
    let letters = (0..PASSWORD_CHARS).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]));
    format!("{}-7aZ", letters.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::passwords::Policy;

    #[test]
    fn a_made_up_password_fulfils_every_products_rules() {
        for _ in 0..100 {
            let password = password();
            for policy in [Policy::Zinnia, Policy::Bitrun, Policy::Owl, Policy::Platform] {
                assert_eq!(policy.objection(&password), None, "{password}");
            }
        }
        assert_ne!(password(), password());
    }
}
