//! The registry names every plugin of the tree, once.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::Path};

use headlessly_providers::registry::{PLUGINS, find};

#[test]
fn every_plugin_is_listed_once() {
    let kinds: BTreeSet<&str> = PLUGINS.iter().map(|plugin| plugin.kind).collect();
    assert_eq!(kinds.len(), PLUGINS.len());
    assert_eq!(descriptors(Path::new(env!("CARGO_MANIFEST_DIR"))), PLUGINS.len());
    for plugin in PLUGINS {
        assert_eq!(find(plugin.kind).unwrap().kind, plugin.kind);
        assert!(!plugin.channels.is_empty(), "{}", plugin.kind);
        assert!(!plugin.summary.contains('\n'), "{}", plugin.kind);
        assert!(plugin.example.contains(&format!("kind = \"{}\"", plugin.kind)), "{}", plugin.kind);
    }
}

/// How many files declare a plugin.
fn descriptors(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| {
            if path.is_dir() {
                descriptors(&path)
            } else if path.file_name().is_some_and(|name| name == "mod.rs") {
                let text = fs::read_to_string(path).unwrap();
                text.matches("pub const DESCRIPTOR: Descriptor =").count()
            } else {
                0
            }
        })
        .sum()
}
