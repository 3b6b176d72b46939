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
    if options.access_pass {
        return desk.enrol();
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

    fn enrol(&self) -> Result<(), Failure> {
        let user = self.named().ok_or_else(|| {
            Failure::new("cannot enrol this machine", "it is not said for whom")
                .exit(Exit::Usage)
                .next("name the person: portcullis login USER --pass")
        })?;
        let pass = ask("Temporary Access Pass")?;
        if pass.expose().is_empty() {
            return Err(Failure::new("cannot enrol this machine", "no pass was given")
                .exit(Exit::Usage)
                .next("type it when asked, or give it on standard input"));
        }
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
        let decided = decided(self.options.decision, std::io::stdin().is_terminal())?;
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
        let verdict = match decided {
            Some(verdict) => verdict,
            None => confirm("Is that you? Type yes to approve")?,
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
            (None, Some(file)) => {
                let authenticator =
                    Authenticator::from_file(file).map_err(|error| failed(&error))?;
                if let Some(warning) = exposed(file) {
                    output::note(warning);
                }
                Ok(authenticator)
            }
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

/// What was decided beforehand; nothing when the person at the terminal is to be asked. Nothing is approved unseen.
fn decided(decision: Option<DeviceDecision>, terminal: bool) -> Result<Option<Verdict>, Failure> {
    match decision {
        Some(DeviceDecision::Approve) => Ok(Some(Verdict::Approve)),
        Some(DeviceDecision::Deny) => Ok(Some(Verdict::Deny)),
        None if terminal => Ok(None),
        None => Err(Failure::new(
            "cannot answer the other device",
            "there is no terminal to ask on whether that is you",
        )
        .exit(Exit::Usage)
        .next("add --decision approve, or --decision deny")),
    }
}

/// A warning when what stands in the place of a file is the secret itself.
fn exposed(file: &Path) -> Option<&'static str> {
    matches!(file.try_exists(), Ok(false)).then_some(
        "warning: others on this machine can read a secret in an argument list; \
         keep it in a file, and give --totp-secret-file that file",
    )
}

/// Asks on standard error when someone is there to be asked; reads one line from standard input.
fn ask(question: &str) -> Result<Secret<String>, Failure> {
    let cannot = |error| Failure::new("cannot ask", error);
    let input = std::io::stdin();
    if input.is_terminal() {
        write!(std::io::stderr().lock(), "{question}: ").map_err(cannot)?;
    }
    let mut line = String::new();
    input.lock().read_line(&mut line).map_err(cannot)?;
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn nothing_is_approved_unseen() {
        assert!(matches!(decided(None, true), Ok(None)));
        assert!(decided(None, false).is_err());
        let approve = Some(DeviceDecision::Approve);
        assert!(matches!(decided(approve, false), Ok(Some(Verdict::Approve))));
        assert!(matches!(decided(Some(DeviceDecision::Deny), true), Ok(Some(Verdict::Deny))));
    }

    #[test]
    fn a_pass_is_never_an_argument() {
        let parse = |more: &[&str]| {
            Cli::try_parse_from(["portcullis", "login", "ada@example.com"].iter().chain(more))
        };
        for option in ["--pass", "--tap"] {
            parse(&[option]).unwrap();
            parse(&[option, "hunter2"]).unwrap_err();
            parse(&[&format!("{option}=hunter2")]).unwrap_err();
        }
    }

    #[test]
    fn a_secret_in_the_place_of_a_file_is_warned_of() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(exposed(file.path()), None);
        assert!(exposed(Path::new("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")).is_some());
    }
}
