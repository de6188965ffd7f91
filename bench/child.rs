//! The child process: its core, its processor time, its memory.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{ChildStdin, Command, Stdio};
use std::{env, fs};

use sidetone::load::process;

/// First argument of a child.
const ROLE: &str = "serve";

/// What this process is to serve, if it is a child.
pub(crate) fn role() -> Option<String> {
    let mut arguments = env::args().skip(1);
    arguments.next().filter(|first| first == ROLE).and_then(|_| arguments.next())
}

/// Starts a server in the child, prints its address, and keeps what was started until
/// standard input ends.
pub(crate) fn serve<T>(start: impl Future<Output = (SocketAddr, T)>) {
    // As `sidetone serve` has it; on one core that is one worker.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (address, _started) = runtime.block_on(start);
    println!("{address}");
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// The child's core and ours.
#[derive(Clone)]
pub(crate) struct Cores {
    theirs: process::Cores,
    ours: process::Cores,
}

/// The first two cores that this process may use.
pub(crate) fn two_cores() -> Option<Cores> {
    let (theirs, others) = process::Cores::allowed().unwrap().divided()?;
    let ours = others.divided().map_or(others, |(second, _)| second);
    Some(Cores { theirs, ours })
}

/// Microseconds of processor time.
#[derive(Clone, Copy)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl Cpu {
    pub(crate) fn total(self) -> f64 {
        self.user + self.system
    }
}

/// What a child has used so far, by what the threads are for.
pub(crate) struct Used {
    pub(crate) serving: Cpu,
    pub(crate) inference: f64,
}

/// A server under test. Ends when dropped.
pub(crate) struct Child {
    process: std::process::Child,
    /// Closed to end it.
    _stdin: ChildStdin,
    pub(crate) address: String,
}

impl Child {
    /// Starts this very program on its own core, to [`serve`] what [`role`] tells it, and
    /// keeps to the other.
    pub(crate) fn start(role: &str, cores: &Cores) -> Self {
        // A child inherits the core of the thread that starts it.
        cores.theirs.pin().unwrap();
        let mut process = Command::new(env::current_exe().unwrap())
            .args([ROLE, role])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        cores.ours.pin().unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let stdin = process.stdin.take().unwrap();
        Self { process, _stdin: stdin, address: address.trim().to_owned() }
    }

    /// Resident set now, in KiB.
    pub(crate) fn rss_kib(&self) -> f64 {
        process::usage(self.process.id()).unwrap().rss_kib as f64
    }

    /// Processor time so far. The total of each thread is exact (`schedstat`); its
    /// parts are what the kernel's ticks make of it (`stat`).
    pub(crate) fn cpu(&self) -> Used {
        let mut used = Used { serving: Cpu { user: 0.0, system: 0.0 }, inference: 0.0 };
        for task in fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap() {
            let task = task.unwrap().path();
            let read = |file: &str| fs::read_to_string(task.join(file)).unwrap();
            let total: f64 = read("schedstat").split(' ').next().unwrap().parse::<f64>().unwrap() / 1000.0;
            if read("comm").starts_with("inference-") {
                used.inference += total;
                continue;
            }
            let stat = read("stat");
            // Fields 14 and 15; the name before them may hold spaces.
            let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
            let [user, system] = [11, 12].map(|at| fields[at].parse::<f64>().unwrap());
            let share = if user + system > 0.0 { user / (user + system) } else { 0.5 };
            used.serving.user += total * share;
            used.serving.system += total * (1.0 - share);
        }
        used
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
