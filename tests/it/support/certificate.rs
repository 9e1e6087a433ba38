//! A certificate authority of the run's own and the broker's certificate for 127.0.0.1, made by openssl.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{command, run};

const LIMIT: Duration = Duration::from_secs(30);

/// Nothing of the machine's own configuration is wanted.
const CONFIGURATION: &str = "[req]\ndistinguished_name = name\nprompt = no\n[name]\n\
    [authority]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign\nsubjectKeyIdentifier = hash\n\
    [server]\nbasicConstraints = critical, CA:FALSE\nsubjectAltName = IP:127.0.0.1, DNS:localhost\n\
    extendedKeyUsage = serverAuth\nsubjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n";

/// The files of an authority and of a server that it vouches for.
#[derive(Debug)]
pub(crate) struct Certificates {
    pub(crate) authority: PathBuf,
    pub(crate) server: PathBuf,
    pub(crate) server_key: PathBuf,
}

impl Certificates {
    /// Makes them in `directory`, valid for a day.
    pub(crate) fn make(directory: &Path) -> Self {
        let configuration = directory.join("openssl.cnf");
        fs::write(&configuration, CONFIGURATION).expect("the directory is ours");
        let file = |name: &str| directory.join(name);
        let made = Self {
            authority: file("authority.pem"),
            server: file("server.pem"),
            server_key: file("server.key"),
        };
        let authority_key = file("authority.key");
        let make = |what: &str, section: &str, key: &Path, certificate: &Path, vouched_by: &[&Path]| {
            let mut openssl = run::command("openssl", &run::unique("openssl"));
            openssl.args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ]);
            openssl.args(["-days", "1", "-subj", &format!("/CN={what}"), "-extensions", section]);
            openssl.arg("-config").arg(&configuration).arg("-keyout").arg(key).arg("-out").arg(certificate);
            if let [certificate, key] = vouched_by {
                openssl.arg("-CA").arg(certificate).arg("-CAkey").arg(key);
            }
            let finished = command::finish("openssl", openssl, LIMIT);
            assert!(finished.status.success(), "openssl failed: {}", finished.stderr);
        };
        make("Leveret's tests", "authority", &authority_key, &made.authority, &[]);
        make("127.0.0.1", "server", &made.server_key, &made.server, &[&made.authority, &authority_key]);
        made
    }
}
