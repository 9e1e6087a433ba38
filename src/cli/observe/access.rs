//! Which management API is asked, and with which login. The login is never shown.

use std::path::Path;

use super::arguments::{ObserveArgs, VARIABLE};
use crate::cli::address::Surroundings;
use crate::cli::failure::Failure;
use crate::config::management_address;
use crate::core::spec::ManagementSpec;
use crate::sys::cause::plain;

/// That of a RabbitMQ on this machine that nobody has changed.
const USUAL: &str = "http://guest:guest@127.0.0.1:15672";

/// Where an address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Somebody has named it.
    Named,
    /// Nobody has.
    Usual,
}

/// The management API to ask.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) spec: ManagementSpec,
    pub(super) origin: Origin,
}

impl Access {
    /// By option, file, variable, or else the usual one.
    ///
    /// # Errors
    /// The file cannot be read, or what is named is not an address. It is not repeated.
    pub(super) fn of(arguments: &ObserveArgs, surroundings: &Surroundings) -> Result<Self, Failure> {
        if let Some(address) = &arguments.management {
            return named(address.reveal(), "--management");
        }
        if let Some(file) = &arguments.management_file {
            let text = read(file)?;
            return named(text.trim(), &file.display().to_string());
        }
        match surroundings.variable(VARIABLE) {
            Some(address) => named(address, VARIABLE),
            None => Ok(Self { origin: Origin::Usual, ..named(USUAL, "the usual address")? }),
        }
    }

    /// What to try where it does not answer, beside what the answer itself says.
    pub(super) fn hint(&self) -> String {
        match self.origin {
            Origin::Named => String::new(),
            Origin::Usual => format!(
                " (that is the usual address, for want of another: name one with {VARIABLE}, --management-file or --management)"
            ),
        }
    }
}

fn named(address: &str, by: &str) -> Result<Access, Failure> {
    match management_address(address) {
        Ok(spec) => Ok(Access { spec, origin: Origin::Named }),
        Err(what) => Err(Failure::Usage(format!("{by}: {what}"))),
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::Usage(format!("cannot read {}: {}", file.display(), plain(&error))))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::arguments::{Arguments, Command};

    fn access(line: &str, variable: Option<&str>) -> Result<Access, Failure> {
        let words = std::iter::once("leveret").chain(line.split_whitespace()).map(OsString::from);
        let Command::Observe(arguments) = Arguments::read(words).unwrap().command else { panic!("{line}") };
        let environment = variable.map(|value| (VARIABLE.to_owned(), value.to_owned())).into_iter().collect();
        Access::of(&arguments, &Surroundings { environment, is_root: false })
    }

    #[test]
    fn an_option_comes_before_a_file_and_that_before_the_variable_and_the_usual_one_is_the_last() {
        let user = |line: &str, variable| access(line, variable).unwrap().spec.user;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("address");
        std::fs::write(&file, "http://file:x@mq\n").unwrap();
        let file = format!("observe --management-file {}", file.display());
        let variable = Some("http://variable:x@mq");
        assert_eq!(user("observe --management http://option:x@mq", variable), "option");
        assert_eq!(user(&file, variable), "file");
        assert_eq!(user("observe", variable), "variable");
        let usual = access("observe", Some("")).unwrap();
        assert_eq!((usual.spec.address.as_str(), usual.origin), ("http://127.0.0.1:15672", Origin::Usual));
        assert!(usual.hint().contains("LEVERET_MANAGEMENT_URL"));
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_repeated() {
        for (line, variable) in [
            ("observe --management amqp://me:hunter2@mq", None),
            ("observe", Some("hunter2@mq")),
            ("observe --management-file /nowhere/address", None),
        ] {
            let failure = access(line, variable).unwrap_err();
            assert_eq!(failure.exit(), crate::cli::exit::Exit::Usage);
            assert!(!format!("{failure} {failure:?}").contains("hunter2"), "{failure}");
        }
    }
}
