//! Items that something else wrote: their attributes have other types. What can be read goes on; what
//! cannot refuses, and changes nothing.

use serde_json::{Value, json};

use crate::system::{Answer, Ask, System};

const ID: &str = "ws-available0001";

/// A system in which the item of [`ID`] has these attributes.
async fn system_with(attributes: Value) -> System {
    let system = System::start().await;
    let mut item = json!({ "WorkspaceId": ID, "State": "AVAILABLE" });
    let attributes = serde_json::from_value::<serde_json::Map<_, _>>(attributes);
    item.as_object_mut().expect("an item").extend(attributes.expect("attributes"));
    system.put("workspaces", item).await;
    system
}

fn workspace() -> Ask {
    Ask::get(&format!("/workspaces/{ID}"))
}

fn protection(method: &'static str) -> Ask {
    Ask::new(method, &format!("/workspaces/{ID}/protection"))
}

/// Descriptive attributes, at all levels, and notes of the service that decide nothing.
#[tokio::test]
async fn an_attribute_of_another_type_stops_nothing() {
    for attributes in [
        json!({ "WorkspaceProperties": "PCOIP" }),
        json!({ "WorkspaceProperties": { "RunningMode": 7, "Protocols": [7] } }),
        json!({ "WorkspaceProperties": { "GlobalAccelerator": { "Mode": [] } } }),
        json!({ "WorkspaceProperties": { "RootVolumeSizeGib": 1.5, "UserVolumeSizeGib": "50" } }),
        json!({ "ModificationStates": "none" }),
        json!({ "ModificationStates": ["none"] }),
        json!({ "RelatedWorkspaces": [{ "State": 7 }] }),
        json!({ "DataReplicationSettings": { "RecoverySnapshotTime": "today" } }),
        json!({ "StandbyWorkspacesProperties": [{ "RecoverySnapshotTime": 1e100 }] }),
        json!({ "IpAddress": 7, "SubnetId": null, "ErrorCode": {}, "ComputerName": ["a"] }),
        json!({ "UserVolumeEncryptionEnabled": "yes", "RootVolumeEncryptionEnabled": 1 }),
        json!({ "Keys": "none" }),
        json!({ "Keys": { "a": 7, "b": { "Id": "x" } } }),
        json!({ "PreviousState": 7 }),
        json!({ "MissingSince": 7 }),
        json!({ "ExpiresAt": "soon" }),
        json!({ "LastSimulatedSnapshotAt": 7 }),
        json!({ "Tags": ["a"] }),
        json!({ "Tags": { "a": 1 } }),
    ] {
        let system = system_with(attributes.clone()).await;
        assert_eq!(system.send(&workspace()).await.data()["state"], "AVAILABLE", "{attributes}");
        let listed = system.send(&Ask::get("/workspaces?limit=100")).await.data();
        assert!(listed.to_string().contains(ID), "{attributes}");

        let rebuild = Ask::rebuild(ID).with("idempotency-key", "first");
        let accepted = system.send(&rebuild).await;
        let location = accepted.header("location").expect("a location").to_owned();
        let shown = system.send(&Ask::get(&location)).await.data();
        assert_eq!(shown["status"], "REQUESTED", "{attributes}");
        let repeated = system.send(&rebuild).await;
        assert_eq!(repeated.header("idempotency-replayed"), Some("true"), "{attributes}");
        assert_eq!(repeated.id(), accepted.id());
        let cancelled = system.send(&Ask::new("DELETE", &location)).await.data();
        assert_eq!(cancelled["status"], "CANCELLED", "{attributes}");
        system.end_rebuild().await;
        assert_eq!(system.send(&rebuild).await.id(), accepted.id(), "the key is remembered");

        for (method, status) in [("PUT", 409), ("DELETE", 202)] {
            assert_eq!(system.send(&protection(method)).await.status, 200, "{attributes}");
            assert_eq!(system.send(&Ask::rebuild(ID)).await.status, status, "{attributes}");
        }
        system.end_rebuild().await;
        let last = system.send(&workspace()).await.data();
        assert_eq!(last["rebuild"]["status"], "SUCCEEDED", "{attributes}, {last}");
    }
}

/// The members beside it are shown.
#[tokio::test]
async fn a_member_of_another_type_reads_as_absent() {
    let properties = json!({ "RunningMode": 7, "RootVolumeSizeGib": 80 });
    let system = system_with(json!({ "WorkspaceProperties": properties, "IpAddress": 7 })).await;
    let shown = system.send(&workspace()).await.data();
    assert_eq!(shown["workspace_properties"], json!({ "root_volume_size_gib": 80 }));
    assert_eq!(shown.get("ip_address"), None);
}

/// A key that cannot be read may be the key of the request, which must not rebuild again.
#[tokio::test]
async fn a_broken_key_leaves_the_others_in_force() {
    let system = System::start().await;
    let ask = |key| Ask::rebuild(ID).with("idempotency-key", key);
    let mut ids = vec![];
    for key in ["first", "second"] {
        ids.push(system.send(&ask(key)).await.id());
        system.end_rebuild().await;
    }
    let mut item = system.item(ID).await;
    let keys = item["Keys"].as_object_mut().expect("keys");
    let first = keys.values_mut().find(|key| key["Id"] == ids[0]).expect("a key");
    first["Fingerprint"] = json!(7);
    system.put("workspaces", item.clone()).await;
    assert_eq!(system.send(&ask("first")).await.status, 500);
    assert_eq!(system.send(&ask("second")).await.id(), ids[1]);
    assert_eq!(system.item(ID).await, item);
}

#[tokio::test]
async fn a_state_of_another_type_is_an_unknown_one() {
    for state in [json!(7), json!(null), json!(["AVAILABLE"])] {
        let system = system_with(json!({ "State": state })).await;
        assert_eq!(system.send(&workspace()).await.data()["state"], "UNKNOWN");
        let message = format!(
            "WorkSpace {ID} is in state UNKNOWN; a rebuild is allowed only from AVAILABLE, ERROR, UNHEALTHY, STOPPED, REBOOTING"
        );
        let refused = system.send(&Ask::rebuild(ID)).await;
        assert_eq!(refused, Answer::failure(409, "INVALID_WORKSPACE_STATE", &message));
        assert_eq!(system.send(&protection("PUT")).await.status, 200);
        assert_eq!(system.send(&protection("DELETE")).await.status, 200);
        assert_eq!(system.item(ID).await["State"], state);
    }
}

/// Nobody knows who protected the WorkSpace, and when.
#[tokio::test]
async fn a_protection_of_another_type_protects() {
    for broken in [json!("yes"), json!({ "ProtectedAt": 7, "ProtectedBy": 7, "Reason": 7 })] {
        let system = System::start().await;
        let location = system.send(&Ask::rebuild(ID)).await;
        let location = location.header("location").expect("a location").to_owned();
        let mut item = system.item(ID).await;
        item["Protection"] = broken.clone();
        system.put("workspaces", item).await;
        let shown = system.send(&workspace()).await.data();
        let expected = json!({ "protected_at": "1970-01-01T00:00:00Z" });
        assert_eq!(shown["protection"], expected, "{broken}");
        assert_eq!(system.send(&protection("PUT")).await.status, 200);
        system.end_rebuild().await;
        let failed = system.send(&Ask::get(&location)).await.data();
        assert_eq!(failed["error"]["code"], "WORKSPACE_PROTECTED", "{failed}");
        let message = format!("WorkSpace {ID} is protected against rebuilds; unprotect it first");
        let refused = system.send(&Ask::rebuild(ID)).await;
        assert_eq!(refused, Answer::failure(409, "WORKSPACE_PROTECTED", &message));
        assert_eq!(system.send(&protection("DELETE")).await.status, 200);
        assert_eq!(system.send(&Ask::rebuild(ID)).await.status, 202);
    }
}

/// A new rebuild replaces it.
#[tokio::test]
async fn a_released_rebuild_of_another_type_hinders_reads_only() {
    let system = system_with(json!({ "Rebuild": "none" })).await;
    let internal = Answer::failure(500, "INTERNAL_ERROR", "an internal error occurred");
    assert_eq!(system.send(&workspace()).await, internal);
    let id = system.send(&Ask::rebuild(ID)).await.id();
    assert_eq!(system.send(&workspace()).await.data()["rebuild"]["id"], id);
}

/// The rebuild itself cannot be read. A write that was made is no internal error, which would say
/// that nothing was changed.
#[tokio::test]
async fn a_change_that_landed_in_an_unreadable_item_is_an_unknown_outcome() {
    let system = System::start().await;
    let location = system.send(&Ask::rebuild(ID)).await;
    let location = location.header("location").expect("a location").to_owned();
    let mut item = system.item(ID).await;
    item["Rebuild"]["CreatedAt"] = json!(7);
    system.put("workspaces", item.clone()).await;

    let unknown = |what| {
        let message = format!("it is not known whether {what}; repeat the request");
        Answer::failure(504, "OUTCOME_UNKNOWN", &message)
    };
    let internal = Answer::failure(500, "INTERNAL_ERROR", "an internal error occurred");
    for ask in [workspace(), Ask::get(&location), Ask::rebuild(ID)] {
        assert_eq!(system.send(&ask).await, internal);
    }
    assert_eq!(system.item(ID).await, item);
    for method in ["PUT", "DELETE"] {
        let expected = unknown("the protection was changed");
        assert_eq!(system.send(&protection(method)).await, expected);
        assert_eq!(system.item(ID).await.get("Protection").is_some(), method == "PUT");
    }
    let cancel = Ask::new("DELETE", &location);
    assert_eq!(system.send(&cancel).await, unknown("the rebuild was cancelled"));
    let cancelled = system.item(ID).await;
    assert_eq!(cancelled["Rebuild"]["Status"], "CANCELLED");
    assert_eq!(system.send(&cancel).await, internal, "it changed nothing");
    assert_eq!(system.item(ID).await, cancelled);
}
