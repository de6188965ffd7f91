//! The machine's own package client, asked where a wheel is or to bring it.
//!
//! pip knows which index this machine uses, through which proxy and with which
//! credentials; we do not want to. Must never print, log or return in an error any
//! part of a link that may be a secret, nor run anything that a package contains:
//! wheels are only downloaded.

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::types::Private;

/// Ways to call pip, in the order they are tried.
const CLIENTS: [&[&str]; 4] = [&["python3", "-m", "pip"], &["pip3"], &["pip"], &["python", "-m", "pip"]];

/// A wheel to ask for.
pub(super) struct Wanted<'a> {
    /// Package and version: `name==1.2.3`.
    pub(super) requirement: &'a str,
    /// File name of the wheel.
    pub(super) wheel: &'a str,
    /// SHA-256 of the wheel.
    pub(super) sha256: &'a str,
}

/// What came of asking.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A link that we can follow ourselves.
    Link(Private<String>),
    /// pip has put the wheel into the folder.
    Brought,
    /// pip holds that this machine cannot use the wheel.
    Unsuitable,
    /// pip failed; its words, without secrets.
    Failed(String),
}

/// A package client that runs on this machine.
pub(super) struct Pip(&'static [&'static str]);

impl Pip {
    /// The first that runs.
    pub(super) fn find() -> Option<Self> {
        CLIENTS.into_iter().find(|client| version_runs(client)).map(Self)
    }

    /// Asks for the link to the wheel and stops pip as soon as it is known. pip's
    /// temporary files, and the wheel should pip bring it after all, go to `folder`.
    pub(super) fn locate(&self, wanted: &Wanted<'_>, folder: &Path) -> io::Result<Answer> {
        self.run(wanted, folder, true)
    }

    /// Has pip bring the wheel into `folder`.
    pub(super) fn bring(&self, wanted: &Wanted<'_>, folder: &Path) -> io::Result<Answer> {
        self.run(wanted, folder, false)
    }

    fn run(&self, wanted: &Wanted<'_>, folder: &Path, stop_at_link: bool) -> io::Result<Answer> {
        let list = folder.join("requirements.txt");
        std::fs::write(&list, format!("{} --hash=sha256:{}\n", wanted.requirement, wanted.sha256))?;
        let mut command = self.command();
        command
            .args(["download", "-vv", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-input"])
            .args([
                "--no-color",
                "--progress-bar",
                "off",
                "--disable-pip-version-check",
                "--timeout",
                "20",
                "--retries",
                "2",
            ])
            .arg("--dest")
            .arg(folder)
            .arg("--requirement")
            .arg(&list)
            .env("PYTHONUNBUFFERED", "1")
            // pip does not clear up behind it when it is stopped.
            .env("TMPDIR", folder);
        let (output, writer) = io::pipe()?;
        let mut child = Stopped(command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).spawn()?);
        // The command holds the writing end; reading would never end with it alive.
        drop(command);
        let mut heard = Heard::default();
        let mut lines = BufReader::new(output);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line);
            if stop_at_link && let Some(Line::Found(Some(link))) = read(&text, wanted.wheel) {
                return Ok(Answer::Link(Private(link)));
            }
            heard.take(&text, wanted.wheel);
            line.clear();
        }
        let done = child.0.wait()?.success() && folder.join(wanted.wheel).is_file();
        Ok(match (done, heard.unsuitable) {
            (true, _) => Answer::Brought,
            (false, true) => Answer::Unsuitable,
            (false, false) => Answer::Failed(heard.reason()),
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.0[0]);
        command.args(&self.0[1..]);
        command
    }
}

fn version_runs(client: &'static [&'static str]) -> bool {
    let mut command = Pip(client).command();
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Ends and buries the child however we leave.
struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a line of pip's output says about one wheel.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    /// It is there; with the link, if we could follow it.
    Found(Option<String>),
    /// It is there, but not for this machine.
    Unsuitable,
}

/// Reads a line of `pip download -vv`, as far as it is about the file `wheel`.
fn read(line: &str, wheel: &str) -> Option<Line> {
    let line = line.trim();
    let is_it = |link: &&str| {
        let path = link.split(['?', '#']).next().unwrap_or_default();
        path.rsplit('/').next() == Some(wheel)
    };
    let unsuitable = line.starts_with("Skipping link: none of the wheel's tags");
    // A Python too old for the package can still download it for us to unpack.
    let known = line.starts_with("Found link ") || line.starts_with("Link requires a different Python");
    if !(unsuitable || known) {
        return None;
    }
    let link = line.split([' ', ',']).filter(|word| word.contains("://")).find(is_it)?;
    if unsuitable {
        return Some(Line::Unsuitable);
    }
    // pip writes stars for a password; and files on this machine it copies itself.
    let ours = (link.starts_with("https://") || link.starts_with("http://")) && !authority(link).contains("****");
    Some(Line::Found(ours.then(|| link.split('#').next().unwrap_or_default().to_owned())))
}

fn authority(link: &str) -> &str {
    let rest = link.split_once("://").map_or("", |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// What of pip's output explains a failure.
#[derive(Default)]
struct Heard {
    unsuitable: bool,
    /// The last line on a connection that did not come about.
    connection: Option<String>,
    /// The last line that pip calls an error.
    error: Option<String>,
    last: Option<String>,
}

impl Heard {
    fn take(&mut self, line: &str, wheel: &str) {
        let text = line.trim();
        if text.is_empty() {
            return;
        }
        self.unsuitable |= read(text, wheel) == Some(Line::Unsuitable);
        let text = without_secrets(text);
        if text.starts_with("WARNING: Retrying") || text.starts_with("Could not fetch URL") {
            self.connection = Some(text.clone());
        } else if text.starts_with("ERROR:") {
            self.error = Some(text.clone());
        }
        self.last = Some(text);
    }

    fn reason(self) -> String {
        let reasons: Vec<_> = self.connection.into_iter().chain(self.error).collect();
        match (reasons.is_empty(), self.last) {
            (false, _) => reasons.join(" | "),
            (true, Some(last)) => last,
            (true, None) => "it said nothing".to_owned(),
        }
    }
}

/// `text` with user names, passwords and queries cut out of its links.
fn without_secrets(text: &str) -> String {
    let clean = |word: &str| {
        // A path on its own, as in "with url: /simple?token=…", may carry a query too.
        let (word, secret) = match word.find(['?', '#']) {
            Some(at) if at + 1 < word.len() => (&word[..at], "?…"),
            _ => (word, ""),
        };
        let Some((scheme, rest)) = word.split_once("://") else { return format!("{word}{secret}") };
        let authority = rest.split('/').next().unwrap_or_default();
        let host_on = &rest[authority.rfind('@').map_or(0, |at| at + 1)..];
        format!("{scheme}://{host_on}{secret}")
    };
    text.split(' ').map(clean).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHEEL: &str = "thing-1.0-py3-none-manylinux_2_34_x86_64.whl";

    #[test]
    fn lines_about_the_wheel_are_understood_and_others_are_not() {
        let url = format!("https://files.index.example/ab/{WHEEL}");
        let found = |link: &str| Some(Line::Found(Some(link.to_owned())));
        for (line, meaning) in [
            (
                format!(
                    "  Found link {url} (from https://index.example/thing/) (requires-python:>=3.8), version: 1.0\n"
                ),
                found(&url),
            ),
            (format!("Found link {url}, version: 1.0"), found(&url)),
            (
                format!("  Found link {url}#sha256=abc123 (from https://index.example/thing/), version: 1.0\r\n"),
                found(&url),
            ),
            (
                format!("  Found link {url}?sig=a%2Fb&e=1#x (from y), version: 1.0"),
                found(&format!("{url}?sig=a%2Fb&e=1")),
            ),
            (
                format!("  Found link http://10.0.0.1:8080/{WHEEL} (from z), version: 1.0"),
                found(&format!("http://10.0.0.1:8080/{WHEEL}")),
            ),
            (
                format!(
                    "  Link requires a different Python (3.7.3 not in: '>=3.8'): {url} (from x) (requires-python:>=3.8)"
                ),
                found(&url),
            ),
            (
                format!("  Found link https://me:****@host.example/{WHEEL} (from x), version: 1.0"),
                Some(Line::Found(None)),
            ),
            (format!("  Found link https://****@host.example/{WHEEL}, version: 1.0"), Some(Line::Found(None))),
            (format!("  Found link file:///opt/wheels/{WHEEL}, version: 1.0"), Some(Line::Found(None))),
            (format!("  Found link ftp://host.example/{WHEEL}, version: 1.0"), Some(Line::Found(None))),
            (
                format!(
                    "  Skipping link: none of the wheel's tags (py3-none-manylinux_2_34_x86_64) are compatible (run pip debug): {url} (from x)"
                ),
                Some(Line::Unsuitable),
            ),
            (
                format!("  Skipping link: none of the wheel's tags match: py3-none-x: {url} (from x)"),
                Some(Line::Unsuitable),
            ),
            (format!("  Found link https://index.example/other-{WHEEL} (from x), version: 1.0"), None),
            (format!("  Found link {url}.metadata (from x), version: 1.0"), None),
            (
                format!("  Found link https://index.example/x.whl (from https://index.example/{WHEEL}x), version: 1.0"),
                None,
            ),
            (format!("  Looking up \"{url}\" in the cache"), None),
            (format!("  Skipping link: not a file: {url}"), None),
            (format!("Found link {WHEEL}"), None),
            ("Found link ".to_owned(), None),
            ("Found link".to_owned(), None),
            ("://".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(read(&line, WHEEL), meaning, "{line}");
        }
    }

    #[test]
    fn secrets_are_cut_out() {
        for (line, clean) in [
            ("ERROR: no", "ERROR: no"),
            ("GET https://me:pw@h.example/p?token=abc now", "GET https://h.example/p?… now"),
            ("https://tok@h.example", "https://h.example"),
            ("exceeded with url: /simple?token=abc/thing/ (Caused", "exceeded with url: /simple?… (Caused"),
            ("why?", "why?"),
            ("url=https://a:b@c@h.example/x#frag", "url=https://h.example/x?…"),
            ("https://h.example/a@b", "https://h.example/a@b"),
            ("://", "://"),
        ] {
            assert_eq!(without_secrets(line), clean);
        }
    }

    #[test]
    fn a_failure_is_told_by_its_cause_before_its_consequence() {
        let mut heard = Heard::default();
        for line in [
            "Looking in indexes",
            "WARNING: Retrying (1)",
            "WARNING: Retrying (0) no route",
            "ERROR: none found",
            "removed x",
            "",
        ] {
            heard.take(line, WHEEL);
        }
        assert_eq!(heard.reason(), "WARNING: Retrying (0) no route | ERROR: none found");
        let mut heard = Heard::default();
        heard.take("/usr/bin/python3: No module named pip", WHEEL);
        assert_eq!(heard.reason(), "/usr/bin/python3: No module named pip");
        assert_eq!(Heard::default().reason(), "it said nothing");
    }
}
