//! A MariaDB or MySQL server on this host: its own client over the unix socket.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{self, Path, PathBuf};

use model::kind::server::Product;

use super::{OPTION_FILE, Observed, client_authority_path};
use crate::enroll::files::{read, read_as};
use crate::enroll::host::feed;
use crate::enroll::{Host, HostError};
use crate::provision::mysql::catalog::Catalog;
use crate::provision::mysql::connection::Row;
use crate::provision::mysql::enrolment;

/// The client's own errors: no server, or none any more.
const CLIENT_ERRORS: std::ops::Range<u16> = 2000..3000;
/// Whom the server does not let in: wrong password, socket of another account, locked, no such account.
const LOGIN_ERRORS: [u16; 5] = [1045, 1130, 1698, 3118, 4151];

/// The server, its unix socket, and a folder that its option files include.
pub(in crate::enroll) struct Server<'a> {
    pub(in crate::enroll) host: &'a Host,
    pub(in crate::enroll) socket: &'a Path,
    pub(in crate::enroll) configuration_directory: &'a Path,
    pub(in crate::enroll) client: Option<&'a Path>,
}

impl Server<'_> {
    /// Everything that a plan depends on; an account that may not do what the plan needs is refused here.
    pub(in crate::enroll) fn observe(&self) -> Result<Observed, HostError> {
        let mut ask = |question: &str| self.rows(question);
        let catalog = enrolment::catalog(&mut ask)??;
        if !enrolment::is_all_powerful(&mut ask)? {
            return Err(HostError::NotSuperuser(self.host.superuser().to_owned()));
        }
        let (mut observed, started_at) = enrolment::observe(catalog, &mut ask)?;
        self.is_the_one(&observed)?;
        let option_file = self.option_file()?;
        observed.option_file = read(&self.host.place(&option_file)?)?;
        observed.started_after_option_file =
            written_at(&option_file)?.is_some_and(|at| at < started_at);
        observed.option_file_path = option_file.display().to_string();
        let authorities = client_authority_path(&observed);
        observed.client_authorities = read(&self.host.place(Path::new(&authorities))?)?;
        observed.client_authorities_unread = catalog != Catalog::MariaDb
            && written_at(Path::new(&authorities))?.is_some_and(|at| at > started_at);
        Ok(observed)
    }

    /// Whether the socket leads to the server whose data these are.
    fn is_the_one(&self, observed: &Observed) -> Result<(), HostError> {
        let real = |path: &Path| {
            fs::canonicalize(path)
                .map_err(|source| HostError::File { path: path.to_owned(), source })
        };
        let found = PathBuf::from(&observed.data_directory);
        if real(&found)? == real(&self.host.data_directory)? {
            return Ok(());
        }
        let (socket, wanted) = (self.socket.to_owned(), self.host.data_directory.clone());
        Err(HostError::OtherServer { socket, found, wanted })
    }

    pub(in crate::enroll) fn option_file(&self) -> Result<PathBuf, HostError> {
        let folder = self.configuration_directory;
        if !folder.is_dir() {
            return Err(HostError::NoFolder(folder.to_owned()));
        }
        let absolute = path::absolute(folder.join(OPTION_FILE));
        absolute.map_err(|source| HostError::File { path: folder.to_owned(), source })
    }

    pub(in crate::enroll) fn run(&self, statements: &[String]) -> Result<(), HostError> {
        self.client(statements).map(drop)
    }

    /// Client authorities are read anew when the server knows their file already; else it has to be restarted. MySQL has to
    /// be in any case: it takes no authorities while it runs but those that have signed its own certificate.
    pub(in crate::enroll) fn reload(&self) -> Result<(), HostError> {
        if self.kept_as()? != Catalog::MariaDb {
            return Ok(());
        }
        let settings = self.rows(enrolment::CLIENT_AUTHORITIES)?;
        let known = settings.first().map(|row| row.text(0).to_owned()).unwrap_or_default();
        let has_tls = settings.first().is_some_and(|row| row.text(1) == "YES");
        let ours = known.ends_with(crate::enroll::CLIENT_AUTHORITY_FILE);
        if ours && has_tls && read_as(&self.host.account()?, Path::new(&known))?.is_some() {
            self.run(&[enrolment::RELOAD.to_owned()])?;
        }
        Ok(())
    }

    /// Whose data these are, before anybody is asked: each has files that the other has not.
    fn kept_as(&self) -> Result<Catalog, HostError> {
        let path = self.host.data_directory.join("mysql.ibd");
        let is_mysql = path.try_exists().map_err(|source| HostError::File { path, source })?;
        let product = if is_mysql { Product::MySql } else { Product::MariaDb };
        Ok(Catalog::of(product))
    }

    fn rows(&self, question: &str) -> Result<Vec<Row>, HostError> {
        let answer = self.client(&[question.to_owned()])?;
        Ok(answer.lines().map(Row::of_line).collect())
    }

    fn client(&self, statements: &[String]) -> Result<String, HostError> {
        let superuser = self.host.superuser();
        let catalog = self.kept_as()?;
        let program = self.client.map_or(catalog.client().into(), Path::to_string_lossy);
        let mut command = self.host.command(&program)?;
        command
            .args(["--no-defaults", "--batch", "--skip-column-names", "--binary-mode"])
            .args(["--default-character-set=utf8mb4", "-u", superuser])
            .arg("-S")
            .arg(self.socket);
        let output = feed(command, &script(catalog, statements))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(match number(&said) {
            Some(number) if CLIENT_ERRORS.contains(&number) => {
                HostError::NoSocket { socket: self.socket.to_owned(), said }
            }
            Some(number) if LOGIN_ERRORS.contains(&number) => {
                HostError::NoSocketLogin { superuser: superuser.to_owned(), said }
            }
            Some(_) => HostError::Sql { database: "mysql".to_owned(), said },
            None => HostError::Program { program: program.into_owned(), said },
        })
    }
}

/// Seconds since 1970; none when it is not there.
fn written_at(path: &Path) -> Result<Option<i64>, HostError> {
    match fs::metadata(path) {
        Ok(file) => Ok(Some(file.mtime())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HostError::File { path: path.to_owned(), source }),
    }
}

/// Some statements hold semicolons. The client, too, takes no backslash for an escape once the server's mode says so.
fn script(catalog: Catalog, statements: &[String]) -> String {
    let mut script = "delimiter //\n".to_owned();
    for statement in enrolment::settings(catalog).iter().chain(statements) {
        script.push_str(statement);
        script.push_str("\n//\n");
    }
    script
}

/// `ERROR 1698 (28000): …`, `ERROR 1064 (42000) at line 3: …`
fn number(said: &str) -> Option<u16> {
    let line = said.lines().find_map(|line| line.strip_prefix("ERROR "))?;
    line.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errors_number_is_found_among_what_the_client_says() {
        assert_eq!(number("ERROR 1698 (28000): Access denied for user"), Some(1698));
        assert_eq!(number("--------------\nERROR 1064 (42000) at line 3: You"), Some(1064));
        assert_eq!(number("runuser: may not be used by non-root users"), None);
    }

    #[test]
    fn statements_with_semicolons_are_one_statement_each() {
        let said =
            script(Catalog::MariaDb, &["BEGIN NOT ATOMIC a; END".to_owned(), "b".to_owned()]);
        assert!(said.ends_with("\n//\nBEGIN NOT ATOMIC a; END\n//\nb\n//\n"), "{said}");
    }
}
