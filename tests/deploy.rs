//! `deploy/`: the annotated configuration is the defaults, whole; the container files are
//! well-formed and keep the house's rules. No container engine runs in the tests: what is
//! proved here is the text, not the image.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::Path;

use serde_yaml_ng::Value as Yaml;
use sidetone::config::{self, Config, Source};

fn deploy(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every value by its dotted key; an empty table by its own.
fn flat(value: &toml::Value, key: &str, into: &mut BTreeMap<String, toml::Value>) {
    match value {
        toml::Value::Table(table) if !table.is_empty() => {
            for (name, value) in table {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                flat(value, &key, into);
            }
        }
        other => {
            into.insert(key.to_owned(), other.clone());
        }
    }
}

fn keys(value: &toml::Value) -> BTreeMap<String, toml::Value> {
    let mut all = BTreeMap::new();
    flat(value, "", &mut all);
    all
}

#[test]
fn the_annotated_configuration_is_the_defaults_and_leaves_no_key_out() {
    let text = deploy("sidetone.toml");
    let written = keys(&toml::Value::Table(text.parse().unwrap()));
    let defaults = keys(&toml::Value::try_from(Config::default()).unwrap());
    // What is written as f32 and read as f64 is the same to three places.
    let shown = |value: &toml::Value| match value {
        toml::Value::Float(number) => format!("{number:.3}"),
        other => other.to_string(),
    };
    let mut wrong = Vec::new();
    for (key, value) in &defaults {
        match written.get(key) {
            None => wrong.push(format!("missing: {key} = {}", shown(value))),
            Some(found) if shown(found) != shown(value) => {
                wrong.push(format!("differs: {key} = {}, is {} by default", shown(found), shown(value)));
            }
            Some(_) => {}
        }
    }
    wrong.extend(written.keys().filter(|key| !defaults.contains_key(*key)).map(|key| format!("unknown: {key}")));
    assert!(wrong.is_empty(), "deploy/sidetone.toml:\n{}", wrong.join("\n"));

    // And the product reads it as nothing at all.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let read = config::load(&Source { file: Some(file.path()), ..Source::default() }).unwrap();
    assert_eq!(read, config::load(&Source::default()).unwrap());
}

#[test]
fn every_key_of_the_annotated_configuration_is_explained() {
    let text = deploy("sidetone.toml");
    let mut before = "";
    for line in text.lines() {
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(before.starts_with("# "), "no comment above: {line}");
        }
        before = line;
    }
}

/// The instructions of a Containerfile, continued lines joined.
fn instructions(text: &str) -> Vec<(String, String)> {
    let joined = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
    let joined = joined.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .filter_map(|line| line.split_once(' '))
        .map(|(word, rest)| (word.to_owned(), rest.trim().to_owned()))
        .collect()
}

/// Neither `latest` nor nothing: a version with a digit in it.
fn is_pinned(image: &str) -> bool {
    image.split_once(':').is_some_and(|(_, tag)| tag != "latest" && tag.contains(|c: char| c.is_ascii_digit()))
}

#[test]
fn the_image_is_built_in_stages_pinned_and_runs_as_nobody_special() {
    let all = instructions(&deploy("Containerfile"));
    let of =
        |word: &str| all.iter().filter(|(found, _)| found == word).map(|(_, rest)| rest.as_str()).collect::<Vec<_>>();
    let known = [
        "ARG",
        "FROM",
        "WORKDIR",
        "COPY",
        "RUN",
        "ENV",
        "USER",
        "EXPOSE",
        "VOLUME",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
        "LABEL",
        "STOPSIGNAL",
    ];
    for (word, _) in &all {
        assert!(known.contains(&word.as_str()), "{word} is no instruction we use");
    }
    let stages = of("FROM");
    assert!(stages.len() >= 2, "one stage only: {stages:?}");
    let names: Vec<_> = stages.iter().filter_map(|stage| stage.split_once(" AS ")).map(|(_, name)| name).collect();
    for stage in &stages {
        let image = stage.split(' ').next().unwrap();
        let of_ours = names.contains(&image) || image == "${MODEL}";
        assert!(of_ours || is_pinned(image), "{image} is not pinned");
    }
    let last = all.iter().rposition(|(word, _)| word == "FROM").unwrap();
    let user = all[last..].iter().rev().find(|(word, _)| word == "USER").map(|(_, user)| user.as_str());
    let user = user.expect("the last stage names no user");
    assert!(
        user.chars().next().unwrap().is_ascii_digit() && !user.starts_with('0'),
        "USER {user}: a number other than 0"
    );
    assert!(of("HEALTHCHECK").iter().any(|check| check.contains("/readyz")), "no health check on /readyz");
    assert!(of("ENTRYPOINT").iter().all(|entry| serde_json::from_str::<Vec<String>>(entry).is_ok()));
    for copied in of("COPY").iter().filter(|copy| !copy.starts_with("--from=")) {
        for source in copied.split(' ').rev().skip(1).filter(|word| !word.starts_with("--")) {
            assert!(
                Path::new(env!("CARGO_MANIFEST_DIR")).join(source).exists(),
                "COPY {source}: there is no such file"
            );
        }
    }
}

#[test]
fn the_compose_file_has_a_broker_and_a_gateway_that_waits_for_it() {
    let compose: Yaml = serde_yaml_ng::from_str(&deploy("compose.yaml")).unwrap();
    let services = compose["services"].as_mapping().unwrap();
    assert!(services.len() >= 2);
    for (name, service) in services {
        let name = name.as_str().unwrap();
        match service["image"].as_str() {
            Some(image) => assert!(is_pinned(image), "{name}: {image} is not pinned"),
            None => {
                let file = service["build"]["dockerfile"].as_str().unwrap();
                assert_eq!(file, "deploy/Containerfile", "{name}");
            }
        }
        assert!(service["restart"].is_string(), "{name} is not restarted");
    }
    let kafka = &compose["services"]["kafka"];
    assert!(kafka["image"].as_str().unwrap().starts_with("apache/kafka:"));
    assert!(kafka["healthcheck"]["test"].is_sequence());
    let gateway = &compose["services"]["gateway"];
    assert!(format!("{:?}", gateway["healthcheck"]["test"]).contains("/readyz"));
    assert_eq!(gateway["depends_on"]["kafka"]["condition"].as_str(), Some("service_healthy"));
    // What it is told is what the product takes.
    let environment = gateway["environment"].as_mapping().unwrap().iter();
    let environment = environment.map(|(name, value)| {
        let value =
            value.as_str().map_or_else(|| serde_yaml_ng::to_string(value).unwrap().trim().to_owned(), str::to_owned);
        (name.as_str().unwrap().to_owned(), value)
    });
    let source = Source { environment: environment.collect(), ..Source::default() };
    let config = config::load(&source).unwrap();
    assert!(config.sink.kafka.bootstrap.starts_with("kafka:"), "{}", config.sink.kafka.bootstrap);
    assert!(config.server.listen.ip().is_unspecified(), "nobody outside the container can reach it");
    assert!(!config.media.is_open(), "it would not start: anyone could open a media socket");
    assert!(config.sink.spool.dir.starts_with("/var/lib/sidetone"), "the rest is read-only");
}

#[test]
fn the_image_and_the_compose_file_ask_for_readiness_alike_and_the_question_works() {
    let all = instructions(&deploy("Containerfile"));
    let (_, check) = all.iter().find(|(word, _)| word == "HEALTHCHECK").unwrap();
    let image: Vec<String> = serde_json::from_str(check.split_once(" CMD ").unwrap().1.trim()).unwrap();
    let compose: Yaml = serde_yaml_ng::from_str(&deploy("compose.yaml")).unwrap();
    let composed = compose["services"]["gateway"]["healthcheck"]["test"].as_sequence().unwrap();
    // Compose takes one dollar for its own.
    let composed: Vec<_> = composed.iter().skip(1).map(|word| word.as_str().unwrap().replace("$$", "$")).collect();
    assert_eq!(composed, image);

    // Its address becomes that of a server that answers once, as the gateway would.
    for (status, healthy) in [("200 OK", true), ("503 Service Unavailable", false)] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = image[2].replace("127.0.0.1/8080", &format!("127.0.0.1/{port}"));
        let asked = std::thread::spawn(move || {
            use std::io::{BufRead as _, Write as _};
            let (mut stream, _) = listener.accept().unwrap();
            // The whole request: what is left unread would break the connection at its close.
            let lines = std::io::BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
            let request = lines.take_while(|line| !line.is_empty()).reduce(|first, _| first).unwrap();
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").unwrap();
            request
        });
        let ended = std::process::Command::new(&image[0]).args([&image[1], &script]).status().unwrap();
        assert_eq!(asked.join().unwrap(), "GET /readyz HTTP/1.0");
        assert_eq!(ended.success(), healthy, "{status}");
    }
}

#[test]
fn the_avro_schemas_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/avro");
    let bless = std::env::var_os("SIDETONE_BLESS").is_some();
    let mut expected = BTreeMap::new();
    for (kind, schema) in sidetone::event::avro::all() {
        expected.insert(format!("{kind}.avsc"), serde_json::to_string_pretty(&schema).unwrap() + "\n");
    }
    for (name, schema) in &expected {
        if bless {
            std::fs::write(folder.join(name), schema).unwrap();
        }
        let found = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(&found == schema, "deploy/avro/{name} is not as generated; see deploy/avro/README.md");
    }
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(expected.contains_key(&name) || name == "README.md", "deploy/avro/{name} is of no event");
    }
}
