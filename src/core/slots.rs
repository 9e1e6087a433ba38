//! Sets of slot numbers. A service's is nearly always a range, however many processes it has: it must cost nothing to make
//! one, because every plan makes one for every program.

use std::collections::BTreeSet;

static NONE: BTreeSet<u32> = BTreeSet::new();

/// A set of slot numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slots {
    /// The first ones, less some.
    First {
        /// How many, with those that are left out.
        count: u32,
        /// Those that are left out.
        except: BTreeSet<u32>,
    },
    /// Just these.
    These(BTreeSet<u32>),
}

impl Slots {
    /// No slot.
    pub fn none() -> Self {
        Self::These(BTreeSet::new())
    }

    /// The same and one more.
    pub fn and(self, slot: u32) -> Self {
        if self.contains(slot) {
            return self;
        }
        let mut slots: BTreeSet<u32> = match self {
            Self::These(slots) => slots,
            Self::First { .. } => self.iter().collect(),
        };
        slots.insert(slot);
        Self::These(slots)
    }

    /// Whether `slot` is in the set.
    pub fn contains(&self, slot: u32) -> bool {
        match self {
            Self::First { count, except } => slot < *count && !except.contains(&slot),
            Self::These(slots) => slots.contains(&slot),
        }
    }

    /// The slots in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        let (count, except, these) = match self {
            Self::First { count, except } => (*count, except, &NONE),
            Self::These(slots) => (0, &NONE, slots),
        };
        (0..count).filter(|slot| !except.contains(slot)).chain(these.iter().copied())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::First { count, except } => *count as usize - except.range(..count).count(),
            Self::These(slots) => slots.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ones_less_some_are_what_remains_of_the_range() {
        let slots = Slots::First { count: 5, except: BTreeSet::from([0, 3, 7]) };
        assert_eq!(slots.iter().collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!(slots.len(), 3);
        assert!(slots.contains(4) && !slots.contains(3) && !slots.contains(5) && !slots.contains(7));
        assert!(Slots::First { count: 1, except: BTreeSet::from([0]) }.is_empty());
    }

    #[test]
    fn one_more_is_there_once() {
        let first = Slots::First { count: 2, except: BTreeSet::from([0]) };
        assert_eq!(first.clone().and(5).iter().collect::<Vec<_>>(), [1, 5]);
        assert_eq!(first.clone().and(1), first);
        assert_eq!(Slots::none().and(3).and(3), Slots::These(BTreeSet::from([3])));
    }

    #[test]
    fn these_are_just_these() {
        let slots = Slots::These(BTreeSet::from([9, 2]));
        assert_eq!(slots.iter().collect::<Vec<_>>(), [2, 9]);
        assert_eq!(slots.len(), 2);
        assert!(slots.contains(2) && !slots.contains(0));
        assert!(Slots::none().is_empty());
    }
}
