//! The real program as a process of its own, for what only the end of a process shows.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
};

use super::{Clients, app::variables, within};

/// A running `hly serve`. Killed when dropped.
pub(crate) struct TestProcess {
    child: Child,
    /// Where the edge listens.
    pub(crate) edge: SocketAddr,
    /// Calls.
    pub(crate) api: Clients,
}

/// A command that knows the folder and nothing of this machine's settings.
fn hly(folder: &Path) -> Command {
    under(folder, &[])
}

/// The same, run by another program.
fn under(folder: &Path, by: &[&str]) -> Command {
    let mut words = by.iter().copied().chain([env!("CARGO_BIN_EXE_hly")]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command.current_dir(folder).env_clear().envs(variables(folder)).env("HLY_LOG__FILTER", "warn");
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end.
async fn end(mut command: Command) -> (Option<i32>, String, String) {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = within("the end of a command", output).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

impl TestProcess {
    /// Starts it over this folder and waits until it listens.
    pub(crate) async fn start(folder: &Path, toml: &str) -> Self {
        Self::start_under(folder, toml, &[]).await
    }

    /// [`TestProcess::start`] by another program that becomes it.
    pub(crate) async fn start_under(folder: &Path, toml: &str, by: &[&str]) -> Self {
        Self::start_with(folder, toml, by, &[]).await
    }

    /// [`TestProcess::start_under`] with further variables.
    pub(crate) async fn start_with(folder: &Path, toml: &str, by: &[&str], more: &[(&str, &str)]) -> Self {
        std::fs::write(folder.join("hly.toml"), toml).unwrap();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let mut command = under(folder, by);
        command.envs(more.iter().copied());
        let mut child = command.arg("serve").stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let urls = tokio::task::spawn_blocking(move || {
            let (mut urls, mut line) = (Vec::new(), String::new());
            while urls.len() < 2 && out.read_line(&mut line).unwrap_or(0) > 0 {
                urls.extend(
                    line.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned),
                );
                line.clear();
            }
            // Read on: nobody else does, and a full pipe would stop it.
            std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
            urls
        });
        let urls = within("the addresses of the process", urls).await.unwrap();
        let [api, edge] = urls.as_slice() else {
            panic!("it did not start: {}", std::fs::read_to_string(folder.join("log")).unwrap());
        };
        let edge = edge.trim_start_matches("http://").parse().unwrap();
        Self { child, edge, api: Clients::connect(api.trim_end_matches(',')).await }
    }

    /// SIGKILL: nothing of it runs any more when this returns.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; returns how it ended.
    pub(crate) async fn terminate(self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let signal = format!("-{name}");
        let sent = Command::new("kill").args([signal, self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end; returns how it ended.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        let wait = tokio::task::spawn_blocking(move || self.child.wait().unwrap());
        within("the end of the process", wait).await.unwrap()
    }

    /// Runs a command to its end; returns its exit code and what it wrote, to standard error first.
    pub(crate) async fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
        Self::run_with(folder, arguments, &[]).await
    }

    /// [`TestProcess::run`] with further variables.
    pub(crate) async fn run_with(
        folder: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> (Option<i32>, String) {
        let mut command = hly(folder);
        command.args(arguments).envs(variables.iter().copied());
        let (code, output, error) = end(command).await;
        (code, error + &output)
    }

    /// [`TestProcess::run`], with what it wrote to standard output before that.
    pub(crate) async fn output(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = hly(folder);
        command.args(arguments);
        end(command).await
    }
}

impl Drop for TestProcess {
    fn drop(&mut self) {
        // Both fail when it has ended, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
