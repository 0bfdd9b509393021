//! How an aggregate says no, in terms that a surface can translate without knowing the aggregate.

/// What sort of no it is; each surface maps a kind to its status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The aggregate, or something the command names, does not exist (for this tenant).
    NotFound,
    /// What the command would create is already there.
    AlreadyExists,
    /// The present state does not allow the command; the message names the state.
    IllegalState,
    /// The command's values are out of range or contradict each other.
    Invalid,
    /// The actor may not do this.
    Forbidden,
    /// Credentials, codes or tokens that do not match.
    Unauthenticated,
    /// Not enough money.
    InsufficientFunds,
    /// A limit of number or rate is reached.
    LimitExceeded,
    /// It was allowed once and its time has passed.
    Expired,
}

/// An aggregate's error enum: `Display` is an English sentence, `code` a stable word for translations.
pub trait Refusal: std::error::Error + Send + Sync + 'static {
    /// The kind that decides the HTTP status.
    fn kind(&self) -> RefusalKind;
    /// A stable word such as `recharge_code.expired`; never renamed, surfaces translate by it.
    fn code(&self) -> &'static str;
}
