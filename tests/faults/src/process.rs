//! The real program as a process.

use std::{
    fs::OpenOptions,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::problem::{Problem, Run, problem};

/// A start takes no longer than this.
const START: Duration = Duration::from_secs(60);

/// Stands in a configuration for the number of the life, which is put there before each start.
pub(crate) const LIFE: &str = "@life@";

/// How to start the program.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// The file of the program.
    pub(crate) hly: PathBuf,
    /// Its working directory: configuration, log, and the store when it is a file.
    pub(crate) folder: PathBuf,
    /// Further variables.
    pub(crate) variables: Vec<(String, String)>,
    toml: String,
}

/// The program, running.
pub(crate) struct Hly {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    begun: Instant,
}

/// Where it listens, and how long that took.
#[derive(Clone, Debug)]
pub(crate) struct Listening {
    /// The API, as a URL.
    pub(crate) api: String,
    /// The edge.
    pub(crate) edge: SocketAddr,
    /// From its start on.
    pub(crate) after: Duration,
}

impl Program {
    /// The program over a folder, with this configuration and a store: a URL, or the file `hly.db` in the folder.
    pub(crate) fn new(hly: &Path, folder: &Path, toml: &str, store: Option<&str>) -> Run<Self> {
        std::fs::create_dir_all(folder)?;
        let store =
            store.map_or_else(|| format!("sqlite://{}", folder.join("hly.db").display()), str::to_owned);
        let variables = [
            ("HLY_API__LISTEN", "127.0.0.1:0"),
            ("HLY_EDGE__LISTEN", "127.0.0.1:0"),
            ("HLY_STORE__URL", &store),
            ("HLY_LOG__FILTER", "warn"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let program =
            Self { hly: hly.to_owned(), folder: folder.to_owned(), variables, toml: toml.to_owned() };
        program.set_life(0)?;
        Ok(program)
    }

    /// Tells the next process which life it is.
    pub(crate) fn set_life(&self, life: u32) -> Run<()> {
        Ok(std::fs::write(self.folder.join("hly.toml"), self.toml.replace(LIFE, &life.to_string()))?)
    }

    /// A command of it, that knows nothing of this machine's settings.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.hly);
        command.current_dir(&self.folder).env_clear().stdin(Stdio::null()).kill_on_drop(true);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts the server. Its log goes on where that of the last one ended.
    pub(crate) fn spawn(&self) -> Run<Hly> {
        let log = OpenOptions::new().create(true).append(true).open(self.folder.join("log"))?;
        let begun = Instant::now();
        let mut child = self.command().arg("serve").stdout(Stdio::piped()).stderr(log).spawn()?;
        let out = child.stdout.take().ok_or_else(|| Problem::Other("no standard output".to_owned()))?;
        Ok(Hly { child, out: BufReader::new(out).lines(), begun })
    }

    /// Starts the server and waits until it listens.
    pub(crate) async fn start(&self) -> Run<(Hly, Listening)> {
        let mut hly = self.spawn()?;
        let listening = hly.listening(&self.folder).await?;
        Ok((hly, listening))
    }
}

impl Hly {
    /// Waits until it listens.
    pub(crate) async fn listening(&mut self, folder: &Path) -> Run<Listening> {
        let read = async {
            let mut urls: Vec<String> = Vec::new();
            while urls.len() < 2 {
                let Some(line) = self.out.next_line().await? else { break };
                let url = line.split_whitespace().find(|word| word.starts_with("http://"));
                urls.extend(url.map(|url| url.trim_end_matches(',').to_owned()));
            }
            Ok::<_, Problem>(urls)
        };
        let urls = tokio::time::timeout(START, read)
            .await
            .map_err(|_| Problem::Other(format!("it does not listen within {} s", START.as_secs())))??;
        let after = self.begun.elapsed();
        if let [api, edge] = urls.as_slice()
            && let Ok(edge) = edge.trim_start_matches("http://").parse()
        {
            return Ok(Listening { api: api.clone(), edge, after });
        }
        let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(5).collect();
        problem(format!("it did not start: {}", tail.join(" | ")))
    }

    /// SIGKILL. Nothing of it runs any more when this returns.
    pub(crate) async fn kill(mut self) -> Run<()> {
        self.child.start_kill()?;
        self.child.wait().await?;
        Ok(())
    }

    /// Sends a signal by its name.
    pub(crate) async fn signal(&self, name: &str) -> Run<()> {
        let Some(id) = self.child.id() else { return problem("the process has ended") };
        let status = Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status().await?;
        if status.success() { Ok(()) } else { problem(format!("kill -{name} did not work")) }
    }

    /// SIGTERM; how it ended.
    pub(crate) async fn terminate(mut self) -> Run<ExitStatus> {
        self.signal("TERM").await?;
        match tokio::time::timeout(START, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => problem("it does not end"),
        }
    }
}
