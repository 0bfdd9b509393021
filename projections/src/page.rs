//! Pages of lists.

/// Which page of a list, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paging {
    pub page: u64,
    pub per_page: u64,
}

/// One page and the number of rows on all of them.
#[derive(Debug, Clone)]
pub struct Page<T> {
    pub rows: Vec<T>,
    pub total: u64,
    pub paging: Paging,
}

impl Paging {
    /// A page within limits: `page` at least 1, `per_page` from 1 to `per_page_max`.
    pub fn new(page: Option<u64>, per_page: Option<u64>, per_page_default: u64, per_page_max: u64) -> Self {
        Self {
            page: page.unwrap_or(1).clamp(1, u64::from(u32::MAX)),
            per_page: per_page.unwrap_or(per_page_default).clamp(1, per_page_max),
        }
    }

    /// Rows to pass over.
    pub fn offset(self) -> u64 {
        (self.page - 1) * self.per_page
    }
}

impl<T> Page<T> {
    /// Number of pages.
    pub fn pages(&self) -> u64 {
        self.total.div_ceil(self.paging.per_page)
    }
}

/// One page of `select` (filtered and ordered by the caller) and its total.
///
/// # Errors
/// What the database said.
pub(crate) async fn page<E, C>(
    db: &C,
    select: sea_orm::Select<E>,
    paging: Paging,
) -> Result<Page<E::Model>, sea_orm::DbErr>
where
    E: sea_orm::EntityTrait,
    E::Model: Send + Sync,
    C: sea_orm::ConnectionTrait,
{
    use sea_orm::{PaginatorTrait, QuerySelect};
    let total = select.clone().count(db).await?;
    let rows = select.offset(paging.offset()).limit(paging.per_page).all(db).await?;
    Ok(Page { rows, total, paging })
}
