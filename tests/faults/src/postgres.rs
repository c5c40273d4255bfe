//! A private PostgreSQL server, or a new database on one that is there.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use sqlx::{Connection as _, PgConnection};
use tokio::process::Command;

use crate::problem::{Problem, Run, problem};

/// A database, and the server when it is ours.
pub(crate) struct Postgres {
    /// `127.0.0.1:5432`.
    pub(crate) address: String,
    user: String,
    name: String,
    own: Option<Own>,
}

struct Own {
    programs: PathBuf,
    folder: tempfile::TempDir,
}

impl Postgres {
    /// A server of our own, in a folder of its own, on a free port.
    pub(crate) async fn start() -> Run<Self> {
        let folder = tempfile::tempdir()?;
        let own = Own { programs: programs()?, folder };
        std::fs::set_permissions(own.folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
        let data = own.folder.path().join("data");
        own.run("initdb", &["-A", "trust", "-U", "hly", "--no-sync", "-E", "UTF8"], &data).await?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let more = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 200\n\
             shared_buffers = '128MB'\nmax_wal_size = '1GB'\n"
        );
        let settings = data.join("postgresql.conf");
        let before = std::fs::read_to_string(&settings)?;
        std::fs::write(&settings, before + &more)?;
        own.run("pg_ctl", &["-w", "-l", "/dev/null", "start"], &data).await?;
        let server = Self {
            address: format!("127.0.0.1:{port}"),
            user: "hly".to_owned(),
            name: "postgres".to_owned(),
            own: Some(own),
        };
        server.database("torture").await
    }

    async fn database(mut self, name: &str) -> Run<Self> {
        let mut admin = self.connect().await?;
        let text = format!("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0");
        sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut admin).await?;
        name.clone_into(&mut self.name);
        Ok(self)
    }

    /// The database's URL, by way of this port.
    pub(crate) fn url(&self, port: u16) -> String {
        format!("postgres://{}@127.0.0.1:{port}/{}", self.user, self.name)
    }

    /// A connection that no fault is put on.
    pub(crate) async fn connect(&self) -> Run<PgConnection> {
        Ok(PgConnection::connect(&format!("postgres://{}@{}/{}", self.user, self.address, self.name)).await?)
    }

    /// Ends the server without ceremony, as a crash does, and starts it again.
    pub(crate) async fn crash(&self) -> Run<()> {
        let Some(own) = &self.own else { return Ok(()) };
        let data = own.folder.path().join("data");
        own.run("pg_ctl", &["-w", "-m", "immediate", "-l", "/dev/null", "restart"], &data).await
    }

    /// Stops the server.
    pub(crate) async fn stop(&self) -> Run<()> {
        let Some(own) = &self.own else { return Ok(()) };
        own.run("pg_ctl", &["-w", "-m", "immediate", "stop"], &own.folder.path().join("data")).await
    }
}

impl Own {
    /// Runs one of its programs over the data; not as root, which they refuse.
    async fn run(&self, program: &str, arguments: &[&str], data: &Path) -> Run<()> {
        let program = self.programs.join(program);
        let root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self")?) == 0;
        let mut command = if root {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(&program);
            command
        } else {
            Command::new(&program)
        };
        command.arg("-D").arg(data).args(arguments).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if command.status().await?.success() {
            return Ok(());
        }
        problem(format!("{} {} failed", program.display(), arguments.join(" ")))
    }
}

/// Where the server's programs lie: the newest version.
pub(crate) fn programs() -> Run<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut found: Vec<PathBuf> = versions
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|programs| programs.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().ok_or_else(|| Problem::Other("this machine has no PostgreSQL server".to_owned()))
}
