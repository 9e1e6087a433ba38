//! Who has printed what is waited for, in memory that the keeper holds: the pump writes it down there before the line leaves its
//! pipe, so that a controller which is killed at any moment is followed by one that knows it.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use super::remembered::Remembered;
use crate::core::ids::Incarnation;
use crate::core::readiness::Voice;
use crate::logs::source::PumpEvent;

/// The memory.
#[derive(Debug)]
pub(crate) struct Printed(Mutex<Remembered>);

impl Printed {
    /// Opens the memory and returns who has printed which pattern. Of those that are not `known` nothing is left.
    ///
    /// # Errors
    /// The memory cannot be read or written.
    pub(crate) fn open(
        memory: OwnedFd,
        known: &BTreeSet<Incarnation>,
    ) -> io::Result<(Self, Vec<(Incarnation, String)>)> {
        let (mut remembered, voices) = Remembered::open(memory)?;
        for incarnation in voices.keys().filter(|incarnation| !known.contains(incarnation)) {
            remembered.forget(*incarnation)?;
        }
        let known = voices.into_iter().filter(|(incarnation, _)| known.contains(incarnation));
        let printed = known.filter_map(|(incarnation, voice)| Some((incarnation, voice.status?)));
        let printed = printed.collect();
        Ok((Self(Mutex::new(remembered)), printed))
    }

    /// Writes down what the pump tells, as far as it is about this.
    pub(crate) fn take_note(&self, event: &PumpEvent) {
        // Whoever panicked while it wrote left the old words or the new ones.
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = match event {
            PumpEvent::Matched(incarnation, pattern) => {
                let voice = Voice { ready: true, status: Some(pattern.clone()), ..Voice::default() };
                remembered.write(*incarnation, &voice)
            }
            PumpEvent::Drained(incarnation) => remembered.forget(*incarnation),
            PumpEvent::LastLine(..) | PumpEvent::Trouble(_) | PumpEvent::Recovered(_) => Ok(()),
        };
        if let Err(error) = noted {
            tracing::error!("cannot remember what processes print: {}", crate::sys::cause::plain(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::kept::memory_file;

    #[test]
    fn the_next_controller_knows_who_has_printed_it_and_nothing_of_the_gone() {
        let memory = memory_file("test", b"").unwrap();
        let lives = |numbers: &[u64]| numbers.iter().copied().map(Incarnation).collect::<BTreeSet<_>>();
        let open = |numbers: &[u64]| Printed::open(memory.try_clone().unwrap(), &lives(numbers)).unwrap();
        let (first, printed) = open(&[]);
        assert_eq!(printed, []);
        for number in [7, 8, 9] {
            first.take_note(&PumpEvent::Matched(Incarnation(number), "ready".to_owned()));
        }
        first.take_note(&PumpEvent::Drained(Incarnation(8)));
        let (_, printed) = open(&[7, 8]);
        assert_eq!(printed, [(Incarnation(7), "ready".to_owned())]);
        let (_, printed) = open(&[7, 8, 9]);
        assert_eq!(printed, [(Incarnation(7), "ready".to_owned())], "what is gone was forgotten");
    }
}
