//! Reads the tree: files, comments, imports, lengths of functions. It goes by how rustfmt lays code out; that is enough here.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use regex::Regex;

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every text file of the tree with its path from the root, without what is built or installed.
pub(crate) fn files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path: PathBuf = entry.path();
            let name = entry.file_name().into_string().unwrap();
            if ["target", "node_modules", "__pycache__", ".git", ".venv"].contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push((path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/"), text));
            }
        }
    }
    found.sort();
    found
}

pub(crate) fn sources(folder: &str) -> Vec<(String, String)> {
    let is_source = |name: &str| {
        name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')) && name.ends_with(".rs")
    };
    files().into_iter().filter(|(name, _)| is_source(name)).collect()
}

pub(crate) fn all_sources() -> Vec<(String, String)> {
    files().into_iter().filter(|(name, _)| name.ends_with(".rs")).collect()
}

pub(crate) fn is_test(name: &str) -> bool {
    name.split('/').any(|part| part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs"))
}

/// `src/store/sql/read.rs` is in `store`, `src/clock.rs` is `clock`.
pub(crate) fn module_of(name: &str) -> String {
    name.split('/').nth(1).unwrap().trim_end_matches(".rs").to_owned()
}

/// The text with its comments blanked out, so that offsets stay. A `//` after a quote or a colon is taken as part of a string.
pub(crate) fn code(text: &str) -> String {
    static COMMENT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"(^|[^:"\w])//[^\n]*"#).unwrap());
    let lines = text.split_inclusive('\n').map(|line| {
        COMMENT.replace(line, |found: &regex::Captures<'_>| " ".repeat(found[0].len())).into_owned()
    });
    lines.collect()
}

pub(crate) fn captures(pattern: &str, text: &str) -> Vec<String> {
    Regex::new(pattern).unwrap().captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// The modules named after `crate::`, in groups too.
pub(crate) fn names(code: &str) -> Vec<String> {
    let inner = Regex::new(r"\{[^{}]*\}").unwrap();
    let mut named = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        let rest = &code[at + start.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            named.extend(captures(r"^(\w+)", rest));
            continue;
        };
        let mut depth = 0;
        let end = group.find(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth < 0
        });
        let mut group = group[..end.unwrap()].to_owned();
        // Innermost first, until only the first level is left.
        while inner.is_match(&group) {
            group = inner.replace_all(&group, "").into_owned();
        }
        named.extend(captures(r"(?:^|,)\s*(\w+)", &group));
    }
    named
}

pub(crate) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_inclusive('\n').scan(0, |offset, line| {
        let at = *offset;
        *offset += line.len();
        Some((at, line))
    })
}

/// Whether the line stands in a loop that begins at most three lines above: it asks again and again whether the event has come.
pub(crate) fn polls(text: &str, number: usize) -> bool {
    let above: Vec<_> = text.lines().take(number).collect();
    above.iter().rev().take(4).any(|line| line.contains("while ") || line.contains("loop {"))
}

/// First line and number of lines of every function. Formatted code is what makes this simple: a function ends at the first closing
/// brace that is indented as it is.
pub(crate) fn function_lengths(text: &str) -> Vec<(usize, usize)> {
    let head = Regex::new(r"^( *)(?:pub(?:\([a-z:, ]+\))? )?(?:const |async |unsafe )*fn \w").unwrap();
    let lines: Vec<_> = text.lines().collect();
    let mut lengths = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(found) = line.contains("fn ").then(|| head.captures(line)).flatten() else { continue };
        let indent = &found[1];
        let ends = |line: &str| {
            let rest = line.strip_prefix(indent);
            rest == Some("}") || rest.is_some_and(|rest| rest.starts_with(')') && rest.ends_with(';'))
        };
        let one = line.ends_with('}') || line.ends_with(';');
        let length = if one { 1 } else { lines[start..].iter().position(|line| ends(line)).unwrap_or(0) + 1 };
        lengths.push((start + 1, length));
    }
    lengths
}

#[test]
fn imports_are_read_in_every_form() {
    let text = "use crate::{model::{ids::MessageId, crm}, store, // crate::no\n pb as wire};\nfn f() { crate::clock::x() }";
    assert_eq!(names(&code(text)), ["model", "store", "pb", "clock"]);
}

#[test]
fn lengths_of_functions_are_counted() {
    let text = "fn one() {}\n\nimpl X {\n    pub fn three(\n        x: u8,\n    ) -> u8 {\n        x\n    }\n    fn none(&self);\n}\n";
    assert_eq!(function_lengths(text), [(1, 1), (4, 5), (9, 1)]);
}
