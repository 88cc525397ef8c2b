//! DynamoDB on a laptop: dynoxide, embedded, with the tables that `template.yaml` defines.

use std::sync::LazyLock;

use dynoxide::Database;
use dynoxide::actions::create_table::CreateTableRequest;
use dynoxide::actions::list_tables::ListTablesRequest;
use serde_json::{Value, json};

/// The tables: their local names, and their resources in the template.
pub const TABLES: [(&str, &str); 3] =
    [("workspaces", "WorkspacesTable"), ("rebuilds", "RebuildsTable"), ("control", "ControlTable")];

static TEMPLATE: LazyLock<serde_yaml_ng::Value> = LazyLock::new(|| {
    serde_yaml_ng::from_str(include_str!("../../template.yaml")).expect("template.yaml is YAML")
});
const SEED: &str = include_str!("../../seed/workspaces.json");

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// An embedded DynamoDB in memory, with empty tables.
///
/// # Errors
/// `template.yaml` defines no such table.
pub fn in_memory() -> Result<Database, Error> {
    let database = Database::memory()?;
    create_missing_tables(&database)?;
    Ok(database)
}

/// Makes the tables of the template that are not there.
pub(crate) fn create_missing_tables(database: &Database) -> Result<(), Error> {
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
    let properties = &TEMPLATE["Resources"][resource]["Properties"];
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
