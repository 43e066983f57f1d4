//! Settings from outside the file: environment variables and `--set`.

use super::document::{Content, Node, Origin, parse_key, parse_value};
use super::faults::Faults;
use super::secrets::names_secret;
use lightcl_core::{Error, Result};
use serde_json::Value;

/// Environment variables that begin so are settings: `LIGHTCL__LEARNER__SEED=3`.
pub const ENVIRONMENT_PREFIX: &str = "LIGHTCL__";

/// Settings from outside the file. The environment comes over the file, the command line over both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Environment variables by name and value; those without [`ENVIRONMENT_PREFIX`] are passed over.
    pub environment: Vec<(String, String)>,
    /// `key=value`, as given to `--set`. The value is TOML; text may go without quotes.
    pub set: Vec<String>,
    /// The folder given to `--out`, short for `output.dir`.
    pub out: Option<String>,
    /// Whether `--until-end` was given, short for `source.until_end`.
    pub until_end: bool,
}

impl Overrides {
    /// The process's environment and what the command line gave.
    ///
    /// # Errors
    /// When a variable that is meant for us is not UTF-8.
    pub fn from_process(set: &[String], out: Option<&str>) -> Result<Self> {
        let mut environment = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().filter(|name| name.starts_with(ENVIRONMENT_PREFIX)) else { continue };
            let value =
                value.into_string().map_err(|_| Error::user(format!("environment variable {name} is not UTF-8")))?;
            environment.push((name.to_owned(), value));
        }
        Ok(Overrides { environment, set: set.to_vec(), out: out.map(str::to_owned), until_end: false })
    }

    /// Puts the overrides over the file's tree.
    pub(super) fn apply(&self, root: &mut Node, faults: &mut Faults) {
        let mut environment: Vec<_> =
            self.environment.iter().filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX)).collect();
        environment.sort();
        for (name, text) in environment {
            let path = name[ENVIRONMENT_PREFIX.len()..].to_lowercase();
            let path: Vec<String> = path.split("__").map(str::to_owned).collect();
            let origin = Origin::Environment(name.clone());
            if path.iter().any(String::is_empty) {
                faults.add(&origin, "the name must be LIGHTCL__SECTION__KEY, such as LIGHTCL__LEARNER__SEED");
            } else {
                put(root, &path, text, &origin, faults);
            }
        }
        for argument in &self.set {
            let origin = Origin::CommandLine(format!("--set {argument}"));
            // A key in quotes may hold a '='.
            let split = argument
                .match_indices('=')
                .find_map(|(place, _)| Some((parse_key(&argument[..place])?, &argument[place + 1..])));
            match split {
                Some((path, text)) => put(root, &path, text, &origin, faults),
                None => faults.add(&origin, "expected key=value, such as --set learner.seed=3"),
            }
        }
        if let Some(out) = &self.out {
            let origin = Origin::CommandLine(format!("--out {out}"));
            let node = Node { content: Content::Scalar(Value::from(out.as_str())), origin, text: None };
            // `output` can only be in the way when it is no table, which the schema finds.
            let _ = root.set(&["output".to_owned(), "dir".to_owned()], node);
        }
        if self.until_end {
            let origin = Origin::CommandLine("--until-end".to_owned());
            let node = Node { content: Content::Scalar(Value::from(true)), origin, text: None };
            let _ = root.set(&["source".to_owned(), "until_end".to_owned()], node);
        }
    }
}

fn put(root: &mut Node, path: &[String], text: &str, origin: &Origin, faults: &mut Faults) {
    let node = match parse_value(text, origin) {
        Some(node) => node,
        None if text.trim_start().starts_with(['[', '{', '"', '\'']) => {
            let example = format!("{}='[\"a\", \"b\"]'", path.join("."));
            let shown = if names_secret(&path.join(".")) { ".." } else { text };
            faults.add(origin, format!("the value {shown} is not TOML; quote it for the shell, such as {example}"));
            return;
        }
        None => {
            Node { content: Content::Scalar(Value::from(text)), origin: origin.clone(), text: Some(text.to_owned()) }
        }
    };
    if let Err(in_the_way) = root.set(path, node) {
        faults.add(origin, format!("{in_the_way} is not a table, it has no key '{}'", path.join(".")));
    }
}
