//! Transfers from a small server on the loopback interface that misbehaves on request.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use super::*;

/// How the server treats one connection.
#[derive(Clone, Copy, Debug)]
enum Serve {
    /// As asked, then the connection breaks after so many bytes.
    Cut(usize),
    /// As asked.
    Whole,
    /// All of it, whatever range was asked for.
    IgnoresRange,
    /// A part that starts elsewhere than asked.
    WrongRange,
    /// All of it, with so many bytes more.
    Longer(usize),
    /// Without saying how long it is, with so many bytes more.
    Unmeasured(usize),
    /// A status and nothing else.
    Status(&'static str),
}

fn content() -> Vec<u8> {
    (0..100_000_u32).map(|i| (i % 251) as u8).collect()
}

/// Serves `content` once for each entry, then stops; returns the address and the
/// ranges that were asked for.
fn serve(script: Vec<Serve>) -> (String, mpsc::Receiver<Option<u64>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/secret-path/thing.whl?token=secret", listener.local_addr().unwrap());
    let (asked, ranges) = mpsc::channel();
    std::thread::spawn(move || {
        for serve in script {
            let (stream, _) = listener.accept().unwrap();
            answer(stream, serve, &asked);
        }
    });
    (address, ranges)
}

/// Says what was asked for before it answers, so that whoever has the answer knows.
fn answer(mut stream: TcpStream, serve: Serve, asked: &mpsc::Sender<Option<u64>>) {
    let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let request: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    let header = |line: &String| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned);
    let range = request.iter().find_map(header).and_then(|range| range.trim_end_matches('-').parse().ok());
    // A test that looks at the file alone has gone.
    let _ = asked.send(range);
    let content = content();
    let total = content.len();
    let start = range.unwrap_or(0) as usize;
    let whole = |extra: usize| {
        (format!("200 OK\r\nContent-Length: {}", total + extra), [content.clone(), vec![7; extra]].concat())
    };
    let part = |from: usize, claimed: usize| {
        let head = format!(
            "206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {claimed}-{}/{total}",
            total - from,
            total - 1
        );
        (head, content[from..].to_vec())
    };
    let (head, mut body) = match serve {
        Serve::Whole | Serve::Cut(_) if range.is_some() && start >= total => {
            ("416 Range Not Satisfiable\r\nContent-Length: 0".into(), vec![])
        }
        Serve::Whole | Serve::Cut(_) if range.is_some() => part(start, start),
        Serve::Whole | Serve::Cut(_) | Serve::IgnoresRange => whole(0),
        Serve::WrongRange => part(start, start + 1),
        Serve::Longer(extra) => whole(extra),
        Serve::Unmeasured(extra) => ("200 OK".into(), whole(extra).1),
        Serve::Status(status) => (format!("{status}\r\nContent-Length: 0"), vec![]),
    };
    if let Serve::Cut(after) = serve {
        body.truncate(after);
    }
    // A client that has seen enough hangs up; that is its right.
    let _ = write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(&body);
}

/// Runs one transfer over what is `there` already; returns the outcome, the file
/// as it is afterwards, and the ranges that were asked for.
fn transfer(script: Vec<Serve>, there: &[u8]) -> (Result<(), Broken>, Vec<u8>, Vec<Option<u64>>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("partial");
    std::fs::write(&path, there).unwrap();
    let (link, ranges) = serve(script);
    let client = Client::builder().no_proxy().build().unwrap();
    let mut last = 0;
    let outcome = bring(&client, &link, content().len() as u64, &path, &mut |done| last = done);
    let file = std::fs::read(&path).unwrap();
    if outcome.is_ok() {
        assert_eq!(last, file.len() as u64, "the last progress was not the whole");
    }
    (outcome, file, ranges.try_iter().collect())
}

#[test]
fn a_file_comes_whole() {
    let (outcome, file, ranges) = transfer(vec![Serve::Whole], b"");
    outcome.unwrap();
    assert!(file == content());
    assert_eq!(ranges, [None]);
}

#[test]
fn a_cut_connection_is_gone_on_with() {
    let (outcome, file, ranges) = transfer(vec![Serve::Cut(30_000), Serve::Cut(20_000), Serve::Whole], b"");
    outcome.unwrap();
    assert!(file == content());
    assert_eq!(ranges, [None, Some(30_000), Some(50_000)]);
}

#[test]
fn an_earlier_attempt_is_gone_on_with() {
    let (outcome, file, ranges) = transfer(vec![Serve::Whole], &content()[..70_000]);
    outcome.unwrap();
    assert!(file == content());
    assert_eq!(ranges, [Some(70_000)]);
}

#[test]
fn a_complete_file_is_not_asked_for() {
    let (outcome, file, ranges) = transfer(vec![], &content());
    outcome.unwrap();
    assert!(file == content() && ranges.is_empty());
}

#[test]
fn a_server_without_ranges_starts_over() {
    for serve in [vec![Serve::IgnoresRange], vec![Serve::WrongRange, Serve::Whole]] {
        let (outcome, file, _) = transfer(serve, &content()[..70_000]);
        outcome.unwrap();
        assert!(file == content());
    }
}

#[test]
fn a_range_that_is_refused_starts_over() {
    let (outcome, file, ranges) =
        transfer(vec![Serve::Status("416 Range Not Satisfiable"), Serve::Whole], &content()[..99_999]);
    outcome.unwrap();
    assert!(file == content());
    assert_eq!(ranges, [Some(99_999), None]);
}

#[test]
fn too_much_on_disk_starts_over() {
    let (outcome, file, ranges) = transfer(vec![Serve::Whole], &vec![9; 100_001]);
    outcome.unwrap();
    assert!(file == content());
    assert_eq!(ranges, [None]);
}

#[test]
fn a_passing_trouble_of_the_server_is_waited_out() {
    let (outcome, file, _) = transfer(vec![Serve::Status("503 Service Unavailable"), Serve::Whole], b"");
    outcome.unwrap();
    assert!(file == content());
}

#[test]
fn a_refusal_is_final_and_names_no_link() {
    for (serve, said) in [
        (Serve::Status("403 Forbidden"), "403 Forbidden"),
        (Serve::Status("404 Not Found"), "404 Not Found"),
        (Serve::Longer(5), "100005 bytes, expected 100000"),
        (Serve::Unmeasured(5), "more than the 100000 bytes"),
    ] {
        let (outcome, _, ranges) = transfer(vec![serve], b"");
        let Err(Broken::Remote(reason)) = outcome else { panic!("{serve:?} gave {outcome:?}") };
        assert!(reason.contains(said) && !reason.contains("secret"), "{reason}");
        assert_eq!(ranges.len(), 1);
    }
}

#[test]
fn attempts_that_bring_nothing_end() {
    let (outcome, _, _) = transfer(vec![Serve::Cut(0); TRIES as usize], b"");
    let Err(Broken::Remote(reason)) = outcome else { panic!("{outcome:?}") };
    assert!(!reason.contains("secret"), "{reason}");
}

#[test]
fn a_server_that_is_not_there_is_told_without_the_link() {
    let link = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/secret", listener.local_addr().unwrap())
    };
    let folder = tempfile::tempdir().unwrap();
    let client = Client::builder().no_proxy().build().unwrap();
    let outcome = bring(&client, &link, 10, &folder.path().join("partial"), &mut |_| {});
    let Err(Broken::Remote(reason)) = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("refused") && !reason.contains("secret"), "{reason}");
}
