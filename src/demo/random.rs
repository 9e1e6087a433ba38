//! Numbers that look random and are the same for the same seed. Never for anything secret.

/// A SplitMix64 generator. Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 up to but not including 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A positive number whose mean is 1, at most 5: most are small, few are large, as with the work of consumers.
    pub(super) fn exponential(&mut self) -> f64 {
        (-(1.0 - self.unit()).ln()).min(5.0)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let mut one = Random::new(7);
        let mut two = Random::new(7);
        let mut other = Random::new(8);
        let numbers: Vec<f64> = (0..100).map(|_| one.unit()).collect();
        assert!((0..100).all(|n| two.unit() == numbers[n]));
        assert!((0..100).any(|n| other.unit() != numbers[n]));
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
    }

    #[test]
    fn exponential_numbers_have_a_mean_of_about_one() {
        let mut random = Random::new(1);
        let mean = (0..10_000).map(|_| random.exponential()).sum::<f64>() / 10_000.0;
        assert!((0.9..1.1).contains(&mean), "{mean}");
    }
}
