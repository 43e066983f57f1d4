//! From a path, a glob or a folder to files.

use super::FileKind;
use lightcl_core::{Error, Result};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The path that means standard input.
pub(super) const STANDARD_INPUT: &str = "-";

/// A file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InputFile {
    /// Its path as given or found: the name of the partition.
    pub name: Arc<str>,
    pub path: PathBuf,
}

/// The files that `path` names, in name order.
pub(super) fn expand(kind: FileKind, path: &str) -> Result<Vec<InputFile>> {
    if path.is_empty() {
        return Err(Error::user("the path of the source is empty"));
    }
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => folder(kind, Path::new(path)),
        Ok(_) => Ok(vec![InputFile { name: Arc::from(path), path: PathBuf::from(path) }]),
        Err(error) if error.kind() == ErrorKind::NotFound && path.contains(['*', '?', '[']) => matching(path),
        Err(error) => Err(cannot_open(path, Path::new(path), error)),
    }
}

/// Opens a file for reading.
pub(super) fn open_file(file: &InputFile) -> Result<File> {
    File::open(&file.path).map_err(|error| cannot_open(&file.name, &file.path, error))
}

fn input_file(path: PathBuf) -> Result<InputFile> {
    match path.to_str() {
        Some(name) => Ok(InputFile { name: Arc::from(name), path }),
        None => Err(Error::user("a file's name is not UTF-8; rename it").with("file", path.display())),
    }
}

fn folder(kind: FileKind, folder: &Path) -> Result<Vec<InputFile>> {
    let failed = |error| cannot_open(&folder.display().to_string(), folder, error);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.is_file() {
            files.push(path);
        }
    }
    let of_kind = |path: &PathBuf| {
        let extension = path.extension().and_then(OsStr::to_str).map(str::to_lowercase);
        extension.is_some_and(|extension| kind.extensions().contains(&extension.as_str()))
    };
    if files.iter().any(of_kind) {
        files.retain(of_kind);
    }
    if files.is_empty() {
        return Err(Error::user("there is no file in the folder").with("folder", folder.display()));
    }
    files.sort();
    files.into_iter().map(input_file).collect()
}

fn matching(pattern: &str) -> Result<Vec<InputFile>> {
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
    let paths = glob::glob_with(pattern, options)
        .map_err(|error| Error::user("the glob is not valid").with("path", pattern).caused_by(error))?;
    let mut files = Vec::new();
    for path in paths {
        let path = path.map_err(|error| {
            let path = error.path().to_owned();
            cannot_open(&path.display().to_string(), &path, error.into())
        })?;
        if path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        let mut error = Error::user("no file matches the glob").with("path", pattern);
        if let Some(nearest) = nearest(Path::new(pattern)) {
            error = error.with("nearest", nearest);
        }
        return Err(error);
    }
    files.sort();
    files.into_iter().map(input_file).collect()
}

/// The error for a file or folder that cannot be opened.
fn cannot_open(name: &str, path: &Path, error: std::io::Error) -> Error {
    let message = match error.kind() {
        ErrorKind::NotFound => match nearest(path) {
            Some(nearest) => format!("there is no file '{name}'; the nearest is '{nearest}'"),
            None => match path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
                Some(parent) => format!("there is no file '{name}': its folder '{}' does not exist", parent.display()),
                None => format!("there is no file '{name}'"),
            },
        },
        ErrorKind::PermissionDenied => format!("permission to read '{name}' is denied"),
        _ => return Error::external(format!("cannot open '{name}'")).with("file", name).caused_by(error),
    };
    Error::user(message).with("file", name).caused_by(error)
}

/// The path in the same folder whose name is most like that of `path`.
fn nearest(path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_str()?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut best: Option<(f64, String)> = None;
    for entry in fs::read_dir(parent.unwrap_or(Path::new("."))).ok()? {
        let name = entry.ok()?.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        let likeness = strsim::jaro_winkler(name, wanted);
        // The alphabet decides between equals, since folders have no order.
        if best.as_ref().is_none_or(|(most, first)| likeness > *most || (likeness == *most && *name < **first)) {
            best = Some((likeness, name.to_owned()));
        }
    }
    let (likeness, name) = best?;
    (likeness > 0.6).then(|| parent.map_or(name.clone(), |parent| parent.join(&name).display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::tempdir;

    fn names(files: &[InputFile]) -> Vec<String> {
        files.iter().map(|file| file.path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn folders_and_globs_give_files_in_name_order() {
        let folder = tempdir().unwrap();
        for name in ["b.csv", "a.csv", "c.CSV", "README.md", ".hidden.csv"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("d.csv")).unwrap();
        let path = folder.path().to_str().unwrap();
        assert_eq!(names(&expand(FileKind::Csv, path).unwrap()), ["a.csv", "b.csv", "c.CSV"]);
        assert_eq!(names(&expand(FileKind::Parquet, path).unwrap()).len(), 4, "no file has an extension of the kind");
        assert_eq!(names(&expand(FileKind::Csv, &format!("{path}/*.csv")).unwrap()), ["a.csv", "b.csv"]);
        assert_eq!(&*expand(FileKind::Csv, &format!("{path}/a.csv")).unwrap()[0].name, format!("{path}/a.csv"));
    }

    #[test]
    fn a_name_with_glob_characters_that_exists_is_a_file() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("a[1].csv");
        fs::write(&path, "").unwrap();
        assert_eq!(names(&expand(FileKind::Csv, path.to_str().unwrap()).unwrap()), ["a[1].csv"]);
    }

    #[test]
    fn missing_files_name_the_nearest_or_the_missing_folder() {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("rows.csv"), "").unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let said = |name: &str| expand(FileKind::Csv, &path(name)).unwrap_err().to_string();
        assert!(said("row.csv").contains("rows.csv'"), "{}", said("row.csv"));
        assert!(said("none/row.csv").contains("does not exist"), "{}", said("none/row.csv"));
        assert!(said("rowz*.csv").contains("no file matches"), "{}", said("rowz*.csv"));
        fs::create_dir(path("empty")).unwrap();
        assert!(said("empty").contains("no file in the folder"));
    }
}
