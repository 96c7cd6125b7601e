//! Runs the cases: one named test per brand and case, each with a time limit.

use std::any::Any;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::case::Case;
use crate::check::{OrFail, eventually};
use crate::facts::Facts;
use crate::place::Place;
use crate::site::{Sites, end_mount, folder_name};
use crate::support::descriptors;
use crate::support::server::{is_over_tls, servers_for_smoke, servers_under_test};
use crate::tree;

type Options = &'static [&'static str];

/// Cases wait for the server most of the time, so more run at once than there are cores.
const THREADS: usize = 6;

/// Which cases a brand gets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Set {
    Full,
    Smoke,
}

fn brands() -> Vec<(&'static Facts, Set)> {
    if is_over_tls() {
        let encrypting = servers_for_smoke().into_iter().filter(|b| b.encrypts());
        return encrypting
            .map(|brand| (Facts::of(Some(brand)), Set::Smoke))
            .collect();
    }
    let full = servers_under_test();
    let smoke = servers_for_smoke();
    let mut all = vec![(Facts::of(None), Set::Full)];
    all.extend(
        full.iter()
            .map(|brand| (Facts::of(Some(*brand)), Set::Full)),
    );
    all.extend(
        smoke
            .iter()
            .filter(|brand| !full.contains(brand))
            .map(|brand| (Facts::of(Some(*brand)), Set::Smoke)),
    );
    all
}

/// Runs the cases that the command line asks for.
pub(crate) fn run(topics: &'static [(&'static str, &'static [Case])]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let mut trials = Vec::new();
    let mut sites = Vec::new();
    for (facts, set) in brands() {
        let mut chosen: Vec<(&'static str, Case, Options)> = Vec::new();
        for (topic, cases) in topics {
            for case in *cases {
                if case.mounts_only && !facts.is_mount() || set == Set::Smoke && !case.smoke {
                    continue;
                }
                chosen.push((topic, *case, &[]));
                if set == Set::Full && facts.is_mount() {
                    chosen.extend(
                        case.variants
                            .iter()
                            .map(|options| (*topic, *case, *options)),
                    );
                }
            }
        }
        let seeds = chosen
            .iter()
            .map(|(topic, case, options)| {
                let folder = folder_name(topic, case, options);
                (folder.to_string_lossy().into_owned(), *case)
            })
            .collect();
        let site = Arc::new(Sites::new(facts, seeds));
        for (topic, case, options) in chosen {
            let mut who = facts.name().to_owned();
            for option in options {
                who.push('+');
                who.push_str(option);
            }
            let name = format!("{who}::{topic}::{}", case.name);
            let site = Arc::clone(&site);
            let trial = Trial::test(name.clone(), move || {
                run_case(&name, &site, topic, case, options)
            });
            trials.push(trial);
        }
        sites.push(site);
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    let mut code = conclusion.exit_code();
    for site in sites {
        for problem in site.finish() {
            eprintln!("at the end: {problem}");
            code = ExitCode::from(101);
        }
    }
    code
}

fn run_case(
    name: &str,
    sites: &Sites,
    topic: &str,
    case: Case,
    options: Options,
) -> Result<(), Failed> {
    let site = sites.get()?;
    let shared = catch_unwind(AssertUnwindSafe(|| site.shared(options)))
        .map_err(|panic| reason(panic.as_ref()))?;
    let folder = folder_name(topic, &case, options);
    let there = site.root().join(&folder);
    let here = match &shared {
        Some(mount) => mount.path().join(&folder),
        None => there.clone(),
    };
    let place = Arc::new(Place {
        here,
        there,
        facts: sites.facts,
        site: Arc::clone(&site),
        shared: shared.clone(),
        own: Mutex::new(Vec::new()),
    });
    let (done, result) = mpsc::channel();
    let began = Instant::now();
    let theirs = Arc::clone(&place);
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            descriptors::keep_to_this_thread();
            let result = catch_unwind(AssertUnwindSafe(|| work(&case, &theirs)));
            drop(theirs);
            // The harness has given up if nobody listens.
            _ = done.send(result.map_err(|panic| reason(panic.as_ref())));
        })?;
    match result.recv_timeout(case.limit) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(message)) => Err(with_log(message, &place).into()),
        Err(RecvTimeoutError::Disconnected) => Err("the case ended without a result".into()),
        Err(RecvTimeoutError::Timeout) => {
            let message = format!("not done after {:?}", began.elapsed());
            let message = with_log(message, &place);
            abandon(&place);
            Err(message.into())
        }
    }
}

/// The case, and then the look at the server's disk that every case ends with.
fn work(case: &Case, place: &Place) {
    if case.seed.is_none() {
        fs::create_dir(&place.here).or_fail("make the folder of the case");
    }
    (case.run)(place);
    let left = tree::leftovers(&place.there);
    assert!(
        left.is_empty(),
        "temporary names are left on the server: {left:?}"
    );
    if case.compare && place.facts.is_mount() {
        // What another mount has done may be seen later by the shared one.
        let others = !place.own.lock().unwrap().is_empty();
        let fresh = others.then(|| place.fresh_look());
        let here = fresh.as_ref().map_or(&place.here, |look| &look.here);
        eventually("the mount's view is the server's disk", case.lag, || {
            tree::compare(here, &place.there, place.facts.modes)
        });
    }
}

/// What a panic said.
pub(crate) fn reason(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else {
        "a panic without words".to_owned()
    }
}

/// The message with what the shared mount has said of the case's folder.
fn with_log(message: String, place: &Place) -> String {
    const LINES: usize = 12;
    let Some(mount) = &place.shared else {
        return message;
    };
    let log = mount.log();
    let folder = place
        .there
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(&*folder)).collect();
    let last = lines
        .get(lines.len().saturating_sub(LINES)..)
        .unwrap_or_default();
    format!(
        "{message}\n  what the mount {} said of it:\n    {}",
        mount.path().display(),
        last.join("\n    ")
    )
}

/// Ends the mounts of a case that did not end by itself. Its own mounts go at once; the shared one is
/// replaced for the cases to come, and goes when the others that use it have ended.
fn abandon(place: &Arc<Place>) {
    for (path, pid) in place.own.lock().unwrap().drain(..) {
        end_mount(&path, pid);
    }
    if let Some(shared) = place.shared.clone() {
        place.site.retire(&shared);
        let place = Arc::clone(place);
        thread::spawn(move || {
            // This clone, the one in `place` and the one that is retired.
            let end = Instant::now() + Duration::from_secs(600);
            while Arc::strong_count(&shared) > 3 && Instant::now() < end {
                thread::sleep(Duration::from_millis(100));
            }
            end_mount(shared.path(), shared.pid());
            drop(place);
        });
    }
}
