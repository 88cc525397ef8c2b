//! The file of `--data`: an embedded DynamoDB that outlives its run.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::path::{self, Path};

use dynoxide::actions::list_tables::ListTablesRequest;
use dynoxide::{Database, DynoxideError};

use crate::dynamodb::{Error, TABLES, create_missing_tables, seed_if_empty};

/// Why a file cannot hold the tables. The file stays untouched.
#[derive(Debug)]
enum Problem {
    NotAFile,
    InUse,
    Foreign,
    Unreadable(String),
    NotOpened(Error),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let other = "choose another file with --data";
        match self {
            Self::NotAFile => write!(f, "is not a file; {other}"),
            Self::InUse => write!(f, "is in use by another run; end it, or {other}"),
            Self::Foreign => write!(f, "is not a database of the local run; {other}, or delete it"),
            Self::Unreadable(cause) => {
                write!(f, "cannot be read as a database ({cause}); {other}, or delete it")
            }
            Self::NotOpened(cause) => write!(f, "cannot be opened: {cause}; {other}"),
        }
    }
}

impl<E: Into<Error>> From<E> for Problem {
    fn from(cause: E) -> Self {
        Self::NotOpened(cause.into())
    }
}

/// Opens the database in this file for the rest of the process. A new one is seeded.
///
/// # Errors
/// The file is in use by another run, is not a database of the local run, or cannot be opened.
pub fn open(file: &Path) -> Result<Database, Error> {
    try_open(file).map_err(|problem| format!("{} {problem}", file.display()).into())
}

fn try_open(file: &Path) -> Result<Database, Problem> {
    // Runs that use different links to a file share its lock. SQLite would read some relative paths
    // as something else, such as `:memory:`.
    let path = fs::canonicalize(file).or_else(|_| path::absolute(file))?;
    if path.exists() && !path.is_file() {
        return Err(Problem::NotAFile);
    }
    let path = path.to_str().ok_or("its path is not UTF-8")?;
    let beside = ["lock", "wal", "shm"].map(|suffix| format!("{path}-{suffix}"));
    let new: Vec<_> = beside.into_iter().filter(|path| !Path::new(path).exists()).collect();
    lock(path)?;
    if !Path::new(path).exists() {
        create(path)?;
    } else if let Err(problem) = check(path) {
        for path in new {
            // Some of them do not exist.
            let _ = fs::remove_file(path);
        }
        return Err(problem);
    }
    let database = Database::new(path)?;
    create_missing_tables(&database)?;
    Ok(database)
}

/// Locks the file until the process ends, even if it is killed.
///
/// The lock is on a second file, which is never removed: the first may not exist yet, and SQLite
/// locks it in its own way.
fn lock(path: &str) -> Result<(), Problem> {
    let lock = File::create(format!("{path}-lock"))?;
    match lock.try_lock() {
        Ok(()) => {
            // Closing it would unlock it.
            std::mem::forget(lock);
            Ok(())
        }
        Err(TryLockError::WouldBlock) => Err(Problem::InUse),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Checks an existing file without changing it, by loading it into memory.
fn check(path: &str) -> Result<(), Problem> {
    let loaded = Database::memory().and_then(|copy| {
        copy.restore_from(path)?;
        copy.list_tables(ListTablesRequest::default())
    });
    match loaded {
        Ok(tables) if tables.table_names.iter().any(|table| table == TABLES[0].0) => Ok(()),
        Ok(_) | Err(DynoxideError::ValidationException(_)) => Err(Problem::Foreign),
        Err(DynoxideError::SqliteError(cause)) => Err(Problem::Unreadable(cause.to_string())),
        Err(error) => Err(Problem::Unreadable(error.to_string())),
    }
}

/// Creates the database and seeds it.
///
/// It is completed under another name and then renamed, because creating a table takes several
/// writes: a run killed in the meantime leaves no half-made table behind.
fn create(path: &str) -> Result<(), Error> {
    let unfinished = format!("{path}.unfinished");
    let _ = fs::remove_file(&unfinished);
    remove_journals(&unfinished);
    let database = Database::new(&unfinished)?;
    create_missing_tables(&database)?;
    seed_if_empty(&database)?;
    // Closing it moves what is in the write-ahead log into the file.
    drop(database);
    remove_journals(path);
    fs::rename(&unfinished, path)?;
    Ok(())
}

/// Removes the files in which SQLite kept the last writes to a database that was deleted. A killed
/// run leaves them behind, and SQLite would apply them to the new database.
fn remove_journals(path: &str) {
    for suffix in ["wal", "shm", "journal"] {
        let _ = fs::remove_file(format!("{path}-{suffix}"));
    }
}
