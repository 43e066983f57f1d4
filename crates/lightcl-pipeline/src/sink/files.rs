//! Files that are either whole or not there.

use lightcl_core::{Error, ErrorKind, Result};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Names of files that were not finished begin so.
pub(super) const TEMPORARY: &str = ".tmp-";

/// A failure of the disk, or of who may use it.
pub(super) fn failed(action: &str, path: &Path, error: io::Error) -> Error {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "; what was committed stands: make room and run again"
        }
        _ => "",
    };
    Error::new(ErrorKind::External, format!("cannot {action} {}{advice}", path.display())).caused_by(error)
}

/// Adds to an `io::Error` what was done to which file.
pub(super) trait Named<T> {
    fn named(self, action: &str, path: &Path) -> Result<T>;
}

impl<T> Named<T> for io::Result<T> {
    fn named(self, action: &str, path: &Path) -> Result<T> {
        self.map_err(|error| failed(action, path, error))
    }
}

/// The name under which a file is written until it is whole.
pub(super) fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{TEMPORARY}{name}"))
}

/// Writes a file so that it is there as a whole or not at all, also after a power cut: to a temporary name, synced,
/// renamed, and the folder synced.
///
/// # Errors
/// When the disk fails or is full; what was there before then stands.
pub fn write_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let staged = temporary(path);
    let written = File::create(&staged).and_then(|file| {
        let mut file = io::BufWriter::with_capacity(1 << 16, file);
        write(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    });
    if let Err(error) = written {
        // Best effort: a temporary file that stays is removed by the next run.
        let _ = fs::remove_file(&staged);
        return Err(failed("write", path, error));
    }
    fs::rename(&staged, path).named("rename", &staged)?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Makes names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    // An empty path is the current directory.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder).and_then(|file| file.sync_all()).named("sync", folder)
}

/// Gives a folder that is whole its name, so that it is there as a whole or not at all, also after a power cut. Gives whether
/// it did: where something stands under that name it stays, and the folder too.
///
/// # Errors
/// When the disk fails or is full.
pub fn publish_folder(staged: &Path, path: &Path) -> Result<bool> {
    sync_folder(staged)?;
    match fs::rename(staged, path) {
        Ok(()) => {}
        // A folder with something in it is never replaced.
        Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {
            return Ok(false);
        }
        Err(error) => return Err(failed("rename", staged, error)),
    }
    sync_folder(path.parent().unwrap_or(Path::new(".")))?;
    Ok(true)
}

/// Names in a folder in order; none when there is no such folder.
pub(super) fn names_in(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.named("read", folder)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        // A name that is not UTF-8 is none of ours.
        names.extend(entry.named("read", folder)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// Removes a file or a folder with all in it; one that is not there is as good.
pub(super) fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.named("remove", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_no_temporary() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_file(&path, |file| file.write_all(b"old")).unwrap();
        let error = write_file(&path, |file| {
            file.write_all(b"new")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::External);
        assert!(error.message().contains("a.txt; what was committed stands"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names_in(folder.path()).unwrap(), ["a.txt"]);
    }

    #[test]
    fn a_folder_is_published_once_and_the_first_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result");
        for (attempt, is_first) in [("a", true), ("b", false)] {
            let staged = folder.path().join(attempt);
            fs::create_dir(&staged).unwrap();
            fs::write(staged.join("who"), attempt).unwrap();
            assert_eq!(publish_folder(&staged, &path).unwrap(), is_first);
            assert_eq!(staged.exists(), !is_first);
        }
        assert_eq!(fs::read(path.join("who")).unwrap(), b"a");
        assert!(publish_folder(&folder.path().join("none"), &path).is_err());
    }

    #[test]
    fn removing_what_is_not_there_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        remove(&folder.path().join("a")).unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        remove(&folder.path().join("a")).unwrap();
        assert!(names_in(folder.path()).unwrap().is_empty());
        assert!(names_in(&folder.path().join("none")).unwrap().is_empty());
    }
}
