use super::{Case, Verdict, sample};
use crate::contract::ConfigError;

const URL: &str = "http://127.0.0.1:9";

/// The example of the descriptor is TOML, of this kind, and builds once its references are there.
pub fn example_builds(case: &Case) -> Verdict {
    let example = case.descriptor.example;
    if !example.contains(&format!("kind = \"{}\"", case.descriptor.kind)) {
        return Err("the example is of another kind".to_owned());
    }
    let table = sample::example(example, case.references)?;
    case.build_from(table).map_err(|error| format!("the example does not build: {error}"))?;
    Ok(())
}

/// The README shows the example as it is, and names every key.
pub fn readme_is_complete(case: &Case) -> Verdict {
    if !case.readme.contains(case.descriptor.example.trim()) {
        return Err("the README does not show the example".to_owned());
    }
    match case.descriptor.keys.iter().find(|key| !case.readme.contains(&format!("`{key}`"))) {
        Some(key) => Err(format!("the README does not tell of `{key}`")),
        None => Ok(()),
    }
}

/// Without a required key it is not built, and the error names the key.
pub fn required_keys_are_named(case: &Case) -> Verdict {
    for key in case.required {
        let mut table = (case.settings)(URL);
        if table.remove(*key).is_none() {
            return Err(format!("the settings of the case have no {key}"));
        }
        names(key, case.build_from(table).err())?;
    }
    Ok(())
}

/// A key that it does not know is an error that names it and tells the known ones.
pub fn unknown_keys_are_named(case: &Case) -> Verdict {
    let mut table = (case.settings)(URL);
    table.insert("acount".to_owned(), "x".into());
    let error = case.build_from(table).err();
    names("acount", error.clone())?;
    let hint = error.and_then(|error| error.hint).unwrap_or_default();
    match case.descriptor.keys.iter().find(|key| !hint.contains(**key)) {
        Some(key) => Err(format!("the hint does not tell {key}")),
        None => Ok(()),
    }
}

/// A value of the wrong type is an error that names the key and does not show the value.
pub fn wrong_types_are_named(case: &Case) -> Verdict {
    for key in case.required {
        let mut table = (case.settings)(URL);
        table.insert((*key).to_owned(), toml::Value::Integer(987_654_321));
        names(key, case.build_from(table).err())?;
    }
    Ok(())
}

fn names(key: &str, error: Option<ConfigError>) -> Verdict {
    match error {
        None => Err(format!("it builds in spite of {key}")),
        Some(error) if error.key != key => {
            Err(format!("the error names {} instead of {key}: {error}", error.key))
        }
        Some(error) if format!("{error:?}").contains("987654321") => {
            Err(format!("the error about {key} shows the value: {error}"))
        }
        Some(_) => Ok(()),
    }
}
