//! The page in a real browser: a person clicks, and sees what comes of it.

use std::fs::{self, File};
use std::process::Child;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::http::{Request, send_tcp};
use crate::support::status::pids;
use crate::support::wait::{wait_for, wait_for_state};
use crate::support::{command, run};

const LIMIT: Duration = Duration::from_secs(60);
/// The key under which the WebDriver protocol names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

#[test]
fn a_click_on_copy_starts_a_process_and_the_page_shows_it_without_being_loaded_again() {
    let daemon = Daemon::start("programs:\n  web: {command: sleep 1000, processes: 2}\n");
    let before = pids(&daemon.wait_running("web"));
    let browser = Browser::start();
    browser.open(&format!("http://127.0.0.1:{}/", daemon.port()));
    browser.wait_text("#program-web .count", "2 running");
    browser.run("document.title = 'the same page'");

    browser.click("#program-web button[formaction$='/programs/web/copy']");
    browser.wait_text("#program-web .count", "3 running");
    browser.wait_text("#said", "web: 3 processes until released");
    browser.wait_text("tr[data-key='web:2'] .state", "running");
    assert_eq!(browser.run("return document.title"), "the same page");
    let after = pids(&daemon.wait_running("web"));
    assert_eq!(after.len(), 3);
    assert!(before.iter().all(|(name, pid)| after[name] == *pid), "the others were left alone");

    browser.click("tr[data-key='web:0'] button.stop");
    browser.wait_text("tr[data-key='web:0'] .state", "stopped");
    browser
        .wait_text("#program-web .hold", "held at 3 by an operator (page) until released; the file says 2");
    assert_eq!(
        browser.run("return document.querySelector('#program-web .reason')"),
        Value::Null,
        "told once"
    );
}

/// Chromium without a window, driven through chromedriver.
struct Browser {
    driver: Child,
    id: String,
    port: u16,
    session: String,
}

impl Browser {
    fn start() -> Self {
        let (id, directory) = (run::unique("browser"), run::directory("browser"));
        let output = directory.join("output");
        let file = || File::options().create(true).append(true).open(&output).expect("the directory is ours");
        let driver = run::command("/usr/bin/chromedriver", &id)
            .arg("--port=0")
            .env("HOME", &directory)
            .env("TMPDIR", &directory)
            .stdout(file())
            .stderr(file())
            .spawn()
            .expect("chromedriver can be started");
        let port = wait_for("the port of chromedriver", LIMIT, || {
            let said = fs::read_to_string(&output).ok()?;
            let (_, after) = said.split_once("was started successfully on port ")?;
            after.split_once('.')?.0.parse().ok()
        });
        let mut browser = Self { driver, id, port, session: String::new() };
        let profile = format!("--user-data-dir={}", directory.join("profile").display());
        let arguments =
            ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", &profile];
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": arguments}}}});
        let session = browser.ask("POST", "/session", &wanted);
        browser.session = session["sessionId"].as_str().expect("a session has a name").to_owned();
        browser
    }

    fn open(&self, url: &str) {
        self.post("url", &json!({"url": url}));
    }

    fn run(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({"script": script, "args": []}))
    }

    fn click(&self, selector: &str) {
        let element = self.post("element", &json!({"using": "css selector", "value": selector}));
        let name = element[ELEMENT].as_str().expect("an element has a name");
        self.post(&format!("element/{name}/click"), &json!({}));
    }

    fn wait_text(&self, selector: &str, wanted: &str) {
        let script = format!("return document.querySelector({})?.textContent ?? ''", json!(selector));
        wait_for_state(&format!("{wanted:?} in {selector}"), LIMIT, || {
            let text = self.run(&script);
            let text = text.as_str().expect("it is a text").split_whitespace().collect::<Vec<_>>().join(" ");
            if text.contains(wanted) { Ok(()) } else { Err(text) }
        });
    }

    fn post(&self, what: &str, body: &Value) -> Value {
        self.ask("POST", &format!("/session/{}/{what}", self.session), body)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let (host, body) = (format!("127.0.0.1:{}", self.port), body.to_string());
        let headers = [("Host", host.as_str()), ("Content-Type", "application/json")];
        let answer = send_tcp(self.port, Request { method, path, headers: &headers, body: &body })
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(answer.status, 200, "{path} {body}: {}", answer.body);
        answer.json()["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        command::kill_and_reap("the browser", &mut self.driver, &self.id);
    }
}
