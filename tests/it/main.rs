//! Leveret from the outside: real processes, a real broker, a real browser.

mod broker_outage;
mod broker_queues;
mod broker_tls;
mod cli;
mod control;
mod control_browser;
mod control_dependencies;
mod control_environment;
mod control_http;
mod control_reload;
mod control_shutdown;
mod control_wording;
mod demo;
mod faults;
mod faults_controller;
mod faults_descriptors;
mod faults_forks;
mod faults_init;
mod faults_keeper;
mod faults_programs;
mod faults_start;
mod harness;
mod health;
#[cfg(test)]
mod keeper;
mod output;
mod readiness;
mod recycling;
mod rollouts;
mod scaling_burst;
mod scaling_hold;
mod scaling_in;
mod schedules;
mod service;
mod support;
mod upgrade;
