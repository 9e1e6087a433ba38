//! Numbers that look random and are the same for the same seed on every machine: for jitter, workloads, simulation. Not for
//! secrets.
//!
//! The generator is SplitMix64 (Steele, Lea and Flood, 2014): one addition and three mixing steps, passes the usual
//! statistical batteries, and every seed is a good seed.

/// The generator.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in 0 (included) to 1 (excluded).
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Exponential with the given mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// Log-normal with the given mean and coefficient of variation (standard deviation over mean).
    pub fn log_normal(&mut self, mean: f64, variation: f64) -> f64 {
        if variation <= 0.0 {
            return mean;
        }
        let variance = (1.0 + variation * variation).ln();
        (mean.ln() - variance / 2.0 + variance.sqrt() * self.normal()).exp()
    }

    /// Standard normal, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_what_was_asked_for() {
        let mut random = Random::new(7);
        let count = 200_000;
        let exponential = (0..count).map(|_| random.exponential(3.0)).sum::<f64>() / f64::from(count);
        let log_normal = (0..count).map(|_| random.log_normal(2.0, 1.0)).sum::<f64>() / f64::from(count);
        assert!((exponential - 3.0).abs() < 0.05, "{exponential}");
        assert!((log_normal - 2.0).abs() < 0.05, "{log_normal}");
    }

    /// The published first outputs for seed 0.
    #[test]
    fn it_is_the_published_generator() {
        let mut random = Random::new(0);
        assert_eq!(random.next_u64(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(random.next_u64(), 0x6E78_9E6A_A1B9_65F4);
    }
}
