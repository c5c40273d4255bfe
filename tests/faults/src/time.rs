//! Time, for those who play the world outside: vendors, clients, the hand that pulls the plug.

use std::time::Duration;

/// Microseconds since 1970, by the clock that the service reads too.
pub(crate) fn now() -> i64 {
    headlessly_communication::clock::system()().0
}

/// Lets this much time pass. A fault that comes after a while is an input of the run, not something that could be waited for.
pub(crate) async fn pass(time: Duration) {
    tokio::time::sleep_until(tokio::time::Instant::now() + time).await;
}

/// The value at this part of a hundred, of values in any order.
pub(crate) fn percentile(values: &mut [u64], part: usize) -> u64 {
    values.sort_unstable();
    values.get((values.len().saturating_sub(1) * part).div_ceil(100)).copied().unwrap_or(0)
}
