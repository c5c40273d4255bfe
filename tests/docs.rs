//! Holds the documentation to what the program reads.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use headlessly_communication::config::{DEFAULTS, load};

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Section, key and default of every line of the defaults; `None` for a key that has no value by default.
fn keys() -> Vec<(String, Option<String>)> {
    let (mut section, mut keys) = (String::new(), Vec::new());
    for line in DEFAULTS.lines().take_while(|line| *line != "# [[provider]]") {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
            continue;
        }
        let (text, has_default) = line.strip_prefix("# ").map_or((line, true), |text| (text, false));
        let Some((key, value)) = text.split_once(" = ") else { continue };
        if key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            keys.push((format!("{section}.{key}"), has_default.then(|| value.to_owned())));
        }
    }
    keys
}

#[test]
fn every_key_has_its_line_with_its_default() {
    let page = page("docs/config.md");
    let keys = keys();
    assert!(keys.len() > 20, "{keys:?}");
    for (key, default) in &keys {
        let default = default.as_ref().map_or("not set".to_owned(), |value| format!("`{value}`"));
        let begin = format!("| `{key}` | {default} |");
        assert!(page.lines().any(|line| line.starts_with(&begin)), "docs/config.md has no line {begin}");
    }
    let lines = page.lines().filter(|line| line.starts_with("| `") && line.contains('.'));
    let told = lines.filter_map(|line| line.split('`').nth(1)).filter(|key| key.contains('.'));
    for key in told {
        assert!(keys.iter().any(|(known, _)| known == key), "docs/config.md tells of {key}, which is no key");
    }
}

#[test]
fn every_configuration_that_is_shown_is_read() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["README.md", "docs/config.md", "docs/providers.md"] {
        let page = page(name);
        let blocks: Vec<&str> =
            page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        assert!(!blocks.is_empty(), "{name}");
        for block in blocks {
            let file = folder.path().join("hly.toml");
            fs::write(&file, block).unwrap();
            if let Err(errors) = load(Some(&file), &[]) {
                panic!("{name}: {errors}\n{block}");
            }
        }
    }
}
