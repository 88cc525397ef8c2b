//! Changes of attributes whose names are known at run time only.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;

use super::item::to_item;
use crate::error::Fault;
use crate::workspace::Description;

/// Attributes to set, and to remove.
#[derive(Default)]
pub(super) struct Changes {
    set: Vec<(String, AttributeValue)>,
    remove: Vec<String>,
}

impl Changes {
    /// Replaces the description of an item by this one.
    pub(super) fn of_description(description: &Description) -> Result<Self, Fault> {
        let set = to_item(description)?;
        let remove = Description::names().filter(|name| !set.contains_key(name)).collect();
        Ok(Self { remove, set: set.into_iter().collect() })
    }

    pub(super) fn set(&mut self, name: &str, value: AttributeValue) {
        self.set.push((name.to_owned(), value));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.remove.push(name.to_owned());
    }

    /// What stands after `SET`.
    pub(super) fn sets(&self) -> String {
        let sets = (0..self.set.len()).map(|number| format!("#s{number} = :s{number}"));
        sets.collect::<Vec<_>>().join(", ")
    }

    /// What stands after `REMOVE`.
    pub(super) fn removals(&self) -> String {
        let removals = (0..self.remove.len()).map(|number| format!("#r{number}"));
        removals.collect::<Vec<_>>().join(", ")
    }

    /// The request with the names and values that both use.
    pub(super) fn add_to(self, mut request: UpdateItemFluentBuilder) -> UpdateItemFluentBuilder {
        for (number, (name, value)) in self.set.into_iter().enumerate() {
            request = request
                .expression_attribute_names(format!("#s{number}"), name)
                .expression_attribute_values(format!(":s{number}"), value);
        }
        for (number, name) in self.remove.into_iter().enumerate() {
            request = request.expression_attribute_names(format!("#r{number}"), name);
        }
        request
    }
}
