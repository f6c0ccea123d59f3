//! Where it was measured, and with what.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Serialize;

/// The machine that the figures are from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// The processor's model, if the kernel tells one.
    pub cpu: Option<String>,
    /// Processors that we may use.
    pub processors: usize,
    /// The release of the kernel.
    pub kernel: Option<String>,
}

impl Machine {
    /// This one, with so many `processors` to use.
    pub fn here(processors: usize) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        let kernel = release.map(|release| release.trim().to_owned());
        Machine { cpu: model(&cpuinfo), processors, kernel }
    }

    /// "Some CPU, 2 processors, Linux 6.1".
    pub fn describe(&self) -> String {
        let cpu = self.cpu.as_deref().unwrap_or("unknown CPU");
        let processors = if self.processors == 1 { "processor" } else { "processors" };
        let kernel = self.kernel.as_deref().unwrap_or("of unknown release");
        format!("{cpu}, {} {processors}, Linux {kernel}", self.processors)
    }
}

/// The model in the text of `/proc/cpuinfo`, on architectures that tell one.
pub fn model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    let name = line.split_once(':')?.1.split_whitespace().collect::<Vec<_>>().join(" ");
    (!name.is_empty()).then_some(name)
}

/// The first line that `program` writes when it is given `arguments`; `None` if it fails.
pub fn first_line(program: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}
