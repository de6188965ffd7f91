//! What Linux says of processes and lets us ask of it: cores, processor time, memory.

use std::fmt;
use std::fs;
use std::str::FromStr;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use super::figures::Usage;

/// Files a process needs besides its sockets.
const FILES_BESIDE: u64 = 256;

/// Some cores of this machine, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cores(Vec<usize>);

/// `0`, `0,2`, `1-3`
impl FromStr for Cores {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?}: expected cores, such as 0 or 1,3 or 1-3");
        let mut cores = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.parse::<usize>().ok().filter(|core| *core < CpuSet::MAX_CPU);
            let (first, last) =
                number(first).zip(number(last)).filter(|(first, last)| first <= last).ok_or_else(bad)?;
            cores.extend(first..=last);
        }
        Ok(Self(cores))
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cores: Vec<_> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&cores.join(","))
    }
}

impl Cores {
    /// Those that this thread may use.
    ///
    /// # Errors
    /// What the system says.
    pub fn allowed() -> Result<Self, String> {
        let set = sched_getaffinity(None).map_err(|error| format!("cannot ask which cores may be used: {error}"))?;
        Ok(Self((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()))
    }

    /// The first core alone, and all others; `None` where there is only one.
    #[must_use]
    pub fn divided(&self) -> Option<(Self, Self)> {
        let (first, others) = self.0.split_first()?;
        (!others.is_empty()).then(|| (Self(vec![*first]), Self(others.to_vec())))
    }

    /// Keeps this thread, and those and the processes that it starts from now on, to these.
    ///
    /// # Errors
    /// What the system says.
    pub fn pin(&self) -> Result<(), String> {
        let mut set = CpuSet::new();
        self.0.iter().for_each(|core| set.set(*core));
        sched_setaffinity(None, &set).map_err(|error| format!("cannot keep to core {self}: {error}"))
    }
}

/// Who runs where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// The driver on the first core, the gateway on all others; both anywhere if there is one.
    Auto,
    /// Both anywhere.
    Off,
    /// The driver here, the gateway there.
    To(Cores, Cores),
}

/// `auto`, `off`, or `DRIVER:GATEWAY` as `0:1-3`
impl FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.split_once(':')) {
            ("auto", _) => Ok(Self::Auto),
            ("off", _) => Ok(Self::Off),
            (_, Some((driver, gateway))) => Ok(Self::To(driver.parse()?, gateway.parse()?)),
            _ => Err("expected auto, off, or the driver's cores and the gateway's, such as 0:1-3".to_owned()),
        }
    }
}

impl Pin {
    /// The driver's cores and the gateway's; `None` where both run anywhere.
    ///
    /// # Errors
    /// What the system says.
    pub fn cores(&self) -> Result<Option<(Cores, Cores)>, String> {
        Ok(match self {
            Self::Off => None,
            Self::Auto => Cores::allowed()?.divided(),
            Self::To(driver, gateway) => Some((driver.clone(), gateway.clone())),
        })
    }
}

/// Load averages: to judge how quiet the machine is.
#[must_use]
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// What a process uses; `None` when it is not there.
#[must_use]
pub fn usage(pid: u32) -> Option<Usage> {
    let (user_us, system_us) = times(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let number = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).and_then(first_number);
    Some(Usage {
        user_us,
        system_us,
        inference_us: inference_us(pid),
        rss_kib: number("VmRSS:")?,
        threads: number("Threads:")?,
    })
}

/// Processor time of the inference threads, which is exact: nanoseconds in `schedstat`.
fn inference_us(pid: u32) -> f64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
    let of = |task: fs::DirEntry| {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).ok();
        read("comm").filter(|name| name.starts_with("inference-"))?;
        first_number(&read("schedstat")?)
    };
    tasks.flatten().filter_map(of).sum::<u64>() as f64 / 1000.0
}

/// User and system time in `/proc/<pid>/stat`, in µs.
fn times(stat: &str) -> Option<(f64, f64)> {
    // Fields 14 and 15; the name before them may hold spaces and brackets.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let tick_us = 1e6 / rustix::param::clock_ticks_per_second() as f64;
    let mut next = || fields.next()?.parse::<f64>().ok().map(|ticks| ticks * tick_us);
    Some((next()?, next()?))
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Proportional set in KiB, where the kernel tells it. It walks all pages: not to be asked
/// every second.
#[must_use]
pub fn pss_kib(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("Pss:")).and_then(first_number)
}

/// Processor time of this process so far, in µs.
#[must_use]
pub fn own_cpu_us() -> f64 {
    micros(ClockId::ProcessCPUTime)
}

/// Processor time of this thread so far, in µs.
#[must_use]
pub fn thread_cpu_us() -> f64 {
    micros(ClockId::ThreadCPUTime)
}

fn micros(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// Sees to it that this process, and those that it starts, can have so many sockets.
///
/// # Errors
/// How many there can be, and what to do.
pub fn allow_sockets(sockets: usize) -> Result<(), String> {
    let wanted = sockets as u64 + FILES_BESIDE;
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let raised =
        Rlimit { current: now.maximum.map_or(Some(wanted), |most| Some(most.min(wanted))), maximum: now.maximum };
    let set = setrlimit(Resource::Nofile, raised).is_ok();
    if set && now.maximum.is_none_or(|most| most >= wanted) {
        return Ok(());
    }
    let most = now.maximum.unwrap_or_default();
    Err(format!(
        "{sockets} legs need {wanted} open files, and {most} are allowed: raise the limit (ulimit -Hn) or take fewer legs"
    ))
}

/// Asks a process to end.
pub fn terminate(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::TERM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_read_and_shown() {
        for (text, expected) in [("0", "0"), ("1,3", "1,3"), ("1-3,5", "1,2,3,5")] {
            assert_eq!(text.parse::<Cores>().unwrap().to_string(), expected);
        }
        for bad in ["", "a", "3-1", "1-", "1,,2", "99999999"] {
            let error = bad.parse::<Cores>().unwrap_err();
            assert!(error.contains("expected cores"), "{error}");
        }
        let divided =
            |text: &str| text.parse::<Cores>().unwrap().divided().map(|(a, b)| (a.to_string(), b.to_string()));
        assert_eq!(divided("2,4-5"), Some(("2".to_owned(), "4,5".to_owned())));
        assert_eq!(divided("7"), None);
        assert_eq!("1:0,2".parse::<Pin>(), Ok(Pin::To("1".parse().unwrap(), "0,2".parse().unwrap())));
        assert!("1".parse::<Pin>().unwrap_err().contains("0:1-3"));
    }

    #[test]
    fn a_name_with_brackets_does_not_move_the_fields() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 500 0 0 0 250 50 0 0 20 0 9 0 100 1000000 300";
        let (user, system) = times(stat).unwrap();
        assert_eq!(user / system, 5.0);
        assert!(times("42 (short) S 1").is_none());
    }

    #[test]
    fn our_own_process_is_seen() {
        let own = usage(std::process::id()).unwrap();
        assert!(own.rss_kib > 0 && own.threads > 0, "{own:?}");
        assert_eq!(usage(u32::MAX), None);
        assert!(own_cpu_us() >= thread_cpu_us());
    }

    #[test]
    fn too_many_legs_are_told_beforehand() {
        assert_eq!(allow_sockets(1), Ok(()));
        if getrlimit(Resource::Nofile).maximum.is_some() {
            let error = allow_sockets(usize::MAX / 2).unwrap_err();
            assert!(error.contains("open files") && error.contains("ulimit"), "{error}");
        }
    }
}
