"""The same work in Python: a Runtime API loop like that of the managed runtime, and boto3."""

import http.client
import json
import os

import boto3

dynamodb = boto3.client("dynamodb")


def handler(event):
    request = json.loads(event["body"])["RebuildWorkspaceRequests"][0]
    text = lambda value: {"S": value}
    dynamodb.update_item(
        TableName=os.environ["WORKSPACES_TABLE"],
        Key={"WorkspaceId": text(request["WorkspaceId"])},
        UpdateExpression="SET PreviousState = #State, #State = :rebuilding",
        ConditionExpression="#State = :available",
        ExpressionAttributeNames={"#State": "State"},
        ExpressionAttributeValues={":rebuilding": text("REBUILDING"), ":available": text("AVAILABLE")},
        ReturnValuesOnConditionCheckFailure="ALL_OLD",
    )
    return {"statusCode": 202, "body": json.dumps({"success": True})}


runtime = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    runtime.request("GET", "/2018-06-01/runtime/invocation/next")
    response = runtime.getresponse()
    answer = handler(json.loads(response.read()))
    request_id = response.headers["lambda-runtime-aws-request-id"]
    runtime.request("POST", f"/2018-06-01/runtime/invocation/{request_id}/response", json.dumps(answer))
    runtime.getresponse().read()
