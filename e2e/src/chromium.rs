//! A real browser, driven by WebDriver, with an authenticator that exists in it alone. It trusts the installation's
//! authority as a person's browser would: by its own certificate store.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testkit::process::{Identity, Reaper};
use testkit::stack::Reach;
use testkit::{program, wait};

const ANSWER_WITHIN: Duration = Duration::from_mins(3);
/// How long a page may take to show what a test looks for.
const SHOWN_WITHIN_MS: u64 = 60_000;
/// WebDriver's own name for a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with nothing in it but one authority.
#[derive(Debug)]
pub struct Chromium {
    driver: Child,
    port: u16,
    session: String,
    authenticator: Option<String>,
    folder: tempfile::TempDir,
    reaper: Reaper,
}

impl Chromium {
    /// Starts one that trusts the installation.
    pub fn start(reach: &Reach) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        trust(folder.path(), &reach.ca)?;
        let mut reaper = Reaper::start()?;
        let mut driver = program::clean("chromedriver");
        driver.arg("--port=0").env("HOME", folder.path());
        let mut driver = driver
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("chromedriver does not start; it is in Debian's package chromium-driver")?;
        reaper.process(&Identity::of(driver.id()).context("chromedriver ended")?)?;
        let port = port(&mut driver)?;
        let mut browser =
            Self { driver, port, session: String::new(), authenticator: None, folder, reaper };
        let begun = browser.call("POST", "/session", &capabilities(browser.folder.path()))?;
        let session = begun.get("sessionId").and_then(Value::as_str);
        session.context("no session")?.clone_into(&mut browser.session);
        let timeouts = json!({ "implicit": SHOWN_WITHIN_MS, "pageLoad": 150_000 });
        browser.command("POST", "/timeouts", &timeouts)?;
        Ok(browser)
    }

    /// Plugs an authenticator in that recognises its user and keeps keys.
    pub fn plug_in(&mut self) -> Result<()> {
        let options = json!({
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": true,
            "hasUserVerification": true, "isUserVerified": true, "isUserConsenting": true,
        });
        let id = self.command("POST", "/webauthn/authenticator", &options)?;
        self.authenticator = id.as_str().map(str::to_owned);
        Ok(())
    }

    /// Makes the authenticator recognise its user, or not.
    pub fn recognise(&self, user: bool) -> Result<()> {
        let id = self.authenticator.as_deref().context("no authenticator")?;
        let path = format!("/webauthn/authenticator/{id}/uv");
        self.command("POST", &path, &json!({ "isUserVerified": user })).map(drop)
    }

    pub fn open(&self, url: &str) -> Result<()> {
        self.command("POST", "/url", &json!({ "url": url })).map(drop)
    }

    pub fn url(&self) -> Result<String> {
        let url = self.command("GET", "/url", &Value::Null)?;
        Ok(url.as_str().context("no address")?.to_owned())
    }

    /// What the page says.
    pub fn text(&self) -> Result<String> {
        let body = self.element("body")?;
        let text = self.command("GET", &format!("/element/{body}/text"), &Value::Null)?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the page says this.
    pub fn says(&self, text: &str) -> Result<()> {
        let found = wait::try_until(Duration::from_millis(SHOWN_WITHIN_MS), || {
            self.text().ok().filter(|said| said.contains(text))
        });
        match found {
            Some(_) => Ok(()),
            None => bail!("`{text}` is not at {}:\n{}", self.url()?, self.text()?),
        }
    }

    pub fn click(&self, selector: &str) -> Result<()> {
        let element = self.element(selector)?;
        self.command("POST", &format!("/element/{element}/click"), &json!({}))
            .with_context(|| format!("clicking `{selector}`"))
            .map(drop)
    }

    /// Types into a field, in place of what stands there.
    pub fn fill(&self, selector: &str, text: &str) -> Result<()> {
        let element = self.element(selector)?;
        self.command("POST", &format!("/element/{element}/clear"), &json!({}))?;
        let keys = json!({ "text": text });
        self.command("POST", &format!("/element/{element}/value"), &keys).map(drop)
    }

    /// The text of the first such element.
    pub fn read(&self, selector: &str) -> Result<String> {
        let element = self.element(selector)?;
        let text = self.command("GET", &format!("/element/{element}/text"), &Value::Null)?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// What the browser complained about: blocked scripts, refused forms.
    pub fn complaints(&self) -> Result<Vec<String>> {
        let log = self.command("POST", "/se/log", &json!({ "type": "browser" }))?;
        let entries = log.as_array().cloned().unwrap_or_default();
        Ok(entries.iter().map(|it| it.get("message").unwrap_or(&Value::Null).to_string()).collect())
    }

    /// The whole page as a picture.
    pub fn picture(&self, file: &Path) -> Result<()> {
        let height = "return Math.max(700, document.documentElement.scrollHeight)";
        let height =
            self.command("POST", "/execute/sync", &json!({ "script": height, "args": [] }))?;
        let height = height.as_u64().unwrap_or(700) + 150;
        self.command("POST", "/window/rect", &json!({ "width": 900, "height": height }))?;
        let picture = self.command("GET", "/screenshot", &Value::Null)?;
        let bytes = STANDARD.decode(picture.as_str().context("no picture")?)?;
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(file, bytes)?)
    }

    fn element(&self, selector: &str) -> Result<String> {
        let query = json!({ "using": "css selector", "value": selector });
        let found = self.command("POST", "/element", &query);
        let found = found.with_context(|| {
            let text = self.command("GET", "/source", &Value::Null).unwrap_or_default();
            format!("no `{selector}` in {text}")
        })?;
        let id = found.get(ELEMENT).and_then(Value::as_str);
        Ok(id.with_context(|| format!("no element in {found}"))?.to_owned())
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        self.call(method, &format!("/session/{}{path}", self.session), body)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let answer = answer(stream)?;
        let value = answer.get("value").cloned().unwrap_or_default();
        if let Some(error) = value.get("error").and_then(Value::as_str) {
            let message = value.get("message").and_then(Value::as_str).unwrap_or_default();
            bail!("{error}: {}", message.lines().next().unwrap_or_default());
        }
        Ok(value)
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let closed = self.command("DELETE", "", &Value::Null);
        let ended = self.driver.kill().and_then(|()| self.driver.wait());
        if closed.is_ok() && ended.is_ok() {
            self.reaper.dismiss();
        }
    }
}

/// The driver keeps its connections open, whatever it is asked: an answer ends where it says.
fn answer(stream: TcpStream) -> Result<Value> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        ensure!(reader.read_line(&mut line)? > 0, "half an answer");
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    serde_json::from_slice(&body).with_context(|| String::from_utf8_lossy(&body).into_owned())
}

fn capabilities(folder: &Path) -> Value {
    let profile = folder.join("profile");
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "goog:loggingPrefs": { "browser": "ALL" },
        "goog:chromeOptions": { "args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", "--window-size=900,850",
            format!("--user-data-dir={}", profile.display()),
        ] },
    } } })
}

/// Which port the driver has found.
fn port(driver: &mut Child) -> Result<u16> {
    let mut said = BufReader::new(driver.stdout.take().context("no output")?).lines();
    let port = said.find_map(|line| {
        let line = line.ok()?;
        let (_, port) = line.split_once("started successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    });
    // Whoever stops reading stops the driver.
    std::thread::spawn(move || said.for_each(drop));
    port.context("chromedriver does not say its port")
}

/// Puts an authority into the browser's own store.
fn trust(home: &Path, authority: &Path) -> Result<()> {
    let store = home.join(".pki/nssdb");
    fs::create_dir_all(&store)?;
    let database = format!("sql:{}", store.display());
    let certutil = |arguments: &[&str], file: Option<&Path>| -> Result<()> {
        let mut command = program::clean("certutil");
        command.args(["-d", &database]).args(arguments);
        if let Some(file) = file {
            command.arg("-i").arg(file);
        }
        program::run(&mut command)
            .context("certutil is in Debian's package libnss3-tools")?
            .expect_success()
            .map(drop)
    };
    certutil(&["-N", "--empty-password"], None)?;
    certutil(&["-A", "-n", "portcullis", "-t", "C,,"], Some(authority))
}

/// Where pictures are put for people to look at.
pub fn gallery(folder: &str, name: &str) -> PathBuf {
    Path::new(folder).join("pages").join(format!("{name}.png"))
}
