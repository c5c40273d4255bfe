//! A gateway: reads requests off a kept connection and answers each.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{super::token::Tokens, MAX, find};

/// Ids that were given out, by all gateways.
static IDS: AtomicU64 = AtomicU64::new(0);

pub(super) async fn serve(mut socket: TcpStream, tokens: Arc<Tokens>, delay: Duration) -> io::Result<()> {
    let mut read = Vec::with_capacity(16 << 10);
    loop {
        while let Some((body, end)) = request(&read) {
            tokens.arrived(&read[body..end]);
            read.drain(..end);
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let json = format!("{{\"id\":\"g-{}\"}}", IDS.fetch_add(1, Ordering::Relaxed));
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
            socket.write_all(format!("{head} {}\r\n\r\n{json}", json.len()).as_bytes()).await?;
        }
        if read.len() > MAX || socket.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
    }
}

/// Where the body of the first request begins and ends, when all of it is there. A request that names no length has no body.
fn request(read: &[u8]) -> Option<(usize, usize)> {
    let body = find(read, b"\r\n\r\n")? + 4;
    let end = body.checked_add(length(&read[..body]))?;
    (read.len() >= end).then_some((body, end))
}

fn length(head: &[u8]) -> usize {
    let lines = head.split(|byte| *byte == b'\n');
    let value = lines.filter_map(|line| {
        let (name, value) = line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
        name.eq_ignore_ascii_case(b"content-length").then_some(value.get(1..)?)
    });
    value.filter_map(|value| std::str::from_utf8(value).ok()?.trim().parse().ok()).next().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_end_where_their_length_says() {
        let post = b"POST /x HTTP/1.1\r\nHost: a:1\r\nContent-Length: 5\r\n\r\nhelloPOST";
        assert_eq!(request(post), Some((post.len() - 9, post.len() - 4)));
        assert_eq!(request(&post[..post.len() - 5]), None, "a part of the body is missing");
        assert_eq!(request(b"POST /x HTTP/1.1\r\ncontent-length: 5\r\n"), None, "the head goes on");
        let head = b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n";
        assert_eq!(request(head), Some((head.len(), head.len())));
        assert_eq!(length(b"x: 1\r\nCONTENT-LENGTH:7\r\n\r\n"), 7);
        assert_eq!(length(b"content-length: many\r\n\r\n"), 0);
    }
}
