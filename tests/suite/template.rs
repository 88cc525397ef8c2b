//! Compares `template.yaml` with the code: each role allows exactly the requests of its function, and
//! the local gateway treats bodies as API Gateway does.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::config::http::HttpRequest;
use aws_sdk_dynamodb::config::{RuntimeComponents, SharedHttpClient};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use local::{dynamodb, gateway};
use rebuild_workspaces::calls::Rate;
use rebuild_workspaces::config::FleetConfig;
use rebuild_workspaces::config::Limits;
use rebuild_workspaces::fleet::amazon::Amazon;
use rebuild_workspaces::fleet::simulated::Simulated;
use rebuild_workspaces::ids::{BundleId, DirectoryId, Target, WorkspaceId, WorkspaceName};
use rebuild_workspaces::preview::Previewer;
use rebuild_workspaces::rebuild::FleetMode;
use rebuild_workspaces::reconcile::{Reconciler, Timing};
use rebuild_workspaces::service::{Caller, RebuildRequest, Service};
use rebuild_workspaces::store::Store;
use rebuild_workspaces::timestamp::Day;
use rebuild_workspaces::transport;
use rebuild_workspaces::workspace::Filter;
use serde_json::Value as Json;
use serde_yaml_ng::Value;
use time::OffsetDateTime;

use crate::events;
use crate::system::{System, config, fleet_config, service};

/// Actions, each on a resource: `dynamodb:Query` on `WorkspacesTable/index/Bundle`.
type Permissions = BTreeSet<(String, String)>;

#[tokio::test]
async fn the_role_of_the_api_function_allows_exactly_its_requests() {
    let system = System::start().await;
    let (recorder, store) = recorded(&system);
    store.warm_up().await;
    let service = service(&store);
    for (name, event, _) in events::all() {
        if !name.ends_with(events::PREVIEW) {
            gateway::invoke(&service, event).await;
        }
    }
    let directory_id = DirectoryId::try_from("d-906700a1b2".to_owned()).expect("an id");
    let bundle_id = BundleId::try_from("wsb-0a1b2c3d4".to_owned()).expect("an id");
    let directory = Filter::Directory { directory_id, user_name: None };
    let name = WorkspaceName::try_from("build-desk-1".to_owned()).expect("a name");
    for filter in [Filter::All, directory, Filter::Bundle(bundle_id), Filter::Name(name)] {
        service.list_workspaces(&filter, 25, None).await.expect("a page");
    }
    service.list_open_rebuilds(None, 25, None).await.expect("a page");
    service.pause(None, nobody()).await.expect("a pause");
    service.resume(nobody()).await.expect("no pause");
    let day = Day::try_from("2026-11-30").expect("a day");
    service.list_ended_rebuilds(day, 25, None).await.expect("a page");
    assert_eq!(recorder.sent(), allowed("Rebuild", false));
}

#[tokio::test]
async fn the_roles_of_the_reconciler_allow_exactly_the_requests_of_their_passes() {
    let system = System::start().await;
    let (recorder, store) = recorded(&system);
    accept(&system, "ws-available0001", FleetMode::Simulated).await;
    let fleet = Simulated { rebuild_time: Duration::ZERO };
    let timing = Timing::of_simulated();
    let clock = OffsetDateTime::now_utc;
    let reconciler =
        Reconciler { store: store.clone(), fleet, clock, timing, limits: Limits::default() };
    // The passes hand the rebuild over, see it in REBUILDING, and end it.
    for _ in 0..3 {
        reconciler.follow().await.expect("a pass");
    }
    assert_eq!(recorder.sent(), allowed("Follow", false), "simulated");

    // The AWS JSON face of another system stands in for the real fleet.
    let other = System::start().await;
    // It is encrypted, so its key is asked about.
    accept(&system, "ws-connected0001", FleetMode::AmazonWorkSpaces).await;
    let fleet =
        FleetConfig { tag_keys: HashSet::from(["team".to_owned()]), ..fleet_config(&other.api) };
    let http = SharedHttpClient::new(recorder.clone());
    let calls = Rate::following(fleet.calls_per_second);
    let fleet = Amazon::connect(&config(&system.dynamodb), &fleet, calls, http);
    let reconciler = Reconciler { store, fleet, clock, timing, limits: Limits::default() };
    reconciler.follow().await.expect("a pass");
    assert_eq!(recorder.sent(), allowed("Follow", true), "real WorkSpaces");

    // Sync adds it again.
    system.remove("workspaces", "ws-error0001").await;
    recorder.forget();
    reconciler.sync().await.expect("a pass");
    assert_eq!(recorder.sent(), allowed("Sync", true));
}

#[tokio::test]
async fn the_role_of_the_preview_function_allows_exactly_its_requests() {
    let system = System::start().await;
    let (recorder, store) = recorded(&system);
    store.warm_up().await;
    // It is encrypted, so its key is asked about.
    let id = WorkspaceId::try_from("ws-connected0001".to_owned()).expect("an id");
    let target = Target::from(id);
    let fleet = Simulated { rebuild_time: Duration::ZERO };
    let config_of_fleet = fleet_config(&System::start().await.api);
    let previewer = Previewer::new(store.clone(), fleet, &config_of_fleet);
    previewer.preview(&target).await.expect("a preview");
    assert_eq!(recorder.sent(), allowed("Preview", false), "simulated");

    let http = SharedHttpClient::new(recorder.clone());
    let calls = Rate::previews(config_of_fleet.calls_per_second);
    let fleet = Amazon::connect(&config(&system.dynamodb), &config_of_fleet, calls, http);
    let previewer = Previewer::new(store, fleet, &config_of_fleet);
    previewer.preview(&target).await.expect("a preview");
    assert_eq!(recorder.sent(), allowed("Preview", true), "real WorkSpaces");
}

#[test]
fn one_role_may_rebuild() {
    let template = template();
    let resources = template["Resources"].as_mapping().expect("resources");
    let may_rebuild: Vec<_> = resources
        .iter()
        .filter(|(_, resource)| {
            let text = serde_yaml_ng::to_string(resource).expect("YAML");
            text.contains("workspaces:RebuildWorkspaces") || text.contains("workspaces:*")
        })
        .map(|(name, resource)| (name.as_str(), name_of(&resource["Properties"]["RoleName"])))
        .collect();
    assert_eq!(may_rebuild, [(Some("FleetPolicy"), "FollowRole".to_owned())]);
}

/// A store over the system's DynamoDB, and the recorder of its requests.
fn recorded(system: &System) -> (Recorder, Store) {
    let config = config(&system.dynamodb);
    let recorder = Recorder { http: transport::http_client(&config.aws), sent: Arc::default() };
    let store = Store::connect(&config, SharedHttpClient::new(recorder.clone()));
    (recorder, store)
}

async fn accept(system: &System, id: &str, mode: FleetMode) {
    let request = RebuildRequest {
        idempotency_key: None,
        reason: None,
        maximum_snapshot_age_hours: None,
        wait_for_disconnect: None,
        caller: nobody(),
    };
    let service = Service::new(system.store.clone(), mode, None);
    let id = WorkspaceId::try_from(id.to_owned()).expect("an id");
    service.accept(&id.into(), request).await.expect("accepted");
}

fn nobody() -> Caller {
    let requested_at = OffsetDateTime::now_utc();
    Caller { arn: None, source_ip: None, request_id: None, requested_at }
}

pub fn template() -> Value {
    serde_yaml_ng::from_str(include_str!("../../template.yaml")).expect("YAML")
}

/// Permissions of a function's role, without those that Lambda itself uses for logs and traces.
/// `fleet` includes those for real WorkSpaces.
fn allowed(function: &str, fleet: bool) -> Permissions {
    let role = &format!("{function}Role");
    let log = &format!("{function}LogGroup");
    let template = template();
    let resources = template["Resources"].as_mapping().expect("resources");
    assert_eq!(name_of(&resources[format!("{function}Function")]["Properties"]["Role"]), *role);
    let properties = &resources[role.as_str()]["Properties"];
    assert!(properties.get("ManagedPolicyArns").is_none(), "managed policies allow too much");
    let inline = list(&properties["Policies"]).iter().map(|policy| &policy["PolicyDocument"]);
    let mut all: Permissions = inline.flat_map(permissions).collect();
    for resource in resources.values() {
        let properties = &resource["Properties"];
        match resource["Type"].as_str().expect("a type") {
            "AWS::IAM::RolePolicy" if fleet && name_of(&properties["RoleName"]) == *role => {
                let condition = resource["Condition"].as_str().expect("a condition");
                assert!(["AmazonWorkSpaces", "ReadsTags"].contains(&condition), "{condition}");
                all.extend(permissions(&properties["PolicyDocument"]));
            }
            // For callers of the API; it is attached to nobody.
            "AWS::IAM::ManagedPolicy" if properties.get("Roles").is_none() => {}
            "AWS::IAM::Policy" | "AWS::IAM::ManagedPolicy" => {
                panic!("this test reads no separate policies")
            }
            _ => {}
        }
    }
    for (action, resource) in [
        ("logs:CreateLogStream", log.as_str()),
        ("logs:PutLogEvents", log),
        ("xray:PutTraceSegments", "*"),
        ("xray:PutTelemetryRecords", "*"),
    ] {
        assert!(all.remove(&(action.to_owned(), resource.to_owned())), "{role} lacks {action}");
    }
    all
}

fn permissions(document: &Value) -> Permissions {
    let mut permissions = Permissions::new();
    for statement in list(&document["Statement"]) {
        assert_eq!(statement["Effect"], "Allow");
        for action in list(&statement["Action"]) {
            for resource in list(&statement["Resource"]) {
                permissions.insert((name_of(action), name_of(resource)));
            }
        }
    }
    permissions
}

/// The items of a list. IAM also accepts a single value in place of a list.
fn list(value: &Value) -> &[Value] {
    value.as_sequence().map_or(std::slice::from_ref(value), Vec::as_slice)
}

/// A string, or the resource that `!Ref X`, `!GetAtt X.Arn` or `!Sub ${X.Arn}/…` refers to.
fn name_of(value: &Value) -> String {
    let text = match value {
        Value::Tagged(tagged) => &tagged.value,
        value => value,
    };
    let text = text.as_str().expect("a string, perhaps with a tag");
    text.replace("${", "").replace('}', "").replace(".Arn", "")
}

/// An HTTP client that records the permission that each request needs.
#[derive(Clone, Debug)]
struct Recorder {
    http: SharedHttpClient,
    sent: Arc<Mutex<Permissions>>,
}

impl Recorder {
    fn sent(&self) -> Permissions {
        self.sent.lock().expect("no panic").clone()
    }

    fn forget(&self) {
        self.sent.lock().expect("no panic").clear();
    }
}

impl HttpClient for Recorder {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.http.http_connector(settings, components);
        SharedHttpConnector::new(Recording { inner, sent: Arc::clone(&self.sent) })
    }
}

#[derive(Debug)]
struct Recording {
    inner: SharedHttpConnector,
    sent: Arc<Mutex<Permissions>>,
}

impl HttpConnector for Recording {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").expect("AWS JSON");
        let (service, operation) = target.split_once('.').expect("a service and its operation");
        let body: Json = serde_json::from_slice(request.body().bytes().expect("a body in memory"))
            .expect("AWS JSON");
        let needed: Vec<(String, String)> = match service {
            "WorkspacesService" => {
                let resource = match operation {
                    "RebuildWorkspaces" | "DescribeWorkspaceSnapshots" => FLEET,
                    _ => "*",
                };
                vec![(format!("workspaces:{operation}"), resource.to_owned())]
            }
            "TrentService" => vec![(format!("kms:{operation}"), "*".to_owned())],
            "ResourceGroupsTaggingAPI_20170126" => {
                vec![(format!("tag:{operation}"), "*".to_owned())]
            }
            _ => resources(&body)
                .into_iter()
                .map(|resource| (format!("dynamodb:{operation}"), resource))
                .collect(),
        };
        self.sent.lock().expect("no panic").extend(needed);
        self.inner.call(request)
    }
}

/// This account's WorkSpaces in this region, as [`name_of`] renders them.
const FLEET: &str = "arn:AWS::Partition:workspaces:AWS::Region:AWS::AccountId:workspace/*";

/// The tables or indexes that a DynamoDB request uses.
fn resources(body: &Json) -> Vec<String> {
    let tables = match body.get("RequestItems").and_then(Json::as_object) {
        Some(tables) => tables.keys().map(String::as_str).collect(),
        None => vec![body["TableName"].as_str().expect("a table")],
    };
    let index = body["IndexName"].as_str().map(|index| format!("/index/{index}"));
    let resource = |table: &str| {
        let (_, resource) =
            dynamodb::TABLES.into_iter().find(|(name, _)| *name == table).expect("a known table");
        format!("{resource}{}", index.as_deref().unwrap_or_default())
    };
    tables.into_iter().map(resource).collect()
}

#[test]
fn the_local_gateway_has_the_binary_media_type_of_the_template() {
    let types = &template()["Resources"]["Api"]["Properties"]["BinaryMediaTypes"];
    // SAM wants the slash written in this way.
    let expected = gateway::BINARY_MEDIA_TYPE.replace('/', "~1");
    assert_eq!(list(types), [Value::from(expected)]);
}
