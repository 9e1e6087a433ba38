//! A file with the number of the process, for those who want to signal it.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Writes the number, so that nobody ever reads half of it, and in place of whatever was there.
///
/// # Errors
/// The directory cannot be written to.
pub fn write(path: &Path, pid: u32) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    writeln!(file, "{pid}")?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.persist(path)?;
    Ok(())
}

/// Removes it, if it is still this process's.
///
/// # Errors
/// It is there and cannot be read or removed.
pub fn remove(path: &Path, pid: u32) -> io::Result<()> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim() == pid.to_string() => fs::remove_file(path),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_number_and_goes_only_with_its_own_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("leveret.pid");
        fs::write(&path, "an old one that was left behind").unwrap();
        write(&path, 42).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "42\n");
        remove(&path, 43).unwrap();
        assert!(path.exists());
        remove(&path, 42).unwrap();
        assert!(!path.exists());
        remove(&path, 42).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(write(&directory.path().join("missing/leveret.pid"), 42).is_err());
    }
}
