//! What is wrong with a configuration: all of it at once, each with its place and the way out.

use std::{fmt, path::PathBuf};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The defaults in this program.
    Defaults,
    /// A line of a file, counted from 1; 0 for the file as a whole.
    File(PathBuf, usize),
    /// A variable of the environment.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Defaults => f.write_str("defaults"),
            Self::File(path, 0) => write!(f, "{}", path.display()),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub origin: Origin,
    /// The key, as `section.key`; empty when it is the file as a whole.
    pub key: String,
    /// What is wrong, without the value of anything that may be secret.
    pub text: String,
    /// The way out, as a sentence. Empty when `text` says it.
    pub hint: String,
}

impl Problem {
    /// This key at this place has this problem.
    pub fn new(origin: &Origin, key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { origin: origin.clone(), key: key.into(), text: text.into(), hint: String::new() }
    }

    /// With the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "`{}` ", self.key)?;
        }
        f.write_str(&self.text)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a configuration, in the order of its lines. Shown one problem a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<Problem>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// The hint on a word that is not known: the nearest one, or all of them when none is near.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_unstable();
    known.dedup();
    match near(word, known.iter().copied()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None if known.is_empty() => String::new(),
        None => format!("known: {}", known.join(", ")),
    }
}

/// The known word that this one was probably meant to be.
pub(super) fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(score, _)| *score >= 0.75)
        .map(|(_, candidate)| candidate)
}

/// At most 40 characters of a value that is not secret, without control characters.
pub(super) fn shown(value: &str) -> String {
    let clean: String = value.chars().filter(|c| !c.is_control()).take(41).collect();
    match clean.char_indices().nth(40) {
        Some((end, _)) => format!("\"{}...\"", &clean[..end]),
        None => format!("\"{clean}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_name_the_nearest_word() {
        assert_eq!(nearest("leese", ["lease", "sweep"]), "did you mean `lease`?");
        assert_eq!(nearest("zzz", ["lease", "sweep"]), "known: lease, sweep");
        assert_eq!(nearest("zzz", []), "");
    }

    #[test]
    fn shown_values_are_short_and_clean() {
        assert_eq!(shown("a\u{1b}[31mb"), "\"a[31mb\"");
        assert_eq!(shown(&"x".repeat(100)), format!("\"{}...\"", "x".repeat(40)));
        assert_eq!(shown(&"é".repeat(40)), format!("\"{}\"", "é".repeat(40)));
    }
}
