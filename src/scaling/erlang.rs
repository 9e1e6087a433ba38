//! The steady count: how many consumers keep the wait of a random flow within the goal.
//!
//! Erlang C, the probability that a message finds all `n` consumers busy (A. K. Erlang, 1917), is computed from Erlang
//! B by the recursion `B(0) = 1, B(n) = a B(n-1) / (n + a B(n-1))`, which has no factorials and no cancellation, then
//! `C(n, a) = B(n) / (1 - (a/n)(1 - B(n)))`. In the M/M/n queue `P(wait > t) = C(n, a) exp(-(n - a) t / S)`.
//! The result grows like `a + b sqrt(a)`, the square-root staffing rule (Halfin and Whitt, 1981).

/// Above this load the recursion is not worth its time, and the square-root rule is as exact as anybody needs.
const LARGE: f64 = 10_000.0;
/// Spare consumers for such a load, times its square root: enough for every tolerance down to 0.5 %.
const LARGE_MARGIN: f64 = 2.7;

/// The fewest consumers for which at most a share `tolerance` of the messages waits longer than `wait` seconds, for an
/// offered load `load` and `service` seconds a message; `limit + 1` when more than `limit` are needed.
///
/// It is 0 only where there is no load at all.
pub fn consumers_needed(load: f64, service: f64, wait: f64, tolerance: f64, limit: u32) -> u32 {
    needed(load, tolerance, limit, |consumers| (load - consumers) * wait / service)
}

/// The same where messages that wait go down by another law than that of one queue in its order: `decay` is the exponent, 0
/// or less, with so many consumers.
pub(super) fn needed(load: f64, tolerance: f64, limit: u32, decay: impl Fn(f64) -> f64) -> u32 {
    if !load.is_finite() || load > f64::from(limit) {
        return limit.saturating_add(1);
    }
    if load <= 0.0 {
        return 0;
    }
    if load > LARGE {
        let count = (load + LARGE_MARGIN * load.sqrt()).ceil() as u32;
        return count.min(limit.saturating_add(1));
    }
    let mut blocking = 1.0;
    for count in 1..=limit {
        let consumers = f64::from(count);
        blocking = load * blocking / (consumers + load * blocking);
        if consumers <= load {
            continue;
        }
        if queueing(blocking, load, consumers) * decay(consumers).exp() <= tolerance {
            return count;
        }
    }
    limit.saturating_add(1)
}

/// The fewest consumers for which at most a share `tolerance` of the messages waits longer than `wait` seconds where each is a
/// queue of its own, with an equal part of the load: `P(wait > t) = p exp(-(1 - p) t / S)` of an M/M/1 queue, `p = a / n`.
/// `limit + 1` when more than `limit` are needed.
pub(super) fn needed_apart(load: f64, service: f64, wait: f64, tolerance: f64, limit: u32) -> u32 {
    if load <= 0.0 {
        return 0;
    }
    let keeps = |count: u32| {
        let part = load / f64::from(count);
        part < 1.0 && part * ((part - 1.0) * wait / service).exp() <= tolerance
    };
    // Fewer never keep what more do not, so the first one is found by halving.
    let (mut least, mut most) = (1, limit.saturating_add(1));
    while least < most {
        let middle = least + (most - least) / 2;
        if keeps(middle) {
            most = middle;
        } else {
            least = middle + 1;
        }
    }
    least
}

/// The probability that a message finds all `consumers` busy: Erlang C; 1 when the load is as much as they can do.
pub fn probability_of_waiting(load: f64, consumers: u32) -> f64 {
    if load >= f64::from(consumers) {
        return 1.0;
    }
    let mut blocking = 1.0;
    for count in 1..=consumers {
        blocking = load * blocking / (f64::from(count) + load * blocking);
    }
    queueing(blocking, load, f64::from(consumers))
}

/// Erlang C from Erlang B.
fn queueing(blocking: f64, load: f64, consumers: f64) -> f64 {
    blocking / (1.0 - load / consumers * (1.0 - blocking))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Textbook values: C(1, a) = a; C(2, 1) = 1/3; C(5, 4) = 0.5541; C(20, 16) = 0.2561.
    #[test]
    fn erlang_c_has_its_textbook_values() {
        for (load, consumers, expected) in
            [(0.3, 1, 0.3), (1.0, 2, 1.0 / 3.0), (4.0, 5, 0.5541), (16.0, 20, 0.2561), (5.0, 5, 1.0)]
        {
            let found = probability_of_waiting(load, consumers);
            assert!((found - expected).abs() < 1e-3, "C({consumers}, {load}) = {found}");
        }
    }

    #[test]
    fn thousands_of_consumers_neither_overflow_nor_lose_the_digits() {
        let needed = consumers_needed(5_000.0, 1.0, 1.0, 0.05, 10_000);
        assert!((5_001..5_200).contains(&needed), "{needed}");
        assert!(probability_of_waiting(5_000.0, 5_100).is_finite());
    }

    #[test]
    fn those_that_are_apart_need_more_than_those_that_share_a_queue() {
        // p exp(-(1 - p) 10) <= 0.05: p = 0.75 gives 0.0616, p = 0.7 gives 0.0349.
        assert_eq!(needed_apart(7.0, 1.0, 10.0, 0.05, 100), 10);
        assert_eq!(needed_apart(7.5, 1.0, 10.0, 0.05, 10), 11, "more than there may be");
        assert!(consumers_needed(7.0, 1.0, 10.0, 0.05, 100) < 10);
        assert_eq!(needed_apart(0.0, 1.0, 10.0, 0.05, 100), 0);
    }

    #[test]
    fn more_load_never_needs_fewer() {
        let mut before = 0;
        for step in 0..400 {
            let needed = consumers_needed(f64::from(step) / 10.0, 0.5, 1.0, 0.05, 100);
            assert!(needed >= before);
            before = needed;
        }
    }

    #[test]
    fn no_load_needs_nobody_and_too_much_is_said() {
        assert_eq!(consumers_needed(0.0, 1.0, 1.0, 0.05, 10), 0);
        assert_eq!(consumers_needed(30.0, 1.0, 1.0, 0.05, 10), 11);
        assert_eq!(consumers_needed(f64::INFINITY, 1.0, 1.0, 0.05, 10), 11);
        assert_eq!(consumers_needed(1_000_000.0, 1.0, 1.0, 0.05, u32::MAX), 1_002_700);
        assert_eq!(consumers_needed(0.6, 0.05, 1.0, 0.05, 10), 1);
    }
}
