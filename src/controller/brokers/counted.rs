//! Counts of one queue from one source after the other: each counts from a beginning of its own.

use crate::amqp::fact::Counters;

/// Where the counts of a queue begin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counted {
    base: Option<Counters>,
    is_from_another: bool,
}

impl Counted {
    /// What comes next is from another source. Its counts begin at nothing, which the engine takes for counts begun anew,
    /// and not for as many messages in a moment as were ever counted.
    pub(super) fn begin_anew(&mut self) {
        self.is_from_another = true;
    }

    /// What was counted since this source tells.
    pub(super) fn since(&mut self, told: Counters) -> Counters {
        if std::mem::take(&mut self.is_from_another) {
            self.base = Some(told);
        }
        let Some(base) = self.base else { return told };
        let published = match (told.published, base.published) {
            (Some(told), Some(base)) => told.checked_sub(base),
            (published, None) | (published @ None, Some(_)) => published,
        };
        let lost = told.published.is_some() && published.is_none();
        match told.acknowledged.checked_sub(base.acknowledged).filter(|_| !lost) {
            Some(acknowledged) => Counters { acknowledged, published },
            // It has begun anew itself.
            None => {
                self.base = None;
                told
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_source_begins_at_nothing_and_goes_on_from_there() {
        let mut counted = Counted::default();
        let counts = |acknowledged, published| Counters { acknowledged, published };
        assert_eq!(counted.since(counts(10, None)), counts(10, None));
        counted.begin_anew();
        assert_eq!(counted.since(counts(5_000, Some(6_000))), counts(0, Some(0)));
        assert_eq!(counted.since(counts(5_003, Some(6_001))), counts(3, Some(1)));
        assert_eq!(counted.since(counts(2, Some(2))), counts(2, Some(2)), "the broker has begun anew");
        assert_eq!(counted.since(counts(4, Some(9_000))), counts(4, Some(9_000)));
    }
}
