//! Streams that go on after the connection broke.

use std::time::Duration;

use tonic::{Code, Status, Streaming};

use super::Failure;

/// Tries in a row without an event before it gives up.
const TRIES: u32 = 10;

/// The wait before each try.
const WAIT: Duration = if cfg!(test) { Duration::from_millis(10) } else { Duration::from_secs(2) };

/// Opens a stream at a cursor and shows what comes, each item giving the cursor after it. When the stream breaks it is opened
/// again after the last item shown; when the server ends it in order, this ends.
pub(super) async fn follow<T>(
    mut cursor: String,
    open: impl AsyncFn(String) -> Result<Streaming<T>, Status>,
    mut show: impl FnMut(T) -> Result<String, Failure>,
) -> Result<(), Failure> {
    let mut tries = 0;
    // Without an event seen there is no place to go on from: an empty cursor means "from now on".
    loop {
        let status = match open(cursor.clone()).await {
            Err(status) => status,
            Ok(mut stream) => loop {
                match stream.message().await {
                    Ok(None) => return Ok(()),
                    Ok(Some(item)) => {
                        cursor = show(item)?;
                        tries = 0;
                    }
                    Err(status) => break status,
                }
            },
        };
        tries += 1;
        if !may_go_on(&status) || tries > TRIES || cursor.is_empty() {
            return Err(status.into());
        }
        super::note(&format!("connection lost ({}); trying again", status.code()));
        tokio::time::sleep(WAIT).await;
    }
}

/// Whether the same call may work later. A connection that breaks in the middle is UNKNOWN to the client.
fn may_go_on(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::ResourceExhausted)
}
