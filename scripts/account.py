#!/usr/bin/env python3
"""An emulated AWS account on this machine, with the stack of template.yaml in it.

Starts ministack with IAM enforced, translates the template as SAM does, deploys it, fills the table
with the samples, and prints what to call. The functions run for real. Ctrl-C ends it.

    pip install -r scripts/requirements-account.txt
    scripts/account.py [Parameter=value ...]
"""

import argparse
import contextlib
import hashlib
import http.client
import io
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import urllib.parse
import zipfile
from datetime import datetime
from pathlib import Path

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parent.parent
REGION = "us-east-1"
STACK = "rebuild-workspaces"
# The functions, and their programs.
FUNCTIONS = {
    "RebuildFunction": "rebuild", "PreviewFunction": "preview", "FollowFunction": "reconcile",
    "SyncFunction": "reconcile", "AnnounceFunction": "announce",
}
# A simulated rebuild takes so long here, so that one can be followed to its end.
REBUILD_SECONDS = "5"


class Account:
    """A running account. `administrator` is a key that IAM lets do everything."""

    def __init__(self, port):
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.administrator = ("test", "test")
        # The last change in the stream of rebuilds that was announced.
        self.announced = None
        # Keys of the packages in the bucket.
        self.uploaded = set()
        # Where the functions find the WorkSpaces API. The emulator has none and refuses its calls.
        self.fleet = self.url

    def client(self, service):
        key, secret = self.administrator
        return boto3.client(
            service, region_name=REGION, endpoint_url=self.url,
            aws_access_key_id=key, aws_secret_access_key=secret,
        )

    def deploy(self, bootstraps, stack=STACK, **parameters):
        """Creates a stack, or updates it; raises if CloudFormation refuses. The other methods use the
        stack that was deployed last."""
        template = self.translated(bootstraps)
        formation = self.client("cloudformation")
        chosen = [{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()]
        # Too long for a request.
        self.client("s3").put_object(Bucket="code", Key="template", Body=json.dumps(template))
        request = {
            "StackName": stack, "TemplateURL": f"{self.url}/code/template", "Parameters": chosen,
            "Capabilities": ["CAPABILITY_IAM"],
        }
        stacks = [found["StackName"] for found in formation.describe_stacks()["Stacks"]]
        change = "update" if stack in stacks else "create"
        getattr(formation, f"{change}_stack")(**request)
        waiter = formation.get_waiter(f"stack_{change}_complete")
        waiter.wait(StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        [found] = formation.describe_stacks(StackName=stack)["Stacks"]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}
        self.parameters = {p["ParameterKey"]: p["ParameterValue"] for p in found["Parameters"]}
        self.teach()

    def delete(self, stack=STACK):
        """Deletes a stack; its tables and logs stay."""
        formation = self.client("cloudformation")
        formation.delete_stack(StackName=stack)
        formation.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})

    def translated(self, bootstraps):
        """The template as SAM translates it, without what ministack does not have. It differs between
        deployments only if the programs do, just as it would on AWS."""
        template = yaml_parse((ROOT / "template.yaml").read_text())
        storage = self.client("s3")
        storage.create_bucket(Bucket="code")
        for name, resource in template["Resources"].items():
            if resource["Type"] == "AWS::Serverless::Function":
                package = zipped(bootstraps[name])
                key = hashlib.sha256(package).hexdigest()
                if key not in self.uploaded:
                    storage.put_object(Bucket="code", Key=key, Body=package)
                    self.uploaded.add(key)
                properties = resource["Properties"]
                properties["CodeUri"] = {"Bucket": "code", "Key": key}
                # Every client of AWS finds the emulator by the first.
                properties["Environment"]["Variables"] |= {
                    "AWS_ENDPOINT_URL": self.url, "FLEET_ENDPOINT_URL": self.fleet,
                    "FLEET_REBUILD_SECONDS": REBUILD_SECONDS,
                }
        template = sam_translated(template)
        resources = template["Resources"]
        for name, resource in list(resources.items()):
            # ministack has no CodeDeploy, so that versions take over at once, no saved queries, and no
            # alarms on a calculated metric.
            resource.pop("UpdatePolicy", None)
            is_missing = resource["Type"].startswith(("AWS::CodeDeploy::", "AWS::Logs::QueryDefinition"))
            if is_missing or "Metrics" in resource.get("Properties", {}):
                del resources[name]
            # Its IAM does not know the key events:source.
            if name == "AnnounceRole":
                [policy] = resource["Properties"]["Policies"]
                for statement in policy["PolicyDocument"]["Statement"]:
                    statement.pop("Condition", None)
            # It has this type by its older name only.
            if resource["Type"] == "AWS::IAM::RolePolicy":
                resource["Type"] = "AWS::IAM::Policy"
                resource["Properties"]["Roles"] = [resource["Properties"].pop("RoleName")]
        return template

    def teach(self):
        """Adds by API calls what ministack leaves out when it imports the API's definition: the routes,
        with their authorisation, and the resource policy. So calls to it prove what the functions, the
        roles and the policies do, and nothing about how API Gateway reads the definition. Also ends
        ministack's own reading of the stream; see `announce`."""
        functions = self.client("lambda")
        [mapping] = functions.list_event_source_mappings(FunctionName=self.outputs["AnnounceFunction"])[
            "EventSourceMappings"
        ]
        self.announcements = mapping
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        definition = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]["Api"]
        definition = definition["Properties"]["DefinitionBody"]
        gateway = self.client("apigateway")
        self.api = re.match(r"https://(\w+)", self.outputs["ApiUrl"])[1]
        names = {"AWS::Partition": "aws", "AWS::Region": REGION}
        for name in ("RebuildFunction", "PreviewFunction"):
            function = functions.get_function(FunctionName=self.outputs[name])
            names[f"{name}.Arn"] = function["Configuration"]["FunctionArn"]
        for resource in gateway.get_resources(restApiId=self.api)["items"]:
            # A part of a path has no method.
            for name, method in definition["paths"].get(resource["path"], {}).items():
                method_name = {"x-amazon-apigateway-any-method": "ANY"}.get(name, name.upper())
                at = {"restApiId": self.api, "resourceId": resource["id"], "httpMethod": method_name}
                secured = self.resolve(method["security"])
                with contextlib.suppress(gateway.exceptions.NotFoundException):
                    gateway.delete_method(**at)
                gateway.put_method(**at, authorizationType="AWS_IAM" if secured else "NONE")
                uri = method["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"]
                gateway.put_integration(
                    **at, type="AWS_PROXY", integrationHttpMethod="POST",
                    uri=re.sub(r"\$\{(.+?)\}", lambda found: names[found[1]], uri),
                )
        policy = self.resolve(definition["x-amazon-apigateway-policy"])
        value = json.dumps(policy) if policy else ""
        gateway.update_rest_api(
            restApiId=self.api, patchOperations=[{"op": "replace", "path": "/policy", "value": value}]
        )
        gateway.create_deployment(restApiId=self.api, stageName="v1")

    def set_variables(self, name, **variables):
        """Sets environment variables of a function, as an operator could. They hold for a function that is
        called by itself; an alias stays at its version."""
        functions, function = self.client("lambda"), self.outputs[name]
        environment = functions.get_function_configuration(FunctionName=function)["Environment"]
        environment["Variables"] |= variables
        functions.update_function_configuration(FunctionName=function, Environment=environment)

    def resolve(self, node):
        """A part of the template with its conditions and parameters resolved."""
        parameters = self.parameters
        private = parameters["VpcEndpointId"] != ""
        conditions = {
            "Private": private,
            "WithoutIam": private and parameters["Authorization"] == "None",
            "HasCallerArns": parameters["CallerArns"] != "",
        }
        conditions["HasResourcePolicy"] = private or conditions["HasCallerArns"]
        if isinstance(node, list):
            return [kept for entry in node if (kept := self.resolve(entry)) is not None]
        if not isinstance(node, dict):
            return node
        if "Fn::If" in node:
            condition, yes, no = node["Fn::If"]
            return self.resolve(yes if conditions[condition] else no)
        if node == {"Ref": "AWS::NoValue"}:
            return None
        if node == {"Ref": "CallerArns"}:
            return parameters["CallerArns"].split(",")
        if "Ref" in node:
            return parameters[node["Ref"]]
        return {key: self.resolve(value) for key, value in node.items()}

    def seed(self):
        """Fills the table with the samples."""
        requests = json.loads((ROOT / "seed/workspaces.json").read_text())["workspaces"]
        table = self.outputs["WorkspacesTable"]
        left = self.client("dynamodb").batch_write_item(RequestItems={table: requests})
        assert left["UnprocessedItems"] == {}

    def user(self, name, policy):
        """The key of a new user with one policy: its ARN, or its document."""
        identities = self.client("iam")
        identities.create_user(UserName=name)
        if isinstance(policy, dict):
            document = json.dumps(policy)
            identities.put_user_policy(UserName=name, PolicyName="only", PolicyDocument=document)
        else:
            identities.attach_user_policy(UserName=name, PolicyArn=policy)
        key = identities.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def call(self, key, method, path, body=None, **more):
        """Calls the API, signed with a key (None: not signed); returns the status and the JSON body."""
        host = f"{self.api}.execute-api.localhost:{self.port}"
        data = None if body is None else json.dumps(body).encode()
        headers = {"host": host, "content-type": "application/json", **more}
        request = AWSRequest(method, f"http://{host}/v1{path}", data=data, headers=headers)
        if key:
            SigV4Auth(Credentials(*key), "execute-api", REGION).add_auth(request)
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request(method, f"/v1{path}", data, dict(request.headers))
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text or b"null")

    def follow(self):
        """Runs a pass that follows rebuilds; returns the error, if it fails."""
        answer = self.client("lambda").invoke(
            FunctionName=self.outputs["FollowFunction"], Payload=b'{"schedule":"follow"}'
        )
        return answer.get("FunctionError")

    def announce(self, attempts=1000):
        """Reads the stream of the table of rebuilds to its end, as Lambda does, or until so many batches
        have failed; returns how many did. ministack's own reading of streams takes a batch with failures
        for done, so `teach` ends it."""
        streams, mapping = self.client("dynamodbstreams"), self.announcements
        arn, [pattern] = mapping["EventSourceArn"], mapping["FilterCriteria"]["Filters"]
        [name] = json.loads(pattern["Pattern"])["eventName"]
        [shard] = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
        failures = 0
        while failures < attempts:
            place = {"StreamArn": arn, "ShardId": shard["ShardId"]}
            if self.announced:
                place |= {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": self.announced}
            else:
                place |= {"ShardIteratorType": "TRIM_HORIZON"}
            iterator = streams.get_shard_iterator(**place)["ShardIterator"]
            batch = streams.get_records(ShardIterator=iterator, Limit=mapping["BatchSize"])["Records"]
            if not batch:
                break
            records = [record for record in batch if record["eventName"] == name]
            answer = self.client("lambda").invoke(
                FunctionName=self.outputs["AnnounceFunction"],
                Payload=json.dumps({"Records": records}, default=datetime.timestamp),
            )
            done = [record["dynamodb"]["SequenceNumber"] for record in batch]
            # A function that fails has its whole batch again.
            failed = [{"itemIdentifier": done[0]}]
            if "FunctionError" not in answer:
                failed = json.load(answer["Payload"])["batchItemFailures"]
            if failed:
                failures += 1
                done = done[: done.index(failed[0]["itemIdentifier"])]
            self.announced = (done or [self.announced])[-1]
        return failures


def sam_translated(template):
    """A parsed template as SAM translates it."""
    os.environ["AWS_DEFAULT_REGION"] = REGION
    # It warns about features that only AWS itself switches on.
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    return transform(template, {}, ManagedPolicies())


class ManagedPolicies:
    """SAM asks for the managed policies that it could attach; this template attaches none."""

    def load(self):
        return {}


def zipped(bootstrap):
    """A deployment package with this program."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, bootstrap.read_bytes())
    return package.getvalue()


def built():
    """Builds the functions; returns their programs."""
    command = ["cargo", "build", "--release", "--locked", "--bins"]
    subprocess.run(command, cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    return {name: target / program for name, program in FUNCTIONS.items()}


def built_by_sam():
    """What `sam build` has built for this machine."""
    build = ROOT / ".aws-sam/build"
    return {name: build / name / "bootstrap" for name in FUNCTIONS}


@contextlib.contextmanager
def account():
    """Starts an empty account on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {
        # A minute of a campaign's waiting takes a second.
        "SFN_WAIT_SCALE": "0.02", **os.environ, "AUTH": "true", "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0",
    }
    program = ROOT / "scripts/emulator.py"
    server = subprocess.Popen(
        [sys.executable, program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        lines = []
        for line in server.stdout:
            lines.append(line)
            if "Running on" in line:
                break
        else:
            sys.exit(f"error: ministack did not start\n{''.join(lines)}")
        # A full pipe would block the server.
        threading.Thread(target=server.stdout.read, daemon=True).start()
        yield Account(port)
    finally:
        server.terminate()
        server.wait()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parameters", nargs="*", metavar="Parameter=value", help="as in template.yaml")
    parameters = dict(text.partition("=")[::2] for text in parser.parse_args().parameters)
    bootstraps = built()
    with account() as running:
        running.deploy(bootstraps, **parameters)
        running.seed()
        operator = running.outputs.get("OperatorPolicy")
        key, secret = running.user("operator", operator) if operator else ("none", "none")
        host = f"{running.api}.execute-api.localhost:{running.port}"
        print(f"""The stack is deployed at {running.url}, with these outputs:
{json.dumps(running.outputs, indent=2)}

A rebuild, as a user with OperatorPolicy:
  curl -i http://{host}/v1/workspaces/ws-available0001/rebuilds --resolve {host}:127.0.0.1 \\
    --aws-sigv4 aws:amz:{REGION}:execute-api --user {key}:{secret} --json '{{"Reason":"ticket 4711"}}'
Followed, from REQUESTED to SUCCEEDED, about three minutes later:
  curl http://{host}/v1/workspaces/ws-available0001/rebuilds --resolve {host}:127.0.0.1 \\
    --aws-sigv4 aws:amz:{REGION}:execute-api --user {key}:{secret}
The account, with the key of an administrator:
  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION={REGION} AWS_ENDPOINT_URL={running.url}
A campaign, docs/campaigns.md:
  scripts/campaign --bundle wsb-0a1b2c3d4 --tolerate 100
The resources:
  aws cloudformation describe-stack-resources --stack-name {STACK}

The end of each rebuild is announced on the default event bus; docs/events.md has rules to try.
A pass follows rebuilds every minute; a simulated rebuild takes {REBUILD_SECONDS} s. Ctrl-C ends it.""", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                running.announce(attempts=1)
                threading.Event().wait(1)


if __name__ == "__main__":
    main()
