//! System calls of a process, recorded with strace, replayed as what a disk holds that loses whatever was not synced.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const CALLS: &str = "trace=write,pwrite64,lseek,ftruncate,fsync,fdatasync,unlink";

/// Runs a program and records what it does to files.
pub(crate) fn recording(to: &Path) -> Vec<OsString> {
    let words = ["strace", "-f", "-qq", "-y", "-xx", "-s", "200000", "-e", CALLS, "-o"];
    words.iter().map(OsString::from).chain([to.as_os_str().to_owned()]).collect()
}

/// Runs a program in which system calls on the store's log fail.
pub(crate) fn failing(to: &Path, store: &Path, what: &str) -> Vec<OsString> {
    let log = beside(store, "-wal");
    let words = ["strace", "-f", "-qq", "-e", CALLS, "-e"];
    let inject = format!("inject={what}");
    let mut runner: Vec<OsString> = words.iter().map(OsString::from).collect();
    runner.push(inject.into());
    runner.extend(["-P".into(), log.into_os_string(), "-o".into(), to.as_os_str().to_owned()]);
    runner
}

fn beside(store: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", store.display()))
}

/// A recording, and how far it has been replayed.
pub(crate) struct Trace {
    lines: VecDeque<String>,
    /// Calls that have begun on a thread and not ended.
    begun: BTreeMap<String, String>,
    store: PathBuf,
    files: BTreeMap<PathBuf, FileState>,
    positions: BTreeMap<String, usize>,
    syncs: usize,
}

#[derive(Clone, Debug, Default)]
struct FileState {
    /// As the process sees it.
    current: Vec<u8>,
    /// As it is after power was lost.
    durable: Vec<u8>,
    unsynced: usize,
}

/// One call: its name, and its arguments as strace writes them.
struct Call<'a> {
    name: &'a str,
    arguments: &'a str,
}

impl Trace {
    pub(crate) fn read(file: &Path, store: &Path) -> Self {
        let text = std::fs::read_to_string(file).unwrap();
        Self {
            lines: text.lines().map(ToOwned::to_owned).collect(),
            begun: BTreeMap::new(),
            store: store.to_owned(),
            files: BTreeMap::new(),
            positions: BTreeMap::new(),
            syncs: 0,
        }
    }

    /// Replays up to the next line on standard output: just before it was said.
    pub(crate) fn next_line_said(&mut self) -> Option<String> {
        while let Some(line) = self.lines.pop_front() {
            let (thread, rest) = line.split_once(' ').unwrap();
            let rest = rest.trim_start();
            if let Some(beginning) = rest.strip_suffix(" <unfinished ...>") {
                // A write counts from its beginning (its bytes may be anywhere), a sync from its end.
                self.begun.insert(thread.to_owned(), beginning.to_owned());
                if let Some(said) = self.begin(beginning) {
                    return Some(said);
                }
                continue;
            }
            if rest.starts_with("<... ") {
                let beginning = self.begun.remove(thread).unwrap();
                let end = rest.split_once("resumed>").unwrap().1;
                self.end(&format!("{beginning}{end}"));
                continue;
            }
            if !rest.contains('(') {
                continue;
            }
            let said = self.begin(rest);
            self.end(rest);
            if said.is_some() {
                return said;
            }
        }
        None
    }

    fn begin(&mut self, line: &str) -> Option<String> {
        let call = parse(line);
        match call.name {
            "write" if call.arguments.starts_with("1<") => {
                Some(String::from_utf8(data(call.arguments)).unwrap().trim_end().to_owned())
            }
            "write" | "pwrite64" => {
                self.written(&call);
                None
            }
            _ => None,
        }
    }

    fn end(&mut self, line: &str) {
        let result = line.rsplit_once(" = ").map_or("", |(_, result)| result);
        let call = parse(line);
        let Some(path) = self.path(call.arguments) else { return };
        match call.name {
            "lseek" => {
                let offset = result.split_whitespace().next().unwrap().parse().unwrap();
                self.positions.insert(descriptor(call.arguments).to_owned(), offset);
            }
            "fsync" | "fdatasync" => {
                assert_eq!(result, "0", "{line}");
                let file = self.files.entry(path).or_default();
                file.durable = file.current.clone();
                file.unsynced = 0;
                self.syncs += 1;
            }
            "ftruncate" => {
                let length = call.arguments.split(", ").nth(1).unwrap();
                let length: usize = length.split(')').next().unwrap().parse().unwrap();
                let file = self.files.entry(path).or_default();
                file.current.resize(length, 0);
                file.unsynced += 1;
            }
            "unlink" => {
                self.files.remove(&path);
            }
            _ => {}
        }
    }

    fn written(&mut self, call: &Call<'_>) {
        let Some(path) = self.path(call.arguments) else { return };
        let bytes = data(call.arguments);
        let descriptor = descriptor(call.arguments).to_owned();
        let offset = match call.name {
            "pwrite64" => {
                let end = call.arguments.rsplit(", ").next().unwrap();
                end.split(')').next().unwrap().parse().unwrap()
            }
            _ => self.positions.get(&descriptor).copied().unwrap_or(0),
        };
        self.positions.insert(descriptor, offset + bytes.len());
        let file = self.files.entry(path).or_default();
        let end = offset + bytes.len();
        if file.current.len() < end {
            file.current.resize(end, 0);
        }
        file.current[offset..end].copy_from_slice(&bytes);
        file.unsynced += bytes.len();
    }

    /// The file that a call is about, when it is the store or its log.
    fn path(&self, arguments: &str) -> Option<PathBuf> {
        let shown = arguments.split_once('<')?.1.split_once('>')?.0;
        let path = PathBuf::from(String::from_utf8(unescape(shown)).unwrap());
        (path == self.store || path == beside(&self.store, "-wal")).then_some(path)
    }

    /// Bytes of the log that power loss would take.
    pub(crate) fn unsynced_log_bytes(&self) -> usize {
        self.files.get(&beside(&self.store, "-wal")).map_or(0, |file| file.unsynced)
    }

    pub(crate) fn syncs(&self) -> usize {
        self.syncs
    }

    /// Writes what the disk holds after power was lost now, and says where the store is in it.
    pub(crate) fn power_loss(&self, directory: &Path) -> PathBuf {
        std::fs::create_dir(directory).unwrap();
        for (path, file) in &self.files {
            std::fs::write(directory.join(path.file_name().unwrap()), &file.durable).unwrap();
        }
        directory.join(self.store.file_name().unwrap())
    }
}

fn parse(line: &str) -> Call<'_> {
    let (name, arguments) = line.split_once('(').unwrap();
    Call { name, arguments }
}

fn descriptor(arguments: &str) -> &str {
    arguments.split('<').next().unwrap()
}

/// The text between the first pair of quotes, in bytes.
fn data(arguments: &str) -> Vec<u8> {
    let mut parts = arguments.splitn(3, '"');
    let (_, text, rest) = (parts.next(), parts.next().unwrap(), parts.next().unwrap_or(""));
    assert!(!rest.starts_with("..."), "strace cut the data");
    unescape(text)
}

/// strace's `-xx`: every byte as `\x41`; what it leaves alone stays.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4);
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        match after.split_at_checked(3) {
            Some(([b'x', high, low], after)) if first == b'\\' => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                rest = after;
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}
