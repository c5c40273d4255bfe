//! How long `hly serve` takes to its first answer, and what memory it has: as a process of its own.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::super::{Exit, Failure, client::Client, v1::FindMessagesRequest};
use super::{
    cases,
    figures::{Figures, Memory},
    ground::{Ground, Server},
};

/// Starts that are measured.
const STARTS: usize = 5;

/// What a server does by itself after its start is done by then.
const IDLE: Duration = Duration::from_secs(1);

pub(super) async fn run(ground: &Ground<'_>) -> Result<Vec<Figures>, Failure> {
    let store = ground.store();
    // Makes the tables, which is not what is measured.
    Process::start(ground, &store).await?.end().await?;
    let (empty, process) = starts(ground, &store).await?;
    tokio::time::sleep(IDLE).await;
    let empty = empty.memory(process.memory());
    let server = Server::at(ground.target_at(&process.url), None).await?;
    cases::warm_up(ground, &server, super::Case::Http).await?;
    let http = cases::http(ground, &server, ground.args.count as usize).await?;
    let http = http.named("start, http to another process").memory(process.memory());
    server.stop().await;
    process.end().await?;
    let (after, process) = starts(ground, &store).await?;
    tokio::time::sleep(IDLE).await;
    let after = after.memory(process.memory());
    process.end().await?;
    Ok(vec![empty.named("start, empty store"), http, after.named("start, after the load")])
}

/// Starts one after the other; the last one runs on.
async fn starts(ground: &Ground<'_>, store: &str) -> Result<(Figures, Process), Failure> {
    let mut process = Process::start(ground, store).await?;
    let mut times = vec![process.took];
    for _ in 1..STARTS {
        process.end().await?;
        process = Process::start(ground, store).await?;
        times.push(process.took);
    }
    Ok((Figures::of_times("start", times), process))
}

/// A running `hly serve`; killed when dropped.
struct Process {
    child: Child,
    url: String,
    /// From its start to its first answer.
    took: Duration,
}

impl Process {
    async fn start(ground: &Ground<'_>, store: &str) -> Result<Self, Failure> {
        let system = |error: std::io::Error| Failure::new(Exit::System, format!("hly serve: {error}"));
        let program = std::env::current_exe().map_err(system)?;
        let file = ground.file(store)?;
        let begin = Instant::now();
        let mut child = Command::new(program)
            .arg("serve")
            .arg("--config")
            .arg(file)
            // Only what is in the file counts.
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(system)?;
        let out =
            child.stdout.take().ok_or_else(|| Failure::new(Exit::Internal, "no output of hly serve"))?;
        let mut process = Self { child, url: String::new(), took: Duration::ZERO };
        process.url = tokio::task::spawn_blocking(move || {
            let mut lines = BufReader::new(out).lines().map_while(Result::ok);
            let url = lines.find_map(|line| address(&line));
            // Read on: nobody else does, and a full pipe would stop it.
            std::thread::spawn(move || lines.for_each(drop));
            url
        })
        .await
        .map_err(|error| Failure::new(Exit::Internal, error.to_string()))?
        .ok_or_else(|| Failure::new(Exit::NotOk, "hly serve ended before it listened"))?;
        let client = Client::connect(&ground.target_at(&process.url)).await?;
        let request = FindMessagesRequest { page_size: 1, ..FindMessagesRequest::default() };
        client.messages().find(client.request(request)).await?;
        process.took = begin.elapsed();
        Ok(process)
    }

    fn memory(&self) -> Option<Memory> {
        Memory::of(&self.child.id().to_string())
    }

    /// SIGTERM, and its end.
    async fn end(mut self) -> Result<(), Failure> {
        let ended = tokio::task::spawn_blocking(move || {
            Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
            self.child.wait()
        });
        match ended.await.map_err(|error| Failure::new(Exit::Internal, error.to_string()))? {
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::new(Exit::System, format!("hly serve does not end: {error}"))),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail when it has ended, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The address of the API, in the line that tells it.
fn address(line: &str) -> Option<String> {
    let rest = line.trim_start().strip_prefix("API")?;
    rest.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_stands_in_the_line_of_the_api() {
        let line = "  API        http://127.0.0.1:4711  gRPC, gRPC-Web, /metrics, /healthz, /readyz";
        assert_eq!(address(line).as_deref(), Some("http://127.0.0.1:4711"));
        assert_eq!(address("  edge       http://127.0.0.1:4712  POST /webhooks/<provider>"), None);
    }
}
