//! Reads.

use std::sync::Arc;

use super::{Caller, Error, Given, Service, page_size, verbs::message_id};
use crate::{
    model::{
        filter::{Filter, Order},
        message::Message,
    },
    store::{FindQuery, Page},
};

/// A search, as a caller asks for it.
#[derive(Clone, Debug)]
pub struct Search {
    /// Which.
    pub filter: Filter,
    /// In which order; newest first when empty. At most 3 fields.
    pub order: Order,
    /// 1 to 1,000; 50 when 0.
    pub page_size: i32,
    /// `next_page_token` of the page before; empty for the first.
    pub page_token: String,
    /// Deleted ones too.
    pub include_deleted: bool,
}

impl Service {
    /// A message with all its parts.
    ///
    /// # Errors
    /// There is no such message, or it is another tenant's.
    pub async fn get(&self, caller: &Caller, id: &str) -> Result<Arc<Message>, Error> {
        self.message(caller, message_id(id)?).await
    }

    /// Messages without the content of their files.
    ///
    /// # Errors
    /// The filter, the order or the page token is not of the language.
    pub async fn find(&self, caller: &Caller, search: Given<Search>) -> Result<Page<Message>, Error> {
        Ok(self.store().find_messages(query(caller, search)?).await?)
    }
}

/// The search in one tenant.
pub(super) fn query(caller: &Caller, search: Given<Search>) -> Result<FindQuery, Error> {
    let Given { value: search, mut violations } = search;
    if search.order.len() > 3 {
        violations.add("order_by", format!("must be at most 3 fields; there are {}", search.order.len()));
    }
    if search.page_token.len() > 4_096 {
        violations.add("page_token", "is not one that a page before gave");
    }
    violations.done()?;
    Ok(FindQuery {
        tenant: caller.tenant.clone(),
        filter: search.filter,
        order: search.order,
        limit: page_size(search.page_size, 50),
        page_token: search.page_token,
        include_deleted: search.include_deleted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_sizes_are_taken_into_their_bounds() {
        let limit = |page_size| {
            let search = Search {
                filter: Filter::All(Vec::new()),
                order: Vec::new(),
                page_size,
                page_token: String::new(),
                include_deleted: false,
            };
            query(&Caller::local(), Given::new(search)).map(|query| query.limit)
        };
        assert_eq!([limit(0), limit(-1), limit(7), limit(i32::MAX)], [Ok(50), Ok(1), Ok(7), Ok(1_000)]);
    }
}
