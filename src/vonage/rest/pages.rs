//! A list of calls, page by page.

use super::{Client, RestError};
use crate::vonage::rest_types::{CallPage, ListCalls};
use crate::vonage::wire::Num;

/// The pages of a list, from [`Client::pages`]. Calls may begin while it is read, so one
/// may come twice.
#[derive(Debug)]
pub struct Pages {
    client: Client,
    list: ListCalls,
    region: Option<String>,
    left: u32,
    more: bool,
}

impl Pages {
    pub(super) fn new(client: Client, list: ListCalls, region: Option<String>) -> Self {
        let left = client.settings().pages_max;
        Self { client, list, region, left, more: true }
    }

    /// The next page; none after the last, or after
    /// [`pages_max`](super::Settings::pages_max) of them.
    ///
    /// # Errors
    /// [`RestError`]; the same page may be asked for again.
    pub async fn next(&mut self) -> Result<Option<CallPage>, RestError> {
        if !self.more || self.left == 0 {
            return Ok(None);
        }
        let page = self.client.list_calls(&self.list, self.region.as_deref()).await?;
        self.left -= 1;
        let calls = page.embedded.get().and_then(|all| all.calls.get()).map_or(0, Vec::len) as u64;
        let next = self.list.record_index.unwrap_or(0).saturating_add(calls);
        self.list.record_index = Some(next);
        let linked = page.links.get().is_some_and(|links| links.get("next").is_some_and(|next| !next.is_null()));
        // Without either sign we go on until a page is empty.
        let over = page.count.get().and_then(Num::as_u64).is_some_and(|count| next >= count);
        self.more = calls > 0 && (linked || !over);
        Ok(Some(page))
    }

    /// Whether there is more than was read: after the end, whether it was cut short.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.more
    }
}
