//! Linux facts without policy: clocks, `/proc`, locks, files of variables, sockets over which processes say how they are.

pub mod binary;
pub mod cause;
pub mod cgroup;
pub mod clock;
pub mod env_file;
pub mod lock;
pub mod memory;
pub mod notify;
pub mod pid_file;
pub mod process;
pub mod service;
pub mod shortage;
pub mod sockets;
pub mod zone;
