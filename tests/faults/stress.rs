//! Readers, writers, listers, renames and unlinks at once for half a minute, on a quiet line and on one
//! that breaks at random: each operation does its work or fails, and in the end nothing is wrong.
//!
//! All of it runs in a process of its own, the worker, which checks what it reads while it works, and on the
//! server's disk that what has succeeded is done. When the faults have been lifted it brings everything that
//! failed to a known state, and compares.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::cell::Ground;
use crate::operation::{document, is_document, is_log, oddity, record};
use crate::outage::fall_silent;
use crate::support::poll;

const STRESS: &str = "--stress";
const LONG: Duration = Duration::from_secs(30);
/// For what was under way, and for the last look.
const LIMIT: Duration = Duration::from_secs(400);
/// Until all works again once the faults are lifted.
const RECOVERY: Duration = Duration::from_secs(30);
/// So often other faults are drawn.
const ROUND: Duration = Duration::from_secs(3);

const DOCUMENTS: usize = 4;
const LOGS: usize = 4;
const READERS: usize = 8;

/// The worker: says when all files are there, works until a line comes, then sets right what failed, and compares.
pub(crate) fn helper() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != STRESS {
        return None;
    }
    let (here, there) = (arguments.next()?, arguments.next()?);
    let strict = arguments.next()? == "strict";
    let work = Work {
        here: here.into(),
        there: there.into(),
        strict,
        over: AtomicBool::new(false),
        done: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        wrong: Mutex::default(),
    };
    work.run();
    Some(ExitCode::SUCCESS)
}

struct Work {
    here: PathBuf,
    there: PathBuf,
    /// Nothing may fail.
    strict: bool,
    over: AtomicBool,
    done: AtomicU64,
    failed: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

/// What a writer knows of a file of its own; after a failure nothing.
type Known = BTreeMap<String, Option<Vec<u8>>>;

impl Work {
    fn run(&self) {
        let known = Mutex::new(self.begin());
        println!("begun");
        thread::scope(|scope| {
            for n in 0..DOCUMENTS {
                let known = &known;
                scope.spawn(move || self.replace(n, known));
            }
            for n in 0..LOGS {
                let known = &known;
                scope.spawn(move || self.append(n, known));
            }
            for n in 0..READERS {
                scope.spawn(move || self.read(n));
            }
            for n in 0..2 {
                scope.spawn(move || self.list(n));
                scope.spawn(move || self.come_and_go(n));
            }
            drop(io::stdin().read_line(&mut String::new()));
            self.over.store(true, Ordering::SeqCst);
        });
        println!(
            "{} operations, {} failed",
            self.done.load(Ordering::SeqCst),
            self.failed.load(Ordering::SeqCst)
        );
        // The faults are lifted when the next line comes.
        drop(io::stdin().read_line(&mut String::new()));
        self.set_right(known.into_inner().unwrap());
        for wrong in self.wrong.lock().unwrap().iter() {
            println!("wrong: {wrong}");
        }
        println!("end");
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn is_wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    /// Counts an operation; whether it has succeeded.
    fn did(&self, what: &str, result: io::Result<()>) -> bool {
        self.done.fetch_add(1, Ordering::SeqCst);
        let Err(error) = result else { return true };
        self.failed.fetch_add(1, Ordering::SeqCst);
        if self.strict {
            self.is_wrong(format!("{what}: {error}"));
        }
        false
    }

    /// All names are there before anybody looks for them.
    fn begin(&self) -> Known {
        let documents = (0..DOCUMENTS).map(|n| (format!("document{n}"), document(n, 0)));
        let logs = (0..LOGS).map(|n| (format!("log{n}"), record(n, 0)));
        documents
            .chain(logs)
            .map(|(name, content)| {
                let result = self.put(&name, &content);
                let after = self.did(&name, result).then_some(content);
                (name, after)
            })
            .collect()
    }

    /// Who reads it meanwhile sees the old content or the new one.
    fn put(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let new = self.here.join(format!("{name}.new"));
        store(&new, content)?;
        fs::rename(&new, self.here.join(name))?;
        self.is_gone(&format!("{name}.new"), "rename");
        Ok(())
    }

    /// What has succeeded is done: the server has these bytes.
    fn is_stored(&self, name: &str, content: &[u8], by: &str) {
        let found = fs::read(self.there.join(name));
        if !found.as_ref().is_ok_and(|found| *found == content) {
            let (found, length) = (found.map(|found| found.len()), content.len());
            self.is_wrong(format!(
                "{by} of {name} has succeeded: {length} bytes expected, found {found:?}"
            ));
        }
    }

    /// What has succeeded is done: the server does not have the name any more.
    fn is_gone(&self, name: &str, by: &str) {
        let found = fs::symlink_metadata(self.there.join(name)).map(|found| found.len());
        if !matches!(&found, Err(e) if e.kind() == io::ErrorKind::NotFound) {
            self.is_wrong(format!("{by} of {name} has succeeded: found {found:?}"));
        }
    }

    /// A document is replaced as editors do it.
    fn replace(&self, n: usize, known: &Mutex<Known>) {
        let name = format!("document{n}");
        for round in 1.. {
            if self.is_over() {
                return;
            }
            let content = document(n, round);
            let result = self.put(&name, &content);
            let after = self.did(&name, result).then_some(content);
            if let Some(content) = &after {
                self.is_stored(&name, content, "replacing");
            }
            known.lock().unwrap().insert(name.clone(), after);
        }
    }

    /// A log gets records, each by one write.
    fn append(&self, n: usize, known: &Mutex<Known>) {
        let name = format!("log{n}");
        let path = self.here.join(&name);
        let mut content = known.lock().unwrap().remove(&name).flatten();
        for round in 1.. {
            if self.is_over() {
                return;
            }
            let record = record(n, round);
            let result = if content.is_none() {
                // Not emptied: who reads it meanwhile would see parts of both.
                self.put(&name, &record)
            } else {
                let log = OpenOptions::new().append(true).open(&path);
                log.and_then(|mut log| log.write_all(&record).and_then(|()| close(log)))
            };
            content = match content {
                _ if !self.did(&name, result) => None,
                Some(mut content) => {
                    content.extend(record);
                    Some(content)
                }
                None => Some(record),
            };
            if let Some(content) = &content {
                self.is_stored(&name, content, "appending");
            }
            known.lock().unwrap().insert(name.clone(), content.clone());
        }
    }

    /// Whatever is read is true.
    fn read(&self, n: usize) {
        for round in n.. {
            if self.is_over() {
                return;
            }
            let of_log = round % 2 == 0;
            let name = match of_log {
                true => format!("log{}", round / 2 % LOGS),
                false => format!("document{}", round / 2 % DOCUMENTS),
            };
            let read = fs::read(self.here.join(&name));
            if let Ok(found) = &read {
                let length = found.len();
                let good = match of_log {
                    true => is_log(found),
                    false => is_document(found),
                };
                if !good {
                    self.is_wrong(format!(
                        "{name}: {length} bytes that nobody has written, {}",
                        oddity(found)
                    ));
                }
            }
            // It is there all the time. In a listing that was cut it is not, and nobody can tell.
            let missing = matches!(&read, Err(e) if e.kind() == io::ErrorKind::NotFound);
            if self.strict || !missing {
                self.did(&format!("read {name}"), read.map(drop));
            }
        }
    }

    /// A listing is whole.
    fn list(&self, n: usize) {
        while !self.is_over() {
            let names = fs::read_dir(&self.here).and_then(|entries| {
                let names = entries.map(|entry| entry.map(|e| e.file_name()));
                names.collect::<io::Result<Vec<_>>>()
            });
            // One that is cut between two lines, or in front of the first, and called complete, nobody can tell.
            if let (Ok(names), true) = (&names, self.strict) {
                for name in ["small", "large", "victim"] {
                    if !names.iter().any(|found| found == name) {
                        self.is_wrong(format!("lister {n}: {name} is not listed"));
                    }
                }
            }
            self.did("list", names.map(drop));
        }
    }

    /// Names are made, renamed and removed.
    fn come_and_go(&self, n: usize) {
        for round in 0.. {
            if self.is_over() {
                return;
            }
            let [comes, goes, folder] =
                ["comes", "goes", "folder"].map(|what| format!("{what}{n}-{round}"));
            let path = |name: &str| self.here.join(name);
            let made = store(&path(&comes), b"something");
            if !self.did("make", made) {
                continue;
            }
            self.is_stored(&comes, b"something", "making");
            let renamed = fs::rename(path(&comes), path(&goes));
            if !self.did("rename", renamed) {
                continue;
            }
            self.is_gone(&comes, "rename");
            self.is_stored(&goes, b"something", "rename");
            if self.did("unlink", fs::remove_file(path(&goes))) {
                self.is_gone(&goes, "unlink");
            }
            if !self.did("mkdir", fs::create_dir(path(&folder))) {
                continue;
            }
            if !self.there.join(&folder).is_dir() {
                self.is_wrong(format!("mkdir of {folder} has succeeded: it is not there"));
            }
            if self.did("rmdir", fs::remove_dir(path(&folder))) {
                self.is_gone(&folder, "rmdir");
            }
        }
    }

    /// What failed is done once more; then mount and server have what they must have.
    fn set_right(&self, known: Known) {
        // Who asks while the server is known to be away is told so, also when it has just come back.
        let back = self.here.join("back");
        let heals = poll::becomes_true(RECOVERY, || back.is_dir() || fs::create_dir(&back).is_ok());
        if !heals || fs::remove_dir(&back).is_err() {
            self.is_wrong(format!("not healed after {RECOVERY:?}"));
        }
        let mut expected = BTreeMap::new();
        for (name, content) in known {
            let content = content.unwrap_or_else(|| {
                let content = document(9, 0);
                let stored = store(&self.here.join(&name), &content);
                if let Err(error) = stored {
                    self.is_wrong(format!("{name} cannot be stored at the end: {error}"));
                }
                content
            });
            expected.insert(name, content);
        }
        for entry in fs::read_dir(&self.there).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            let passing = ["comes", "goes", "folder"];
            let passing = passing.iter().any(|start| name.starts_with(start));
            if passing || name.ends_with(".new") {
                if self.strict {
                    self.is_wrong(format!("{name} is left, and nothing has failed"));
                }
                let path = self.here.join(&name);
                let gone = match entry.path().is_dir() {
                    true => fs::remove_dir(&path),
                    false => fs::remove_file(&path),
                };
                if let Err(error) = gone {
                    self.is_wrong(format!("{name} cannot be removed at the end: {error}"));
                }
            }
        }
        for (name, content) in expected {
            for top in [&self.there, &self.here] {
                let found = fs::read(top.join(&name));
                if !found.as_ref().is_ok_and(|found| *found == content) {
                    let found = found.map(|found| found.len());
                    let length = content.len();
                    self.is_wrong(format!(
                        "{}: {length} bytes expected, found {found:?}",
                        top.join(&name).display()
                    ));
                }
            }
        }
    }
}

fn store(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    close(file)
}

fn close(file: File) -> io::Result<()> {
    Ok(nix::unistd::close(file)?)
}

struct Worker(Child);

impl Worker {
    fn start(ground: &Ground, strict: bool) -> Worker {
        let child = Command::new(std::env::current_exe().unwrap())
            .arg(STRESS)
            .arg(ground.mounted().path())
            .arg(&ground.there)
            .arg(if strict { "strict" } else { "lenient" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Worker(child)
    }

    /// Ends what it waits for.
    fn go_on(&mut self) {
        let stdin = self.0.stdin.as_mut().unwrap();
        stdin.write_all(b"\n").unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn stress(ground: &mut Ground, rate: Option<f64>) {
    ground.mount_with(&["max_conns=6", "timeout=10"]);
    let mut worker = Worker::start(ground, rate.is_none());
    let said = BufReader::new(worker.0.stdout.take().unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for line in said.lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    assert_eq!(told.recv_timeout(LIMIT).unwrap(), "begun");
    let began = Instant::now();
    let mut silences = Vec::new();
    for seed in 1.. {
        if let Some(rate) = rate {
            ground.proxy.random_faults(seed, rate);
            // Each of them holds many up for a while.
            if seed % 2 == 1 {
                silences.push(fall_silent(&ground.proxy, seed));
            }
        }
        if began.elapsed() >= LONG {
            break;
        }
        // It ends early only if it has failed.
        let ended = poll::becomes_true(ROUND, || worker.0.try_wait().unwrap().is_some());
        assert!(!ended, "the worker has ended");
    }
    worker.go_on();
    let summary = told.recv_timeout(LIMIT).unwrap();
    println!("{summary}");
    let struck = ground.proxy.counts().random_faults;
    assert_eq!(struck > 0, rate.is_some(), "{struck} faults");
    let silent = silences.iter().filter(|fault| fault.hits() > 0).count();
    assert_eq!(silent > 0, rate.is_some(), "{silent} silences");
    ground.proxy.heal();
    worker.go_on();
    let mut wrong = Vec::new();
    loop {
        let line = told.recv_timeout(LIMIT).unwrap();
        if line == "end" {
            break;
        }
        wrong.push(line);
    }
    wrong.sort();
    wrong.dedup();
    wrong.truncate(40);
    assert!(wrong.is_empty(), "{summary}\n{}", wrong.join("\n"));
    assert!(!summary.starts_with("0 "), "{summary}");
    let code = ground.ends_clean();
    // What could not be stored may have been reported.
    assert!(
        code == Some(0) || rate.is_some() && code == Some(7),
        "{code:?}"
    );
}

pub(crate) fn everybody_at_once_on_a_quiet_line(ground: &mut Ground) {
    stress(ground, None);
}

pub(crate) fn everybody_at_once_while_lines_break(ground: &mut Ground) {
    stress(ground, Some(0.03));
}
