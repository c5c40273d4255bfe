//! A PostgreSQL for tests: the one of `HLY_TEST_POSTGRES` (a URL of a server on which databases may be made), or a private one
//! that is started from the machine's own programs, shared by all tests of a run, and ends by itself a while after the last use.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use sqlx::{Connection as _, PgConnection};

/// A database of its own for one test.
#[derive(Debug)]
pub(crate) struct Database {
    /// Its URL.
    pub(crate) url: String,
}

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// The server, once for this process; `None` when there is none on this machine.
static SERVER: LazyLock<Option<String>> = LazyLock::new(|| {
    if let Some(url) = given() {
        return Some(url.trim_end_matches('/').to_owned());
    }
    let programs = programs()?;
    Some(start(&programs))
});

impl Database {
    /// [`Database::new`] for those who cannot wait; on a thread of its own.
    #[allow(dead_code, reason = "not every test program uses it")]
    pub(crate) fn new_now() -> Option<Self> {
        let make = || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(Self::new())
        };
        std::thread::spawn(make).join().unwrap()
    }

    /// A new, empty database; `None` when this machine has no PostgreSQL.
    pub(crate) async fn new() -> Option<Self> {
        let server = tokio::task::spawn_blocking(|| SERVER.clone()).await.unwrap();
        let Some(server) = server else {
            eprintln!("skipped: no PostgreSQL here, and HLY_TEST_POSTGRES is not set");
            return None;
        };
        // Numbers of processes come again while the server lives.
        let chance = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
        let name = format!("hly_{chance:x}_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut admin = PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
        let text = format!("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0");
        sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut admin).await.unwrap();
        Some(Self { url: format!("{server}/{name}") })
    }
}

#[allow(clippy::disallowed_methods, reason = "the one input of the tests")]
fn given() -> Option<String> {
    std::env::var("HLY_TEST_POSTGRES").ok()
}

/// Where the server's programs lie: the newest version.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> = versions
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop()
}

/// PostgreSQL does not run as root.
fn command(programs: &Path, program: &str) -> Command {
    let path = programs.join(program);
    let root = fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
    let mut command = if root {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(path);
        command
    } else {
        Command::new(path)
    };
    command.stdin(Stdio::null()).stdout(Stdio::null()).current_dir("/");
    command
}

#[allow(
    clippy::zombie_processes,
    reason = "the watcher outlives the tests: it ends the server, and then itself"
)]
/// Takes the server that runs, or starts it; one at a time, whichever process asks.
fn start(programs: &Path) -> String {
    let folder = std::env::temp_dir().join("hly-test-postgres");
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let lock = fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let (data, address, used) = (folder.join("data"), folder.join("url"), folder.join("used"));
    fs::write(&used, "").unwrap();
    if let Ok(url) = fs::read_to_string(&address)
        && command(programs, "pg_ctl").arg("-D").arg(&data).arg("status").status().unwrap().success()
    {
        return url;
    }
    if data.exists() {
        fs::remove_dir_all(&data).unwrap();
    }
    let made = command(programs, "initdb")
        .arg("-D")
        .arg(&data)
        .args(["-A", "trust", "-U", "hly", "--no-sync"])
        .status();
    assert!(made.unwrap().success(), "initdb failed");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let options = format!(
        "-p {port} -h 127.0.0.1 -k {} -c max_connections=400 -c shared_buffers=128MB -c max_wal_size=2GB",
        folder.display()
    );
    let log = folder.join("log");
    fs::write(&log, "").unwrap();
    fs::set_permissions(&log, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let started = command(programs, "pg_ctl")
        .arg("-D")
        .arg(&data)
        .arg("-l")
        .arg(&log)
        .args(["-o", &options, "-w", "start"])
        .status();
    assert!(
        started.unwrap().success(),
        "PostgreSQL does not start: {}",
        fs::read_to_string(&log).unwrap_or_default()
    );
    let url = format!("postgres://hly@127.0.0.1:{port}");
    fs::write(&address, &url).unwrap();
    // Ends the server when no test has asked for it for some minutes.
    let watch = format!(
        "while [ -n \"$(find '{used}' -mmin -5 2>/dev/null)\" ]; do sleep 20; done; '{pg_ctl}' -D '{data}' -m immediate stop; rm -rf '{data}' '{address}'",
        used = used.display(),
        pg_ctl = programs.join("pg_ctl").display(),
        data = data.display(),
        address = address.display(),
    );
    let mut watcher = command(Path::new("/bin"), "sh");
    watcher.args(["-c", &watch]).stderr(Stdio::null()).spawn().unwrap();
    url
}
