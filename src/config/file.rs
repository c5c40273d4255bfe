//! Reads a configuration file and remembers on which line each key stands.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    path::Path,
};

use toml::{
    Spanned, Table,
    de::{DeTable, DeValue},
};

use super::{Origin, Problem};

/// The largest configuration file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// A file's values, and the line of each key by its path (`api.listen`, `provider.0.name`, `provider.0`).
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) table: Table,
    lines: HashMap<String, usize>,
}

impl Parsed {
    /// The line of a key, from 1; 0 when the key is not in the file.
    pub(super) fn line(&self, path: &str) -> usize {
        self.lines.get(path).copied().unwrap_or(0)
    }
}

/// Reads a file's text. Refuses at once whatever is not a plain file of at most 1 MiB in UTF-8.
pub(super) fn read(path: &Path) -> Result<String, Problem> {
    let origin = Origin::File(path.to_owned(), 0);
    let problem = |text: String, hint: &str| Problem::new(&origin, "", text).hint(hint);
    let io = |error: io::Error| problem(format!("cannot be read: {error}"), "");
    // Looked at before it is opened: opening a pipe would wait for its other end.
    let meta = path.metadata().map_err(io)?;
    if meta.is_dir() {
        return Err(problem("is a directory".to_owned(), "name the file in it"));
    }
    if !meta.is_file() {
        return Err(problem("is not a plain file".to_owned(), "give a file, not a pipe or a device"));
    }
    let too_large = || problem("is larger than 1 MiB".to_owned(), "is it a configuration file?");
    if meta.len() > MAX_BYTES {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(io)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(too_large());
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = 1 + count_lines(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        Problem::new(&Origin::File(path.to_owned(), line), "", "is not UTF-8").hint("save the file as UTF-8")
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// Reads TOML. All syntax errors and duplicate keys are returned at once, without the text around them.
pub(super) fn parse(path: &Path, text: &str) -> Result<Parsed, Vec<Problem>> {
    let line = |offset: usize| 1 + count_lines(&text.as_bytes()[..offset.min(text.len())]);
    let (tree, errors) = DeTable::parse_recoverable(text);
    let problem = |error: &toml::de::Error| {
        let line = error.span().map_or(0, |span| line(span.start));
        Problem::new(&Origin::File(path.to_owned(), line), "", error.message())
    };
    if !errors.is_empty() {
        return Err(errors.iter().map(problem).collect());
    }
    let table = text.parse::<Table>().map_err(|error| vec![problem(&error)])?;
    let mut lines = HashMap::new();
    walk(tree.get_ref(), "", &line, &mut lines);
    Ok(Parsed { table, lines })
}

fn count_lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

fn walk(
    table: &DeTable<'_>,
    prefix: &str,
    line: &impl Fn(usize) -> usize,
    lines: &mut HashMap<String, usize>,
) {
    for (key, value) in table {
        let path = join(prefix, key.get_ref());
        lines.insert(path.clone(), line(key.span().start));
        match value.get_ref() {
            DeValue::Table(inner) => walk(inner, &path, line, lines),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    walk_item(item, &join(&path, &index.to_string()), line, lines);
                }
            }
            _ => {}
        }
    }
}

fn walk_item(
    item: &Spanned<DeValue<'_>>,
    path: &str,
    line: &impl Fn(usize) -> usize,
    lines: &mut HashMap<String, usize>,
) {
    lines.insert(path.to_owned(), line(item.span().start));
    if let DeValue::Table(inner) = item.get_ref() {
        walk(inner, path, line, lines);
    }
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn keys_know_their_lines() {
        let text = "[api]\nlisten = \"x\"\r\n\n[[provider]]\nname = \"a\"\n[[provider]]\nname = \"b\"\n";
        let parsed = parse(Path::new("t"), text).unwrap();
        for (path, line) in [
            ("api", 1),
            ("api.listen", 2),
            ("provider.0", 4),
            ("provider.0.name", 5),
            ("provider.1.name", 7),
            ("nothing", 0),
        ] {
            assert_eq!(parsed.line(path), line, "{path}");
        }
    }

    #[test]
    fn syntax_errors_name_their_line_and_show_no_values() {
        let text = "[api]\nlisten = \"a\"\nlisten = \"b\"\n[store]\nurl = hunter2\n";
        let problems = parse(Path::new("t"), text).unwrap_err();
        let lines: Vec<_> = problems.iter().map(|problem| problem.to_string()).collect();
        assert!(
            lines.iter().any(|line| line.starts_with("t:3: ") && line.contains("duplicate")),
            "{lines:?}"
        );
        assert!(lines.iter().any(|line| line.starts_with("t:5: ")), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("hunter2")), "{lines:?}");
    }

    #[test]
    fn only_plain_small_utf8_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hly.toml");
        let refused = |path: &Path| read(path).unwrap_err().text;
        assert!(refused(&file).starts_with("cannot be read"));
        assert_eq!(refused(folder.path()), "is a directory");
        assert_eq!(refused(Path::new("/dev/zero")), "is not a plain file");
        std::fs::write(&file, vec![b' '; (1 << 20) + 1]).unwrap();
        assert_eq!(refused(&file), "is larger than 1 MiB");
        std::fs::write(&file, b"a = 1\nb = \"\xff\"\n").unwrap();
        let problem = read(&file).unwrap_err();
        assert_eq!(
            (problem.text.as_str(), &problem.origin),
            ("is not UTF-8", &Origin::File(file.clone(), 2))
        );
        std::fs::write(&file, "\u{feff}a = 1").unwrap();
        assert_eq!(read(&file).unwrap(), "a = 1");
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_refused_without_waiting_and_a_link_to_itself_too() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!(read(&pipe).unwrap_err().text, "is not a plain file");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&link, &link).unwrap();
        assert!(read(&link).unwrap_err().text.starts_with("cannot be read"));
    }
}
