//! What can be told without the server.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read},
    net::{SocketAddr, TcpListener},
    path::Path,
    time::Duration,
};

use super::{super::config, Finding};
use crate::config::Config;

/// How an SQLite database begins (https://sqlite.org/fileformat.html, section 1.3).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// How long one provider may take to answer.
const PROBE: Duration = Duration::from_secs(15);

/// Fewer open files than this are soon used up by connections.
const MIN_FILES: u64 = 1_024;

/// Seconds of 2025-01-01T00:00:00Z: no machine that runs this is older.
const EPOCH: i64 = 1_735_689_600;

pub(super) fn clock(now: jiff::Timestamp) -> Finding {
    if now.as_second() < EPOCH {
        return Finding::fail(
            "clock",
            format!("shows {now}"),
            "set the clock: certificates and schedules depend on it",
        );
    }
    Finding::ok("clock", now.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// The limit on open files, as the kernel tells it.
pub(super) fn files() -> Finding {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    match line.and_then(|line| line.split_whitespace().next()) {
        None => Finding::ok("files", "the limit on open files is not known here"),
        Some("unlimited") => Finding::ok("files", "no limit on open files"),
        Some(number) => match number.parse::<u64>() {
            Ok(limit) if limit < MIN_FILES => Finding::warn(
                "files",
                format!("at most {limit} open files"),
                format!("raise it to {MIN_FILES} or more: ulimit -n, or LimitNOFILE= in the unit"),
            ),
            _ => Finding::ok("files", format!("at most {number} open files")),
        },
    }
}

/// The store's file, or the folder in which it will be made. Leaves both as they are.
pub(super) fn store(path: &Path) -> Finding {
    let shown = path.display();
    let fail = |text: String, way_out: &str| Finding::fail("store", text, way_out);
    match fs::metadata(path) {
        Ok(meta) if !meta.is_file() => fail(format!("{shown} is not a file"), "name a file in store.url"),
        Ok(_) => {
            let mut magic = Vec::new();
            let opened = OpenOptions::new().read(true).write(true).open(path);
            match opened.and_then(|file| file.take(16).read_to_end(&mut magic)) {
                Err(error) => {
                    fail(format!("{shown} cannot be opened for writing: {error}"), "check its owner and mode")
                }
                Ok(_) if magic.is_empty() || magic == MAGIC => Finding::ok("store", shown.to_string()),
                Ok(_) => fail(
                    format!("{shown} is not an SQLite database"),
                    "name another file in store.url; this one is left alone",
                ),
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => folder(path),
        Err(error) => fail(format!("{shown}: {error}"), "check the path in store.url"),
    }
}

fn folder(path: &Path) -> Finding {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The mode alone does not tell: of a read-only file system it would say yes.
    let probe = folder.join(format!(".hly-doctor-{}", std::process::id()));
    match OpenOptions::new().write(true).create_new(true).open(&probe) {
        Ok(_) => {
            let removed = fs::remove_file(&probe);
            match removed {
                Ok(()) => Finding::ok("store", format!("{} will be made", path.display())),
                Err(error) => Finding::warn(
                    "store",
                    format!("{} could not be removed: {error}", probe.display()),
                    "remove it",
                ),
            }
        }
        Err(error) => Finding::fail(
            "store",
            format!("{} cannot be made: {error}", path.display()),
            format!("make {} a folder that this user may write to", folder.display()),
        ),
    }
}

/// Whether the port is free, or is the running server's.
pub(super) fn port(about: &str, address: SocketAddr, running: bool) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok(about, format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse && running => {
            Finding::ok(about, format!("{address} is in use, and a server is running"))
        }
        Err(error) => Finding::fail(
            about,
            format!("{address}: {error}"),
            format!("stop what listens there, or set {about}.listen to another address"),
        ),
    }
}

/// Whether a file can be read.
pub(super) fn readable(about: &str, path: &Path) -> Finding {
    match File::open(path).and_then(|file| file.metadata()) {
        Ok(meta) if meta.is_file() => Finding::ok(about, path.display().to_string()),
        Ok(_) => {
            Finding::fail(about, format!("{} is not a file", path.display()), format!("check api.{about}"))
        }
        Err(error) => {
            Finding::fail(about, format!("{}: {error}", path.display()), format!("check api.{about}"))
        }
    }
}

/// Builds and probes the configured providers from here, for there is no server to ask.
pub(super) async fn providers(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    for (provider, built) in config::built(config) {
        let name = &provider.name;
        found.push(match built {
            Err(problem) => {
                Finding::fail("provider", problem, format!("see: hly providers kinds {}", provider.kind))
            }
            Ok(built) => match tokio::time::timeout(PROBE, built.probe()).await {
                Ok(Ok(())) => Finding::ok("provider", format!("{name}: ready")),
                Ok(Err(error)) => {
                    Finding::fail("provider", format!("{name}: {error}"), "check its address and credentials")
                }
                Err(_) => Finding::fail(
                    "provider",
                    format!("{name}: no answer within {} s", PROBE.as_secs()),
                    "check its address, and whether this machine may reach it",
                ),
            },
        });
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::Level, *};

    #[test]
    fn a_store_is_a_database_or_a_place_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hly.db");
        assert_eq!(store(&path).level, Level::Ok);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
        fs::write(&path, b"").unwrap();
        assert_eq!(store(&path).level, Level::Ok);
        fs::write(&path, [&MAGIC[..], b"rest"].concat()).unwrap();
        assert_eq!(store(&path).level, Level::Ok);
        fs::write(&path, b"something else that is long enough").unwrap();
        assert!(store(&path).text.contains("not an SQLite database"));
        assert!(store(folder.path()).text.contains("not a file"));
        assert_eq!(store(&folder.path().join("no/such/hly.db")).level, Level::Fail);
    }

    #[test]
    fn a_taken_port_is_only_fine_for_the_server() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(port("api", address, false).level, Level::Fail);
        assert_eq!(port("api", address, true).level, Level::Ok);
        drop(listener);
        assert_eq!(port("api", address, false).level, Level::Ok);
    }

    #[test]
    fn a_clock_before_this_program_is_wrong() {
        assert_eq!(clock(jiff::Timestamp::from_second(0).unwrap()).level, Level::Fail);
        assert_eq!(clock(jiff::Timestamp::from_second(1_800_000_000).unwrap()).level, Level::Ok);
    }
}
