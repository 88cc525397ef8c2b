//! A fraction of a core, as a Lambda function with little memory has it.

use std::fs;
use std::io::Result;
use std::path::{Path, PathBuf};

/// The memory that comes with one core, in MB:
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>.
const CORE_MB: u64 = 1769;
/// The quota counts anew after this many microseconds.
const PERIOD: u64 = 20_000;

/// A control group with the share of a core that comes with some memory.
pub struct Share(PathBuf);

impl Share {
    /// # Errors
    /// Control groups are not there, or this user may not make one.
    pub fn of(memory_mb: u64) -> Result<Self> {
        let quota = PERIOD * memory_mb / CORE_MB;
        let name = format!("bench-{}", std::process::id());
        let root = Path::new("/sys/fs/cgroup");
        if root.join("cgroup.controllers").exists() {
            // Refused where it is on already.
            let _ = fs::write(root.join("cgroup.subtree_control"), "+cpu");
            let share = Self(root.join(name));
            fs::create_dir(&share.0)?;
            fs::write(share.0.join("cpu.max"), format!("{quota} {PERIOD}"))?;
            return Ok(share);
        }
        let share = Self(root.join("cpu").join(name));
        fs::create_dir(&share.0)?;
        fs::write(share.0.join("cpu.cfs_period_us"), PERIOD.to_string())?;
        fs::write(share.0.join("cpu.cfs_quota_us"), quota.to_string())?;
        Ok(share)
    }

    /// Puts a process into it.
    pub fn add(&self, process: u32) -> Result<()> {
        fs::write(self.0.join("cgroup.procs"), process.to_string())
    }

    /// How often its processes had used up the quota of a period.
    pub fn throttled(&self) -> Result<u64> {
        let stat = fs::read_to_string(self.0.join("cpu.stat"))?;
        let count = stat.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        Ok(count.and_then(|count| count.parse().ok()).unwrap_or_default())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
