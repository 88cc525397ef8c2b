//! DynamoDB on a laptop: dynoxide, embedded, with the tables that `template.yaml` defines.

use std::path::{Path, PathBuf};

use dynoxide::Database;
use dynoxide::actions::create_table::CreateTableRequest;
use dynoxide::actions::list_tables::ListTablesRequest;
use serde_json::{Value, json};

/// The tables: their local names, and their resources in the template.
pub const TABLES: [(&str, &str); 2] =
    [("workspaces", "WorkspacesTable"), ("rebuilds", "RebuildsTable")];

const TEMPLATE: &str = include_str!("../../template.yaml");
const SEED: &str = include_str!("../../seed/workspaces.json");

type Error = Box<dyn std::error::Error + Send + Sync>;

/// An embedded DynamoDB in memory, with empty tables.
///
/// # Errors
/// `template.yaml` defines no such table.
pub fn in_memory() -> Result<Database, Error> {
    let database = Database::memory()?;
    create_missing_tables(&database)?;
    Ok(database)
}

/// An embedded DynamoDB in a file. A new one is seeded.
///
/// A new file is completed under another name and then renamed, since making a table takes several
/// writes: a run that dies meanwhile leaves no half-made table behind.
///
/// # Errors
/// The file cannot be used, or `template.yaml` defines no such table.
pub fn in_file(file: &Path) -> Result<Database, Error> {
    if !file.exists() {
        let unfinished = with_suffix(file, ".unfinished");
        for leftover in ["", "-wal", "-shm"] {
            // Usually there is none.
            let _ = std::fs::remove_file(with_suffix(&unfinished, leftover));
        }
        let database = open(&unfinished)?;
        create_missing_tables(&database)?;
        seed_if_empty(&database)?;
        // Closing it moves what is in the write-ahead log into the file.
        drop(database);
        std::fs::rename(&unfinished, file)?;
    }
    let database = open(file)?;
    create_missing_tables(&database)?;
    Ok(database)
}

fn open(file: &Path) -> Result<Database, Error> {
    Ok(Database::new(file.to_str().ok_or("the file's name is not UTF-8")?)?)
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Makes the tables of the template that are not there.
fn create_missing_tables(database: &Database) -> Result<(), Error> {
    let tables = database.list_tables(ListTablesRequest::default())?.table_names;
    for (name, resource) in TABLES {
        if !tables.iter().any(|table| table == name) {
            let table: CreateTableRequest = serde_json::from_value(definition(name, resource)?)?;
            database.create_table(table)?;
        }
    }
    Ok(())
}

/// Puts one WorkSpace in each state into the table, if it has no item: all of them, or none.
///
/// # Errors
/// `seed/workspaces.json` is not a batch for the table.
pub fn seed_if_empty(database: &Database) -> Result<(), Error> {
    let scan = serde_json::from_value(json!({ "TableName": "workspaces", "Limit": 1 }))?;
    if database.scan(scan)?.count > 0 {
        return Ok(());
    }
    let mut requests: Value = serde_json::from_str(SEED)?;
    let puts = requests["workspaces"].as_array_mut().ok_or("the seed has no table workspaces")?;
    let puts = puts.iter_mut().map(|request| {
        let item = request["PutRequest"]["Item"].take();
        json!({ "Put": { "TableName": "workspaces", "Item": item } })
    });
    let transaction = json!({ "TransactItems": puts.collect::<Vec<_>>() });
    database.transact_write_items(serde_json::from_value(transaction)?)?;
    Ok(())
}

/// The CreateTable request for a table of the template. CloudFormation and DynamoDB use the same
/// names.
///
/// # Errors
/// `template.yaml` defines no such table.
pub fn definition(name: &str, resource: &str) -> Result<Value, Error> {
    let template: serde_yaml_ng::Value = serde_yaml_ng::from_str(TEMPLATE)?;
    let properties = &template["Resources"][resource]["Properties"];
    let mut definition = json!({ "TableName": name });
    for key in ["BillingMode", "KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes"] {
        if let Some(value) = properties.get(key) {
            definition[key] = serde_json::to_value(value)?;
        }
    }
    if let Some(stream) = properties.get("StreamSpecification") {
        definition["StreamSpecification"] = serde_json::to_value(stream)?;
        // CloudFormation means it, and DynamoDB asks for it.
        definition["StreamSpecification"]["StreamEnabled"] = true.into();
    }
    Ok(definition)
}
