//! A number that somebody has written into a file.

use std::time::Duration;

use crate::simulation::policy::{Policy, Removal, Rhythm, Tick};

/// Always the same number.
#[derive(Clone, Copy, Debug)]
pub struct Fixed(pub u32);

impl Policy for Fixed {
    fn rhythm(&self) -> Rhythm {
        Rhythm::every(Duration::from_secs(60))
    }

    fn removal(&self) -> Removal {
        Removal::Youngest
    }

    fn decide(&mut self, _: &Tick<'_>) -> u32 {
        self.0
    }
}
