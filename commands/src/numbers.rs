//! Whole numbers for the documents that show integer ids.

use domain::log::{CommandKey, LogError};
use domain::metadata::{Metadata, TenantId};
use domain::platform::number_series::{NumberSeries, NumberSeriesCommand, NumberSeriesError, NumberSeriesEvent};

use crate::bus::{CommandBus, CommandError};
use crate::context::CommandContext;

impl CommandBus {
    /// Takes `count` numbers of `series` (the sort of aggregate that they are for) and answers the first; the others
    /// follow it. Under the same key they are the same numbers again.
    ///
    /// An id names one stream in the whole log, so a series belongs to the installation and not to a tenant: its events
    /// stand under the default tenant.
    ///
    /// # Errors
    /// [`CommandError`]; nothing was taken.
    pub async fn allocate(
        &self,
        series: &str,
        count: u32,
        context: &CommandContext,
    ) -> Result<i64, CommandError<NumberSeriesError>> {
        let metadata = Metadata { tenant: TenantId::DEFAULT, ..context.metadata.clone() };
        let context = CommandContext { key: of_all_tenants(context), ..CommandContext::new(metadata) };
        let command = NumberSeriesCommand::Allocate { count };
        let receipt = self.execute::<NumberSeries>(series, command, &context).await?;
        match receipt.events.first() {
            Some(NumberSeriesEvent::Allocated { first, .. }) => Ok(*first),
            None => Err(LogError::Damaged(format!("the series {series} gave no number")).into()),
        }
    }

    /// Whether numbers were taken under the key of `context` before.
    ///
    /// # Errors
    /// When the log does not answer.
    pub async fn has_allocated(&self, context: &CommandContext) -> Result<bool, LogError> {
        let Some(key) = of_all_tenants(context) else { return Ok(false) };
        Ok(self.log().command(TenantId::DEFAULT, &key.key).await?.is_some())
    }
}

/// The key of `context` among those of all tenants, which meet here: keys are the tenant's own.
fn of_all_tenants(context: &CommandContext) -> Option<CommandKey> {
    let tenant = context.metadata.tenant;
    context.key.as_ref().map(|key| CommandKey { key: format!("{tenant}/{}", key.key), ..key.clone() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::clock::Clock;
    use crate::log::MemoryLog;

    fn context(tenant: u128, key: Option<&str>) -> CommandContext {
        let metadata = Metadata::of(TenantId(Uuid::from_u128(tenant)), "system", "cli", Uuid::nil());
        let key = key.map(|key| CommandKey { key: key.to_owned(), fingerprint: vec![1] });
        CommandContext { key, ..CommandContext::new(metadata) }
    }

    #[tokio::test]
    async fn tenants_share_a_series_but_not_their_keys() {
        let bus = CommandBus::new(Arc::new(MemoryLog::new()), Clock::system());
        assert!(!bus.has_allocated(&context(7, Some("k"))).await.unwrap());
        assert_eq!(bus.allocate("deal", 1, &context(7, Some("k"))).await.unwrap(), 1);
        assert!(bus.has_allocated(&context(7, Some("k"))).await.unwrap());
        assert!(!bus.has_allocated(&context(8, Some("k"))).await.unwrap());
        assert!(!bus.has_allocated(&context(7, None)).await.unwrap());
        assert_eq!(bus.allocate("deal", 5, &context(8, Some("k"))).await.unwrap(), 2);
        assert_eq!(bus.allocate("deal", 1, &context(8, None)).await.unwrap(), 7);
        assert_eq!(bus.allocate("lead", 1, &context(8, None)).await.unwrap(), 1);
        // Repeated under their keys, in whatever order, they are the same numbers.
        assert_eq!(bus.allocate("deal", 5, &context(8, Some("k"))).await.unwrap(), 2);
        assert_eq!(bus.allocate("deal", 1, &context(7, Some("k"))).await.unwrap(), 1);
    }
}
