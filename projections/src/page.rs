//! Pages of lists.

use sea_orm::{Order, PaginatorTrait, QueryOrder, QuerySelect};

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

/// The part of a list that makes a page, counted from the nearer end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) from_end: bool,
    pub(crate) offset: u64,
    pub(crate) limit: u64,
}

impl Stretch {
    /// None where the list ends before the page.
    pub(crate) fn of(paging: Paging, total: u64) -> Option<Self> {
        let offset = paging.offset();
        let limit = total.checked_sub(offset).filter(|left| *left > 0)?.min(paging.per_page);
        let from_end = offset > total / 2;
        Some(Self { from_end, offset: if from_end { total - offset - limit } else { offset }, limit })
    }
}

/// One page of `select` (filtered by the caller) in the order of these columns, and its total.
///
/// # Errors
/// What the database said.
pub(crate) async fn page<E, C>(
    db: &C,
    select: sea_orm::Select<E>,
    order: &[(E::Column, Order)],
    paging: Paging,
) -> Result<Page<E::Model>, sea_orm::DbErr>
where
    E: sea_orm::EntityTrait,
    E::Model: Send + Sync,
    C: sea_orm::ConnectionTrait,
{
    let total = select.clone().count(db).await?;
    let Some(Stretch { from_end, offset, limit }) = Stretch::of(paging, total) else {
        return Ok(Page { rows: Vec::new(), total, paging });
    };
    let ordered = order.iter().fold(select, |select, (column, order)| {
        select.order_by(*column, if from_end { opposite(order) } else { order.clone() })
    });
    let mut rows = ordered.offset(offset).limit(limit).all(db).await?;
    if from_end {
        rows.reverse();
    }
    Ok(Page { rows, total, paging })
}

fn opposite(order: &Order) -> Order {
    if matches!(order, Order::Desc) { Order::Asc } else { Order::Desc }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(page: u64, total: u64) -> Option<(bool, u64, u64)> {
        let paging = Paging { page, per_page: 20 };
        Stretch::of(paging, total).map(|stretch| (stretch.from_end, stretch.offset, stretch.limit))
    }

    #[test]
    fn a_page_is_reached_from_the_nearer_end() {
        assert_eq!(stretch(1, 100), Some((false, 0, 20)));
        assert_eq!(stretch(3, 100), Some((false, 40, 20)));
        assert_eq!(stretch(4, 100), Some((true, 20, 20)));
        assert_eq!(stretch(5, 95), Some((true, 0, 15)));
        assert_eq!(stretch(6, 100), None);
        assert_eq!(stretch(1, 0), None);
    }
}
