//! `portcullis login` and `logout`: a person on this machine. Two factors: the machine's key and a code.

use std::io::{BufRead, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use client::{Authenticator, ClientError, DeviceKey, Home, Installation, Machine, Verdict};
use model::UserName;
use runtime::{Clock, Secret};

use crate::cli::{Common, DeviceDecision, Login};
use crate::failure::{Exit, Failure};
use crate::output;
use crate::remote;

pub(crate) fn login(common: &Common, options: &Login) -> Result<(), Failure> {
    let desk = Desk::open(common, options)?;
    if let Some(pass) = &options.access_pass {
        return desk.enrol(pass);
    }
    let key = desk.key()?;
    match &options.device_code {
        Some(code) => desk.other_device(&key, code),
        None => desk.sign_in(&key),
    }
}

pub(crate) fn logout(common: &Common) -> Result<(), Failure> {
    let failed = |error: ClientError| remote::failure("sign out", &error);
    let environment = remote::environment(common);
    let installation = remote::installation(&environment).map_err(failed)?;
    let home = Home::open(environment.home.as_deref(), installation.origin()).map_err(failed)?;
    home.forget_tokens().map_err(failed)?;
    output::line("signed out; the device key stays")
}

/// Where someone signs in.
struct Desk<'a> {
    installation: Installation,
    home: Home,
    clock: Clock,
    options: &'a Login,
}

impl<'a> Desk<'a> {
    fn open(common: &Common, options: &'a Login) -> Result<Self, Failure> {
        let environment = remote::environment(common);
        let installation = remote::installation(&environment).map_err(|error| failed(&error))?;
        let home = Home::open(environment.home.as_deref(), installation.origin())
            .map_err(|error| failed(&error))?;
        Ok(Self { installation, home, clock: Clock::system(), options })
    }

    fn machine(&self) -> Machine<'_> {
        Machine { installation: &self.installation, home: &self.home, clock: &self.clock }
    }

    fn enrol(&self, pass: &str) -> Result<(), Failure> {
        let user = self.named().ok_or_else(|| {
            Failure::new("cannot enrol this machine", "it is not said for whom")
                .exit(Exit::Usage)
                .next("name the person: portcullis login USER --pass PASS")
        })?;
        let pass = match pass {
            "" => ask("Temporary Access Pass")?,
            pass => Secret::new(pass.to_owned()),
        };
        let enrolled = self
            .machine()
            .enrol(&user, &pass, self.options.key_file.as_deref())
            .map_err(|error| remote::failure("enrol this machine", &error))?;
        output::note(&format!("enrolled; the device key is {}", enrolled.key_file.display()));
        match &self.options.totp_secret_file {
            Some(file) => {
                write_secret(file, &enrolled.totp_secret).map_err(|error| {
                    let what = format!("cannot write the TOTP secret to `{}`", file.display());
                    Failure::new(what, error).next("ask for another pass, and enrol again")
                })?;
                output::note(&format!("the TOTP secret is in {}", file.display()));
            }
            None => output::text(&format!(
                "Put this into your authenticator; it is shown once:\n\n    {}\n    {}\n\n",
                enrolled.totp_secret.expose(),
                enrolled.totp_uri.expose()
            ))?,
        }
        let key = DeviceKey::load(&enrolled.key_file).map_err(|error| failed(&error))?;
        match key {
            Some(key) => self.sign_in(&key),
            None => Ok(()),
        }
    }

    fn sign_in(&self, key: &DeviceKey) -> Result<(), Failure> {
        let authenticator = self.authenticator()?;
        let signed_in =
            self.machine().sign_in(key, &authenticator).map_err(|error| failed(&error))?;
        output::note(&format!("signed in as {}", signed_in.user));
        Ok(())
    }

    fn other_device(&self, key: &DeviceKey, code: &str) -> Result<(), Failure> {
        let what = |error: ClientError| remote::failure("answer the other device", &error);
        let authenticator = self.authenticator()?;
        let machine = self.machine();
        let request = machine.device_request(key, &authenticator, code).map_err(what)?;
        output::note(&format!(
            "`{}` at {} asks to sign in as {} (since {}) for {}",
            request.client,
            request.address,
            key.user(),
            request.asked_at,
            request.scope
        ));
        let verdict = match self.options.decision {
            Some(DeviceDecision::Approve) => Verdict::Approve,
            Some(DeviceDecision::Deny) => Verdict::Deny,
            None if std::io::stdin().is_terminal() => confirm("Is that you? Type yes to approve")?,
            // Whoever runs this without a terminal has decided by running it.
            None => Verdict::Approve,
        };
        machine.decide(&request, verdict).map_err(what)?;
        output::note(match verdict {
            Verdict::Approve => "approved",
            Verdict::Deny => "denied",
        });
        Ok(())
    }

    /// The key that the command line names, else the one kept for the person.
    fn key(&self) -> Result<DeviceKey, Failure> {
        let file = match (&self.options.key_file, self.person()?) {
            (Some(file), _) => file.clone(),
            (None, Some(user)) => self.home.key_file(&user),
            (None, None) => {
                return Err(Failure::new("cannot sign in", "it is not said who signs in")
                    .exit(Exit::Usage)
                    .next("name the person: portcullis login USER"));
            }
        };
        let key = DeviceKey::load(&file)
            .and_then(|key| key.ok_or(ClientError::NotEnrolled { path: file.clone() }))
            .map_err(|error| failed(&error))?;
        match self.named() {
            Some(user) if user != *key.user() => {
                let why = format!("`{}` is the key of `{}`", file.display(), key.user());
                Err(Failure::new("cannot sign in", why).exit(Exit::Usage))
            }
            _ => Ok(key),
        }
    }

    fn named(&self) -> Option<UserName> {
        self.options.user.clone().or_else(|| self.options.user_option.clone())
    }

    fn person(&self) -> Result<Option<UserName>, Failure> {
        match self.named() {
            Some(user) => Ok(Some(user)),
            None => client::account(&self.home).map_err(|error| failed(&error)),
        }
    }

    fn authenticator(&self) -> Result<Authenticator, Failure> {
        match (&self.options.code, &self.options.totp_secret_file) {
            (Some(code), _) => Ok(Authenticator::Typed(Secret::new(code.clone()))),
            (None, Some(file)) => Authenticator::from_file(file).map_err(|error| failed(&error)),
            (None, None) if std::io::stdin().is_terminal() => {
                ask("Code of your authenticator").map(Authenticator::Typed)
            }
            (None, None) => Err(failed(&ClientError::CodeNeeded)),
        }
    }
}

fn failed(error: &ClientError) -> Failure {
    remote::failure("sign in", error)
}

/// Asks on standard error, reads from standard input.
fn ask(question: &str) -> Result<Secret<String>, Failure> {
    let mut line = String::new();
    write!(std::io::stderr().lock(), "{question}: ")
        .and_then(|()| std::io::stdin().lock().read_line(&mut line))
        .map_err(|error| Failure::new("cannot ask", error))?;
    Ok(Secret::new(line.trim().to_owned()))
}

fn confirm(question: &str) -> Result<Verdict, Failure> {
    let answer = ask(question)?;
    Ok(if answer.expose().eq_ignore_ascii_case("yes") { Verdict::Approve } else { Verdict::Deny })
}

/// 0600, and never through someone else's file.
fn write_secret(file: &Path, secret: &Secret<String>) -> std::io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    let mut written = options.write(true).create_new(true).mode(0o600).open(file)?;
    written.write_all(secret.expose().as_bytes())?;
    written.write_all(b"\n")?;
    written.sync_all()
}
