//! DynamoDB on a laptop: dynoxide, embedded, with the tables that `template.yaml` defines.

use std::path::Path;

use dynoxide::Database;
use dynoxide::actions::batch_write_item::BatchWriteItemRequest;
use dynoxide::actions::create_table::CreateTableRequest;
use dynoxide::actions::list_tables::ListTablesRequest;
use serde_json::{Value, json};

/// The tables: their local names, and their resources in the template.
pub const TABLES: [(&str, &str); 2] =
    [("workspaces", "WorkspacesTable"), ("rebuilds", "RebuildsTable")];

const TEMPLATE: &str = include_str!("../../template.yaml");
const SEED: &str = include_str!("../../seed/workspaces.json");

type Error = Box<dyn std::error::Error + Send + Sync>;

/// An embedded DynamoDB with both tables, in memory or in a file. Returns whether they are new.
///
/// # Errors
/// The file cannot be used, or `template.yaml` defines no such table.
pub fn open(file: Option<&Path>) -> Result<(Database, bool), Error> {
    let database = match file {
        Some(file) => Database::new(file.to_str().ok_or("the file's name is not UTF-8")?)?,
        None => Database::memory()?,
    };
    let is_new = database.list_tables(ListTablesRequest::default())?.table_names.is_empty();
    if is_new {
        for (name, resource) in TABLES {
            database.create_table(definition(name, resource)?)?;
        }
    }
    Ok((database, is_new))
}

/// Puts one WorkSpace in each state into the table.
///
/// # Errors
/// The table does not exist, or `seed/workspaces.json` is not a valid batch.
pub fn seed(database: &Database) -> Result<(), Error> {
    let request_items: Value = serde_json::from_str(SEED)?;
    let request: BatchWriteItemRequest =
        serde_json::from_value(json!({ "RequestItems": request_items }))?;
    database.batch_write_item(request)?;
    Ok(())
}

/// The CreateTable request for a table of the template. CloudFormation and DynamoDB use the same
/// names.
fn definition(name: &str, resource: &str) -> Result<CreateTableRequest, Error> {
    let template: serde_yaml_ng::Value = serde_yaml_ng::from_str(TEMPLATE)?;
    let properties = &template["Resources"][resource]["Properties"];
    let mut definition = json!({ "TableName": name });
    for key in ["BillingMode", "KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes"] {
        if let Some(value) = properties.get(key) {
            definition[key] = serde_json::to_value(value)?;
        }
    }
    Ok(serde_json::from_value(definition)?)
}
