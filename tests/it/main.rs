//! Leveret from the outside: real processes, a real broker, a real browser.

mod cli;
mod control;
mod control_environment;
mod control_http;
mod control_reload;
mod control_shutdown;
mod demo;
mod faults;
mod faults_controller;
mod faults_init;
mod faults_start;
mod harness;
#[cfg(test)]
mod keeper;
mod output;
mod support;
