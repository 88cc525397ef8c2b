//! The functions, as Lambda calls them.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_http::{Context, LambdaEvent};
use rebuild_workspaces::announce::Announcer;
use rebuild_workspaces::config::{AnnounceConfig, Config};
use rebuild_workspaces::http::{Event, invoke};
use rebuild_workspaces::rebuild::FleetMode;
use rebuild_workspaces::service::Service;
use rebuild_workspaces::store::{Store, client_config};
use serde::Deserialize;
use tokio::runtime::{Builder, Runtime};

use crate::aws::{Aws, CONTROL, REBUILDS, Seen, WORKSPACES};
use crate::contract;

/// The functions over AWS in this process.
pub struct System {
    pub runtime: Runtime,
    pub aws: Aws,
    pub announcer: Announcer,
    service: Service,
}

/// An answer, as API Gateway sends it.
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Debug for Answer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { status, headers, body } = self;
        write!(f, "{status} {headers:?} {}", String::from_utf8_lossy(body))
    }
}

/// The answer to Lambda.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    status_code: u16,
    multi_value_headers: BTreeMap<String, [String; 1]>,
    body: String,
    is_base64_encoded: bool,
}

thread_local! {
    static SYSTEM: System = System::start();
}

/// Calls `run` with the system of this thread.
pub fn with_system<T>(run: impl FnOnce(&System) -> T) -> T {
    SYSTEM.with(run)
}

impl System {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let aws = Aws::start();
        let lookup = |name: &str| {
            let value = match name {
                "WORKSPACES_TABLE" => WORKSPACES,
                "REBUILDS_TABLE" => REBUILDS,
                "CONTROL_TABLE" => CONTROL,
                "EVENT_BUS_NAME" => "default",
                "AWS_REGION" => "us-east-1",
                "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "test",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let config = Config::from_lookup(lookup).expect("a complete configuration");
        let store = client_config(&config, aws.client());
        let store = Store::new(store, config.tables);
        let service = Service::new(store, FleetMode::Simulated, config.rebuilds_per_day);
        let config = AnnounceConfig::from_lookup(lookup).expect("a complete configuration");
        let announcer = Announcer::connect(&config, aws.client());
        Self { runtime: runtime.expect("a runtime"), aws, announcer, service }
    }

    /// Sends an event to the function, and checks what holds for every answer.
    ///
    /// # Panics
    /// The function breaks its contract.
    pub fn invoke(&self, event: Event) -> (Answer, Vec<Seen>) {
        let invoked = invoke(&self.service, LambdaEvent::new(event, Context::default()));
        let Ok(response) = self.runtime.block_on(invoked);
        let response = serde_json::to_value(response).expect("JSON");
        let response = Response::deserialize(response).expect("a response");
        let headers = response.multi_value_headers.into_iter();
        let headers: BTreeMap<_, _> = headers.map(|(name, [value])| (name, value)).collect();
        let body = if response.is_base64_encoded {
            STANDARD.decode(response.body).expect("base64")
        } else {
            response.body.into_bytes()
        };
        let answer = Answer { status: response.status_code, headers, body };
        let seen = self.aws.seen();
        contract::check(&answer, &seen);
        (answer, seen)
    }
}
