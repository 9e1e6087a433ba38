//! What this machine has to say about a configuration that is valid: warnings, since deployments move things.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Group, User};

use super::settings::Settings;
use crate::core::spec::{EnvFile, ProgramSpec, RunSpec};
use crate::sys::cgroup;
use crate::sys::env_file::{self, EnvFileError};

/// Where commands are looked for when there is no `PATH`.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Words that mean something to a shell and nothing to a program.
const SHELL_WORDS: [&str; 8] = ["&&", "||", "|", ";", ">", ">>", "<", "&"];

/// What is worth knowing about the settings on this machine, a sentence each.
pub(super) fn warnings(settings: &Settings, environment: &BTreeMap<String, String>) -> Vec<String> {
    let mut warnings = Vec::new();
    if !settings.listen.ip().is_loopback() {
        warnings.push(format!(
            "listen {}: anyone who can reach this address can stop your programs, because there is no sign-in yet; \
             listen on 127.0.0.1 or put a proxy that asks for a password in front",
            settings.listen
        ));
    }
    warnings.extend(settings.brokers.iter().filter_map(super::broker::doubt));
    if settings.programs.is_empty() {
        warnings.push("there are no programs in this configuration".to_owned());
    }
    let me = rustix::process::geteuid().as_raw();
    for program in &settings.programs {
        let sentences = [
            directory(&program.run),
            env_file(&program.run),
            command(&program.run, environment),
            shell_word(&program.run),
            user(&program.run, me),
            group(&program.run),
            program.run.cgroup.as_ref().and_then(|spec| cgroup::doubt(cgroup::base().as_deref(), spec)),
        ];
        warnings.extend(sentences.into_iter().flatten().map(|sentence| named(program, &sentence)));
    }
    warnings
}

fn named(program: &ProgramSpec, sentence: &str) -> String {
    format!("{}: {sentence}", program.name)
}

fn directory(run: &RunSpec) -> Option<String> {
    let directory = run.directory.as_ref()?;
    match directory.metadata() {
        Ok(metadata) if metadata.is_dir() => None,
        Ok(_) => Some(format!("{} is not a directory", directory.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some(format!("the directory {} does not exist", directory.display()))
        }
        // Another user's directory may be closed to us and open to the program.
        Err(_) => None,
    }
}

fn env_file(run: &RunSpec) -> Option<String> {
    let reason = |file: &EnvFile| match env_file::read(&file.path) {
        Ok(_) => None,
        Err(EnvFileError::Read(error)) if file.optional && error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            let path = file.path.display();
            Some(format!("nothing starts as long as env_file {path} cannot be read ({error})"))
        }
    };
    run.env_files.iter().find_map(reason)
}

fn command(run: &RunSpec, environment: &BTreeMap<String, String>) -> Option<String> {
    let name = run.argv.first()?;
    let base = run.directory.as_deref().unwrap_or(Path::new("."));
    if !base.is_dir() {
        return None;
    }
    if name.contains('/') {
        return match found(&base.join(name)) {
            Found::Executable => None,
            Found::NotExecutable => Some(format!("the command {name} is not an executable file")),
            Found::Nothing => Some(format!("the command {name} does not exist")),
        };
    }
    let path = run.environment.get("PATH").or_else(|| environment.get("PATH"));
    let path = path.map_or(USUAL_PATH, String::as_str);
    let candidates = std::env::split_paths(path).map(|directory: PathBuf| base.join(directory).join(name));
    let is_there = candidates.into_iter().any(|candidate| found(&candidate) == Found::Executable);
    (!is_there).then(|| format!("the command {name} is not in the PATH"))
}

#[derive(PartialEq, Eq)]
enum Found {
    Executable,
    NotExecutable,
    Nothing,
}

fn found(path: &Path) -> Found {
    match path.metadata() {
        Ok(metadata) if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 => Found::Executable,
        Ok(_) => Found::NotExecutable,
        // What cannot be looked at by us may well be run by the program's user.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Found::Executable,
        Err(_) => Found::Nothing,
    }
}

fn shell_word(run: &RunSpec) -> Option<String> {
    if run.argv.get(1).is_some_and(|option| option == "-c") {
        return None;
    }
    let word = run.argv.iter().find(|word| SHELL_WORDS.contains(&word.as_str()))?;
    Some(format!("without `shell: true` the `{word}` in the command is an ordinary word"))
}

fn user(run: &RunSpec, me: u32) -> Option<String> {
    let name = run.user.as_ref()?;
    let id = match name.parse::<u32>() {
        Ok(id) => Some(id),
        Err(_) => match User::from_name(name) {
            Ok(user) => Some(user.map(|user| user.uid.as_raw())).and_then(|id| id),
            // The list of users cannot be read just now, so nothing is known.
            Err(_) => return None,
        },
    };
    match id {
        None => Some(format!("the user {name} does not exist")),
        Some(id) if me != 0 && id != me => {
            Some(format!("only root can run a program as the user {name}; run Leveret as root or as {name}"))
        }
        Some(_) => None,
    }
}

fn group(run: &RunSpec) -> Option<String> {
    let name = run.group.as_ref()?;
    let missing = name.parse::<u32>().is_err() && matches!(Group::from_name(name), Ok(None));
    missing.then(|| format!("the group {name} does not exist"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(argv: &[&str], directory: Option<&Path>) -> RunSpec {
        RunSpec {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            directory: directory.map(Path::to_path_buf),
            ..RunSpec::default()
        }
    }

    #[test]
    fn commands_are_looked_for_as_they_will_be_run() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("plain"), "").unwrap();
        std::fs::write(place.path().join("tool"), "").unwrap();
        std::fs::set_permissions(place.path().join("tool"), PermissionsExt::from_mode(0o755)).unwrap();
        let path = BTreeMap::from([("PATH".to_owned(), place.path().display().to_string())]);
        let said = |argv| command(&run(&[argv], Some(place.path())), &path);
        assert_eq!(said("./tool"), None);
        assert_eq!(said("tool"), None);
        assert_eq!(said("./plain").unwrap(), "the command ./plain is not an executable file");
        assert_eq!(said("./none").unwrap(), "the command ./none does not exist");
        assert_eq!(said("plain").unwrap(), "the command plain is not in the PATH");
        let mut own_path = run(&["tool"], None);
        assert!(command(&own_path, &BTreeMap::new()).is_some());
        own_path.environment = path;
        assert_eq!(command(&own_path, &BTreeMap::new()), None);
    }

    #[test]
    fn a_directory_that_is_not_there_is_said_once() {
        let gone = Path::new("/nowhere/at/all");
        let run = run(&["./tool"], Some(gone));
        assert_eq!(directory(&run).unwrap(), "the directory /nowhere/at/all does not exist");
        assert_eq!(command(&run, &BTreeMap::new()), None);
        assert!(
            directory(&super::tests::run(&[], Some(Path::new("/etc/passwd")))).unwrap().contains("not a")
        );
    }

    #[test]
    fn shell_syntax_without_a_shell_is_noticed() {
        assert!(shell_word(&run(&["cd", "x", "&&", "y"], None)).unwrap().contains("`&&`"));
        assert_eq!(shell_word(&run(&["/bin/sh", "-c", "a && b"], None)), None);
        assert_eq!(shell_word(&run(&["bash", "-c", "|"], None)), None);
    }

    #[test]
    fn only_root_can_become_somebody_else() {
        let as_user = |user: &str| RunSpec { user: Some(user.to_owned()), ..RunSpec::default() };
        assert!(user(&as_user("root"), 1000).unwrap().starts_with("only root can"));
        assert_eq!(user(&as_user("root"), 0), None);
        assert_eq!(user(&as_user("1000"), 1000), None);
        assert_eq!(user(&as_user("no-such-user"), 0).unwrap(), "the user no-such-user does not exist");
    }
}
