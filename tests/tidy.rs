//! Holds the tree to what ARCHITECTURE.md and STYLE.md say about it: who may know whom, how large things get, what must have a
//! page, and what must not be committed. Every finding says where it is and what to do.
#![allow(clippy::unwrap_used)]

#[path = "tidy/reading.rs"]
mod reading;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use reading::{
    all_sources, captures, code, files, function_lengths, is_test, lines, module_of, names, polls, read,
    root, sources,
};
use regex::Regex;

/// Who may know whom: the modules of `src/` in the order of a message's life, and what each may name with `crate::`.
/// `app` alone, where everything is put together, is not in it.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("clock", &["model"]),
    ("metrics", &[]),
    ("store", &["model", "clock"]),
    ("dispatch", &["store", "model", "clock", "metrics"]),
    ("receipts", &["store", "model", "clock", "metrics"]),
    ("hooks", &["store", "model", "clock"]),
    ("service", &["store", "model", "clock", "metrics"]),
    // The store only in its errors and in the rows that a list is made of: `status.rs` and `convert/`.
    ("api", &["service", "model", "store", "pb"]),
    ("config", &[]),
    ("telemetry", &["config"]),
    ("cli", &["config", "telemetry", "pb"]),
];

/// The files of `api` that may name the store.
const API_TO_STORE: &[&str] = &["src/api/grpc/status.rs", "src/api/grpc/convert/"];

/// Lines of a file, at most.
const MAX_LINES: usize = 400;
/// Files that are longer, each with the reason. An entry that is no longer needed is a finding too.
const LONG_FILES: &[(&str, &str)] = &[
    (
        "src/model/verbs.rs",
        "every change of a message's state and its tests, together so that they can be compared",
    ),
    ("src/store/sql/read.rs", "every reading query of the store: one list, no logic"),
    ("src/store/types.rs", "the store's contract: documentation more than code"),
];
/// Lines of a function, and the share of longer ones that is put up with, in per mille.
const MAX_FUNCTION: usize = 70;
const LONG_FUNCTIONS: usize = 15;

#[test]
fn modules_name_only_those_they_may() {
    let table: BTreeMap<_, _> = MAY_NAME.iter().copied().collect();
    let mut findings = Vec::new();
    for (name, text) in sources("src") {
        let module = module_of(&name);
        // Tests put together what they need; those inside a file are held to the table all the same.
        if ["lib", "main", "app"].contains(&module.as_str()) || is_test(&name) {
            continue;
        }
        let Some(allowed) = table.get(module.as_str()) else {
            findings.push(format!("{name}: give the module {module} a row in MAY_NAME"));
            continue;
        };
        for named in names(&code(&text)) {
            if named != module && !allowed.contains(&named.as_str()) {
                findings.push(format!("{name}: {module} must not name crate::{named}"));
            }
            if module == "api" && named == "store" && !API_TO_STORE.iter().any(|file| name.starts_with(file))
            {
                findings.push(format!("{name}: in api only {API_TO_STORE:?} may name the store"));
            }
        }
    }
    report(findings);
}

#[test]
fn the_table_of_modules_is_that_of_the_library() {
    let library = read("src/lib.rs");
    let declared: BTreeSet<_> = captures(r"(?m)^pub mod (\w+)", &library).into_iter().collect();
    let known: BTreeSet<_> = MAY_NAME
        .iter()
        .map(|(module, _)| (*module).to_owned())
        .chain(["app", "pb"].map(str::to_owned))
        .collect();
    report(
        declared.symmetric_difference(&known).map(|module| {
            format!("{module}: declared in src/lib.rs and listed in tests/tidy.rs, or neither")
        }),
    );
}

#[test]
fn files_and_functions_keep_to_their_size() {
    let mut findings = Vec::new();
    let (mut functions, mut long) = (0, Vec::new());
    for (name, text) in all_sources() {
        let lines = text.lines().count();
        let listed = LONG_FILES.iter().any(|(file, _)| *file == name);
        if lines > MAX_LINES && !listed {
            findings
                .push(format!("{name}: {lines} lines; split it, or list it in LONG_FILES with the reason"));
        }
        if lines <= MAX_LINES && listed {
            findings.push(format!("{name}: {lines} lines; take it off LONG_FILES"));
        }
        for (line, length) in function_lengths(&text) {
            functions += 1;
            if length > MAX_FUNCTION {
                long.push(format!("{name}:{line}: {length} lines"));
            }
        }
    }
    for (file, _) in LONG_FILES {
        if !root().join(file).is_file() {
            findings.push(format!("{file}: is gone; take it off LONG_FILES"));
        }
    }
    if long.len() * 1_000 > functions * LONG_FUNCTIONS {
        findings.push(format!("{} of {functions} functions are over {MAX_FUNCTION} lines:", long.len()));
        findings.extend(long);
    }
    assert!(functions > 1_000, "only {functions} functions were found: the reading of functions is broken");
    report(findings);
}

#[test]
fn every_plugin_has_a_readme_and_its_line_in_the_registry() {
    let registry = read("providers/registry.rs");
    let mut findings = Vec::new();
    let mut plugins = 0;
    for (name, text) in sources("providers") {
        if !name.ends_with("/mod.rs") || !text.contains("pub const DESCRIPTOR: Descriptor =") {
            continue;
        }
        plugins += 1;
        let folder = name.strip_suffix("/mod.rs").unwrap_or(&name);
        if !root().join(folder).join("README.md").is_file() {
            findings.push(format!("{folder}: a plugin needs a README.md"));
        }
        if !text.contains(r#"include_str!("README.md")"#) {
            findings.push(format!("{name}: include the README in the documentation"));
        }
        let path = folder.replacen("providers", "crate", 1).replace('/', "::");
        if !registry.contains(&format!("{path}::DESCRIPTOR,")) {
            findings.push(format!("providers/registry.rs: add {path}::DESCRIPTOR"));
        }
    }
    assert!(plugins > 0, "no plugin was found");
    report(findings);
}

#[test]
fn nothing_is_left_unfinished() {
    let unfinished = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("#[ig", "nore"),
        concat!("db", "g!("),
    ];
    let mut findings = Vec::new();
    for (name, text) in all_sources() {
        let tests_from = if is_test(&name) { Some(0) } else { text.find("#[cfg(test)]") };
        for (offset, line) in lines(&code(&text)) {
            let number = text[..offset].matches('\n').count() + 1;
            for word in unfinished.iter().filter(|word| line.contains(**word)) {
                findings.push(format!("{name}:{number}: {word} must not stay"));
            }
            if tests_from.is_some_and(|from| offset >= from)
                && line.contains(concat!("sle", "ep("))
                && !polls(&text, number)
            {
                findings.push(format!(
                    "{name}:{number}: wait for the event in a loop under a deadline, not for time"
                ));
            }
        }
    }
    let notes = Regex::new(concat!(r"\b(FIX", r"ME|XX", r"X|TB", r"D|HA", r"CK)\b")).unwrap();
    for (name, text) in files() {
        if notes.is_match(&text) && [".rs", ".proto", ".md", ".toml"].iter().any(|end| name.ends_with(end)) {
            findings.push(format!(
                "{name}: holds {:?}; do it, or leave it out",
                notes.find(&text).unwrap().as_str()
            ));
        }
    }
    report(findings);
}

#[test]
fn every_reason_of_an_error_has_a_page() {
    let mut reasons = BTreeSet::new();
    for (_, text) in sources("src") {
        reasons.extend(captures(r#"Kind::\w+,\s*"([A-Z][A-Z_]+)""#, &code(&text)));
    }
    let pages = fs::read_dir(root().join("docs/errors")).unwrap();
    let pages: BTreeSet<_> = pages
        .map(|page| page.unwrap().file_name().into_string().unwrap().trim_end_matches(".md").to_owned())
        .collect();
    let mut findings: Vec<_> =
        reasons.difference(&pages).map(|reason| format!("docs/errors/{reason}.md is missing")).collect();
    findings.extend(
        pages.difference(&reasons).map(|page| format!("docs/errors/{page}.md: no error has this reason")),
    );
    for page in pages.intersection(&reasons) {
        let text = read(&format!("docs/errors/{page}.md"));
        let parts = [&format!("# {page}\n"), "gRPC code: `", "## Cause\n", "## What to do\n"];
        if !parts.iter().all(|part| text.contains(*part)) {
            findings.push(format!(
                "docs/errors/{page}.md: needs the title, `gRPC code`, `Cause` and `What to do`"
            ));
        }
    }
    assert!(!reasons.is_empty(), "no reason was found: the reading of errors is broken");
    report(findings);
}

#[test]
fn the_api_is_documented() {
    let mut findings = Vec::new();
    for (name, text) in files() {
        if !name.starts_with("proto/headlessly/") {
            continue;
        }
        let first = text.lines().next().unwrap_or_default();
        if !first.starts_with("// ") {
            findings.push(format!("{name}: begin with a sentence that says what it is about"));
        }
        for (number, line) in text.lines().enumerate() {
            if line.contains("buf:lint:ignore") {
                findings
                    .push(format!("{name}:{}: exceptions stand in buf.yaml, with their reasons", number + 1));
            }
            if line.contains(char::is_control) {
                findings.push(format!("{name}:{}: no tabs or other control characters", number + 1));
            }
        }
    }
    report(findings);
}

#[test]
fn nothing_of_a_developers_machine_is_committed() {
    let places = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/tm", "p/wt"),
        concat!("/tm", "p/target"),
        concat!("registry.np", "mjs.org"),
        concat!("py", "pi.org"),
        concat!("index.crates", ".io"),
        concat!("\"reso", "lved\": \""),
    ];
    let mut findings = Vec::new();
    for (name, text) in files() {
        for place in places.iter().filter(|place| text.contains(**place)) {
            findings.push(format!("{name}: names {place}, which is true on one machine only"));
        }
    }
    report(findings);
}

fn report(findings: impl IntoIterator<Item = String>) {
    let findings: Vec<_> = findings.into_iter().collect();
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}
