//! Clients against a served model: those of other people, hostile ones, and many.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::checks::run;
use crate::models;

/// The model that most of them talk to.
const SMALLEST: &str = "smollm2.gguf";
/// The suites in `tests/clients/`, by the model that must be served. Only some chat templates know tools.
const SUITES: [(&str, &[&str]); 2] = [
    (
        SMALLEST,
        &["openai_client.py", "structured.py", "embeddings.py", "responses.py", "anthropic_client.py"],
    ),
    ("qwen.gguf", &["tools.py"]),
];
/// What they need, from the package index.
const PACKAGES: [&str; 3] = ["openai", "anthropic", "jsonschema"];
/// The key that the server asks for.
const KEY: &str = "key-of-the-test";

/// Tests that start their own servers, since they need other limits or end them.
const OWN_SERVERS: [&[&str]; 3] = [&["hostile.py"], &["load.py"], &["stream_times.py"]];

/// Serves models by `forge serve` and runs the test suites in `tests/clients/` against them. Each server must then end by SIGTERM, in
/// good order.
pub fn check() -> Result<()> {
    models::fetch()?;
    let python = environment()?;
    for (model, suites) in SUITES {
        let mut server = Server::start(model)?;
        for suite in suites {
            run(Command::new(&python)
                .args(["-W", "error"])
                .arg(Path::new("tests/clients").join(suite))
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .env("SERVER_URL", &server.url)
                .env("SERVER_KEY", KEY))?;
        }
        server.end()?;
    }
    for test in OWN_SERVERS {
        run(&mut with_own_server(&python, test)?)?;
    }
    Ok(())
}

/// A script in `tests/clients/`, with its arguments, that is told how to start a server.
pub fn with_own_server(python: &Path, script: &[&str]) -> Result<Command> {
    let [name, arguments @ ..] = script else { bail!("no script is named") };
    let mut command = Command::new(python);
    command
        .args(["-W", "error"])
        .arg(Path::new("tests/clients").join(name))
        .args(arguments)
        .env("FORGE", target().join("debug").join("forge"))
        .env("MODEL", absolute(&model(SMALLEST)?)?)
        .env("FORGELLM_CACHE", cache()?)
        // Imports leave no files in the tree.
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

/// Where the tests of `forge` keep what they compile, so that nothing is compiled twice.
fn cache() -> Result<PathBuf> {
    Ok(std::path::absolute(target().join("tmp/forge-cache"))?)
}

/// The model of this file name.
fn model(name: &str) -> Result<PathBuf> {
    models::files().find(|file| file.ends_with(name)).context("the model is not known")
}

/// The Python of an environment in the target folder that has the clients.
pub fn environment() -> Result<PathBuf> {
    let folder = target().join("clients");
    let python = folder.join("bin/python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run(Command::new(&python).args(install).args(PACKAGES))?;
    Ok(python)
}

/// A served model; killed if it was not ended.
struct Server {
    process: Child,
    url: String,
    /// Kept open, so that the server can write.
    _output: BufReader<ChildStdout>,
}

impl Server {
    /// Serves the model of this file name.
    fn start(name: &str) -> Result<Server> {
        let model = model(name)?;
        run(Command::new("cargo").args(["build", "--quiet", "--package", "forgellm-cli"]))?;
        // Cargo, forge and the program each become the next one, so that this is the program's process in the end.
        let mut process = Command::new("cargo")
            .args(["run", "--quiet", "--package", "forgellm-cli", "--", "serve"])
            .arg(absolute(&model)?)
            .args(["--port", "0", "--parallel", "8", "--json"])
            .env("FORGELLM_API_KEY", KEY)
            .env("FORGELLM_CACHE", cache()?)
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start cargo")?;
        let mut output = BufReader::new(process.stdout.take().context("the server has no output")?);
        let mut line = String::new();
        let read = output.read_line(&mut line);
        let told: Option<Value> = read.ok().and_then(|_| serde_json::from_str(&line).ok());
        let mut server = Server { process, url: String::new(), _output: output };
        match told.as_ref().and_then(|told| told["url"].as_str()) {
            Some(url) => server.url = url.to_owned(),
            None => bail!("the server did not say where it is, but {line:?}"),
        }
        Ok(server)
    }

    fn end(&mut self) -> Result<()> {
        run(Command::new("kill").arg(self.process.id().to_string()))?;
        let status = self.process.wait()?;
        if !status.success() {
            bail!("the server ended with {status} after SIGTERM");
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already where everything went well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("{} is missing", path.display()))
}
