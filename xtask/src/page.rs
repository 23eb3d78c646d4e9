//! The chat page of a served model, in a browser.

use std::process::Command;

use anyhow::Result;

use crate::checks::run;
use crate::{clients, models, packages};

/// Uses the page as a person would, in Chromium without a window (`tests/clients/page.py`).
pub fn check() -> Result<()> {
    packages::ensure()?;
    models::fetch()?;
    let python = clients::environment()?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "selenium"];
    run(Command::new(&python).args(install))?;
    run(Command::new("cargo").args(["build", "--quiet", "--package", "forgellm-cli"]))?;
    run(&mut clients::with_own_server(&python, &["page.py"])?)
}
