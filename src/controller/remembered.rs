//! What processes said of themselves, in memory that outlives the controller: a file without a name that the keeper holds.
//! Each process has a place of its own in it, written whole, so that a kill leaves the old words or the new ones.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;

use serde::{Deserialize, Serialize};

use crate::core::ids::Incarnation;
use crate::core::readiness::Voice;

/// The size of a place, in bytes. It divides a page, so that one write is never cut in two.
const PLACE_BYTES: usize = 1_024;

/// What is in a place; the rest is zeros.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    incarnation: Incarnation,
    voice: Voice,
}

/// The memory and who has which place in it.
#[derive(Debug)]
pub(crate) struct Remembered {
    file: File,
    places: BTreeMap<Incarnation, u64>,
    free: Vec<u64>,
    end: u64,
}

impl Remembered {
    /// Reads what is there.
    ///
    /// # Errors
    /// The memory cannot be read.
    pub(crate) fn open(memory: OwnedFd) -> io::Result<(Self, BTreeMap<Incarnation, Voice>)> {
        let file = File::from(memory);
        let end = file.metadata()?.len() / PLACE_BYTES as u64;
        let mut remembered = Self { file, places: BTreeMap::new(), free: Vec::new(), end };
        let mut voices = BTreeMap::new();
        for place in 0..end {
            let mut bytes = [0; PLACE_BYTES];
            remembered.file.read_exact_at(&mut bytes, place * PLACE_BYTES as u64)?;
            let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(PLACE_BYTES);
            // What another version wrote and this one does not understand is as if it had not been said.
            match serde_json::from_slice::<Entry>(&bytes[..length]) {
                Ok(Entry { incarnation, voice }) => {
                    remembered.places.insert(incarnation, place);
                    voices.insert(incarnation, voice);
                }
                Err(_) => remembered.free.push(place),
            }
        }
        Ok((remembered, voices))
    }

    /// Remembers all that a process has said.
    ///
    /// # Errors
    /// There is no memory left.
    pub(crate) fn write(&mut self, incarnation: Incarnation, voice: &Voice) -> io::Result<()> {
        let entry = Entry { incarnation, voice: voice.clone() };
        let mut bytes = serde_json::to_vec(&entry)?;
        bytes.resize(bytes.len().max(PLACE_BYTES), 0);
        let place = match self.places.get(&incarnation) {
            Some(place) => *place,
            None => {
                let place = self.free.pop().unwrap_or(self.end);
                self.end = self.end.max(place + 1);
                self.places.insert(incarnation, place);
                place
            }
        };
        self.file.write_all_at(&bytes[..PLACE_BYTES], place * PLACE_BYTES as u64)
    }

    /// Forgets a process.
    ///
    /// # Errors
    /// The memory cannot be written.
    pub(crate) fn forget(&mut self, incarnation: Incarnation) -> io::Result<()> {
        let Some(place) = self.places.remove(&incarnation) else { return Ok(()) };
        self.file.write_all_at(&[0; PLACE_BYTES], place * PLACE_BYTES as u64)?;
        self.free.push(place);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::kept::memory_file;
    use crate::sys::notify::STATUS_BYTES_MAX;

    fn voice(status: &str) -> Voice {
        Voice { ready: true, status: Some(status.to_owned()), ..Voice::default() }
    }

    #[test]
    fn what_was_written_is_known_to_whoever_opens_it_next_and_what_was_forgotten_is_not() {
        let memory = memory_file("test", b"").unwrap();
        let (mut first, known) = Remembered::open(memory.try_clone().unwrap()).unwrap();
        assert!(known.is_empty());
        // The longest there is: each character takes two in JSON.
        let long = "\"".repeat(STATUS_BYTES_MAX);
        for (number, status) in [(7, "one"), (8, long.as_str()), (9, "three"), (7, "four")] {
            first.write(Incarnation(number), &voice(status)).unwrap();
        }
        first.forget(Incarnation(9)).unwrap();
        first.write(Incarnation(u64::MAX), &voice("five")).unwrap();
        let (mut next, known) = Remembered::open(memory.try_clone().unwrap()).unwrap();
        let expected = [(7, "four"), (8, long.as_str()), (u64::MAX, "five")];
        assert_eq!(known, expected.map(|(number, said)| (Incarnation(number), voice(said))).into());
        next.forget(Incarnation(8)).unwrap();
        next.write(Incarnation(10), &voice("six")).unwrap();
        let length = File::from(memory).metadata().unwrap().len();
        assert_eq!(length, 3 * PLACE_BYTES as u64, "places are used again");
    }
}
