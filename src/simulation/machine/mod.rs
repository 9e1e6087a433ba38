//! A virtual world around the whole core: a keeper without an operating system, brokers that lie and go away, people who
//! want this and that, controllers that die. The machine in it is the real one, and so are its orders, the memory that it
//! leaves behind, and the way a new controller takes over.
//!
//! Every step is held against every rule ([`invariants`]); what people asked for is noted beside the machine in other words
//! than its own ([`shadow`]). The same seed gives the same run to the last byte: a run that breaks a rule says its seed,
//! its last actions, and how to see it again. Nothing here reads a clock, sleeps, or starts anything.

mod actions;
mod configuration;
mod dice;
mod errands;
mod flaws;
mod flaws_of_turns;
mod invariants;
mod keeper;
mod looks;
mod preparations;
mod queues;
mod run;
mod shadow;
mod tests;
