//! Lists that come in pages.

use clap::Args;

use super::Failure;

/// The largest page asked for.
const PAGE: u32 = 200;

/// The flags of every list.
#[derive(Args)]
pub(super) struct ListArgs {
    /// Only those that hold, as JSON: '{"created_at": {"$gte": "2026-01-01T00:00:00Z"}}'
    #[arg(long, value_name = "JSON")]
    pub(super) filter: Option<String>,
    /// Fields, "-" for descending, comma between: -created_at
    #[arg(long, value_name = "FIELDS", allow_hyphen_values = true)]
    pub(super) order_by: Option<String>,
    /// How many at most; 0 for all
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(super) limit: u32,
}

/// Fetches page after page, until `limit` is reached (0: until the end), and shows each.
pub(super) async fn each<T>(
    limit: u32,
    mut fetch: impl AsyncFnMut(i32, String) -> Result<(Vec<T>, String), Failure>,
    mut show: impl FnMut(&[T]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut left = if limit == 0 { u32::MAX } else { limit };
    let mut token = String::new();
    loop {
        let size = left.min(PAGE);
        let (mut items, next) = fetch(i32::try_from(size).unwrap_or(i32::MAX), token.clone()).await?;
        items.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        show(&items)?;
        left = left.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX));
        // A server that gives the same token again would be asked for ever.
        if left == 0 || next.is_empty() || next == token {
            return Ok(());
        }
        token = next;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    async fn fetched(limit: u32, all: u32) -> Vec<u32> {
        let mut seen = Vec::new();
        let fetch = async |size: i32, token: String| {
            let from = token.parse().unwrap_or(0u32);
            let to = (from + u32::try_from(size).unwrap()).min(all);
            let next = if to == all { String::new() } else { to.to_string() };
            Ok(((from..to).collect(), next))
        };
        each(limit, fetch, |page| {
            seen.extend_from_slice(page);
            Ok(())
        })
        .await
        .unwrap();
        seen
    }

    #[tokio::test]
    async fn pages_are_fetched_until_the_limit_or_the_end() {
        for (limit, all) in [(50, 1_000), (450, 1_000), (0, 450), (450, 3), (0, 0)] {
            let count = if limit == 0 { all } else { limit.min(all) };
            assert_eq!(fetched(limit, all).await, (0..count).collect::<Vec<_>>(), "{limit} of {all}");
        }
    }
}
