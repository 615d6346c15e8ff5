//! `tortie demo`, the real binary and the real lab. (Needs root, as the demo does.)
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Demos at the same time, at most: each counts packets, and a kernel that is kept waiting sends some again.
const AT_ONCE: u32 = 3;
static RUNNING: Mutex<u32> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// A demo's turn. A test that starts a second one has it beside its first.
struct Turn;

impl Turn {
    fn wait() -> Self {
        let running = RUNNING.lock().unwrap();
        *ENDED.wait_while(running, |running| *running >= AT_ONCE).unwrap() += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap() -= 1;
        ENDED.notify_one();
    }
}

/// A demo that is running, and what it has said so far.
struct Demo {
    _turn: Turn,
    child: Child,
    /// None when the reader has closed its end.
    output: Option<BufReader<ChildStdout>>,
    said: String,
    /// In the environment of the demo and of what it starts.
    mark: String,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let turn = Turn::wait();
        let mark = format!("TT_DEMO_TEST={}-{}.", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let (name, value) = mark.split_once('=').unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tortie"))
            .arg("demo")
            .args(arguments)
            .env(name, value)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stdout.take().map(BufReader::new);
        Self { _turn: turn, child, output, said: String::new(), mark }
    }

    /// Reads until a line begins like this; returns the line.
    fn read_until(&mut self, beginning: &str) -> String {
        loop {
            let mut line = String::new();
            let length = self.output.as_mut().unwrap().read_line(&mut line).unwrap();
            self.said.push_str(&line);
            if length == 0 {
                let mut error = String::new();
                self.child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
                panic!("ended before {beginning:?}:\n{}{error}", self.said);
            }
            if line.trim_start().starts_with(beginning) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Its lab's name, which is in its second line.
    fn lab(&self) -> String {
        format!("tt-{}-0", self.child.id())
    }

    fn end(&mut self) -> ExitStatus {
        self.output.as_mut().unwrap().read_to_string(&mut self.said).unwrap();
        self.child.wait().unwrap()
    }

    /// Namespaces, files and processes that are its own.
    fn left(&self) -> Vec<String> {
        let names = |directory: &str| {
            let entries = fs::read_dir(directory).into_iter().flatten();
            entries.map(|entry| entry.unwrap().path().display().to_string()).collect::<Vec<_>>()
        };
        let lab = self.lab();
        let own = |path: &String| {
            path.rsplit('/').next().is_some_and(|name| name == lab || name.starts_with(&format!("{lab}-")))
        };
        let mut left: Vec<_> = ["/run/netns", "/run/tortie-demo", "/run/tortie-lab"]
            .iter()
            .flat_map(|of| names(of))
            .filter(own)
            .collect();
        for process in names("/proc") {
            // It may end while we look.
            let environment = fs::read(format!("{process}/environ")).unwrap_or_default();
            let environment = String::from_utf8_lossy(&environment);
            if environment.contains(&self.mark) || environment.contains(&format!("/{lab}/")) {
                left.push(process);
            }
        }
        left
    }

    fn assert_nothing_is_left(&self) {
        assert_eq!(self.left(), Vec::<String>::new(), "{}", self.said);
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // A failed test leaves nothing either: neither a running demo nor one that it kept.
        if let Ok(None) = self.child.try_wait() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
        let remove =
            Command::new(env!("CARGO_BIN_EXE_tortie")).args(["demo", "--remove", &self.lab()]).output();
        assert!(remove.unwrap().status.success() || std::thread::panicking());
    }
}

#[test]
fn every_cell_and_counter_is_what_analysis_predicts_and_nothing_is_left() {
    let mut demo = Demo::start(&[]);
    let status = demo.end();
    assert_eq!(status.code(), Some(0), "{}", demo.said);
    for line in [
        "  intruder   TU·  ···  ···  ···     -         TUI       TUI\n",
        "  web        -    TUI  ··I  ···     ···       ···       ···\n",
        "\n  0 of 126 cells blocked; 252 probes over IPv4 and IPv6.\n",
        "\n  92 of 126 cells blocked; 504 probes over IPv4 and IPv6.\n",
        " 4  +4  ingress rule 0 of NetworkPolicy shop/db-not-from-web (tier default)\n",
        "\nAll 504 cells and all their counters are what analysis predicts from the same store",
    ] {
        assert!(demo.said.contains(line), "{line:?} is not in\n{}", demo.said);
    }
    // What the README shows of it: the matrix and the rules.
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
    let shown = readme.split("```").find(|block| block.contains("from \\ to")).unwrap();
    let lasting: Vec<&str> = shown
        .lines()
        .filter(|line| line.contains('·') || line.contains(" rule ") || line.contains("tier "))
        .collect();
    assert!(lasting.len() > 12, "{lasting:?}");
    let said: Vec<&str> = demo.said.lines().map(str::trim_end).collect();
    lasting.iter().for_each(|line| {
        assert!(said.contains(line), "README.md shows {line:?}, the demo says\n{}", demo.said)
    });
    assert!(!demo.said.contains('\x1b'), "colours, and it is no terminal: {:?}", demo.said);
    demo.assert_nothing_is_left();
}

#[test]
fn a_wrong_expectation_is_found_out_and_a_killed_demo_is_swept_by_the_next() {
    let mut killed = Demo::start(&[]);
    killed.read_until("shop/api");
    killed.signal(Signal::SIGKILL);
    killed.child.wait().unwrap();
    let mut demo = Demo::start(&["--falsify", "shop/db-not-from-web"]);
    let status = demo.end();
    assert_eq!(status.code(), Some(1), "{}", demo.said);
    let wrong = "IPv4: web -> db tcp/5432: blocked, analysis says open\n";
    assert!(demo.said.contains(wrong), "{}", demo.said);
    let counter =
        "ingress rule 0 of NetworkPolicy shop/db-not-from-web (tier default) counted 2 of 0 probes\n";
    assert!(demo.said.contains(counter), "{}", demo.said);
    demo.assert_nothing_is_left();
    killed.assert_nothing_is_left();
}

#[test]
fn after_ctrl_c_or_a_request_to_end_nothing_is_left() {
    for (line, signal) in [
        ("lab", Signal::SIGINT),
        ("agent", Signal::SIGTERM),
        ("shop/db", Signal::SIGINT),
        ("Before", Signal::SIGINT),
        ("After", Signal::SIGTERM),
    ] {
        let mut demo = Demo::start(&[]);
        demo.read_until(line);
        demo.signal(signal);
        let status = demo.end();
        assert_eq!(status.code(), Some(130), "{signal} after {line:?}:\n{}", demo.said);
        demo.assert_nothing_is_left();
    }
}

#[test]
fn after_an_error_nothing_is_left() {
    let mut demo = Demo::start(&[]);
    let agent = demo.read_until("agent");
    let pid = agent.split_whitespace().nth(2).unwrap().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let status = demo.end();
    assert_eq!(status.code(), Some(1), "{}", demo.said);
    demo.assert_nothing_is_left();
}

#[test]
fn a_reader_who_has_seen_enough_does_not_keep_it_from_cleaning_up() {
    let mut demo = Demo::start(&[]);
    demo.read_until("agent");
    demo.output = None;
    assert_eq!(demo.child.wait().unwrap().code(), Some(0));
    demo.assert_nothing_is_left();
}

#[test]
fn it_starts_an_etcd_of_its_own_and_runs_on_it() {
    let mut demo = Demo::start(&["--datastore", "etcd"]);
    let store = demo.read_until("store");
    assert!(store.contains("etcd http://127.0.0.1:"), "{store}");
    let status = demo.end();
    assert_eq!(status.code(), Some(0), "{}", demo.said);
    demo.assert_nothing_is_left();
}

#[test]
fn a_kept_lab_answers_until_it_is_removed() {
    let mut demo = Demo::start(&["--keep"]);
    let status = demo.end();
    assert_eq!(status.code(), Some(0), "{}", demo.said);
    let home = format!("/run/tortie-demo/{}", demo.lab());
    let tortie = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tortie"))
            .args(arguments)
            .env("TORTIE_DATABASE", format!("{home}/tortie.db"))
            .env("TORTIE_SOCKET", format!("{home}/agent.sock"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(tortie(&["status"]).starts_with("Node node (tortie "), "{}", tortie(&["status"]));
    assert!(tortie(&["get", "workloadendpoint", "-A", "-o", "wide"]).contains("node-k8s-intruder-eth0"));
    // Every command that it advises is one that there is.
    let advised = demo.said.lines().filter_map(|line| line.strip_prefix("  tortie "));
    let words: Vec<&str> = advised.filter_map(|line| line.split(' ').next()).collect();
    assert!(words.len() >= 6, "{}", demo.said);
    words.iter().for_each(|word| assert!(tortie(&[word, "--help"]).contains("Usage:"), "{word}"));
    // Who answers in a pod goes on, too.
    let web = format!("{}-pod-shop.web", demo.lab());
    let inside = Command::new("ip")
        .args(["netns", "exec", &web, "bash", "-c", "</dev/tcp/127.0.0.1/80"])
        .status()
        .unwrap();
    assert!(inside.success());
    assert_eq!(tortie(&["demo", "--remove", &demo.lab()]), format!("removed: {}\n", demo.lab()));
    demo.assert_nothing_is_left();
}
